"""Provider and strategy tuning: what the platform engineer opens after an edit."""

import board as boards
from panels import (
    AMBER, COUNT, GREEN, PERCENT, PER_SECOND, RED, SECONDS, USD, Query, background, bars, columns, dashed, lines, note, number,
    on_the_right, states, steps,
)
from promql import (
    COST, ESTIMATED, GPU_COST, GPU_SECONDS, MODEL, REQUESTS, TOKENS, increase, quantile, rate, ratio, series, sum_of,
)

WEIGHT = "llmrouter_weight_ratio"
OK = 'outcome="ok"'
DURATION = "llmrouter_request_duration_seconds"
NAMES = "{{model}} {{upstream}}"

NOTES = """
- A **share** is of requests. Of tokens it differs when long prompts go to one side; money follows tokens.
- **Configured** is the file's share. **Effective** is what it comes to among the upstreams that take calls now.
- **Drift** is actual less configured. `balanced` goes elsewhere while an upstream is cold or broken and pays the difference back;
  lasting drift means that it cannot. `cost` and `latency` choose by themselves: there, drift means nothing.
- **Reasons**: `share` as due; `spill` as the one that was due could not take it; `cheapest` and `fastest` by strategy;
  `fallback` after a failure.
- After a change of the file, wait for a minute of traffic beyond the purple mark before comparing.
"""


def by_model(vector: str) -> str:
    """Shares among the upstreams of each model."""
    return f"{sum_of(vector, by='model, upstream')} / on (model) group_left () ({sum_of(vector, by='model')} > 0)"


def weight(kind: str, over="") -> str:
    """Now, or with `over` on average over a window: a range with a reload in it has had several."""
    pick = series(WEIGHT, MODEL, f'kind="{kind}"')
    return f"avg by (model, upstream) ({f'avg_over_time({pick}[{over}])' if over else pick})"


def board():
    page = boards.Board(
        "llm-router-tuning", "llm-router: provider and strategy tuning",
        "Whether the configured split is what happens, why, and what it does to cost and latency.", "now-1h", boards.model(),
    )
    split(page)
    effect(page)
    capacity(page)
    configuration(page)
    page.row("Reading this page")
    page.add(24, 6, note("What is counted", "Definitions of the figures above.", NOTES.strip()))
    return page.build()


def split(page):
    served = increase(REQUESTS, MODEL, OK)
    served_now = rate(REQUESTS, MODEL, OK)
    tokens = increase(TOKENS, MODEL)
    drift = f"{by_model(served)} - on (model, upstream) {weight('configured', over='$__range')}"
    page.row("Split: configured and actual")
    page.add(
        12, 8,
        background(
            lines("Actual split", "Share of each model's served requests; dashed, the configured ones.", PERCENT,
                  Query(by_model(served_now), NAMES), Query(weight("configured"), f"configured: {NAMES}"), low=0, high=1),
            "^configured"),
        columns("Shares in this range", "By model and upstream. Configured and effective are of this moment; by requests and by "
                "tokens is what happened, and drift is that of requests from what was configured on average.", PERCENT,
                {"model": "Model", "upstream": "Upstream"}, {
                    "Configured": weight("configured"),
                    "Effective": weight("effective"),
                    "By requests": by_model(served),
                    "By tokens": by_model(tokens),
                    "Drift": drift,
                }),
    )
    page.add(
        8, 7,
        bars("Configured and effective share", "The file's shares, and what they come to among the upstreams that take calls now.",
             PERCENT, Query(weight("configured"), NAMES), Query(weight("effective"), f"now: {NAMES}"), high=1),
    )
    page.add(
        4, 7,
        number("Largest drift", "The largest distance between an actual share and the configured one, both of the whole range. With "
               "cost and latency as strategies it means nothing.", PERCENT, Query(f"max(abs({drift}))"),
               thresholds=steps(GREEN, (0.05, AMBER), (0.1, RED)), nothing="no traffic"),
    )
    page.add(
        12, 7,
        lines("Split drift", "Actual less configured share, by model and upstream.", PERCENT,
              Query(f"{by_model(served_now)} - on (model, upstream) {weight('configured')}", NAMES),
              thresholds=steps(RED, (-0.1, GREEN), (0.1, RED))),
    )


