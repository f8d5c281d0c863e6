"""The router as a process, with emulated RunPod and Cerebras in a process each, and the real small model behind llama.cpp."""

import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import re
import secrets
import select
import signal
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "demo"))

from demo import CheckFailed, Report, expect, free_ports, tail, wait_until_ready  # noqa: E402, F401

MODEL = "llama-3.1-8b"
ALIAS = "claude-sonnet-5"  # by the pattern claude-*
BLIND_MODEL = "test/blind"
BUSY_MODEL = "test/busy"
REAL_MODEL = "test/smollm2"
UPSTREAM_KEY = "upstream-" + secrets.token_hex(16)
START_TIMEOUT_S = 60

# Of each key, what the configuration says beside its name and its hash.
KEYS = {
    "main": "",
    "slow": "limits = { requests_per_minute = 1, burst = 1 }",
    "poor": 'budgets = [{ usd = "0.000001", per = "day" }]',
}
EMULATED = {"tool_parser": True, "images": True, "context": 131072, "answer_tokens": 24}


class Process:
    """A child with its output in a file. It may be killed and started again, at the same address."""

    def __init__(self, command: list, log: pathlib.Path, ready: str, env: dict[str, str] | None = None):
        self.command, self.log, self.ready = command, log, ready
        self.env = {**os.environ, **(env or {})}
        self.child: subprocess.Popen | None = None

    def start(self) -> None:
        with self.log.open("ab") as sink:
            self.child = subprocess.Popen(
                self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
            )
        wait_until_ready(self.child, self.ready, self.log)

    def kill(self) -> None:
        if self.child:
            self.child.kill()
            self.child.wait()


class Emulator(Process):
    """`llm-router emulate`, whose faults are set over HTTP. Each start has a seed of its own, so that no two give their calls of
    tools the same ids, which Cerebras would refuse."""

    seeds = itertools.count(1)

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, name: str):
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        settings = folder / "emulator.json"
        runpod = EMULATED
        cerebras = {name: value for name, value in EMULATED.items() if name != "tool_parser"}
        settings.write_text(json.dumps({"runpod_lb": runpod, "runpod_queue": runpod, "cerebras": cerebras}), "utf-8")
        self.arguments = [binary, "emulate", "--listen", f"127.0.0.1:{port}", "--speed", "0", "--settings", settings]
        super().__init__(self.arguments, folder / f"{name}.log", f"{self.url}/_control")

    def start(self) -> None:
        self.command = [*self.arguments, "--seed", str(next(self.seeds))]
        super().start()

    def set(self, face: str, *rules: dict) -> None:
        """Replaces the rules of a face."""
        self._call("/_control", {"face": face, "rules": list(rules)})

    def calls(self, face: str) -> dict:
        """What a face received."""
        return self._call("/_control/calls")[face]

    def _call(self, path: str, body: dict | None = None) -> dict:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode() if body else None, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)


def upstream(name: str, provider: str, base_url: str, model: str, more: str = "") -> str:
    return f"""
[[upstreams]]
id = "{name}"
provider = "{provider}"
base_url = "{base_url}"
api_key_env = "TEST_UPSTREAM_KEY"
model = "{model}"
cost = {{ kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }}
{more}
"""


def model(name: str, targets: str) -> str:
    return f'\n[[models]]\nname = "{name}"\nstrategy = "weighted"\ndeadline_ms = 60000\ntargets = [{targets}]\n'


