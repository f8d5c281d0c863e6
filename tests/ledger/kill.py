#!/usr/bin/env python3
"""Kills a router under load, again and again, and looks for what clients saw complete in its ledger.

    python3 tests/ledger/kill.py --binary target/debug/llm-router --kills 20
    python3 tests/ledger/kill.py --store postgres --kills 20            # in a Postgres server that it starts
    python3 tests/ledger/kill.py --store postgres --lose-disk           # durability = "store"

Each round starts the router on the same ledger, sends some 200 requests a second, half of them streams, and kills it with
SIGKILL at a random moment. At the end the router is started and stopped once more. Then every request that a client saw
complete must be in the ledger exactly once, every call that the emulated providers received must have its row, and the
database must be whole. With --lose-disk the journals are removed after each kill, as if the machine's disk were gone with it: what
was complete must be on record nevertheless. Ends with a line of JSON, how many checks passed and failed; exit code 1 if any failed.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import postgres

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = "sk-kill-test"
CLIENTS = 20
REQUESTS_PER_SECOND = 200

CONFIG = """
[server]
listen = "127.0.0.1:{port}"
admin_listen = "127.0.0.1:{admin}"
grace_s = 0
[log]
level = "warn"
access = "off"
[storage]
url = "{url}"
journal_folder = "{folder}/journals"
durability = "{durability}"
[[keys]]
id = "app"
team = "search"
env = "CLIENT_KEY"
limits = {{ concurrent = 1000 }}
[[upstreams]]
id = "runpod"
provider = "runpod"
endpoint_type = "load_balancer"
base_url = "{emulator}/lb/v1"
capacity_url = "{emulator}/lb/workers"
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
cost = {{ kind = "tokens", input_usd_per_million = "0.02", output_usd_per_million = "0.02" }}
[[upstreams]]
id = "cerebras"
provider = "cerebras"
base_url = "{emulator}/cerebras/v1"
api_key_env = "UPSTREAM_KEY"
model = "llama3.1-8b"
cost = {{ kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }}
[[models]]
name = "llama-3.1-8b"
strategy = "balanced"
targets = [{{ upstream = "runpod", share = 0.8 }}, {{ upstream = "cerebras", share = 0.2 }}]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until_answers(url: str, process: subprocess.Popen) -> None:
    for _ in range(3000):
        if process.poll() is not None:
            sys.exit(f"it ended with {process.returncode} instead of answering at {url}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.01)
    sys.exit(f"nothing answers at {url}")


class Sqlite:
    """The ledger's tables in a file."""

    def __init__(self, folder: pathlib.Path):
        self.path = folder / "ledger.db"
        self.url = f"sqlite:{self.path}"

    def column(self, query: str) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return [str(row[0]) for row in connection.execute(query)]

    def is_whole(self) -> bool:
        return self.column("PRAGMA integrity_check") == ["ok"]


class Postgres:
    """The same in a server."""

    def __init__(self, server: postgres.Server):
        self.url = server.url

    def column(self, query: str) -> list[str]:
        command = ["psql", self.url, "-At", "-c", query]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    def is_whole(self) -> bool:
        return self.column("SELECT version FROM llm_router_ledger") != []


class Clients:
    """Sends requests until it is stopped, and remembers the ids of those whose answers came whole."""

    def __init__(self, port: int, name: str):
        self.port, self.name = port, name
        self.complete: list[str] = []
        self.durations: list[float] = []
        self.failed = 0
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, number: int) -> None:
        pause, sent = CLIENTS / REQUESTS_PER_SECOND, 0
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        due = time.monotonic() + pause * number / CLIENTS
        while not self.is_over.wait(max(0.0, due - time.monotonic())):
            due, sent = max(due + pause, time.monotonic()), sent + 1
            identity, is_stream = f"{self.name}-{number}-{sent}", sent % 2 == 0
            body = {"model": "llama-3.1-8b", "max_tokens": 8, "stream": is_stream}
            body["messages"] = [{"role": "user", "content": "word " * (1 + sent % 7)}]
            headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "x-request-id": identity}
            begun = time.monotonic()
            try:
                connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self.failed += 1
                continue
            if answer.status == 200 and (b"data: [DONE]" in text if is_stream else text.endswith(b"}")):
                self.complete.append(identity)
                self.durations.append(time.monotonic() - begun)
            else:
                self.failed += 1

    def stop(self) -> list[str]:
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        return self.complete


