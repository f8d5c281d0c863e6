"""The figures as Markdown."""

import math
import os
import statistics

import rivals

HEAD = """# Routing, measured in real time

<!-- Made by tests/realtime/run.py. -->

`balanced` and LiteLLM's proxy {version} in real time: {minutes:g} minutes of the [`conv`
trace](../../tests/traces/README.md) at 2.5 times its speed, streamed, each router in front of an emulator of its own
that plays the [simulated providers](../simulation.md#how-it-works). From minute {begin:g} to minute {end:g} RunPod is
*throttled* (no worker and no error: requests wait) or *out* (every call fails at once); either breaks off what is
under way. To make this page again:

```sh
tests/run realtime
```

Measured on {date}, on {cores} cores that other work shared. All routers ran at once, with a client each.

*SLO*: of all requests, answered whole with a first token within 2 s of the moment when they were due. *RunPod*: its
part of what was served. *$/1M*: list prices, for a million tokens of whole answers. *429s*: from Cerebras. *p95*: to
the first token, of all requests, the unserved as never, and of the served. *simulated*: `llm-router simulate` with
the same requests, configuration, providers and fault, the mean of ten seeds (± is half its confidence interval of 95
%); for LiteLLM its baselines, whose rules are simpler than the product's. A request's `max_tokens` is the length of
its answer, which the simulated router does not know; an event carries {event_tokens} tokens, as proxies spend
processor time on each.

`balanced` is at most {slo:.1f} points of SLO attainment and {share:.1f} points of share from what was simulated;
three would fail the run. ± is of a mean: a single run strays further, most by how long workers happen to take to start.
"""
PARTS = {
    "full": "the router and the simulator, {count} requests",
    "third": "beside LiteLLM, every third request ({count}) and one RunPod worker instead of three",
}
TITLES = {
    "llm-router": "`balanced`",
    "simple-shuffle": "LiteLLM `simple-shuffle`",
    "latency-based-routing": "LiteLLM `latency-based-routing`",
}


def seconds(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.2f} s"


def row(title: str, of: dict) -> str:
    slo = f"{of['slo']:.1f}" + (f" ±{of['half_width']:.1f}" if "half_width" in of else "")
    cells = [title, slo, f"{of['ok']:.1f}", f"{of['usd']:.4f}", f"{of['share']:.1f}", f"{of['rate_limited']:.0f}",
             seconds(of["p95"]), seconds(of["p95_served"])]
    return f"| {' | '.join(cells)} |"


def table(of: dict):
    """The routers of a part, each beside its simulation."""
    yield "| router | SLO % | ok % | $/1M | RunPod % | 429s | p95 | p95, served |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, real in of["real"].items():
        yield row(TITLES[name], real)
        yield row(f"{TITLES[name]}, simulated", of["simulated"][name])


def load(samples: list[float]) -> str:
    samples = samples or [os.getloadavg()[0]]
    return f"load average {statistics.fmean(samples):.1f}, at most {max(samples):.1f}"


def conditions(real: dict):
    """What says whether client and machine kept up."""
    for name, of in real.items():
        failed = ", ".join(f"{count} {kind}" for kind, count in sorted(of["errors"].items())) or "none"
        late, latest, cpu = (1000 * value for value in (of["late_p99"], of["late_max"], of["cpu_s"][1] / of["requests"]))
        yield (
            f"- {TITLES[name]}: requests sent late by {late:.0f} ms (p99), at most {latest:.0f} ms; "
            f"{cpu:.1f} ms of the router's processor time each; unserved: {failed}"
        )


def apart(part: dict, what: str) -> float:
    """How many points our router is from what was simulated."""
    real, model = (part[kind]["llm-router"] for kind in ("real", "simulated"))
    return abs(real[what] - model[what])


def page(results: dict, sizes: dict[str, int], minutes: float, date):
    begin, end = 0.3 * minutes, 0.6 * minutes
    parts = [part for found in results.values() for part in found["parts"].values()]
    slo, share = (max(apart(part, what) for part in parts) for what in ("slo", "share"))
    yield HEAD.format(
        version=version(), minutes=minutes, begin=begin, end=end, cores=os.cpu_count(), date=date, slo=slo, share=share,
        event_tokens=rivals.providers.EVENT_TOKENS,
    )
    for scenario, found in results.items():
        yield f"## {scenario.capitalize()}\n\nMachine: {load(found['load'])}.\n"
        for part, of in found["parts"].items():
            yield f"### {scenario.capitalize()}: {PARTS[part].format(count=sizes[part])}\n"
            yield from table(of)
            yield ""
            yield from conditions(of["real"])
            yield ""
    yield "## LiteLLM's settings\n"
    yield "Both deployments are in one group, so that a retry can go to the other; one process, without a database.\n"
    yield "| setting | value | why |\n|---|---|---|"
    for setting, value, why in rivals.LITELLM:
        yield f"| `{setting}` | {value} | {why} |"


def version() -> str:
    requirements = (rivals.providers.ROOT / "tests" / "realtime" / "requirements.txt").read_text().splitlines()
    return next(line.split("==")[1] for line in requirements if line.startswith("litellm=="))