class Lab(contextlib.ExitStack):
    """All of it; leaving ends every process by its own id."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, model_server: pathlib.Path | None = None):
        super().__init__()
        self.binary, self.folder = binary, folder
        self.keys = {name: f"sk-test-{secrets.token_hex(16)}" for name in KEYS}
        self.runpod, self.cerebras = Emulator(binary, folder, "runpod"), Emulator(binary, folder, "cerebras")
        listen, admin = free_ports(2)
        self.origin, self.admin = f"http://127.0.0.1:{listen}", f"http://127.0.0.1:{admin}"
        try:
            real = self._start_model(model_server) if model_server else None
            config = folder / "router.toml"
            config.write_text(self._config(listen, admin, real), "utf-8")
            self.router = Process(
                [binary, "serve", "--config", config], folder / "router.log", f"{self.origin}/readyz",
                {"TEST_UPSTREAM_KEY": UPSTREAM_KEY},
            )
            for process in (self.runpod, self.cerebras, self.router):
                self.callback(process.kill)
                process.start()
            # The busy model's quota is used up.
            self.cerebras.set("runpod_queue", {"fault": {"kind": "status", "code": 429, "retry_after": 30}})
        except BaseException:
            self.close()
            raise

    def _start_model(self, python: pathlib.Path) -> dict:
        (port,) = free_ports(1)
        log = self.folder / "model.log"
        sink = self.enter_context(log.open("wb"))
        child = subprocess.Popen(
            [python, HERE.parent / "clients/model_server.py", "--port", str(port)],
            env={**os.environ, "TEST_UPSTREAM_KEY": UPSTREAM_KEY},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sink,
        )
        self.callback(child.wait)
        self.callback(child.kill)
        readable, _, _ = select.select([child.stdout], [], [], START_TIMEOUT_S)
        line = child.stdout.readline() if readable else b""
        expect(line, f"the model server did not start\n{tail(log)}")
        return json.loads(line)

    def _config(self, listen: int, admin: int, real: dict | None) -> str:
        text = f"""
[server]
listen = "127.0.0.1:{listen}"
admin_listen = "127.0.0.1:{admin}"

[storage]
url = "sqlite:{self.folder}/ledger.db"

[aliases]
"claude-*" = "{MODEL}"
"""
        for name, more in KEYS.items():
            sha256 = hashlib.sha256(self.keys[name].encode()).hexdigest()
            text += f'\n[[keys]]\nid = "{name}"\nteam = "tests"\nsha256 = "{sha256}"\n{more}\n'
        runpod, llama = 'endpoint_type = "load_balancer"\ncapacity_url = "none"\n', "meta-llama/Llama-3.1-8B-Instruct"
        able, sees = "features = { tools = true, images = true }", "features = { images = true }"
        lb, queue = f"{self.runpod.url}/lb/v1", f"{self.cerebras.url}/v2/busy/openai/v1"
        text += upstream("runpod-8b", "runpod", lb, llama, runpod + able)
        text += upstream("cerebras-8b", "cerebras", f"{self.cerebras.url}/cerebras/v1", "llama3.1-8b", sees)
        text += upstream("blind-8b", "runpod", lb, llama, runpod + "features = { tools = true }")
        text += upstream("busy-8b", "openai", queue, llama)
        # Nearly all goes to RunPod, so that it hurts if RunPod is cut off.
        text += model(MODEL, '{ upstream = "runpod-8b", share = 0.99 }, { upstream = "cerebras-8b", share = 0.01 }')
        text += model(BLIND_MODEL, '{ upstream = "blind-8b" }')
        text += model(BUSY_MODEL, '{ upstream = "busy-8b" }').replace("60000", "2000")
        if real:
            more = f"context_tokens = {real['context_tokens']}\ndefault_max_tokens = 256\n"
            more += "timeouts = { first_token_ms = 60000 }"
            text += upstream("small", "openai", f"{real['origin']}/v1", real["model"], more)
            text += model(REAL_MODEL, '{ upstream = "small" }').replace("60000", "180000")
        return text

    def in_flight(self) -> float:
        """Calls under way, by the router's metric."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=10) as reply:
            text = reply.read().decode()
        return sum(map(float, re.findall(r"^llmrouter_inflight_requests\{[^}]*\} (\S+)$", text, re.MULTILINE)))

    def names_no_secret(self, *prompts: str) -> None:
        written = self.router.log.read_text("utf-8", "replace")
        for secret in (*self.keys.values(), UPSTREAM_KEY, *prompts):
            expect(secret not in written, f"{secret[:12]!r}… is in the router's output")


def within_a_second(holds) -> bool:
    give_up = time.monotonic() + 1
    while time.monotonic() < give_up:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


def end_on_sigterm() -> None:
    """SIGTERM ends the children as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
