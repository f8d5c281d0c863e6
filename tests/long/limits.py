#!/usr/bin/env python3
"""What ten clients of one key get through in three minutes who ask for twice what it may: calls, and tokens.

    python3 tests/long/limits.py --binary target/release/llm-router

Over three windows, what is let in must be within one percent of the limit plus the burst. Ends with a line of JSON, how many
checks passed and failed; exit code 1 if any failed.
"""

import argparse
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

from kill import CONFIG, KEY, Checks, free_port, until_answers  # noqa: E402

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


class Load:
    """Clients of a key that ask so often a second, all together."""

    def __init__(self, port: int, key: str, rate: float):
        self.port, self.key, self.rate = port, key, rate
        self.admitted = self.refused = self.failed = self.tokens = 0
        self.lock = threading.Lock()
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        body = json.dumps({"model": "llama-3.1-8b", "max_tokens": 60, "messages": [{"role": "user", "content": "word " * 40}]})
        due = time.monotonic()
        while not self.is_over.wait(max(0.0, due - time.monotonic())):
            due += CLIENTS / self.rate
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
    arguments = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        address, port, admin = f"127.0.0.1:{free_port()}", free_port(), free_port()
        config = pathlib.Path(folder, "config.toml")
        keys = KEYS.format(calls=CALLS, burst=BURST, tokens=TOKENS, token_burst=TOKEN_BURST)
        url = f"sqlite:{folder}/ledger.db"
        text = CONFIG.format(port=port, admin=admin, folder=folder, emulator=f"http://{address}", url=url, durability="process")
        config.write_text(text + keys)
        environment = {**os.environ, "CLIENT_KEY": KEY, "KEY_CALLS": "sk-calls", "KEY_TOKENS": "sk-tokens", "UPSTREAM_KEY": "any"}
        emulate = [arguments.binary, "emulate", "--listen", address, "--speed", "20"]
        processes = [subprocess.Popen(emulate, stdout=subprocess.DEVNULL)]
        try:
            until_answers(f"http://{address}/_control", processes[0])
            serve = [arguments.binary, "serve", "--config", config]
            processes.append(subprocess.Popen(serve, env=environment, stdout=subprocess.DEVNULL))
            until_answers(f"http://127.0.0.1:{admin}/readyz", processes[1])
            calls = Load(port, "sk-calls", 2 * CALLS / 60)
            # Each request uses some hundred tokens.
            tokens = Load(port, "sk-tokens", 2 * TOKENS / 60 / 100)
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
