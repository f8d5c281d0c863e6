"""The processes of the live check: emulated providers, the router, and a Prometheus that scrapes it every second."""

import contextlib
import json
import pathlib
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import files

GPU, API = "gpu-8b", "api-8b"
MODEL = "test-8b"
TEAMS = ("red", "blue")
GPU_SECOND_USD, GPU_LIST_USD, API_USD = 0.00019, 0.02, 0.10
SHARE = 0.8

CONFIG = """
[server]
listen = "127.0.0.1:{api_port}"
admin_listen = "127.0.0.1:{admin_port}"

[log]
access = "off"

[[keys]]
id = "red-app"
team = "red"
env = "KEY_RED"

[[keys]]
id = "blue-app"
team = "blue"
env = "KEY_BLUE"

[[upstreams]]
id = "gpu-8b"
provider = "runpod"
endpoint_type = "queue"
base_url = "{emulator}/v2/demo/openai/v1"
capacity_url = "{emulator}/v2/demo/health"
capacity_poll_s = 1
api_key_env = "KEY_UPSTREAM"
model = "meta-llama/Llama-3.1-8B-Instruct"
cost = {{ kind = "gpu_seconds", usd_per_second = "0.00019", idle_timeout_s = 5, list_usd_per_million = "0.02" }}

[[upstreams]]
id = "api-8b"
provider = "cerebras"
base_url = "{emulator}/cerebras/v1"
api_key_env = "KEY_UPSTREAM"
model = "llama3.1-8b"
cost = {{ kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }}

[[models]]
name = "test-8b"
strategy = "balanced"
slo = {{ ttft_ms = {aim_ms} }}
baseline = "api-8b"
targets = [ {{ upstream = "gpu-8b", share = 0.8 }}, {{ upstream = "api-8b", share = 0.2 }} ]
"""

PROMETHEUS = """
global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: llm-router
    static_configs: [ {{ targets: ["127.0.0.1:{admin_port}"] }} ]
"""


class LabError(Exception):
    """Something that the check needs did not start or did not answer."""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def ask(url: str, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=10) as answer:
        return json.load(answer)


def until(what: str, holds, seconds=30):
    """Waits until `holds()` gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if found := holds():
                return found
        time.sleep(0.1)
    raise LabError(f"{what}: not within {seconds} s")


class Lab(contextlib.ExitStack):
    """All of it; leaving ends every process by its own id."""

    def __init__(self, binary: pathlib.Path, prometheus: pathlib.Path, folder: pathlib.Path):
        super().__init__()
        emulator_port, self.api_port, self.admin_port, prometheus_port = free_ports(4)
        self.emulator = f"http://127.0.0.1:{emulator_port}"
        self.prometheus = f"http://127.0.0.1:{prometheus_port}"
        self.metrics_url = f"http://127.0.0.1:{self.admin_port}/metrics"
        self.keys = {team: "sk-test-" + secrets.token_hex(16) for team in TEAMS}
        self._folder, self._config = folder, folder / "router.toml"
        self.write_config()
        scrape = folder / "prometheus.yml"
        scrape.write_text(PROMETHEUS.format(rules=files.PROMETHEUS / "rules/*.yml", admin_port=self.admin_port), "utf-8")
        try:
            self._run("emulator", [binary, "emulate", "--listen", f"127.0.0.1:{emulator_port}", "--seed", "7"])
            until("the emulator", lambda: self.call_logs())
            env = {f"KEY_{team.upper()}": key for team, key in self.keys.items()} | {"KEY_UPSTREAM": "any"}
            self._router = self._run("router", [binary, "serve", "--config", self._config], env)
            until("the router", lambda: urllib.request.urlopen(self.metrics_url, timeout=2).status == 200)
            self._run("prometheus", [
                prometheus / "prometheus", f"--config.file={scrape}", f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{prometheus_port}", "--log.level=warn",
            ])
            until("Prometheus", lambda: urllib.request.urlopen(self.prometheus + "/-/ready", timeout=2).status == 200)
        except BaseException:
            self.close()
            raise

    def _run(self, name, command, env=None):
        sink = self.enter_context((self._folder / f"{name}.log").open("wb"))
        child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        self.callback(child.wait)
        self.callback(child.kill)
        return child

    def logs(self) -> str:
        tails = (f"--- {path.name}\n{path.read_text('utf-8', 'replace')[-1500:]}" for path in self._folder.glob("*.log"))
        return "\n".join(tails)

    def write_config(self, aim_ms=2000, more="") -> None:
        text = CONFIG.format(api_port=self.api_port, admin_port=self.admin_port, emulator=self.emulator, aim_ms=aim_ms)
        self._config.write_text(text + more, "utf-8")

    def reload(self) -> None:
        self._router.send_signal(signal.SIGHUP)

    def call_logs(self) -> dict:
        """What each face has received and served; the management API keeps a list of its own."""
        logs = ask(self.emulator + "/_control/calls")
        return {face: logs[face] for face in ("runpod_lb", "runpod_queue", "cerebras")}

    def fault(self, face: str, *rules: dict) -> None:
        ask(self.emulator + "/_control", {"face": face, "rules": list(rules)})

    def query(self, path: str, **params) -> list:
        body = urllib.parse.urlencode(params).encode()
        try:
            with urllib.request.urlopen(f"{self.prometheus}/api/v1/{path}", data=body, timeout=30) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise LabError(json.load(error)["error"]) from None

    def last_scrape(self) -> float:
        """When the newest sample was taken; 0 without one."""
        found = self.query("query", query='timestamp(up{job="llm-router"})')
        return float(found[0]["value"][1]) if found else 0.0

    def after_scrapes(self, count: int) -> float:
        """Waits for so many further scrapes; when the last of them was."""
        for _ in range(count):
            since = self.last_scrape()
            until("a scrape", lambda since=since: self.last_scrape() > since)
        return self.last_scrape()
