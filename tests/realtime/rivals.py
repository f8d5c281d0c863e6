"""Who is measured: our router and LiteLLM's proxy, each a process of its own in front of an emulator of its own."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import providers
from traffic import KEY, MODEL

OURS = """
[server]
listen = "127.0.0.1:{port}"
admin_listen = "127.0.0.1:0"
grace_s = 0
[log]
level = "warn"
access = "off"

[[keys]]
id = "client"
team = "client"
env = "CLIENT_KEY"
limits = {{ concurrent = 100000 }}

[[upstreams]]
id = "runpod-8b"
provider = "runpod"
endpoint_type = "queue"
base_url = "{emulator}/v2/endpoint/openai/v1"
capacity_poll_s = {poll_s}
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
context_tokens = {context}
max_in_flight = 1000
worker_slots = {slots}
cost = {{ kind = "tokens", input_usd_per_million = "0.02", output_usd_per_million = "0.02" }}

[[upstreams]]
id = "cerebras-8b"
provider = "cerebras"
base_url = "{emulator}/cerebras/v1"
api_key_env = "UPSTREAM_KEY"
model = "llama3.1-8b"
context_tokens = {context}
max_in_flight = 1000
cost = {{ kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }}

[[models]]
name = "{model}"
strategy = "balanced"
slo = {{ ttft_ms = 2000 }}
targets = [{{ upstream = "runpod-8b", share = 0.8 }}, {{ upstream = "cerebras-8b", share = 0.2 }}]
"""

# Setting, value and why; docs/generated/realtime.md lists them.
LITELLM = [
    ("weight", "8 and 2", "the same share as ours; `simple-shuffle` only"),
    ("rpm, tpm", "Cerebras' limits", "`latency-based-routing` passes over a deployment that has used them up"),
    ("num_retries", "3", "as in the documentation's example; each picks again among the deployments that have not failed"),
    ("enable_weighted_failover", "true", "a failed call goes on to the other deployment; `simple-shuffle` only"),
    ("stream_timeout", "10 s", "the documentation's `request_timeout`, for streams; our default for the first token"),
    ("timeout", "60 s", "our default for the whole"),
    ("allowed_fails", "3", "as in the documentation's example; `cooldown_time` is left at its default of 5 s"),
]


def litellm_config(strategy: str, emulator: str, requests_per_minute: float, tokens_per_minute: float) -> dict:
    runpod = {"model": "hosted_vllm/meta-llama/Llama-3.1-8B-Instruct", "api_base": f"{emulator}/v2/endpoint/openai/v1",
              "api_key": "any", "weight": 8}
    cerebras = {"model": "cerebras/llama3.1-8b", "api_base": f"{emulator}/cerebras/v1", "api_key": "any", "weight": 2,
                "rpm": int(requests_per_minute), "tpm": int(tokens_per_minute)}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters} for parameters in (runpod, cerebras)],
        "router_settings": {
            "routing_strategy": strategy, "num_retries": 3, "enable_weighted_failover": strategy == "simple-shuffle",
            "stream_timeout": 10, "timeout": 60, "allowed_fails": 3,
        },
        "litellm_settings": {"telemetry": False, "disable_hf_tokenizer_download": True},
    }


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def call(url: str, body: dict | None = None) -> dict:
    """GET, or POST of a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", "authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


class Rival:
    """A router in front of an emulator, until `stop`."""

    def __init__(self, name: str, folder: pathlib.Path, router: str, litellm: pathlib.Path):
        self.name, self.router, self.litellm = name, router, litellm
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, emulator_port = free_port(), free_port()
        self.emulator = f"http://127.0.0.1:{emulator_port}"
        self._listen = f"127.0.0.1:{emulator_port}"
        self._processes: list[subprocess.Popen] = []

    def launch(self, requests: list, max_workers: int, seed: int) -> None:
        """Starts both; LiteLLM takes a minute."""
        settings = self.folder / "emulator.json"
        settings.write_text(json.dumps(providers.emulated(requests, max_workers)))
        self._start(self.router, "emulate", "--listen", self._listen, "--seed", str(seed), "--settings", str(settings))
        self._until(f"{self.emulator}/_control")
        if self.name == "llm-router":
            self._start(self.router, "serve", "--config", str(self.config()))
            return
        config = self.folder / "config.json"
        config.write_text(json.dumps(litellm_config(self.name, self.emulator, *providers.per_minute(requests))))
        self._start(str(self.litellm), "--config", str(config), "--host", "127.0.0.1", "--port", str(self.port))

    def wait(self) -> None:
        """Until it answers."""
        self._until(f"http://127.0.0.1:{self.port}{'/v1/models' if self.name == 'llm-router' else '/health/liveliness'}", 600)

    def config(self) -> pathlib.Path:
        """Our configuration, which the simulator reads as well."""
        runpod, _ = providers.read()
        path = self.folder / "balanced.toml"
        path.write_text(OURS.format(
            port=self.port, emulator=self.emulator, context=providers.CONTEXT, model=MODEL, poll_s=runpod["health_poll_s"],
            slots=runpod["workers"]["slots"],
        ))
        return path

    def _start(self, *command: str) -> None:
        variables = {"CLIENT_KEY": KEY, "UPSTREAM_KEY": "any", "LITELLM_MASTER_KEY": KEY, "LITELLM_LOG": "ERROR",
                     "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1", "NO_PROXY": "*"}
        with (self.folder / "log").open("a") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **variables}))

    def _until(self, url: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                call(url)
                return
            if self._processes[-1].poll() is not None:
                break
            time.sleep(0.2)
        raise SystemExit(f"{self.name}: {url} does not answer\n{(self.folder / 'log').read_text()[-2000:]}")

    def order(self, body: dict) -> None:
        call(f"{self.emulator}/_control", body)

    def calls(self) -> dict:
        """What the emulator counted."""
        calls = call(f"{self.emulator}/_control/calls")
        return {"runpod": calls["runpod_queue"], "cerebras": calls["cerebras"]}

    def cpu_s(self) -> list[float]:
        """Processor time of the emulator and of the router."""
        return [cpu_s(process.pid) for process in self._processes]

    def stop(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def cpu_s(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
