"""The emulated providers and the router of one scenario, as processes of their own on free loopback ports."""

import contextlib
import json
import pathlib
import re
import socket
import subprocess
import time
import urllib.request

RUNPOD, CEREBRAS, MODEL = "runpod-8b", "cerebras-8b", "llama-3.1-8b"
GPU_SECOND_USD = 0.00019

CONFIG = """
[server]
listen = "127.0.0.1:{api_port}"
admin_listen = "127.0.0.1:{admin_port}"

[log]
access = "off"

[auth]
mode = "none"

[[upstreams]]
id = "runpod-8b"
provider = "runpod"
endpoint_type = "load_balancer"
base_url = "{emulator}/lb/v1"
capacity_url = "{capacity_url}"
capacity_poll_s = {poll_s}
api_key_env = "ANY_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
max_in_flight = {max_in_flight}
timeouts = {{ first_token_ms = {first_token_ms} }}
cost = {{ kind = "gpu_seconds", usd_per_second = "{gpu_second_usd:.6f}", kept_workers = {kept_workers}, list_usd_per_million = "0.02" }}

[[upstreams]]
id = "cerebras-8b"
provider = "cerebras"
base_url = "{emulator}/cerebras/v1"
api_key_env = "ANY_KEY"
model = "llama3.1-8b"
cost = {{ kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }}

[[models]]
name = "llama-3.1-8b"
strategy = "{strategy}"
{slo}
baseline = "cerebras-8b"
deadline_ms = {deadline_ms}
early_headers = {early_headers}
targets = [ {{ upstream = "runpod-8b", share = {share} }}, {{ upstream = "cerebras-8b", share = {rest} }} ]
"""

SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


class RigError(Exception):
    """A process did not start, or did not do what was asked."""


class Metrics:
    """One reading of /metrics."""

    def __init__(self, text: str):
        found = filter(None, map(SAMPLE.match, text.splitlines()))
        self._samples = [(name, dict(LABEL.findall(labels or "")), float(value)) for name, labels, value in
                         (match.groups() for match in found)]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels; 0 without any."""
        return sum(value for _, value in self.series(name, **labels))

    def series(self, name: str, **labels: str) -> list[tuple[dict, float]]:
        return [(its, value) for its_name, its, value in self._samples
                if its_name == name and labels.items() <= its.items()]


def config_of(it, api_port: int, admin_port: int, emulator: str) -> str:
    """The configuration of a scenario: its times are in emulated seconds, the file's in those of the clock on the wall."""
    return CONFIG.format(
        api_port=api_port, admin_port=admin_port, emulator=emulator,
        capacity_url=f"{emulator}/lb/workers" if it.poll_s else "none",
        poll_s=max(0.1, (it.poll_s or 1) / it.speed),
        max_in_flight=it.max_in_flight,
        first_token_ms=round(it.first_token_ms / it.speed),
        gpu_second_usd=GPU_SECOND_USD * it.speed,
        kept_workers=int(it.idle_timeout_s is None),
        strategy=it.strategy,
        slo=f"slo = {{ ttft_ms = {it.slo_ms} }}" if it.slo_ms else "",
        deadline_ms=round(it.deadline_ms / it.speed),
        early_headers=str(it.early_headers).lower(),
        share=it.share, rest=round(1 - it.share, 6),
    )


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def until(what: str, holds, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if found := holds():
                return found
        time.sleep(0.05)
    raise RigError(f"{what}: not within {seconds} s")


class Rig(contextlib.ExitStack):
    """Leaving it ends both processes, by their own ids."""

    def __init__(self, binary: pathlib.Path, it, folder: pathlib.Path):
        super().__init__()
        emulator_port, self.api_port, self.admin_port = free_ports(3)
        self._emulator = f"http://127.0.0.1:{emulator_port}"
        self._folder = folder
        file = folder / "config.toml"
        file.write_text(config_of(it, self.api_port, self.admin_port, self._emulator), "utf-8")
        try:
            self._start("emulator", [binary, "emulate", "--listen", f"127.0.0.1:{emulator_port}", "--speed", f"{it.speed}"])
            until("the emulator", lambda: self.call_logs())
            self._start("router", [binary, "serve", "--config", file])
            until("the router", lambda: self.metrics())
            if it.poll_s:
                until("a count of workers", lambda: self.metrics().series("llmrouter_provider_workers"))
        except BaseException as error:
            self.close()
            error.add_note(self._logs())
            raise

    def _logs(self) -> str:
        tails = ((path.name, path.read_text("utf-8", "replace")[-1500:]) for path in self._folder.glob("*.log"))
        return "\n".join(f"--- {name}\n{tail}" for name, tail in tails)

    def _start(self, name: str, command: list) -> None:
        sink = self.enter_context((self._folder / f"{name}.log").open("wb"))
        child = subprocess.Popen(command, env={"ANY_KEY": "any"}, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        self.callback(child.wait)
        self.callback(child.terminate)

    def metrics(self) -> Metrics:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=5) as answer:
            return Metrics(answer.read().decode())

    def call_logs(self) -> dict:
        with urllib.request.urlopen(self._emulator + "/_control/calls", timeout=5) as answer:
            return json.load(answer)

    def fault(self, fault: dict | None) -> None:
        """Puts a fault in force at RunPod, or ends it."""
        rules = [{"fault": fault}] if fault else []
        body = json.dumps({"face": "runpod_lb", "rules": rules}).encode()
        with urllib.request.urlopen(urllib.request.Request(self._emulator + "/_control", data=body), timeout=5) as answer:
            answer.read()
