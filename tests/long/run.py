"""What takes minutes to show: throughput, many streams, overload, fairness, a soak, and the time that a wrong key takes.

    run.py --binary PATH [--minutes N] [--streams N] [--only PART]

The emulator and the router are processes of their own on this machine; each figure through the router stands beside the same
one straight to the emulator. Prints a line for each check, a table of figures and, last, {"passed": N, "failed": N} as JSON.
Shares, counts, growth and the ratio of paired figures are checked; a time by itself is only shown.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import pathlib
import resource
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "abuse"))

from lab import KEYS, Connection, Good, Lab, Report, chat, ms, once, post, quantile

FAILURES = (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError)


async def closed_loop(address, request: bytes, at_once: int, seconds: float) -> tuple[list[float], dict[str, list[float]]]:
    """So many clients, each of which asks again once it is answered: the times of the good answers, and those of others."""
    good: list[float] = []
    others: dict[str, list[float]] = {}
    end = time.perf_counter() + seconds

    async def one() -> None:
        connection = Connection(address)
        while time.perf_counter() < end:
            begun = time.perf_counter()
            try:
                status, _ = await asyncio.wait_for(connection.ask(request), 30)
            except FAILURES as error:
                status = type(error).__name__
            took = time.perf_counter() - begun
            good.append(took) if status == 200 else others.setdefault(str(status), []).append(took)
        connection.close()

    await asyncio.gather(*(one() for _ in range(at_once)))
    return good, others


def _in_process(address, request, at_once, seconds, results) -> None:
    results.send(asyncio.run(closed_loop(address, request, at_once, seconds)))


class Crowd:
    """A closed loop in a process of its own."""

    def __init__(self, *arguments):
        self.ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_in_process, args=(*arguments, theirs), daemon=True)
        self.process.start()

    def results(self) -> tuple[list[float], dict[str, list[float]]]:
        found = self.ours.recv()
        self.process.join()
        return found


def counted(others: dict[str, list[float]]) -> dict[str, int]:
    return {status: len(times) for status, times in others.items()}


def emulated(it: Lab) -> tuple[tuple[str, int], bytes]:
    """The same chat, straight to the emulator."""
    host, port = it.emulator_url.split(":")
    body = json.dumps({"model": "meta-llama/Llama-3.1-8B-Instruct", "messages": [{"role": "user", "content": "hello"}]})
    return (host, int(port)), post("/lb/v1/chat/completions", body.encode(), "upstream")


def throughput(options, report: Report) -> None:
    with Lab(options.binary) as it:
        address, request = emulated(it)
        seconds = 10 * options.minutes
        direct, _ = Crowd(address, request, 64, seconds).results()
        before = it.cpu_s()
        routed, others = Crowd(it.public, chat(KEYS["good"]), 64, seconds).results()
        cpu = it.cpu_s() - before
        report.figure(
            "64 clients without pause",
            f"{len(routed) / seconds:.0f} a second through the router, {len(direct) / seconds:.0f} direct; the router takes "
            f"{cpu / max(1, len(routed)) * 1e6:.0f} us of processor time each",
        )
        added = [quantile(routed, part) - quantile(direct, part) for part in (0.5, 0.99)]
        report.figure("added at that load, median and p99", f"{ms(added[0])}, {ms(added[1])}")
        report.check("no request of 64 clients fails", not others, f"{counted(others)}")


async def read_stream(it: Lab, request: bytes, gaps: list[float]) -> str:
    reader, writer = await asyncio.open_connection(*it.public)
    try:
        writer.write(request)
        text, last = b"", None
        while b"data: [DONE]" not in text[-200:]:
            read = await asyncio.wait_for(reader.read(65536), 120)
            if not read:
                return "cut"
            now = time.perf_counter()
            if last is not None:
                gaps.append(now - last)
            text, last = text + read, now
        words = "".join(content(line) for line in text.split(b"\n") if line.startswith(b"data: {"))
        return words
    finally:
        writer.transport.abort()


def content(line: bytes) -> str:
    try:
        choices = json.loads(line[6:].strip()).get("choices") or [{}]
    except ValueError:
        return "(cut)"
    return choices[0].get("delta", {}).get("content") or ""


async def streams(options, report: Report) -> None:
    with Lab(options.binary, max_in_flight=10 * options.streams, speed=1) as it:
        rest = it.rss_mb()
        gaps: list[float] = []
        request = chat(KEYS["good"], "count", stream=True, max_tokens=100)
        one = await read_stream(it, request, [])
        before = it.cpu_s()
        tasks = [asyncio.create_task(read_stream(it, request, gaps)) for _ in range(options.streams)]
        most = 0.0
        while not all(task.done() for task in tasks):
            most = max(most, it.rss_mb())
            await asyncio.sleep(0.2)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        right = sum(words == one for words in found)
        report.figure(
            f"{options.streams} streams at once",
            f"{right} with every event in order; {(most - rest) * 1024 / options.streams:.0f} KiB each, "
            f"{it.cpu_s() - before:.1f} s of processor time; p99 between two reads {ms(quantile(gaps, 0.99))}",
        )
        report.check("no event of a stream is lost or out of order", right == options.streams, f"{right} of {options.streams}")


async def overload(options, report: Report) -> None:
    rounds, seconds, cap = 5, 5 * options.minutes, 32
    # The limit of the router is what is tried, not that of a key.
    with Lab(options.binary, max_in_flight=cap, speed=1, key_concurrent=4 * cap) as it:
        request = chat(KEYS["good"], max_tokens=24)
        peaks, served, shed, codes = [], [], [], set()
        # In turn, so that whatever else the machine does falls on both.
        for _ in range(rounds):
            good, _ = Crowd(it.public, request, cap, seconds).results()
            peaks.append(len(good) / seconds)
            good, others = Crowd(it.public, request, 3 * cap, seconds).results()
            served.append(len(good) / seconds)
            shed += others.get("503", [])
            codes |= set(others)
        after, late = Crowd(it.public, request, cap, 5).results()
        goodput = statistics.median(served) / statistics.median(peaks)
        report.figure(
            f"three times the {cap} requests that may be under way",
            f"{statistics.median(served):.0f} served a second ({goodput:.0%} of the peak), "
            f"{len(shed) / seconds / rounds:.0f} refused a second, p99 of a refusal {ms(quantile(shed, 0.99))}",
        )
        report.check("overload costs a tenth of what is served at most", goodput >= 0.9, f"{goodput:.0%}")
        report.check("what is too much is refused with 503", codes == {"503"}, f"{codes}")
        report.check("afterwards nothing is refused", after and not late, f"{counted(late)}")


def fairness(options, report: Report) -> None:
    seconds = 20 * options.minutes
    with Lab(options.binary) as it:
        modest = Good(it, 5)
        with modest.beside():
            time.sleep(seconds)
        alone = quantile(modest.times, 0.99)
        with modest.beside():
            greedy, others = Crowd(it.public, chat(KEYS["greedy"]), 64, seconds).results()
        beside = quantile(modest.times, 0.99)
        report.figure(
            "a key that asks without pause beside one that asks 5 times a second",
            f"{(len(greedy) + sum(map(len, others.values()))) / seconds:.0f} a second; p99 of the modest one {ms(alone)} alone, "
            f"{ms(beside)} beside it, {len(modest.errors)} errors",
        )
        report.check("the modest key sees no error", not modest.errors, f"{modest.errors[:3]}")


async def soak(options, report: Report) -> None:
    """Mixed requests, of which a tenth leave early and a twentieth meet a fault; memory and descriptors must not grow."""
    with Lab(options.binary) as it:
        host, port = it.emulator_url.split(":")
        rule = {"face": "runpod_lb", "rules": [{"fault": {"kind": "status", "code": 500}, "share": 0.05}]}
        status, answer = await once((host, int(port)), post("/_control", json.dumps(rule).encode(), "upstream"))
        assert status == 200, answer
        seconds = 60 * options.minutes
        end, sent, bad = time.monotonic() + seconds, 0, []
        samples: list[tuple[float, float, int]] = []

        async def ask(number: int) -> None:
            nonlocal sent
            sent += 1
            request = chat(KEYS["good"], f"question {number}", stream=number % 2 == 0)
            connection = Connection(it.public)
            try:
                if number % 10 == 0:
                    _, writer = await asyncio.open_connection(*it.public)
                    writer.write(request)
                    await asyncio.sleep(0.01)
                    writer.transport.abort()
                    return
                status, _ = await asyncio.wait_for(connection.ask(request), 60)
                if status != 200:
                    bad.append(status)
            except FAILURES as error:
                bad.append(type(error).__name__)
            finally:
                connection.close()

        async with asyncio.TaskGroup() as group:
            number, due, next_sample = 0, time.monotonic(), 0.0
            while (now := time.monotonic()) < end:
                group.create_task(ask(number))
                number += 1
                if now >= next_sample:
                    samples.append((now, it.rss_mb(), it.open_files()))
                    next_sample = now + 1
                due += 1 / options.rate
                await asyncio.sleep(max(0, due - time.monotonic()))
        await asyncio.sleep(3)
        under_way = await it.metric("llmrouter_inflight_requests")
        warm = [sample for sample in samples if sample[0] >= samples[0][0] + seconds / 3]
        slope = statistics.linear_regression([at for at, _, _ in warm], [rss for _, rss, _ in warm]).slope * 600
        report.figure(
            f"soak of {options.minutes} min",
            f"{sent} requests, {len(bad)} failed; memory {warm[0][1]:.0f} MB, then {warm[-1][1]:.0f} MB "
            f"({slope:+.1f} MB in 10 min); descriptors {warm[0][2]}, then {it.open_files()}",
        )
        report.check("a client that stays is served, whatever fails", not bad, f"{bad[:5]}")
        report.check("nothing is under way at the end", under_way == 0, f"{under_way:.0f}")
        # A minute is too short for a slope; over ten it counts.
        report.check("memory does not grow", options.minutes < 10 or slope <= 1, f"{slope:+.1f} MB in 10 min")


async def key_times(options, report: Report) -> None:
    """Wrong keys that begin like a right one against wrong keys that do not, in turn, from many addresses."""
    with Lab(options.binary) as it:
        right = KEYS["good"]
        samples: tuple[list[float], list[float]] = ([], [])
        count = int(6000 * options.minutes)
        for number in range(count):
            # Few guesses from each address: after many the answer is another one.
            if number % 20 == 0:
                connection = Connection(it.public, f"127.{1 + number // 20 // 250 % 250}.{1 + number // 20 % 250}.1")
            like = f"{right[:-1]}{number % 10}"
            other = f"{'x' * (len(right) - 1)}{number % 10}"
            # In turn, and each as often the first of a pair as the second.
            kind = (number + number // 2) % 2
            request = post("/v1/chat/completions", b"{}", (like, other)[kind])
            begun = time.perf_counter_ns()
            await connection.ask(request)
            samples[kind].append(time.perf_counter_ns() - begun)
        # The slowest tenth is the scheduler's.
        cut = quantile(samples[0] + samples[1], 0.9)
        kept = [[value for value in one if value <= cut] for one in samples]
        means, errors = [statistics.fmean(one) for one in kept], [statistics.variance(one) / len(one) for one in kept]
        t = (means[0] - means[1]) / math.sqrt(sum(errors))
        report.figure(
            "a wrong key that begins like a right one, and one that does not",
            f"{means[0] / 1e3:.1f} us and {means[1] / 1e3:.1f} us over {len(kept[0]) + len(kept[1])} samples, Welch's t {t:+.2f}",
        )
        report.check("the time of a refusal says nothing about the key", abs(t) < 4.5, f"{t:+.2f}")


PARTS = {
    "throughput": throughput, "streams": streams, "overload": overload, "fairness": fairness, "soak": soak,
    "key-times": key_times,
}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--minutes", type=float, default=1, help="of the soak; the others are in proportion to it")
    arguments.add_argument("--streams", type=int, default=500)
    arguments.add_argument("--rate", type=float, default=100, help="requests a second of the soak")
    arguments.add_argument("--only", choices=PARTS)
    options = arguments.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    for name, part in PARTS.items():
        if options.only in (None, name):
            print(f"== {name}", flush=True)
            run = part(options, report)
            if run is not None:
                asyncio.run(run)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
