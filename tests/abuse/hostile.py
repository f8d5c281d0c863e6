"""A stranger with a key, or without one, against a router that may use 1 GiB, beside a client that behaves.

    hostile.py --binary PATH [--seconds N] [--wrong-keys-seconds N]

One abuse after the other, each for N seconds: wrong keys, bodies that are dear to read, bodies that never end, readers that
stop, junk, storms of connections, a key that asks without end. All along a good client asks 20 times a second: it may see no
error and no answer later than a second. The router's memory stays below 256 MiB. Prints a line for each check, a table of
figures and, last, {"passed": N, "failed": N} as JSON.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import resource
import socket
import sys
import time

import lab
from lab import KEYS, Connection, Good, Lab, Report, chat, ms, once, post, quantile

PEAK_MB = 256
WRONG_KEYS_A_SECOND = 1000


async def repeat(seconds: float, at_once: int, act) -> dict[str, int]:
    """Runs `act` over and over, so many at a time; counts what it gives."""
    counts: dict[str, int] = {}
    end = time.monotonic() + seconds

    async def again() -> None:
        while time.monotonic() < end:
            try:
                what = str(await asyncio.wait_for(act(), 60))
            except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
                what = type(error).__name__
            counts[what] = counts.get(what, 0) + 1

    await asyncio.gather(*(again() for _ in range(at_once)))
    return counts


def sending(it: Lab, request: bytes):
    async def act() -> int:
        return (await once(it.public, request))[0]

    return act


def twice(members: int) -> bytes:
    return post("/v1/chat/completions", b'{"model":"cerebras","messages":[{"role":"user","content":"x"}]' + b',"x":0' * members + b"}", KEYS["flood"])


def distinct(members: int) -> bytes:
    fields = "".join(f',"k{number}":0' for number in range(members))
    return post("/v1/chat/completions", f'{{"model":"cerebras","messages":[{{"role":"user","content":"x"}}]{fields}}}'.encode(), KEYS["flood"])


def dear_bodies() -> dict[str, bytes]:
    eight = 8_000_000
    flood = KEYS["flood"]
    message = {"role": "user", "content": "x"}
    nested = b'{"model":"llama","messages":[{"role":"user","content":' + b"[" * 100_000
    return {
        "a member 16,000 times": twice(16_000),
        "60,000 unknown members": distinct(60_000),
        "a batch of ones": post("/v1/generate/batch", b'{"prompts":[' + b"1," * (eight // 2) + b"1]}", flood),
        "a million small objects": post("/v1/generate", b'{"prompt":[' + b"{}," * 1_000_000 + b"{}]}", flood),
        "a prompt of 8 MB": chat(flood, "x" * eight),
        "10,000 messages": post("/v1/chat/completions", json.dumps({"model": "llama", "messages": [message] * 10_000}).encode(), flood),
        "an array of prompts": post("/v1/completions", json.dumps({"model": "llama", "prompt": ["x"] * 1_000_000}).encode(), flood),
        "100,000 brackets": post("/v1/chat/completions", nested, flood),
        "a batch of 1,000": post("/v1/generate/batch", json.dumps({"model": "llama", "prompts": ["x" * 5_000] * 1_000}).encode(), flood),
        "surrogates and escapes": post("/v1/chat/completions", b'{"model":"llama","messages":[{"role":"user","content":"' + b"\\ud800" * 500_000 + b'"}]}', flood),
        "a compressed body": post("/v1/chat/completions", os.urandom(100_000), flood, "content-encoding: gzip\r\n"),
    }


async def slow_bodies(it: Lab, seconds: float, count: int) -> dict[str, int]:
    """Announces a body of 1 MB and sends a byte a second of it."""
    head = post("/v1/chat/completions", b"", KEYS["flood"]).replace(b"content-length: 0", b"content-length: 1000000")

    async def act() -> str:
        reader, writer = await asyncio.open_connection(*it.public)
        writer.write(head)
        end = time.monotonic() + seconds
        answer = asyncio.ensure_future(reader.read(12))
        try:
            while time.monotonic() < end and not answer.done():
                writer.write(b"{")
                await asyncio.wait([answer], timeout=1)
            return (await answer).decode(errors="replace")[9:] if answer.done() else "held"
        finally:
            answer.cancel()
            writer.transport.abort()

    return await repeat(seconds, count, act)


async def stopped_readers(it: Lab, seconds: float, count: int) -> dict[str, int]:
    """Asks for long streams and for large answers, and reads nothing of them."""
    request = chat(KEYS["flood"], stream=True, max_tokens=100_000, n=8)
    loop = asyncio.get_running_loop()

    async def act() -> str:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setblocking(False)
        try:
            await loop.sock_connect(one, it.public)
            await loop.sock_sendall(one, request)
            await asyncio.sleep(seconds)
            return "held"
        finally:
            one.close()

    return await repeat(seconds, count, act)


async def junk(it: Lab, seconds: float) -> dict[str, int]:
    chance = random.Random(1)
    starts = [b"", b"GET ", b"POST /v1/chat/completions HTTP/1.1\r\n", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]

    async def act() -> str:
        reader, writer = await asyncio.open_connection(*it.public)
        try:
            writer.write(chance.choice(starts) + chance.randbytes(chance.randrange(1, 4000)) + b"\r\n\r\n")
            head = await asyncio.wait_for(reader.read(12), 5)
            return head.decode(errors="replace")[9:] or "closed"
        except TimeoutError:
            return "held"
        finally:
            writer.transport.abort()

    return await repeat(seconds, 64, act)


async def large_heads(it: Lab, seconds: float) -> dict[str, int]:
    lines = b"".join(b"x-%d: %s\r\n" % (number, b"v" * 1200) for number in range(90))
    request = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" + lines + b"\r\n"
    return await repeat(seconds, 64, sending(it, request))


async def short_connections(it: Lab, seconds: float) -> dict[str, int]:
    async def act() -> str:
        _, writer = await asyncio.open_connection(*it.public)
        writer.write(chat(KEYS["flood"]))
        writer.transport.abort()
        return "reset"

    return await repeat(seconds, 32, act)


async def wrong_keys(address, seconds: float) -> tuple[int, dict[str, int]]:
    """So many a second from one address, on kept connections; gives how many were sent and what came back."""
    idle: list[Connection] = []
    counts: dict[str, int] = {}
    sent = 0

    async def one(number: int) -> None:
        connection = idle.pop() if idle else Connection(address, "127.0.0.2")
        try:
            status = (await connection.ask(chat(f"sk-wrong-{number}")))[0]
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            status = type(error).__name__
        counts[str(status)] = counts.get(str(status), 0) + 1
        idle.append(connection)

    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while (passed := time.monotonic() - begun) < seconds:
            while sent < passed * WRONG_KEYS_A_SECOND:
                group.create_task(one(sent))
                sent += 1
            await asyncio.sleep(0.005)
    for connection in idle:
        connection.close()
    return sent, counts


def _in_background(address, seconds: float, results) -> None:
    # What it takes to send them is not the router's work: it must not be in the good client's times.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    results.send(asyncio.run(wrong_keys(address, seconds)))


async def wrong_keys_in_background(address, seconds: float) -> tuple[int, dict[str, int]]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_in_background, args=(address, seconds, theirs), daemon=True)
    process.start()
    try:
        return await asyncio.to_thread(ours.recv)
    finally:
        process.join()


async def guess(it: Lab, report: Report, seconds: float) -> None:
    """In rounds, so that whatever else the machine does falls on the good client's times with and without the guesses."""
    rounds, alone, beside, errors, sent, counts, lines = 3, [], [], [], 0, {}, 0
    counted = await it.metric("llmrouter_auth_failures_total")
    good = Good(it, 20)
    for _ in range(rounds):
        with good.beside():
            await asyncio.sleep(max(5, seconds / rounds))
        alone += good.times
        before = it.log_lines()
        with good.beside():
            more, found = await wrong_keys_in_background(it.public, seconds / rounds)
        lines += it.log_lines() - before
        sent += more
        beside, errors = beside + good.times, errors + good.errors
        counts = {status: counts.get(status, 0) + found.get(status, 0) for status in counts | found}
    counted = await it.metric("llmrouter_auth_failures_total") - counted
    without, with_them = quantile(alone, 0.99), quantile(beside, 0.99)
    report.figure("wrong keys from one address", f"{sent / seconds:.0f} a second for {seconds:.0f} s, answered {counts}")
    report.figure(
        "p99 of the good client alone, and beside them", f"{ms(without)}, {ms(with_them)} ({with_them / without:.2f} x)"
    )
    report.figure("log lines meanwhile", f"{lines} in {seconds:.0f} s")
    report.check("wrong keys do not slow a right one", with_them <= 1.5 * without, f"{ms(with_them)} against {ms(without)}")
    report.check("a right key is served beside wrong ones", not errors, f"{errors[:3]}")
    report.check("each wrong key is counted", counted == sent, f"{counted:.0f} of {sent}")
    report.check("at most one log line a second tells of them", lines <= seconds + 2 * rounds, f"{lines} lines")
    report.check("nobody is let in", set(counts) <= {"401", "429"}, f"{counts}")


