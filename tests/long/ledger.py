#!/usr/bin/env python3
"""One router on SQLite: budgets that many requests run against at once, and a start with a million rows.

    python3 tests/long/ledger.py --binary target/release/llm-router --times 50 --rows 1000000

A thousand requests at once against a budget that pays for a hundred of the most expensive, again and again, each time with another
key: none may be passed, and each must be used. Then the ledger is filled with copies of its rows, and with copies of its sums for each
hour of thirty days, and the router is started once more.
Ends with a line of JSON, how many checks passed and failed; exit code 1 if any failed.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/ledger"))

from kill import CONFIG, KEY, Checks, free_port, until_answers  # noqa: E402
from shared import AT_ONCE, BUDGET_KEY, ask  # noqa: E402

LIMIT_USD = "0.0016"
MOST_START_S = 2.0
HOURS = 30 * 24


class Router:
    def __init__(self, arguments, folder: pathlib.Path, emulator: str):
        self.arguments, self.folder, self.database = arguments, folder, folder / "ledger.db"
        self.port, self.admin = free_port(), free_port()
        config = CONFIG.replace('level = "warn"', 'level = "error"').format(port=self.port, admin=self.admin, folder=folder, emulator=emulator,
                               url=f"sqlite:{self.database}", durability="process")
        self.environment = {**os.environ, "CLIENT_KEY": KEY, "UPSTREAM_KEY": "any"}
        for number in range(arguments.times):
            config += BUDGET_KEY.format(number=number, limit=LIMIT_USD)
            self.environment[f"KEY_PAID_{number}"] = f"sk-paid-{number}"
        (folder / "config.toml").write_text(config)

    @contextlib.contextmanager
    def running(self):
        """Runs it; gives the seconds until it was ready."""
        command, since = [self.arguments.binary, "serve", "--config", self.folder / "config.toml"], time.monotonic()
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL)
        try:
            until_answers(f"http://127.0.0.1:{self.admin}/readyz", process)
            yield time.monotonic() - since
        finally:
            process.terminate()
            process.wait()

    def query(self, sql: str, *parameters) -> int:
        with contextlib.closing(sqlite3.connect(self.database)) as connection, connection:
            rows = connection.execute(sql, parameters).fetchall()
        return rows[0][0] if rows else 0


def against_budgets(checks: Checks, router: Router, times: int) -> None:
    served, others = [], set()
    for number in range(times):
        with concurrent.futures.ThreadPoolExecutor(250) as pool:
            statuses = list(pool.map(lambda _: ask(router.port, f"sk-paid-{number}"), range(AT_ONCE)))
        served.append(statuses.count(200))
        others |= set(statuses) - {200, 429}
    checks.check(not others, f"{times} times {AT_ONCE} requests at once have 200 or 429: {others or 'nothing else'}")
    checks.check(min(served) >= 50, f"each budget was used: {min(served)} to {max(served)} requests were served")


def spent(checks: Checks, router: Router, times: int) -> None:
    limit = round(float(LIMIT_USD) * 1e9)
    most = router.query("SELECT max(spent) FROM (SELECT sum(cost_nano_usd) AS spent FROM attempts WHERE key LIKE 'paid-%' GROUP BY key)")
    keys = router.query("SELECT count(DISTINCT key) FROM attempts WHERE key LIKE 'paid-%'")
    checks.check(keys == times and most <= limit, f"none of {keys} passed its budget of ${LIMIT_USD}: at most ${most / 1e9}")


def fill(router: Router, rows: int) -> None:
    """Copies the rows until there are so many calls, under the numbers of other processes, and the sums to the hours before."""
    there = router.query("SELECT count(*) FROM attempts")
    copies = -(-rows // there)
    for table in ("attempts", "requests"):
        copy(router, table, "writer", "nth", copies)
    for table in ("attempt_hours", "request_hours"):
        copy(router, table, "hour", "hour - nth", HOURS)


def copy(router: Router, table: str, column: str, value: str, times: int) -> None:
    """Copies the rows of a table so many times, each time with another value in a column."""
    with contextlib.closing(sqlite3.connect(router.database)) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(value if name == column else name for name in columns)
    router.query(
        f"""WITH RECURSIVE copies(nth) AS (SELECT 1 UNION ALL SELECT nth + 1 FROM copies WHERE nth < ?1)
        INSERT OR IGNORE INTO {table} SELECT {values} FROM {table}, copies""",
        times,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the router")
    parser.add_argument("--times", type=int, default=50, help="budgets that are run against")
    parser.add_argument("--rows", type=int, default=1_000_000, help="calls on record at the last start")
    arguments = parser.parse_args()
    arguments.binary = arguments.binary.resolve()
    checks = Checks()
    with tempfile.TemporaryDirectory() as name:
        address = f"127.0.0.1:{free_port()}"
        router = Router(arguments, pathlib.Path(name), f"http://{address}")
        emulator = subprocess.Popen([arguments.binary, "emulate", "--listen", address, "--speed", "20"], stdout=subprocess.DEVNULL)
        try:
            until_answers(f"http://{address}/_control", emulator)
            with router.running():
                against_budgets(checks, router, arguments.times)
            spent(checks, router, arguments.times)
            fill(router, arguments.rows)
            there = router.query("SELECT count(*) FROM attempts")
            starts_s = []
            for _ in range(3):
                with router.running() as start_s:
                    starts_s.append(start_s)
                    status = ask(router.port, KEY)
            took = ", ".join(f"{start_s:.2f}" for start_s in starts_s)
            checks.check(min(starts_s) <= MOST_START_S, f"ready after {took} s with {there} calls on record, at most {MOST_START_S} s")
            checks.check(status == 200, f"and it serves: {status}")
        finally:
            emulator.terminate()
            emulator.wait()
    print(json.dumps({"passed": checks.passed, "failed": checks.failed}))
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
