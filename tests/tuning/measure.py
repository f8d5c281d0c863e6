"""Measures what the knobs of the configuration do to cost and latency, on emulated providers: the figures of docs/tuning.md.

    python3 tests/tuning/measure.py --binary target/debug/llm-router --json figures.json

Every scenario gets an emulator and a router of its own. Tables in Markdown go to standard output, progress to standard
error, everything that was measured to the JSON file. Nothing but Python is needed; all of it takes about twenty minutes.
"""

import argparse
import concurrent.futures
import json
import pathlib
import sys
import tempfile
import time

import load
from rig import CEREBRAS, RUNPOD, Rig
from scenarios import GROUPS


def percentile(values: list[float], part: float) -> float | None:
    values = sorted(values)
    return round(values[min(len(values) - 1, int(part * len(values)))], 3) if values else None


def latencies(calls: list) -> dict:
    found = {}
    for name in ("head", "first", "total"):
        values = [value for call in calls if call.ok and (value := getattr(call, name)) is not None]
        found |= {f"{name}_p50_s": percentile(values, 0.5), f"{name}_p95_s": percentile(values, 0.95)}
    return found


def money(rise, ran_s: float) -> dict:
    """What it cost, by the router's own metrics; `rise` gives how much a metric rose."""
    def cost(**labels):
        return rise("llmrouter_cost_usd_total", **labels) + rise("llmrouter_estimated_cost_usd_total", **labels)

    def saved(spent):
        return 1 - spent / baseline if baseline else None

    baseline = rise("llmrouter_baseline_cost_usd_total", baseline="configured")
    gpu = rise("llmrouter_gpu_cost_usd_total")
    billed_s = rise("llmrouter_gpu_seconds_total")
    tokens, gpu_tokens = rise("llmrouter_tokens_total"), rise("llmrouter_tokens_total", upstream=RUNPOD)
    baselines = ("configured", "split", f"all:{RUNPOD}", f"all:{CEREBRAS}")
    return {
        "list_usd": cost(), "gpu_usd": gpu, "tokens": tokens,
        "wasted_usd": rise("llmrouter_cost_usd_total", kind="wasted"),
        "estimated_usd": rise("llmrouter_estimated_cost_usd_total"),
        "list_usd_per_million": 1e6 * cost() / tokens if tokens else None,
        "saved_list": saved(cost()),
        "gpu_usd_per_million": 1e6 * gpu / gpu_tokens if gpu_tokens else None,
        "saved_billed": saved(cost(upstream=CEREBRAS) + gpu),
        "utilisation": rise("llmrouter_gpu_seconds_total", state="busy") / billed_s if billed_s else None,
        "billed_worker_s": billed_s,
        "unobserved_share": rise("llmrouter_gpu_unobserved_seconds_total") / ran_s,
        "baselines_usd": {name: rise("llmrouter_baseline_cost_usd_total", baseline=name) for name in baselines},
    }


def measure(binary: pathlib.Path, it) -> dict:
    with tempfile.TemporaryDirectory() as folder, Rig(binary, it, pathlib.Path(folder)) as rig:
        before, calls_before, begun = rig.metrics(), rig.call_logs(), time.monotonic()
        calls = load.run(rig, it)
        after, calls_after, ran_s = rig.metrics(), rig.call_logs(), time.monotonic() - begun

    def rise(name, **labels):
        return after.total(name, **labels) - before.total(name, **labels)

    def served(upstream):
        return rise("llmrouter_requests_total", outcome="ok", upstream=upstream)

    answered = served(RUNPOD) + served(CEREBRAS)
    worker_s = calls_after["runpod_lb"]["worker_seconds"] - calls_before["runpod_lb"]["worker_seconds"]
    figures = money(rise, ran_s)
    figures["billed_worker_s"] *= it.speed
    phases = []
    for name, start, end in it.phases:
        part = [call for call in calls if start <= call.at < end]
        ok = [call for call in part if call.ok]
        share = sum(call.upstream == RUNPOD for call in ok) / len(ok) if ok else None
        phases.append({"name": name, "requests": len(part), "share": share, **latencies(part)})
    return {
        "name": it.name, "speed": it.speed, "requests": len(calls), "failed": sum(not call.ok for call in calls),
        "share": served(RUNPOD) / answered if answered else None,
        "fallbacks": rise("llmrouter_fallbacks_total"),
        "spills": rise("llmrouter_decisions_total", reason="spill"),
        **latencies(calls), **figures,
        "worker_s_by_the_emulator": worker_s * it.speed,
        "overhead_mean_ms": 1000 * rise("llmrouter_overhead_seconds_sum") / max(1, rise("llmrouter_overhead_seconds_count")),
        "phases": phases,
    }


