"""`llm-router serve --demo` as a process on free ports, and a count of checks."""

import contextlib
import pathlib
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable

START_TIMEOUT_S = 60
KEY, MODEL = "sk-demo", "llama-3.1-8b"  # the demo's own


class CheckFailed(Exception):
    """What did not hold."""


class Report:
    """Prints the checks as they end and counts them."""

    def __init__(self):
        self.passed = self.failed = 0

    def attempt(self, name: str, check: Callable, *args):
        """Runs one check; what it returns is printed beside its name."""
        try:
            said = check(*args)
        # What breaks a check in another way has failed it too, and must not hide the checks after it.
        except Exception as failed:
            self.failed += 1
            kind = "" if isinstance(failed, CheckFailed) else f"{type(failed).__name__}: "
            print(f"FAIL  {name}: {kind}{str(failed).strip()}", flush=True)
            return
        self.passed += 1
        print(f"ok    {name}" + (f": {said}" if said else ""), flush=True)


def expect(condition: object, problem: str) -> None:
    if not condition:
        raise CheckFailed(problem)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_until_ready(child: subprocess.Popen, url: str, log: pathlib.Path) -> None:
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up:
        expect(child.poll() is None, f"ended with {child.returncode}\n{tail(log)}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.05)
    raise CheckFailed(f"{url} does not answer\n{tail(log)}")


def tail(log: pathlib.Path) -> str:
    return log.read_text("utf-8", "replace")[-3000:]


class Demo(contextlib.ExitStack):
    """The demo; leaving ends it by its own id."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path):
        super().__init__()
        listen, admin = free_ports(2)
        self.url, self.admin_url = f"http://127.0.0.1:{listen}", f"http://127.0.0.1:{admin}"
        self.token = secrets.token_hex(16)
        env = {
            "LLM_ROUTER__SERVER__LISTEN": f"127.0.0.1:{listen}",
            "LLM_ROUTER__SERVER__ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "LLM_ROUTER_ADMIN_TOKEN": self.token,
            # For keys in its database.
            "LLM_ROUTER__STORAGE__URL": f"sqlite:{folder}/ledger.db",
        }
        log = folder / "demo.log"
        sink = self.enter_context(log.open("wb"))
        child = subprocess.Popen([binary, "serve", "--demo"], env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        self.callback(child.wait)
        self.callback(child.kill)
        try:
            wait_until_ready(child, f"{self.url}/readyz", log)
        except BaseException:
            self.close()
            raise
