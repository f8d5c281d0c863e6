"""The router in real time, beside the simulator's word for it and beside LiteLLM's proxy: docs/generated/realtime.md.

    run.py --binary LLM_ROUTER --litellm LITELLM [--minutes N] [--scenario NAME]... [--part NAME]... [--page FILE]

Replays a slice of a trace at its pace through each router, in front of an emulator that plays the simulated providers, while
RunPod is without workers or down from three to six tenths of the time; then simulates the same. In the part "full" every
request goes through our router; in the part "third" every third one goes through our router and LiteLLM's proxy, which needs much
more processor time. All run at once, each with an emulator and a client of its own. Prints a table for each part and, last,
{"passed": N, "failed": N} as JSON: our SLO attainment and share must be within three points of the simulated.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import figures
import page
import providers
import rivals
import traffic

SCENARIOS = ["throttle", "outage"]
FAULT_AT, FAULT_FOR = 0.3, 0.3
WARM_UP = 10
# Until all clients have started and all routers have rested from the warm-up.
HEAD_START = 10
SEEDS = 10
POINTS = 3.0


@dataclasses.dataclass
class Part:
    """Which of the requests go through which routers, and how many workers RunPod has for them."""

    name: str
    every: int
    max_workers: int
    names: list[str]

    def requests(self, minutes: float) -> list[traffic.Arrival]:
        return traffic.arrivals(minutes)[:: self.every]


PARTS = [
    Part("full", 1, providers.read()[0]["workers"]["max"], ["llm-router"]),
    Part("third", 3, 1, ["llm-router", "simple-shuffle", "latency-based-routing"]),
]


class Load:
    """The machine's load, read every five seconds."""

    def __enter__(self):
        self.samples, self._over = [], threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._over.wait(5):
            self.samples.append(os.getloadavg()[0])


@dataclasses.dataclass
class Run:
    """A router of a part."""

    part: Part
    rival: rivals.Rival
    requests: list[traffic.Arrival]

    def warm_up(self) -> None:
        """The first requests of a process are its slowest."""
        for number in range(WARM_UP):
            text = [{"role": "user", "content": f"warm up {number}"}]
            body = {"model": traffic.MODEL, "max_tokens": 4, "messages": text}
            rivals.call(f"http://127.0.0.1:{self.rival.port}/v1/chat/completions", body)
        self.before = self.rival.calls(), self.rival.cpu_s()

    def figures(self, outcomes: list[traffic.Outcome]) -> dict:
        calls, cpu = self.before
        spent = [after - first for first, after in zip(cpu, self.rival.cpu_s())]
        return figures.measured(self.requests, outcomes, calls, self.rival.calls(), spent)


def measure(scenario: str, minutes: float, runs: list[Run]) -> tuple[list[dict], list[float]]:
    """Replays the requests of all runs at once. Returns the figures of each, and the load."""
    for run in runs:
        run.warm_up()
    begin = time.monotonic() + HEAD_START
    clients = [traffic.Client(run.rival.port, run.requests, begin) for run in runs]
    with Load() as load:
        for part, order in zip((FAULT_AT, FAULT_AT + FAULT_FOR), providers.faults(scenario)):
            time.sleep(max(0, begin + minutes * 60 * part - time.monotonic()))
            for run in runs:
                run.rival.order(order)
        outcomes = [client.outcomes() for client in clients]
    return [run.figures(those) for run, those in zip(runs, outcomes)], load.samples


def simulate(binary: str, scenario: str, minutes: float, part: Part, folder: pathlib.Path) -> dict:
    """The same in the simulator, by the names of the routers."""
    folder.mkdir(parents=True)
    trace, scenarios, results = folder / "slice.csv", folder / "scenarios.toml", folder / "simulated.json"
    traffic.write(part.requests(minutes), trace)
    scenarios.write_text(
        f'[[scenarios]]\nname = "{scenario}"\nwindow_at = {FAULT_AT}\n'
        f'overrides = [{{ kind = "runpod", max_workers = {part.max_workers} }}]\n'
        f'faults = [{{ kind = "runpod", fault = "{scenario}", for_s = {FAULT_FOR * minutes * 60:g} }}]\n'
    )
    config = rivals.Rival("llm-router", folder, binary, None).config()
    command = [binary, "simulate", "--trace", trace, "--config", config, "--scenarios", scenarios, "--scenario", scenario,
               "--baselines", "--seeds", SEEDS, "--json", results]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    policies = json.loads(results.read_text())["scenarios"][0]["policies"]
    found = {policy["policy"].removesuffix(".toml"): figures.simulated(policy) for policy in policies}
    return {"llm-router": found["balanced"], "simple-shuffle": found["LiteLLM simple-shuffle + cooldown"],
            "latency-based-routing": found["LiteLLM latency-based"]}


def play(options, scenario: str, parts: list[Part], folder: pathlib.Path) -> dict:
    """A scenario in real time and simulated."""
    runs = [
        Run(part, rivals.Rival(name, folder / part.name, options.binary, options.litellm), part.requests(options.minutes))
        for part in parts for name in part.names
    ]
    with contextlib.ExitStack() as running:
        for run in runs:
            running.callback(run.rival.stop)
            run.rival.launch(run.requests, run.part.max_workers, options.seed)
        for run in runs:
            run.rival.wait()
        measured, load = measure(scenario, options.minutes, runs)
    found = {"load": load, "parts": {}}
    for part in parts:
        real = {run.rival.name: of for run, of in zip(runs, measured) if run.part is part}
        model = simulate(options.binary, scenario, options.minutes, part, folder / part.name / "simulated")
        found["parts"][part.name] = {"real": real, "simulated": model}
    return found


def check(part: dict, where: str) -> int:
    """How many of the figures that must agree do not."""
    failed = 0
    for what in ("slo", "share"):
        points = page.apart(part, what)
        failed += points > POINTS
        print(f"{'FAILED' if points > POINTS else 'ok'}: {where}: {what} is {points:.1f} points from the simulated", flush=True)
    return failed


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--litellm", type=pathlib.Path, help="the proxy's command; the part \"third\" needs it")
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--scenario", choices=SCENARIOS, action="append")
    arguments.add_argument("--part", choices=[part.name for part in PARTS], action="append")
    arguments.add_argument("--seed", type=int, default=1, help="of the emulators")
    arguments.add_argument("--page", type=pathlib.Path, help="write the page here")
    arguments.add_argument("--raw", type=pathlib.Path, help="write all figures here, as JSON")
    options = arguments.parse_args()
    parts = [part for part in PARTS if options.part is None or part.name in options.part]
    results, failed = {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for scenario in options.scenario or SCENARIOS:
            results[scenario] = found = play(options, scenario, parts, pathlib.Path(folder) / scenario)
            print(f"\n== {scenario}, {page.load(found['load'])}", flush=True)
            for part in parts:
                of = found["parts"][part.name]
                print("\n".join(page.table(of)) + "\n" + "\n".join(page.conditions(of["real"])), flush=True)
                failed += check(of, f"{scenario}, {part.name}")
    if options.raw:
        options.raw.write_text(json.dumps(results, indent=1))
    if options.page:
        sizes = {part.name: len(part.requests(options.minutes)) for part in parts}
        options.page.write_text("\n".join(page.page(results, sizes, options.minutes, datetime.date.today())) + "\n")
    print(json.dumps({"passed": 2 * len(results) * len(parts) - failed, "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