def percent(value) -> str:
    return "–" if value is None else f"{100 * value:.0f} %".replace("-", "−")


def saving(value) -> str:
    """A share of the baseline; where more than twice the baseline was spent, how many times as much."""
    return percent(value) if value is None or value > -1 else f"{1 - value:.3g} × baseline"


def usd(value) -> str:
    return "–" if value is None else f"{value:.3f}" if value < 1 else f"{value:.2f}"


def seconds(value) -> str:
    return "–" if value is None else f"{value:.2f}"


def billed(row: dict, name: str):
    """A figure that rests on the count of workers; none where they were out of sight for over a hundredth of the time."""
    return None if row["unobserved_share"] > 0.01 else row[name]


COLUMNS = {
    "RunPod": lambda row: percent(row["share"]),
    "list $/1M": lambda row: usd(row["list_usd_per_million"]),
    "saved, list": lambda row: percent(row["saved_list"]),
    "GPU $/1M": lambda row: usd(billed(row, "gpu_usd_per_million")),
    "saved, billed": lambda row: saving(billed(row, "saved_billed")),
    "busy": lambda row: percent(billed(row, "utilisation")),
    "first token p50 / p95, s": lambda row: f"{seconds(row['first_p50_s'])} / {seconds(row['first_p95_s'])}",
    "whole answer p50 / p95, s": lambda row: f"{seconds(row['total_p50_s'])} / {seconds(row['total_p95_s'])}",
    "fallbacks": lambda row: f"{row['fallbacks']:.0f}",
    "spills": lambda row: f"{row['spills']:.0f}",
    "failed": lambda row: f"{row['failed']} of {row['requests']}",
}


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(group: str, rows: list[dict]) -> str:
    speeds = sorted({row["speed"] for row in rows})
    parts = [f"## {group}", "Seconds are emulated ones; speed " + ", ".join(f"{speed:g}" for speed in speeds) + ".",
             table(["", *COLUMNS], [[row["name"], *(show(row) for show in COLUMNS.values())] for row in rows])]
    if group == "head":
        heads = [[row["name"], seconds(row["head_p50_s"]), seconds(row["head_p95_s"])] for row in rows]
        parts.append(table(["", "answer's head p50, s", "p95, s"], heads))
    if group == "strategy":
        names = list(rows[0]["baselines_usd"])
        amounts = [[row["list_usd"], *row["baselines_usd"].values()] for row in rows]
        micro = [[row["name"], *(f"{1e6 * amount:.0f}" for amount in its)] for row, its in zip(rows, amounts, strict=True)]
        parts.append(table(["micro-dollars", "spent, list", *(f"baseline {name}" for name in names)], micro))
    if rows[0]["phases"]:
        def shown(phase: dict) -> str:
            return f"{percent(phase['share'])}, {seconds(phase['first_p95_s'])} s"

        phases = [[row["name"], *map(shown, row["phases"])] for row in rows]
        header = ["RunPod's share, first token p95", *(phase["name"] for phase in rows[0]["phases"])]
        parts.append(table(header, phases))
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="llm-router, built")
    parser.add_argument("--json", type=pathlib.Path, help="where to write everything that was measured")
    parser.add_argument("--only", action="append", choices=GROUPS, help="a group of scenarios; may be repeated")
    parser.add_argument("--at-once", type=int, default=2, help="scenarios at a time (%(default)s)")
    arguments = parser.parse_args()
    groups = {name: GROUPS[name] for name in arguments.only or GROUPS}
    binary = arguments.binary.resolve()
    count, begun = sum(map(len, groups.values())), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(arguments.at_once) as pool:
        under_way = {name: [pool.submit(measure, binary, it) for it in its] for name, its in groups.items()}
        pairs = [(name, *pair) for name, its in groups.items() for pair in zip(under_way[name], its, strict=True)]
        started = {future: (name, it) for name, future, it in pairs}
        for number, future in enumerate(concurrent.futures.as_completed(started), 1):
            name, it = started[future]
            row = future.result()
            print(f"[{number}/{count}] {time.monotonic() - begun:4.0f} s  {name}: {it.name}: {row['requests']} requests, "
                  f"{row['failed']} failed, RunPod {percent(row['share'])}", file=sys.stderr, flush=True)
    rows = {name: [future.result() for future in futures] for name, futures in under_way.items()}
    for name, its in rows.items():
        print(report(name, its))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    # A load that fails requests on a healthy pair, or bills none of the workers, has measured something else.
    healthy = [row for name in ("strategy", "share") for row in rows.get(name, [])]
    return 1 if any(row["failed"] or not row["billed_worker_s"] for row in healthy) else 0


if __name__ == "__main__":
    sys.exit(main())