class Checks:
    def __init__(self) -> None:
        self.passed = self.failed = 0

    def check(self, is_met: bool, what: str) -> None:
        self.passed, self.failed = self.passed + is_met, self.failed + (not is_met)
        print(f"{'ok   ' if is_met else 'FAILED'} {what}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/debug/llm-router", help="the router to kill")
    parser.add_argument("--kills", type=int, default=20, help="how often")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite", help="where the ledger is")
    parser.add_argument("--lose-disk", action="store_true", help="remove the journals after each kill; for postgres")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which it is killed")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    environment = {**os.environ, "CLIENT_KEY": KEY, "UPSTREAM_KEY": "any"}
    with tempfile.TemporaryDirectory() as folder:
        address = f"127.0.0.1:{free_port()}"
        emulate = [arguments.binary, "emulate", "--listen", address, "--speed", "20"]
        emulator = subprocess.Popen(emulate, stdout=subprocess.DEVNULL)
        try:
            until_answers(f"http://{address}/_control", emulator)
            if arguments.store == "sqlite":
                return kill(arguments, chance, environment, Sqlite(pathlib.Path(folder)), folder, f"http://{address}")
            with postgres.Server() as server:
                return kill(arguments, chance, environment, Postgres(server), folder, f"http://{address}")
        finally:
            emulator.kill()
            emulator.wait()


def kill(arguments, chance: random.Random, environment: dict, store: Sqlite | Postgres, folder: str, emulator: str) -> int:
    port, admin = free_port(), free_port()
    config, journals = pathlib.Path(folder, "config.toml"), pathlib.Path(folder, "journals")
    # The password goes the way that passwords go.
    url = re.sub(r"(://[^:/]+:)([^@]+)@", r"\1${DATABASE_PASSWORD}@", store.url)
    password = re.search(r"://[^:/]+:([^@]+)@", store.url)
    environment = {**environment, "DATABASE_PASSWORD": password.group(1) if password else ""}
    durability = "store" if arguments.lose_disk else "process"
    config.write_text(CONFIG.format(port=port, admin=admin, folder=folder, emulator=emulator, url=url, durability=durability))
    serve = [arguments.binary, "serve", "--config", config]

    def start() -> subprocess.Popen:
        router = subprocess.Popen(serve, env=environment, stdout=subprocess.DEVNULL)
        until_answers(f"http://127.0.0.1:{admin}/readyz", router)
        return router

    complete: list[str] = []
    for number in range(arguments.kills):
        router = start()
        clients = Clients(port, f"kill-{number}")
        time.sleep(chance.uniform(0.2, 1.2))
        router.send_signal(signal.SIGKILL)
        router.wait()
        complete += clients.stop()
        if arguments.lose_disk:
            shutil.rmtree(journals)
    router = start()
    router.send_signal(signal.SIGTERM)
    code = router.wait(timeout=60)

    with urllib.request.urlopen(f"{emulator}/_control/calls") as answer:
        calls = json.load(answer)
    received = sum(calls[face]["received"] for face in ("runpod_lb", "runpod_queue", "cerebras"))
    figure = lambda query: int(store.column(query)[0])
    rows = store.column("SELECT request_id FROM requests WHERE outcome = 'served'")
    missing, twice = set(complete) - set(rows), len(rows) - len(set(rows))
    attempts, unknown = figure("SELECT count(*) FROM attempts"), figure("SELECT count(*) FROM attempts WHERE outcome = 'unknown'")
    print(f"{arguments.kills} kills: {len(complete)} complete at the clients, {len(rows)} served in the ledger; "
          f"{received} calls received, {attempts} rows of calls, {unknown} of them unknown")
    checks = Checks()
    checks.check(len(complete) > 20 * arguments.kills, "there was a load")
    checks.check(code == 0, "the last router ended in order")
    checks.check(not missing, f"every answer that a client saw complete is on record: {len(missing)} are not {sorted(missing)[:3]}")
    checks.check(twice == 0, f"no request is recorded twice: {twice} are")
    again = figure("SELECT count(*) FROM (SELECT 1 FROM attempts GROUP BY writer, number, attempt HAVING count(*) > 1) AS twice")
    checks.check(again == 0, f"no call is recorded twice: {again} are")
    if not arguments.lose_disk:
        checks.check(attempts >= received, "every call that a provider received has its row")
        checks.check(unknown > 0, "calls that were under way at a kill are recorded as unknown")
    for rows, sums in (
        ("SELECT count(*), coalesce(sum(cost_nano_usd), 0) FROM attempts", "SELECT sum(calls), sum(cost_nano_usd) FROM attempt_hours"),
        ("SELECT count(*), 0 FROM requests", "SELECT sum(requests), 0 FROM request_hours WHERE policy = ''"),
    ):
        # Both stores know this form.
        said = [store.column(f"WITH figures (a, b) AS ({query}) SELECT a || ' ' || b FROM figures") for query in (rows, sums)]
        checks.check(said[0] == said[1], f"sums by hour are those of the rows: {said[1]}, {said[0]}")
    checks.check(figure("SELECT count(*) FROM attempts WHERE outcome = 'unknown' AND cost_nano_usd IS NULL") == 0,
                 "and count as what was reserved for them")
    checks.check(store.is_whole(), "the database is whole")
    left = sorted(path.name for path in journals.iterdir())
    checks.check(not left, f"no journal is left: {left}")
    print(json.dumps({"passed": checks.passed, "failed": checks.failed}))
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