async def abuses(it: Lab, report: Report, seconds: float) -> None:
    async def one(what: str, run) -> None:
        if not it.is_alive():
            return run.close()
        counts = await run
        report.figure(what, f"{counts}; {it.rss_mb():.0f} MB, peak {it.rss_mb('VmHWM'):.0f} MB")
        report.check(f"the router lives: {what}", it.is_alive())

    for what, request in dear_bodies().items():
        await one(what, repeat(seconds, 8, sending(it, request)))
    await one("bodies that drip", slow_bodies(it, seconds, 300))
    await one("readers that stop", stopped_readers(it, seconds, 200))
    await one("junk", junk(it, seconds))
    await one("heads of 100 KB", large_heads(it, seconds))
    await one("clients that reset", short_connections(it, seconds))
    await one("a key without end", repeat(seconds, 64, sending(it, chat(KEYS["flood"]))))


async def run(options: argparse.Namespace) -> int:
    report = Report()
    with Lab(options.binary, memory=lab.GIB) as it:
        report.figure("memory", f"{it.limit()}; {it.rss_mb():.0f} MB at rest")
        await guess(it, report, options.wrong_keys_seconds)
        good = Good(it, 20)
        with good.beside():
            await abuses(it, report, options.seconds)
        times, errors = good.times, good.errors
        report.figure(
            "the good client",
            f"{len(times)} requests, median {ms(quantile(times, 0.5))}, p99 {ms(quantile(times, 0.99))}, "
            f"longest {ms(max(times))}, {len(errors)} errors",
        )
        peak = it.rss_mb("VmHWM")
        report.figure("peak resident memory", f"{peak:.0f} MB")
        report.check("the good client sees no error", not errors, f"{errors[:5]}")
        report.check("no answer comes later than a second", max(times) <= 1, ms(max(times)))
        report.check(f"memory stays below {PEAK_MB} MiB", peak <= PEAK_MB, f"{peak:.0f} MB")
    return report.end()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--seconds", type=float, default=5)
    arguments.add_argument("--wrong-keys-seconds", type=float, default=30)
    options = arguments.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
