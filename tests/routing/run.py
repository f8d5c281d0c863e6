"""The router's strategies beside what other gateways do, in simulation: docs/routing-benchmark.md and, with a table for each
scenario, docs/generated/routing-scenarios.md are made from this.

usage: run.py LLM_ROUTER [--seeds N] [--out FOLDER]

Runs `LLM_ROUTER simulate` over both traces of tests/traces, all nine scenarios, the four strategies of policy.toml and all
built-in baselines. Takes some ten minutes with the ten seeds of the page."""

import argparse
import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / ".cache" / "routing"
DOCS = ROOT / "docs"
PAGE = "routing-benchmark.md"
SCENARIOS = "generated/routing-scenarios.md"
SCENARIOS_HEAD = """# Routing, measured: each scenario

<!-- Made by tests/routing/run.py. -->

[What was measured, and what the columns are](../routing-benchmark.md).
"""
STRATEGIES = ["balanced", "cost", "latency", "weighted"]
# Name, file, speed, and what it is.
TRACES = [
    ("conv", "azure_llm_2023_conv.csv.gz", 2.5, "an hour of a conversation service, 2.5 times as fast"),
    ("day", "servegen_m-small_day_generated.csv.gz", 10, "a day generated from a service's statistics, 10 times as fast"),
]

HEAD = """# Routing, measured in simulation

<!-- Made by tests/routing/run.py. -->

The four strategies beside what other routers do, on two [traces](../tests/traces/README.md) and in nine scenarios, against the
[same simulated providers](simulation.md#how-it-works): RunPod with one to three workers, the cheap one, and Cerebras, five times as
dear and too small to carry the traffic alone. It ranks policies, it predicts no bill; [in real time](generated/realtime.md) the
router keeps to it, beside LiteLLM's proxy. To make this page again:

```sh
tests/run routing
```

*SLO*: of all requests, answered with a first token within 2 s. *ok*: answered whole. *limit*: what no router can pass, and the least
that this costs with RunPod at its share. *p95*: seconds to the first token, the unserved counted as never. ± is half a confidence
interval of 95 % over the seeds, where it is not 0.
"""


def policies():
    """The configurations, a file for each strategy."""
    WORK.mkdir(parents=True, exist_ok=True)
    text = (HERE / "policy.toml").read_text()
    for strategy in STRATEGIES:
        file = WORK / f"{strategy}.toml"
        file.write_text(text.replace('strategy = "balanced"', f'strategy = "{strategy}"'))
        yield file


def simulated(router, trace, seeds):
    """What `simulate --json` writes for a trace."""
    name, file, speed, _ = trace
    out = WORK / f"{name}.json"
    command = [router, "simulate", "--trace", ROOT / "tests" / "traces" / file, "--speed", speed, "--seeds", seeds]
    command += ["--scenario", "all", "--baselines", "--json", out]
    for policy in policies():
        command += ["--config", policy]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())


def figure(value, digits):
    """A mean with its confidence interval."""
    if value is None or value["mean"] is None:
        return "never"
    half = value.get("half_width")
    width = f" ±{half:.{digits}f}" if half and round(half, digits) else ""
    return f"{value['mean']:.{digits}f}{width}"


def named(policy):
    name = policy["policy"].removesuffix(".toml")
    return f"**`{name}`**" if name in STRATEGIES else name


def limit(bound):
    if bound is None:
        return "no limit is known"
    within = bound["within_share"]
    return f"limit: SLO {bound['slo_percent']:.1f}, ${within['usd_per_million']:.4f} a million tokens"


def rows(scenario):
    yield "| policy | SLO % | ok % | $/1M | RunPod % | p95 | waste % | 429s |"
    yield "|---|---|---|---|---|---|---|---|"
    for policy in sorted(scenario["policies"], key=lambda policy: policy["policy"].removesuffix(".toml") not in STRATEGIES):
        cells = [
            named(policy),
            figure(policy["slo_percent"], 1),
            figure(policy["ok_percent"], 1),
            figure(policy["usd_per_million"], 4),
            figure(policy["share_percent"][0], 1),
            figure(policy["ttft_p95_of_all"], 1),
            figure(policy["waste_percent"], 1),
            figure(policy["rate_limited"], 0),
        ]
        yield f"| {' | '.join(cells)} |"


def summary(results):
    """`balanced` beside the baseline that keeps most requests within the SLO."""
    yield "| scenario | limit | `balanced`: SLO / ok / $/1M | best baseline: SLO / ok / $/1M |"
    yield "|---|---|---|---|"
    for scenario in results["scenarios"]:
        ours = next(policy for policy in scenario["policies"] if policy["policy"] == "balanced.toml")
        others = [policy for policy in scenario["policies"] if policy["policy"].removesuffix(".toml") not in STRATEGIES]
        best = max(others, key=lambda policy: policy["slo_percent"]["mean"])
        bound = scenario["bound"]
        most = f"{bound['slo_percent']:.1f}" if bound else "-"
        shown = [
            f"{policy['slo_percent']['mean']:.1f} / {policy['ok_percent']['mean']:.1f} / {policy['usd_per_million']['mean']:.4f}"
            for policy in (ours, best)
        ]
        yield f"| {scenario['scenario']} | {most} | {shown[0]} | {shown[1]} ({best['policy']}) |"


def page(all_results, seeds):
    yield HEAD
    yield f"Seeds: {seeds}."
    for (name, _, _, what), results in zip(TRACES, all_results):
        yield f"\n## `{name}`: {what}\n"
        yield from summary(results)
    yield f"\n[All policies in each scenario]({SCENARIOS})."


def scenarios(all_results, seeds):
    yield SCENARIOS_HEAD
    yield f"Seeds: {seeds}."
    for (name, _, _, _), results in zip(TRACES, all_results):
        for scenario in results["scenarios"]:
            yield f"\n## {name}, {scenario['scenario']}\n\n{limit(scenario['bound'])}\n"
            yield from rows(scenario)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("router", metavar="LLM_ROUTER", help="the binary, a release build")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default=DOCS, help="instead of docs/")
    arguments = parser.parse_args()
    results = [simulated(arguments.router, trace, arguments.seeds) for trace in TRACES]
    for name, made in [(PAGE, page), (SCENARIOS, scenarios)]:
        path = arguments.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(made(results, arguments.seeds)) + "\n")


if __name__ == "__main__":
    main()
