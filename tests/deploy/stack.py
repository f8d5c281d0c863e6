"""Emulator, router and load of the compose file as plain processes: same commands, same files, other addresses."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import compose
import dockerfile
from report import CheckFailed, Report, expect, run

START_TIMEOUT_S = 60
LOAD_TIMEOUT_S = 60


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def process(command: list, log: pathlib.Path, env: dict):
    """A process with a group of its own, which is ended whole: the load starts further ones."""
    with log.open("wb") as sink:
        child = subprocess.Popen(
            command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        child.wait()


def status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_for(what: str, seconds: float, holds, log: pathlib.Path) -> None:
    give_up = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up:
            raise CheckFailed(f"{what}: not within {seconds} s\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)


def wait_until_up(url: str, child: subprocess.Popen, log: pathlib.Path) -> None:
    wait_for(f"{url} answers", START_TIMEOUT_S, lambda: status(url) == 200 or child.poll() is not None, log)
    expect(child.poll() is None, f"ended with {child.returncode}\n{log.read_text(errors='replace')[-2000:]}")


class Stack:
    """The compose file's addresses, moved to free ports."""

    def __init__(self, deploy: pathlib.Path, binary: pathlib.Path, folder: pathlib.Path):
        self.deploy, self.binary, self.folder = deploy, binary, folder
        self.services = compose.load(deploy / "compose.yaml")["services"]
        self.emulator, self.public, self.admin = free_ports(3)

    def moved(self, text: str) -> str:
        moves = {"emulator:9100": self.emulator, "0.0.0.0:9100": self.emulator, "router:8080": self.public}
        for there, here in moves.items():
            text = text.replace(there, f"127.0.0.1:{here}")
        return text

    def command(self, service: str) -> list:
        return [self.binary, *map(self.moved, self.services[service]["command"])]

    def environment(self, service: str) -> dict[str, str]:
        given = self.services[service].get("environment", {})
        return {name: value for name, value in given.items() if value is not None}

    def start(self, held: contextlib.ExitStack) -> bool:
        emulator = held.enter_context(process(self.command("emulator"), self.log_of("emulator"), {}))
        wait_until_up(f"http://127.0.0.1:{self.emulator}/_control", emulator, self.log_of("emulator"))
        command = self.command("router")
        given = command[command.index("--config") + 1]
        (source,) = compose.mounts(self.services["router"]).values()
        config = self.folder / "router.toml"
        text = (self.deploy / source / pathlib.Path(given).name).read_text(encoding="utf-8")
        config.write_text(self.moved(text), encoding="utf-8")
        command[command.index(given)] = config
        listen = {
            "LLM_ROUTER__SERVER__LISTEN": f"127.0.0.1:{self.public}",
            "LLM_ROUTER__SERVER__ADMIN_LISTEN": f"127.0.0.1:{self.admin}",
        }
        router = held.enter_context(process(command, self.log_of("router"), {**self.environment("router"), **listen}))
        wait_until_up(f"http://127.0.0.1:{self.admin}/readyz", router, self.log_of("router"))
        return True

    def log_of(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}.log"

    def load_reaches_all(self) -> None:
        """Both upstreams count tokens, both teams stand in the access log, streams and whole answers."""
        script = self.folder / "load.sh"
        script.write_text(self.moved((self.deploy / "compose/load.sh").read_text(encoding="utf-8")), encoding="utf-8")
        with process(["sh", script], self.log_of("load"), {}):
            wait_for("the load is seen", LOAD_TIMEOUT_S, lambda: self.tokens() and self.teams(), self.log_of("load"))

    def tokens(self) -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as reply:
            metrics = reply.read().decode()
        counted = re.findall(r'^llmrouter_tokens_total\{.*upstream="([^"]+)".*\} [1-9]', metrics, re.MULTILINE)
        return {"runpod-8b", "cerebras-8b"} <= set(counted)

    def teams(self) -> bool:
        lines = self.log_of("router").read_text(encoding="utf-8").splitlines()
        # The last one may not be whole yet.
        whole = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        seen = {(line["team"], line["stream"]) for line in whole if line.get("upstream")}
        return seen >= {(team, stream) for team in ("growth", "search") for stream in (True, False)}

    def probes_answer(self) -> None:
        """What Kubernetes asks."""
        for path in ("/livez", "/readyz", "/metrics"):
            code = status(f"http://127.0.0.1:{self.admin}{path}")
            expect(code == 200, f"{path} answers {code}")

    def health_check_tells(self) -> None:
        """The image's health check, while the router runs and against a port where nobody listens."""
        run(*dockerfile.health_check(self.deploy / "Dockerfile", self.public))
        (dead,) = free_ports(1)
        try:
            run(*dockerfile.health_check(self.deploy / "Dockerfile", dead))
        except CheckFailed:
            return
        raise CheckFailed("it is content with a port where nobody listens")


def check(report: Report, deploy: pathlib.Path, binary: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(prefix="llm-router-deploy-") as folder, contextlib.ExitStack() as held:
        stack = Stack(deploy, binary, pathlib.Path(folder))
        if not report.attempt("compose stack: emulator and router start", stack.start, held):
            return
        report.attempt("compose stack: the load reaches both upstreams for both teams", stack.load_reaches_all)
        report.attempt("compose stack: the probes answer", stack.probes_answer)
        report.attempt("Dockerfile: the health check tells alive from dead", stack.health_check_tells)
