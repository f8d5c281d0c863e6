"""Dashboards and rules against a real Prometheus that scrapes the real router under a load with known totals.

    live.py --binary PATH [--prometheus FOLDER]

The emulator's own call logs say what was asked of it and which tokens it reported. Every query of every panel must give
something finite and plausible; what the cost panels say must agree with those counts times the prices. Prints a line for each
check and, last, {"passed": N, "failed": N} as JSON.

tests/run installs what this needs and starts it as `tests/run observability`.
"""

import argparse
import math
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import expected
import files
import lab
import load

# Ratios that may leave 0..1: what is saved can be negative, and so can a drift.
SIGNED = ("Savings ratio, as billed", "Savings ratio over time", "Split drift", "Shares in this range")
STEP_S = 5


class Span:
    """The time of the load, from a scrape before it to one after it."""

    def __init__(self, since: float, until: float):
        self.since, self.until = since, until
        self.seconds = until - since

    def values(self, window: str) -> dict[str, str]:
        return {
            "job": ".+", "provider": ".+", "model": ".+", "team": ".+", "baseline": "configured",
            "__range": f"{round(self.seconds * 1000)}ms", "__range_s": f"{self.seconds}", "__rate_interval": window,
        }


def samples(it: lab.Lab, span: Span, target: files.Target) -> list[tuple[dict, list[float]]]:
    """What a panel's query gives over the span: labels and values of each series."""
    expr = files.fill(target.expr, span.values("30s"))
    if target.is_instant:
        found = it.query("query", query=expr, time=span.until)
        return [(one["metric"], [float(one["value"][1])]) for one in found]
    found = it.query("query_range", query=expr, start=span.since + 2 * STEP_S, end=span.until, step=STEP_S)
    return [(one["metric"], [float(value) for _, value in one["values"]]) for one in found]


def implausible(target: files.Target, values: list[float]) -> str | None:
    if not all(math.isfinite(value) for value in values):
        return "a value that is not finite"
    low, high = {"percentunit": (0, 1), "s": (0, 120)}.get(target.unit, (0, math.inf))
    if target.panel in SIGNED:
        low = -math.inf
    elif target.panel.startswith("Saved") or target.panel.startswith("What if"):
        low = -10
    outside = [value for value in values if not low - 1e-9 <= value <= high + 1e-9]
    return f"{outside[0]} is not within {low} and {high}" if outside else None


def check_targets(report: files.Report, it: lab.Lab, span: Span) -> None:
    for target in files.targets():
        try:
            found = samples(it, span, target)
        except lab.LabError as error:
            report.check(f"query {target}", str(error))
            continue
        problems = [] if any(values for _, values in found) else ["no data"]
        for labels, values in found:
            if problem := implausible(target, values):
                problems.append(f"{labels}: {problem}")
        report.check(f"query {target}", *problems)


def check_figures(report: files.Report, it: lab.Lab, span: Span, figures: list[expected.Figure]) -> None:
    """Panels whose figures follow from the emulator's call logs. Rates are taken over the whole span, so that they are exact averages."""
    by_panel = {(target.panel, target.ref): target for target in files.targets()}
    window = f"{round(span.seconds * 1000)}ms"
    for figure in figures:
        target = by_panel.get((figure.panel, figure.ref))
        if target is None:
            report.check(f"figure {figure}", "no such panel")
            continue
        found = it.query("query", query=files.fill(target.expr, span.values(window)), time=span.until)
        values = [float(one["value"][1]) for one in found if figure.labels.items() <= one["metric"].items()]
        if figure.is_sum and values:
            values = [sum(values)]
        if len(values) != 1:
            report.check(f"figure {figure}", f"{len(values)} series where one is due")
        elif not abs(values[0] - figure.value) <= figure.within:
            report.check(f"figure {figure}", f"{values[0]:.6g}, but by the call logs {figure.value:.6g} ± {figure.within:.2g}")
        else:
            report.check(f"figure {figure}: {values[0]:.6g}, by the call logs {figure.value:.6g}")


def check_counts(report: files.Report, it: lab.Lab, ends, logs: dict) -> None:
    """Counters as they stand, against what clients and the emulator counted."""
    def count(expr: str) -> int:
        return round(float(it.query("query", query=f"sum({expr})")[0]["value"][1]))

    on_gpu, on_api = logs["runpod_queue"], logs["cerebras"]
    tokens = sum(log[kind] for log in (on_gpu, on_api) for kind in ("prompt_tokens", "completion_tokens"))
    pairs = {
        "requests": ("llmrouter_requests_total", load.REQUESTS),
        "served requests": ('llmrouter_requests_total{outcome="ok"}', ends["ok"]),
        "rejected requests": ('llmrouter_requests_total{outcome="rejected"}', ends["rejected"]),
        "requests of teams": ("llmrouter_team_requests_total", load.REQUESTS),
        "attempts on the GPU": (f'llmrouter_upstream_attempts_total{{upstream="{lab.GPU}"}}', on_gpu["received"]),
        "attempts on the API": (f'llmrouter_upstream_attempts_total{{upstream="{lab.API}"}}', on_api["received"]),
        "tokens": ("llmrouter_tokens_total", tokens),
    }
    for name, (expr, wanted) in pairs.items():
        there = count(expr)
        report.check(f"count of {name}: {there}", *([] if there == wanted else [f"{wanted} by the call logs"]))


def check_rest(report: files.Report, it: lab.Lab, span: Span, promtool: pathlib.Path) -> None:
    page = urllib.request.urlopen(it.metrics_url, timeout=5).read()
    lint = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
    said = (lint.stdout + lint.stderr).decode()
    report.check("promtool check metrics", *([said or f"exit code {lint.returncode}"] if said or lint.returncode else []))
    groups = lab.ask(it.prometheus + "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    ill = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]
    report.check("every rule can be evaluated", *ill, *([] if rules else ["no rules are loaded"]))
    for name, board in files.dashboards().items():
        for mark in board["annotations"]["list"]:
            expr = files.fill(mark["expr"], span.values("30s"))
            found = it.query("query_range", query=expr, start=span.since, end=span.until, step=STEP_S)
            times = sorted({float(value) / 1000 for one in found for _, value in one["values"]})
            # The start of the router, and the one reload of the script that was good.
            good = len(times) == 2 and times[0] < span.since < times[1] < span.until
            report.check(f"{name}: marks of reloads", *([] if good else [f"at {times}, in {span.since} to {span.until}"]))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--prometheus", type=pathlib.Path, default=files.PROMTOOL.parent)
    options = parser.parse_args()
    report = files.Report()
    with (
        tempfile.TemporaryDirectory() as folder,
        lab.Lab(options.binary.resolve(), options.prometheus.resolve(), pathlib.Path(folder)) as it,
    ):
        try:
            # Two scrapes before the first request, so that every series is seen at zero.
            since = it.after_scrapes(2)
            before = it.call_logs()
            ends = load.run(it)
            lab.until("the end of all calls", lambda: sum(face["in_flight"] for face in it.call_logs().values()) == 0)
            span, logs = Span(since, it.after_scrapes(2)), it.call_logs()
            print(f"      {span.seconds:.0f} s, {dict(ends)}", flush=True)
            check_counts(report, it, ends, logs)
            check_targets(report, it, span)
            check_figures(report, it, span, expected.figures(it, span, before, logs))
            check_rest(report, it, span, options.prometheus / "promtool")
        except (lab.LabError, OSError) as error:
            report.check("the live check", f"{error}\n{it.logs()}")
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
