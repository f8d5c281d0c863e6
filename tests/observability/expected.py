"""What cost panels must say, from the emulator's call logs and the prices of the configuration."""

from dataclasses import dataclass, field

import lab
import load

WHAT_IF = "What if: other shares on GPUs"


@dataclass(frozen=True)
class Figure:
    """The figure of a panel's query, or of one of its series."""

    panel: str
    ref: str
    value: float
    within: float
    labels: dict[str, str] = field(default_factory=dict)
    # Whether the figure is that of all series together.
    is_sum: bool = False

    def __str__(self):
        return " / ".join([self.panel, self.ref, *self.labels.values()])


def near(panel: str, ref: str, value: float, part=0.02, **labels: str) -> Figure:
    return Figure(panel, ref, value, abs(value) * part, labels)


def figures(it: lab.Lab, span, before: dict, logs: dict) -> list[Figure]:
    def tokens(face: str) -> int:
        return logs[face]["prompt_tokens"] + logs[face]["completion_tokens"]

    def estimated(upstream: str) -> float:
        """No call log has these: nobody reported them. That they are counted at all, and as spent, is what is checked."""
        found = it.query("query", query=f'sum(llmrouter_estimated_cost_usd_total{{upstream="{upstream}"}})', time=span.until)
        return float(found[0]["value"][1])

    gpu_tokens, api_tokens = tokens("runpod_queue"), tokens("cerebras")
    every = gpu_tokens + api_tokens
    gpu, api = gpu_tokens * lab.GPU_LIST_USD / 1e6, api_tokens * lab.API_USD / 1e6
    guessed = estimated(lab.GPU) + estimated(lab.API)
    seconds = logs["runpod_queue"]["worker_seconds"] - before["runpod_queue"]["worker_seconds"]
    bill = seconds * lab.GPU_SECOND_USD
    base = every * lab.API_USD / 1e6
    spent, billed = gpu + api + guessed, api + estimated(lab.API) + bill
    hours = span.seconds / 3600
    completed = {name: logs[face]["completed"] for name, face in ((lab.GPU, "runpod_queue"), (lab.API, "cerebras"))}
    share = completed[lab.GPU] / sum(completed.values())
    what_if = [
        figure
        for w in (0.60, 0.80, 0.95)
        for figure in (
            near(WHAT_IF, "A", every / 1e6 * (w * lab.GPU_LIST_USD + (1 - w) * lab.API_USD), share=f"{w * 100:.0f} %"),
            near(WHAT_IF, "B", every / 1e6 * w * (lab.API_USD - lab.GPU_LIST_USD), share=f"{w * 100:.0f} %"),
            near(WHAT_IF, "C", (1 - w) * base + bill, share=f"{w * 100:.0f} %"),
        )
    ]
    return [
        near("Saved, list-priced", "A", base - spent),
        near("Saved, as billed", "A", base - billed),
        near("Savings ratio, list-priced", "A", 1 - spent / base),
        near("Savings ratio, as billed", "A", 1 - billed / base),
        near("GPU price per million tokens", "A", bill / gpu_tokens * 1e6, upstream=lab.GPU),
        near("Spent, list-priced", "A", spent),
        near("Spent, as billed", "A", billed),
        near("At the baseline", "A", base),
        near("List price per million", "A", (gpu + api) / every * 1e6),
        near("Month at this pace, as billed", "A", billed / hours * 24 * 30),
        near("Pace of spending, per hour", "A", spent / hours),
        near("Pace of spending, per hour", "B", billed / hours),
        near("Pace of spending, per hour", "C", base / hours),
        near("Savings ratio over time", "A", 1 - spent / base),
        near("Savings ratio over time", "B", 1 - billed / base),
        near("Wasted and estimated share", "B", guessed / spent),
        *what_if,
        near("Effective price per million tokens", "A", bill / gpu_tokens * 1e6, upstream=lab.GPU),
        near("Effective price per million tokens", "B", lab.GPU_LIST_USD, upstream=lab.GPU),
        near("Effective price per million tokens", "C", lab.API_USD, upstream=lab.GPU),
        near("GPU bill, per hour", "A", bill / hours, upstream=lab.GPU),
        near("Pace by upstream and kind, per hour", "A", gpu / hours, upstream=lab.GPU, kind="served"),
        near("Pace by upstream and kind, per hour", "A", api / hours, upstream=lab.API, kind="served"),
        near("By model", "A", every, model=lab.MODEL),
        near("By model", "B", spent, model=lab.MODEL),
        near("By model", "C", base, model=lab.MODEL),
        near("By model", "D", base - spent, model=lab.MODEL),
        *(
            Figure("Showback by team", ref, value, value * 0.02, is_sum=True)
            for ref, value in {"A": load.REQUESTS, "B": every, "C": spent, "D": base, "E": base - spent}.items()
        ),
        near("Cost per 1,000 requests", "A", (gpu + estimated(lab.GPU)) / completed[lab.GPU] * 1e3, upstream=lab.GPU),
        near("Cost per 1,000 requests", "A", (api + estimated(lab.API)) / completed[lab.API] * 1e3, upstream=lab.API),
        near("Cost per 1,000 requests", "B", bill / completed[lab.GPU] * 1e3, upstream=lab.GPU),
        Figure("Actual split", "A", share, 0.03, {"upstream": lab.GPU}),
        # On a slow machine first tokens come late, and some requests are served elsewhere.
        Figure("Actual split", "A", lab.SHARE, 0.1, {"upstream": lab.GPU}),
        Figure("Shares in this range", "C", share, 0.03, {"upstream": lab.GPU}),
        Figure("Shares in this range", "D", gpu_tokens / every, 0.03, {"upstream": lab.GPU}),
    ]
