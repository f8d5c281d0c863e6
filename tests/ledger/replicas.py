#!/usr/bin/env python3
"""Two routers behind nginx with one Postgres: each is killed under load with its disk, and the database is stopped for a while.

    python3 tests/ledger/replicas.py --binary target/debug/llm-router --seconds 12 --outage 60

First with durability = "store": one router is killed with SIGKILL, its journals are removed, and another one takes its place;
then the same with the other. What clients saw complete must be on record, once, and the share must hold. Then the database is
stopped and started again under load: with durability = "process" nobody may notice, with "store" answers may fail, and what was
complete must be on record in both.
Ends with a line of JSON, how many checks passed and failed; exit code 1 if any failed.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import postgres
from kill import CONFIG, KEY, Checks, Clients, Postgres, free_port, until_answers

NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream routers {{ {servers} keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://routers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


class Router:
    """One of the replicas, on a disk of its own."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, store: Postgres, emulator: str):
        self.binary, self.folder = binary, folder
        self.port, self.admin = free_port(), free_port()
        self.store, self.emulator = store, emulator
        self.process = None

    def start(self, durability: str) -> None:
        self.folder.mkdir(exist_ok=True)
        password = re.search(r"://[^:/]+:([^@]+)@", self.store.url).group(1)
        url = self.store.url.replace(password, "${DATABASE_PASSWORD}")
        config = self.folder / "config.toml"
        config.write_text(CONFIG.format(port=self.port, admin=self.admin, folder=self.folder, emulator=self.emulator,
                                        url=url, durability=durability))
        environment = {**os.environ, "CLIENT_KEY": KEY, "UPSTREAM_KEY": "any", "DATABASE_PASSWORD": password}
        self.process = subprocess.Popen([self.binary, "serve", "--config", config], env=environment, stdout=subprocess.DEVNULL)
        until_answers(f"http://127.0.0.1:{self.admin}/readyz", self.process)

    def kill(self) -> None:
        """With its disk."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=90)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}"))


def on_record(checks: Checks, store: Postgres, complete: list[str]) -> None:
    rows = store.column("SELECT request_id FROM requests WHERE outcome = 'served'")
    missing = set(complete) - set(rows)
    checks.check(not missing, f"every answer that a client saw complete is on record: {len(missing)} of {len(complete)} are not")
    checks.check(len(rows) == len(set(rows)), f"no request is recorded twice: {len(rows) - len(set(rows))} are")


def lose_each(arguments, checks: Checks, routers: list[Router], balancer: int, store: Postgres) -> None:
    for router in routers:
        router.start("store")
    clients = Clients(balancer, "lost")
    pause = arguments.seconds / 5
    for router in routers:
        time.sleep(pause)
        router.kill()
        time.sleep(pause)
        router.start("store")
    time.sleep(pause)
    complete = clients.stop()
    codes = [router.stop() for router in routers]
    checks.check(len(complete) > 20 * arguments.seconds, f"there was a load: {len(complete)} complete")
    checks.check(codes == [0, 0], f"the last two ended in order: {codes}")
    on_record(checks, store, complete)
    served = "SELECT count(*) FROM attempts WHERE outcome = 'served'"
    all_of_them, runpod = (int(store.column(query)[0]) for query in (served, served + " AND upstream = 'runpod'"))
    share = runpod / all_of_them
    checks.check(abs(share - 0.8) <= 0.02, f"RunPod served {100 * share:.1f} % of {all_of_them}, where 80 % are due")


def stop_database(
    arguments, checks: Checks, routers: list[Router], balancer: int, server: postgres.Server, store: Postgres, durability: str
) -> None:
    for router in routers:
        router.start(durability)
    before = timed(balancer, f"before-{durability}", arguments.seconds / 2)
    server.stop()
    meanwhile = timed(balancer, f"meanwhile-{durability}", arguments.outage)
    backlog = sum(router.metric("llmrouter_ledger_backlog_bytes") for router in routers)
    server.start()
    since = time.monotonic()
    while any(router.metric("llmrouter_ledger_backlog_bytes") > 0 for router in routers) and time.monotonic() < since + 60:
        time.sleep(0.1)
    caught_up = time.monotonic() - since
    codes = [router.stop() for router in routers]
    checks.check(codes == [0, 0], f"both ended in order: {codes}")
    checks.check(backlog > 0, f"the journals grew: {backlog:.0f} bytes")
    failed = f"{meanwhile.failed} of {meanwhile.all} failed in {arguments.outage:g} s without the database"
    if durability == "process":
        checks.check(meanwhile.failed == 0, f"nobody notices: {failed}")
    else:
        checks.check(meanwhile.complete == [], f"no answer is complete that is not in the database: {failed}")
    print(f"p99 {1000 * before.p99:.0f} ms before, {1000 * meanwhile.p99:.0f} ms without the database; "
          f"caught up {caught_up:.1f} s after its start")
    on_record(checks, store, before.complete + meanwhile.complete)


class timed:
    """What came of some seconds of load."""

    def __init__(self, port: int, name: str, seconds: float):
        clients = Clients(port, name)
        time.sleep(seconds)
        self.complete = clients.stop()
        self.failed, self.all = clients.failed, clients.failed + len(self.complete)
        self.p99 = statistics.quantiles(clients.durations or [0.0, 0.0], n=100)[98]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the router")
    parser.add_argument("--seconds", type=float, default=8, help="of load, in which each is lost once")
    parser.add_argument("--outage", type=float, default=5, help="seconds without the database")
    arguments = parser.parse_args()
    arguments.binary = arguments.binary.resolve()
    checks = Checks()
    with tempfile.TemporaryDirectory() as name, postgres.Server() as server:
        folder, store = pathlib.Path(name), Postgres(server)
        address, balancer = f"127.0.0.1:{free_port()}", free_port()
        routers = [Router(arguments.binary, folder / f"disk-{nth}", store, f"http://{address}") for nth in (1, 2)]
        servers = " ".join(f"server 127.0.0.1:{router.port} max_fails=1 fail_timeout=1s;" for router in routers)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, servers=servers, port=balancer))
        processes = []
        try:
            emulate = [arguments.binary, "emulate", "--listen", address, "--speed", "20"]
            processes.append(subprocess.Popen(emulate, stdout=subprocess.DEVNULL))
            until_answers(f"http://{address}/_control", processes[0])
            processes.append(subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-p", folder]))
            lose_each(arguments, checks, routers, balancer, store)
            for durability in ("process", "store"):
                stop_database(arguments, checks, routers, balancer, server, store, durability)
        finally:
            processes += [router.process for router in routers if router.process and router.process.poll() is None]
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
    print(json.dumps({"passed": checks.passed, "failed": checks.failed}))
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
