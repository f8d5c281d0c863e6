#!/usr/bin/env python3
"""Two routers with one Postgres and one Redis: what they let through together, and what happens while Redis is away.

    python3 tests/ledger/shared.py --binary target/debug/llm-router --times 3 --outage 5

A thousand requests at once, half of them to each router, against a budget that pays for a hundred; clients that ask both for twice
what a limit allows; a replica that is killed while it holds a part of a budget; Redis stopped, started without its data, flushed,
and slow by two seconds, then both Redis and Postgres slow, with a load of requests that have limits and budgets.
Ends with a line of JSON, how many checks passed and failed; exit code 1 if any failed.
"""

import argparse
import asyncio
import concurrent.futures
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import postgres
from kill import CONFIG, KEY, Checks, Postgres, free_port, until_answers
from redis_server import Redis
from replicas import on_record, timed

AT_ONCE = 1000
# A request reserves its answer's 100 tokens and its prompt, at $0.10 a million tokens on the dearer upstream.
PROMPT = "word " * 40
MAX_TOKENS = 100
RATE, BURST = 1200, 60
SLOW_S = 2.0

SHARED = """
[shared]
url = "{redis}"
replicas = 2
[[teams]]
id = "rated"
limits = {{ requests_per_minute = {rate}, burst = {burst} }}
[[keys]]
id = "rated"
team = "rated"
env = "KEY_RATED"
limits = {{ concurrent = 1000 }}
[[teams]]
id = "search"
limits = {{ requests_per_minute = 1000000, tokens_per_minute = 900000000 }}
budgets = [{{ usd = "1000", per = "day" }}]
"""

# Workers that are billed by the second, counted each second.
BY_SECONDS = """capacity_poll_s = 1
cost = { kind = "gpu_seconds", usd_per_second = "0.00019", list_usd_per_million = "0.02" }"""

BUDGET_KEY = """
[[keys]]
id = "paid-{number}"
team = "paid"
env = "KEY_PAID_{number}"
limits = {{ concurrent = 2000 }}
budgets = [{{ usd = "{limit}", per = "month" }}]
"""


class SlowLine:
    """Relays connections to a port, each answer late by some seconds."""

    def __init__(self, target: int):
        self.target, self.delay, self.port = target, 0.0, free_port()
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(started,), daemon=True)
        self.thread.start()
        started.wait()

    def run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(asyncio.start_server(self.accept, "127.0.0.1", self.port))
        started.set()
        self.loop.run_forever()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.copy(reader, up_writer, False), self.copy(up_reader, writer, True))

    async def copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_answer: bool) -> None:
        try:
            while data := await reader.read(65536):
                if is_answer and self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)


