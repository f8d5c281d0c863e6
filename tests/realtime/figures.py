"""What a replay comes to, in the simulator's terms."""

import math

import providers
from traffic import Arrival, Outcome

SLO_S = 2.0
# Dollars for a million tokens.
PRICES = {"runpod": 0.02, "cerebras": 0.10}


def quantile(values: list[float], part: float) -> float:
    """The value that this part of them does not pass; infinite without any."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)] if values else math.inf


def measured(requests: list[Arrival], outcomes: list[Outcome], before: dict, after: dict, cpu_s: list[float]) -> dict:
    """The client's view, and what the emulator counted: shares, cost and answers 429."""
    served = [outcome for outcome in outcomes if outcome.ok]
    first = [outcome.first if outcome.ok else math.inf for outcome in outcomes]
    counted = {name: {key: after[name][key] - before[name][key] for key in after[name] if isinstance(after[name][key], int)}
               for name in PRICES}
    completed = {name: counts["completed"] for name, counts in counted.items()}
    tokens = sum(request.prompt_tokens + outcome.tokens for request, outcome in zip(requests, outcomes) if outcome.ok)
    # Broken and cancelled answers cost what they had got; their prompts, which the emulator does not count, are left out.
    cost = sum(PRICES[name] * (counts["prompt_tokens"] + counts["tokens_emitted"]) for name, counts in counted.items())
    errors: dict[str, int] = {}
    for outcome in outcomes:
        if not outcome.ok:
            kind = f"{outcome.status or 'no answer'}{', begun' if outcome.first is not None else ''}"
            errors[kind] = errors.get(kind, 0) + 1
    return {
        "requests": len(outcomes),
        "ok": 100 * len(served) / len(outcomes),
        "slo": 100 * sum(time <= SLO_S for time in first) / len(outcomes),
        "p95": quantile(first, 0.95),
        "p95_served": quantile([outcome.first for outcome in served], 0.95),
        "share": 100 * completed["runpod"] / max(1, sum(completed.values())),
        "usd": cost / max(1, tokens),
        "rate_limited": counted["cerebras"]["refused"],
        "late_p99": quantile([outcome.late for outcome in outcomes], 0.99),
        "late_max": max(outcome.late for outcome in outcomes),
        "errors": errors,
        "cpu_s": cpu_s,
    }


def simulated(policy: dict) -> dict:
    """A policy of `simulate --json`."""

    def mean(name: str) -> float:
        value = policy[name]["mean"]
        return math.inf if value is None else value

    return {
        "ok": mean("ok_percent"), "slo": mean("slo_percent"), "p95": mean("ttft_p95_of_all"),
        "p95_served": mean("ttft_p95"), "share": policy["share_percent"][0]["mean"], "usd": mean("usd_per_million"),
        "rate_limited": mean("rate_limited"), "half_width": policy["slo_percent"]["half_width"],
    }