def effect(page):
    page.row("What it does to cost and latency")
    page.add(
        8, 8,
        lines("Decisions by reason", "Why each call went where it went.", PER_SECOND,
              Query(sum_of(rate("llmrouter_decisions_total", MODEL), by="upstream, reason") + " > 0", "{{upstream}}: {{reason}}"),
              stacked=True, low=0),
        lines("Cost per 1,000 requests", "List price of an upstream's tokens, wasted and estimated ones included, by what it served; "
              "and its billed worker seconds, by what it served of all models.", USD,
              Query(ratio(f"1e3 * ({sum_of(rate(COST, MODEL), by='upstream')} + {sum_of(rate(ESTIMATED, MODEL), by='upstream')})",
                          sum_of(rate(REQUESTS, MODEL, OK), by="upstream")), "{{upstream}} list-priced"),
              Query(ratio(f"1e3 * {sum_of(rate(GPU_COST), by='upstream')}", sum_of(rate(REQUESTS, OK), by="upstream"))
                    + f" and on (upstream) {series(WEIGHT, MODEL)}", "{{upstream}} as billed"), log=10),
        dashed(lines("Latency, end to end", "Median (dashed) and p95 of served requests, by upstream.", SECONDS,
                     Query(quantile(0.5, DURATION, MODEL, by="upstream"), "{{upstream}} p50"),
                     Query(quantile(0.95, DURATION, MODEL, by="upstream"), "{{upstream}} p95"), log=2), "p50$"),
    )


def capacity(page):
    page.row("Capacity of upstreams: all models")
    page.add(
        12, 8,
        lines("Workers by state", "As RunPod reports them; a gap means unknown. Throttled: no GPU is free. All at zero: scaled down "
              "for good.", COUNT,
              Query(f"max by (upstream, state) ({series('llmrouter_provider_workers')})", "{{upstream}} {{state}}"),
              stacked=True, low=0, nothing="not reported"),
        lines("Billed workers by what they did", "Worker seconds a second. Much idle: raise the share here, or shorten the idle "
              "timeout.", COUNT,
              Query(f"sum by (upstream, state) ({rate(GPU_SECONDS)})", "{{upstream}} {{state}}"),
              stacked=True, low=0, nothing="no GPU billed"),
        lines("Calls in flight and queued", "Ours under way, and jobs that wait at the provider.", COUNT,
              Query(sum_of(series("llmrouter_inflight_requests"), by="upstream"), "{{upstream}} in flight"),
              Query(f"max by (upstream) ({series('llmrouter_queue_depth')})", "{{upstream}} queued"), low=0),
        on_the_right(
            lines("Quota left", "What the provider's last answer said is left in its tightest window: tokens on the left, requests "
                  "on the right.", COUNT,
                  Query(f"min by (upstream, kind) ({series('llmrouter_quota_remaining')})", "{{upstream}} {{kind}}"),
                  low=0, nothing="not reported"), "requests$"),
    )


def configuration(page):
    reloaded = series("llmrouter_config_last_reload_success_timestamp_seconds")
    page.row("Configuration")
    page.add(
        5, 5,
        number("Version in force", "Hash of the configuration. More than one: replicas differ.", COUNT,
               Query(f"count by (version) ({series('llmrouter_config_info')})", "{{version}}"), by_name=True),
        number("Last reload", "Failed: the file has problems, and the one before it is in force.", COUNT,
               Query(f"min({series('llmrouter_config_last_reload_successful')})"),
               mappings=states(v0=("failed", RED), v1=("good", GREEN))),
        number("Since the last good load", "Age of the configuration in force; the oldest of all replicas. A start counts.", SECONDS,
               Query(f"time() - min({reloaded})"), decimals=0),
        number("Reloads in range", "By result.", COUNT,
               Query(sum_of(increase("llmrouter_config_reloads_total"), by="result"), "{{result}}"), decimals=0),
    )
    page.add(
        4, 5,
        number("Program version", "More than one: an update is under way.", COUNT,
               Query(f"count by (version) ({series('llmrouter_build_info')})", "{{version}}"), by_name=True),
    )