class Router:
    def __init__(self, arguments, folder: pathlib.Path, emulator: str, redis: str, store: str):
        self.arguments, self.folder, self.emulator, self.redis, self.store = arguments, folder, emulator, redis, store
        self.port, self.admin = free_port(), free_port()
        self.process = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        config = CONFIG.format(port=self.port, admin=self.admin, folder=self.folder, emulator=self.emulator,
                               url=self.store.replace(postgres.PASSWORD, "${DATABASE_PASSWORD}"), durability="process")
        by_tokens = 'cost = { kind = "tokens", input_usd_per_million = "0.02", output_usd_per_million = "0.02" }'
        config = config.replace(by_tokens, BY_SECONDS)
        config += SHARED.format(redis=self.redis, rate=RATE, burst=BURST)
        environment = {**os.environ, "CLIENT_KEY": KEY, "KEY_RATED": "sk-rated", "UPSTREAM_KEY": "any",
                       "DATABASE_PASSWORD": postgres.PASSWORD}
        for number in range(self.arguments.times + 1):
            config += BUDGET_KEY.format(number=number, limit=self.arguments.limit)
            environment[f"KEY_PAID_{number}"] = f"sk-paid-{number}"
        path = self.folder / "config.toml"
        path.write_text(config)
        command = [self.arguments.binary, "serve", "--config", path]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        until_answers(f"http://127.0.0.1:{self.admin}/readyz", self.process)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def ask(port: int, key: str) -> int:
    """The status of one request; -1 if it had no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = {"model": "llama-3.1-8b", "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return -1
    finally:
        connection.close()


def until(what: str, is_so, seconds: float = 30) -> None:
    since = time.monotonic()
    while not is_so():
        if time.monotonic() > since + seconds:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def spent_nano_usd(store: Postgres, key: str) -> int:
    """What the ledger has of a key, once nothing is missing any more."""
    query = f"SELECT coalesce(sum(cost_nano_usd), 0)::bigint FROM attempts WHERE key = '{key}'"
    last = -1
    while (now := int(store.column(query)[0])) != last:
        last = now
        time.sleep(0.5)
    return now


def against_budget(arguments, checks: Checks, routers: list[Router], store: Postgres) -> None:
    over, fewest, unknown = 0, AT_ONCE, 0
    limit = round(float(arguments.limit) * 1e9)
    for number in range(arguments.times):
        key = f"sk-paid-{number}"
        with concurrent.futures.ThreadPoolExecutor(250) as pool:
            statuses = list(pool.map(lambda nth: ask(routers[nth % 2].port, key), range(AT_ONCE)))
        served = statuses.count(200)
        # Where Redis has no answer in half a second, as on a machine with much else to do, nobody knows whether there is room.
        unknown += statuses.count(503)
        others = {status for status in statuses} - {200, 429, 503}
        spent = spent_nano_usd(store, f"paid-{number}")
        over = max(over, spent - limit)
        fewest = min(fewest, served)
        if others or spent > limit:
            checks.check(False, f"a budget of ${arguments.limit}: {served} served, ${spent / 1e9} spent, other answers {others}")
    checks.check(over <= 0, f"{arguments.times} times {AT_ONCE} requests at once: none passed its budget of ${arguments.limit}, "
                            f"at least {fewest} were served, {unknown} had no answer in time")
    checks.check(fewest >= 50, f"and each budget was used: at least {fewest} requests were served")


def against_limit(arguments, checks: Checks, routers: list[Router]) -> None:
    """Ten clients ask both routers for twice what their team may."""
    stop, lock, statuses = threading.Event(), threading.Lock(), []

    def client(number: int) -> None:
        due, nth = time.monotonic(), number
        while not stop.wait(max(0.0, due - time.monotonic())):
            due, nth = due + 10 / (2 * RATE / 60), nth + 1
            status = ask(routers[nth % 2].port, "sk-rated")
            with lock:
                statuses.append(status)

    begin = time.monotonic()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    time.sleep(arguments.seconds)
    took = time.monotonic() - begin
    stop.set()
    for thread in threads:
        thread.join()
    admitted, due = statuses.count(200), RATE / 60 * took + BURST
    checks.check(set(statuses) <= {200, 429}, f"nothing but 200 and 429: {set(statuses)}")
    # Of a short time, one second's worth may still be under way.
    checks.check(abs(admitted - due) <= 0.01 * due + RATE / 60, f"calls of both: {admitted} of {due:.0f} due in {took:.0f} s")


class Workers:
    """Worker seconds since now: as the emulator bills them, and as both routers count them together."""

    def __init__(self, routers: list[Router], emulator: str):
        self.routers, self.emulator = routers, emulator
        self.before = self.read()

    def read(self) -> tuple[float, float]:
        with urllib.request.urlopen(f"{self.emulator}/_control/calls") as answer:
            billed = json.load(answer)["runpod_lb"]["worker_seconds"]
        return billed, sum(router.metric("llmrouter_gpu_seconds_total") for router in self.routers)

    def since(self) -> tuple[float, float]:
        return tuple(now - before for now, before in zip(self.read(), self.before, strict=True))


def worker_time(checks: Checks, routers: list[Router], emulator: str) -> None:
    workers = Workers(routers, emulator)
    time.sleep(10)
    billed, counted = workers.since()
    # Counted is up to the last poll, a second or two ago; by both replicas it would be twice as much.
    checks.check(abs(counted - billed) <= 0.4 * billed, f"worker seconds are counted once: {counted:.1f} of {billed:.1f} billed")


def lose_replica(arguments, checks: Checks, routers: list[Router], store: Postgres) -> None:
    """One is killed while it holds a part of a budget: the other one uses what is left, and after two minutes that part as well."""
    key, name = f"sk-paid-{arguments.times}", f"paid-{arguments.times}"
    for _ in range(20):
        ask(routers[0].port, key)
    routers[0].process.send_signal(signal.SIGKILL)
    routers[0].process.wait()
    until("the other one leads alone", lambda: routers[1].metric("llmrouter_shared_replicas") == 1)
    routers[0].start()
    until("both are there", lambda: routers[1].metric("llmrouter_shared_replicas") == 2)
    refused, since = 0, time.monotonic()
    # What the dead one held counts as held for a good minute, then as spent until the ledger is asked, each minute.
    while time.monotonic() < since + arguments.patience and (refused < 3 or arguments.patience > 60):
        if ask(routers[1].port, key) == 429:
            refused += 1
            time.sleep(1)
    spent, limit = spent_nano_usd(store, name), round(float(arguments.limit) * 1e9)
    checks.check(0.9 * limit <= spent <= limit, f"after a kill the budget is used and not passed: ${spent / 1e9} of ${limit / 1e9}")


def servers_away(arguments, checks: Checks, routers: list[Router], balancer: "Turns", redis: Redis, store: Postgres,
                 lines: list[SlowLine]) -> None:
    to_redis, to_store = lines
    before = balancer.timed("before", arguments.outage)
    redis.stop()
    stopped = balancer.timed("stopped", arguments.outage)
    checks.check(stopped.failed == 0, f"Redis stopped: {stopped.failed} of {stopped.all} failed")
    is_up = [router.metric("llmrouter_shared_up") for router in routers]
    checks.check(is_up == [0, 0], f"and both say so: {is_up}")
    redis.start()
    until("both share again", lambda: all(router.metric("llmrouter_shared_up") == 1 for router in routers))
    restarted = balancer.timed("restarted", arguments.outage)
    checks.check(restarted.failed == 0, f"Redis started without its data: {restarted.failed} of {restarted.all} failed")
    flushing = threading.Timer(arguments.outage / 2, lambda: redis.ask("FLUSHALL"))
    flushing.start()
    flushed = balancer.timed("flushed", arguments.outage)
    flushing.join()
    checks.check(flushed.failed == 0, f"Redis flushed under load: {flushed.failed} of {flushed.all} failed")
    to_redis.delay = SLOW_S
    slow = balancer.timed("slow", arguments.outage)
    checks.check(slow.failed == 0, f"Redis slow by 2 s: {slow.failed} of {slow.all} failed")
    to_store.delay = SLOW_S
    both = balancer.timed("both", arguments.outage)
    to_redis.delay = to_store.delay = 0.0
    checks.check(both.failed == 0, f"Redis and Postgres slow by 2 s: {both.failed} of {both.all} failed")
    until("both share again", lambda: all(router.metric("llmrouter_shared_up") == 1 for router in routers))
    until("all is stored", lambda: all(router.metric("llmrouter_ledger_backlog_bytes") == 0 for router in routers))
    loads = {"before": before, "stopped": stopped, "restarted": restarted, "flushed": flushed, "slow": slow, "both slow": both}
    on_record(checks, store, [request for load in loads.values() for request in load.complete])
    p99 = {name: load.p99 for name, load in loads.items()}
    print("p99 in ms: " + ", ".join(f"{name} {1000 * seconds:.0f}" for name, seconds in p99.items()))


class Turns:
    """Loads of both routers at once."""

    def __init__(self, routers: list[Router]):
        self.routers = routers

    def timed(self, name: str, seconds: float) -> timed:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            one, other = pool.map(lambda nth: timed(self.routers[nth].port, f"{name}-{nth}", seconds), range(2))
        one.complete, one.failed, one.all = one.complete + other.complete, one.failed + other.failed, one.all + other.all
        one.p99 = max(one.p99, other.p99)
        return one


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the router")
    parser.add_argument("--times", type=int, default=3, help="how often a budget is run against")
    parser.add_argument("--seconds", type=float, default=20, help="of asking for more than a limit")
    parser.add_argument("--outage", type=float, default=5, help="seconds of each thing that happens to the servers")
    parser.add_argument("--patience", type=float, default=60, help="seconds in which another replica uses what is left of a dead one's budget; "
                        "beyond 60 it asks until then, also for what the dead one held")
    parser.add_argument("--limit", default="0.0016", help="of the budgets, in US dollars: a hundred requests")
    arguments = parser.parse_args()
    arguments.binary = arguments.binary.resolve()
    checks = Checks()
    with tempfile.TemporaryDirectory() as name, postgres.Server() as server, Redis() as redis:
        folder, store, lines = pathlib.Path(name), Postgres(server), [SlowLine(redis.port), SlowLine(server.port)]
        address = f"127.0.0.1:{free_port()}"
        urls = f"redis://127.0.0.1:{lines[0].port}", server.url.replace(f":{server.port}/", f":{lines[1].port}/")
        routers = [Router(arguments, folder / f"disk-{nth}", f"http://{address}", *urls) for nth in (1, 2)]
        emulator = subprocess.Popen([arguments.binary, "emulate", "--listen", address, "--speed", "20"], stdout=subprocess.DEVNULL)
        try:
            until_answers(f"http://{address}/_control", emulator)
            for router in routers:
                router.start()
            until("they know each other", lambda: all(router.metric("llmrouter_shared_replicas") == 2 for router in routers))
            # More of a budget is granted once both have reported, which they do each second.
            time.sleep(3)
            against_budget(arguments, checks, routers, store)
            against_limit(arguments, checks, routers)
            worker_time(checks, routers, f"http://{address}")
            servers_away(arguments, checks, routers, Turns(routers), redis, store, lines)
            lose_replica(arguments, checks, routers, store)
        finally:
            processes = [emulator] + [router.process for router in routers if router.process]
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
            for line in lines:
                line.close()
    print(json.dumps({"passed": checks.passed, "failed": checks.failed}))
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
