#!/usr/bin/env python3
"""What ten clients of one key get through in three minutes who ask for twice what it may: calls, and tokens.

    python3 tests/long/limits.py --binary target/release/llm-router
    python3 tests/long/limits.py --binary target/release/llm-router --replicas 2

With two replicas, which share the limits through Redis and have one Postgres, each client asks them in turn. Over three windows, what is let in must be within one percent of the limit plus the burst. Ends with a line of JSON, how many
checks passed and failed; exit code 1 if any failed.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/ledger"))

import postgres  # noqa: E402
from kill import CONFIG, KEY, Checks, free_port, until_answers  # noqa: E402
from redis_server import Redis  # noqa: E402

CLIENTS = 10
WINDOWS = 3
CALLS, BURST = 600, 30
TOKENS, TOKEN_BURST = 60_000, 3_000
KEYS = """
[[keys]]
id = "calls"
team = "search"
env = "KEY_CALLS"
limits = {{ concurrent = 1000, requests_per_minute = {calls}, burst = {burst} }}
[[keys]]
id = "tokens"
team = "search"
env = "KEY_TOKENS"
limits = {{ concurrent = 1000, tokens_per_minute = {tokens}, token_burst = {token_burst} }}
"""


SHARED = """
[shared]
url = "{redis}"
replicas = {replicas}
"""


class Load:
    """Clients of a key that ask so often a second, all together; each asks the routers in turn."""

    def __init__(self, ports: list[int], key: str, rate: float):
        self.ports, self.key, self.rate = ports, key, rate
        self.admitted = self.refused = self.failed = self.tokens = 0
        self.lock = threading.Lock()
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for port in self.ports]
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        body = json.dumps({"model": "llama-3.1-8b", "max_tokens": 60, "messages": [{"role": "user", "content": "word " * 40}]})
        due, nth = time.monotonic(), 0
        while not self.is_over.wait(max(0.0, due - time.monotonic())):
            due, nth = due + CLIENTS / self.rate, nth + 1
            connection = connections[nth % len(connections)]
            connection.request("POST", "/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            with self.lock:
                if answer.status == 200:
                    self.admitted += 1
                    self.tokens += json.loads(text)["usage"]["total_tokens"]
                elif answer.status == 429:
                    self.refused += 1
                else:
                    self.failed += 1

    def stop(self) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the router")
    parser.add_argument("--replicas", type=int, default=1, help="routers; several of them share Postgres and Redis")
    arguments = parser.parse_args()
    checks = Checks()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        address, url, shared = f"127.0.0.1:{free_port()}", f"sqlite:{folder}/ledger.db", ""
        environment = {**os.environ, "CLIENT_KEY": KEY, "KEY_CALLS": "sk-calls", "KEY_TOKENS": "sk-tokens", "UPSTREAM_KEY": "any"}
        if arguments.replicas > 1:
            database, redis = stack.enter_context(postgres.Server()), stack.enter_context(Redis())
            url = database.url.replace(postgres.PASSWORD, "${DATABASE_PASSWORD}")
            environment["DATABASE_PASSWORD"] = postgres.PASSWORD
            shared = SHARED.format(redis=redis.url, replicas=arguments.replicas)
        keys = KEYS.format(calls=CALLS, burst=BURST, tokens=TOKENS, token_burst=TOKEN_BURST)
        emulate = [arguments.binary, "emulate", "--listen", address, "--speed", "20"]
        processes, ports = [subprocess.Popen(emulate, stdout=subprocess.DEVNULL)], []
        try:
            until_answers(f"http://{address}/_control", processes[0])
            for nth in range(arguments.replicas):
                port, admin, disk = free_port(), free_port(), pathlib.Path(folder, f"disk-{nth}")
                disk.mkdir()
                text = CONFIG.format(port=port, admin=admin, folder=disk, emulator=f"http://{address}", url=url, durability="process")
                config = disk / "config.toml"
                config.write_text(text + shared + keys)
                serve = [arguments.binary, "serve", "--config", config]
                processes.append(subprocess.Popen(serve, env=environment, stdout=subprocess.DEVNULL))
                until_answers(f"http://127.0.0.1:{admin}/readyz", processes[-1])
                ports.append(port)
            # Replicas learn of each other within a second.
            time.sleep(2)
            calls = Load(ports, "sk-calls", 2 * CALLS / 60)
            # Each request uses some hundred tokens.
            tokens = Load(ports, "sk-tokens", 2 * TOKENS / 60 / 100)
            time.sleep(60 * WINDOWS)
            for load in (calls, tokens):
                load.stop()
            with urllib.request.urlopen(f"http://{address}/_control/calls") as answer:
                logs = json.load(answer)
        finally:
            for process in processes:
                process.terminate()
                process.wait()
    received = sum(logs[face]["received"] for face in ("runpod_lb", "runpod_queue", "cerebras"))
    checks.check(calls.failed + tokens.failed == 0, f"nothing but 200 and 429: {calls.failed + tokens.failed} others")
    checks.check(received == calls.admitted + tokens.admitted, f"what is refused is not called: {received} calls received")
    due = WINDOWS * CALLS + BURST
    checks.check(abs(calls.admitted / due - 1) <= 0.01, f"calls: {calls.admitted} of {due} due, {calls.refused} refused")
    due = WINDOWS * TOKENS + TOKEN_BURST
    checks.check(abs(tokens.tokens / due - 1) <= 0.01, f"tokens: {tokens.tokens} of {due} due, {tokens.refused} requests refused")
    print(json.dumps({"passed": checks.passed, "failed": checks.failed}))
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
