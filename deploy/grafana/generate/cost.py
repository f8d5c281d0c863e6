"""Cost savings: what finance opens."""

import board as boards
from panels import (
    AMBER, COUNT, GREEN, PERCENT, RED, USD, Query, columns, dashed, lines, note, number, steps, wide,
)
from promql import (
    BASELINE, COST, ESTIMATED, GPU_COST, GPU_PRICE, GPU_SECONDS, MODEL, PROVIDER, REQUESTS, TOKENS,
    baseline, billed, increase, listed, or_zero, rate, ratio, series, sum_of, utilisation,
)

MONTH_S = 30 * 86400
TEAM = 'team=~"$team"'

CAVEATS = """
**How to read this.** *Saved* is a comparison with something that did not happen: every served answer priced again at the
baseline, less what was spent. It is an estimate of a choice, not a line on an invoice.

- **List-priced** takes each upstream at its price per token. For RunPod that price is an allocation: RunPod bills worker
  seconds, and a worker that waits costs as much as one that works. **As billed** puts those seconds in its place and is the
  figure to compare with invoices. When the two differ, look at the utilisation.
- The price ratio of two providers is not the saving. At $0.02 against $0.10 the ratio is 80 %; with 80 % of the tokens on the
  cheaper one, 64 % is saved.
- The same prompt would have had an answer of another length, perhaps counted by another tokenizer, at the baseline.
- Work that would not have been done at the baseline's price is no saving.
- Time is not priced: a slower answer costs users something that stands on the latency dashboard, not here.
- Wasted tokens (attempts that failed after they were paid for) and estimated ones (cut streams) count as spent, never as saved.
- Of replicas with a `[shared]`, one at a time counts workers. Without it each does, and what is billed here is too much.
- Fixed costs (storage, seats, minimum commitments) are in no figure. A model without a baseline counts as spent only.
- Charge teams from the ledger (`llm-router spend`), not from this page. The two differ where Prometheus extrapolates at both ends
  of a range and where a router was killed: what it had counted since the last scrape is only in the ledger, and so are the calls
  that were under way, at the most that they may have cost.
- GPU time in the ledger (`llm-router gpu`) has half a second more for each start of a worker, because RunPod rounds up, and is
  shared out to calls by the hour, when that is over.
"""


def whole(metric, *matchers):
    return sum_of(increase(metric, *matchers))


def what_if(share: str, expr: str) -> str:
    return f'label_replace({expr}, "share", "{share}", "", "")'


def what_ifs(expr) -> str:
    """One row for each share of tokens on GPU upstreams; `expr` makes the query for a share."""
    return " or ".join(what_if(f"{share} %", expr(share / 100)) for share in (60, 80, 95))


def by_model_at_baseline() -> str:
    return sum_of(increase(BASELINE, 'baseline="$baseline"'), by="model")


def by_model_on_gpus() -> str:
    """What all tokens of a model would cost at the list price of its GPU upstreams; models that have one only."""
    alone = increase(BASELINE, 'baseline=~"all:.+"')
    price = f"last_over_time({series(GPU_PRICE)}[$__range])"
    names = f'label_replace({price}, "baseline", "all:$1", "upstream", "(.+)")'
    return f"sum by (model) (avg by (job, instance, model) ({alone} and on (job, instance, baseline) {names}))"


def break_even() -> str:
    """The baseline's price of what each GPU upstream did, model by model, per million tokens."""
    per_token = ratio(sum_of(rate(BASELINE, 'baseline="$baseline"'), by="model"), sum_of(rate(TOKENS), by="model"))
    value = f"{sum_of(rate(TOKENS), by='upstream, model')} * on (model) group_left () ({per_token})"
    price = ratio(f"1e6 * sum by (upstream) ({value})", sum_of(rate(TOKENS), by="upstream"))
    return f"{price} and on (upstream) {series(GPU_PRICE)}"


def board():
    team = boards.any_of("team", "Team", "Teams that have sent requests.",
                         f"label_values({series('llmrouter_team_requests_total')}, team)")
    policy = boards.one_of(
        "baseline", "Baseline",
        "What to compare with: each model's own baseline (configured), the configured shares (split), or one upstream for all.",
        f"label_values({series(BASELINE)}, baseline)", "configured",
    )
    page = boards.Board(
        "llm-router-cost", "llm-router: cost savings",
        "What the routing saved against a baseline: at list prices, and as providers bill.",
        "now-6h", policy, boards.provider(), boards.model(), team,
    )
    page.link("Last 30 days", "The month so far, for reports", "/d/llm-router-cost?from=now-30d&to=now")
    headline(page)
    spending(page)
    gpus(page)
    detail(page)
    page.row("What these figures do not say")
    page.add(24, 9, note("Before you quote a figure", "What a saving is measured against, and what it leaves out.",
                         CAVEATS.strip()))
    return page.build()


def headline(page):
    saving = steps(RED, (0, AMBER), (0.5, GREEN))
    amount = steps(RED, (0, GREEN))
    page.row("Saved in this range: all models and providers")
    page.add(
        8, 4,
        number("Saved, list-priced", "Baseline cost of the served tokens, less the list price of all tokens spent, wasted and "
               "estimated ones included.", USD, Query(f"{baseline(increase)} - {listed(increase)}"), thresholds=amount,
               nothing="no baseline"),
        number("Saved, as billed", "Baseline cost of the served tokens, less what is billed: tokens where tokens are paid for, "
               "worker seconds where workers are, idle ones included. Below zero, the GPUs cost more than the baseline would have.",
               USD, Query(f"{baseline(increase)} - {billed(increase)}"), thresholds=amount, nothing="no baseline"),
        number("GPU utilisation", "Share of billed worker seconds in which a call of ours was under way. The rest was start-up and "
               "waiting: the gap between the two savings.", PERCENT, Query(utilisation(increase)),
               thresholds=steps(RED, (0.2, AMBER), (0.5, GREEN)), nothing="no GPU billed"),
    )
    page.add(
        8, 4,
        number("Savings ratio, list-priced", "Share of the baseline cost that was saved at list prices. 64 % is what an 80/20 "
               "split of tokens gives at $0.02 against $0.10.", PERCENT,
               Query(f"1 - {ratio(listed(increase), baseline(increase))}"), thresholds=saving, nothing="no baseline"),
        number("Savings ratio, as billed", "Share of the baseline cost that was saved by what is billed.", PERCENT,
               Query(f"1 - {ratio(billed(increase), baseline(increase))}"), thresholds=saving, nothing="no baseline"),
        number("GPU price per million tokens", "What a million tokens cost on each upstream that bills worker seconds.", USD,
               Query(ratio(f"1e6 * {sum_of(increase(GPU_COST), by='upstream')}", sum_of(increase(TOKENS), by="upstream")),
                     "{{upstream}}"), nothing="no GPU billed"),
    )


def spending(page):
    page.row("Spending: all models and providers")
    uncertain = f"({whole('llmrouter_unpriced_requests_total')} + {whole('llmrouter_usage_estimated_total')})"
    page.add(
        4, 4,
        number("Spent, list-priced", "List price of all tokens: served, wasted and estimated.", USD, Query(listed(increase))),
        number("Spent, as billed", "Tokens where tokens are paid for, worker seconds where workers are.", USD,
               Query(billed(increase))),
        number("At the baseline", "What the served tokens would have cost.", USD, Query(baseline(increase)), nothing="no baseline"),
        number("List price per million", "List-priced spending over all counted tokens.", USD,
               Query(ratio(f"1e6 * {whole(COST)}", whole(TOKENS)))),
        number("Month at this pace, as billed", "Thirty days at this range's average pace. Choose a range with data in all of it: "
               "time before the first sample counts as free.", USD, Query(f"{billed(increase)} / $__range_s * {MONTH_S}")),
        number("Unpriced or estimated", "Share of requests whose cost is unknown or rests on estimated tokens. Above 1 %, the "
               "savings are not to be quoted.", PERCENT, Query(ratio(uncertain, whole(REQUESTS))),
               thresholds=steps(GREEN, (0.01, AMBER), (0.05, RED))),
    )
    page.add(
        12, 8,
        lines("Pace of spending, per hour", "List-priced and billed spending against the baseline, in dollars an hour.", USD,
              Query(f"3600 * {listed(rate)}", "list-priced"), Query(f"3600 * {billed(rate)}", "as billed"),
              Query(f"3600 * {baseline(rate)}", "baseline"), low=0),
        lines("Savings ratio over time", "List-priced and as billed. The second falls with the utilisation, and far below the axis "
              "while GPUs are paid for and nobody asks.", PERCENT,
              Query(f"1 - {ratio(listed(rate), baseline(rate))}", "list-priced"),
              Query(f"1 - {ratio(billed(rate), baseline(rate))}", "as billed"), thresholds=steps(RED, (0, AMBER), (0.5, GREEN)),
              low=-1, high=1),
    )
    spend = listed(rate)
    page.add(
        12, 7,
        lines("Wasted and estimated share", "Share of list-priced spending on attempts that did not serve, and on tokens that no "
              "upstream counted. Waste comes with failures; estimates come with clients that leave.", PERCENT,
              Query(ratio(sum_of(rate(COST, 'kind="wasted"')), spend), "wasted"),
              Query(ratio(sum_of(rate(ESTIMATED)), spend), "estimated"), thresholds=steps(GREEN, (0.05, RED)), low=0),
        columns("What if: other shares on GPUs", "The tokens of this range, split otherwise: so much on upstreams that bill worker "
                "seconds, the rest at the baseline. Assumes the same tokens. The last column assumes that the same workers would "
                "have carried them, which holds only while they have room. Models without a GPU upstream are left out.", USD,
                {"share": "Share on GPUs"},
                {
                    "Spent, list-priced": what_ifs(
                        lambda w: f"sum({w:.2f} * {by_model_on_gpus()} + on (model) {1 - w:.2f} * {by_model_at_baseline()})"),
                    "Saved, list-priced": what_ifs(
                        lambda w: f"sum({w:.2f} * ({by_model_at_baseline()} - on (model) {by_model_on_gpus()}))"),
                    "Spent, same workers": what_ifs(
                        lambda w: f"({1 - w:.2f} * sum({by_model_at_baseline()} and on (model) {by_model_on_gpus()}) + "
                                  f"{or_zero(sum_of(increase(GPU_COST)))})"),
                }),
    )


def gpus(page):
    page.row("GPUs: what a worker's second buys")
    effective = ratio(f"1e6 * {sum_of(rate(GPU_COST), by='upstream')}", sum_of(rate(TOKENS), by="upstream"))
    at_list = f"max by (upstream) ({series('llmrouter_price_usd_per_million_tokens')} and on (upstream) {series(GPU_PRICE)})"
    page.add(
        12, 8,
        dashed(wide(
            lines("Effective price per million tokens", "What a million tokens cost by the worker seconds billed, against the list "
                  "price that savings assume and against break-even: the baseline's price of the same work. Above break-even, "
                  "the upstream loses money.", USD, Query(effective, "{{upstream}} effective"),
                  Query(at_list, "{{upstream}} list price"), Query(break_even(), "{{upstream}} break-even"), log=10,
                  nothing="no GPU billed"), "effective$"), "(list price|break-even)$"),
        lines("Utilisation", "Busy worker seconds over billed ones, by upstream.", PERCENT,
              Query(utilisation(rate, by="upstream"), "{{upstream}}"), low=0, high=1,
              thresholds=steps(RED, (0.2, AMBER), (0.5, GREEN)), nothing="no GPU billed"),
    )
    page.add(
        8, 7,
        lines("Billed workers by what they did", "Worker seconds a second, so that the height is a number of workers. Start: up "
              "from zero, nothing answered yet. Idle: billed without a call of ours.", COUNT,
              Query(f"sum by (upstream, state) ({rate(GPU_SECONDS)})", "{{upstream}} {{state}}"), stacked=True, low=0,
              nothing="no GPU billed"),
        lines("GPU bill, per hour", "Billed worker seconds at their price, in dollars an hour.", USD,
              Query(f"3600 * {sum_of(rate(GPU_COST), by='upstream')}", "{{upstream}}"), low=0, nothing="no GPU billed"),
        number("Time not observed", "Share of time in which the number of workers was unknown. Nothing is billed then, so the real "
               "invoice is higher by about this much.", PERCENT,
               Query(f"sum by (upstream) (rate({series('llmrouter_gpu_unobserved_seconds_total')}[$__range]))", "{{upstream}}"),
               thresholds=steps(GREEN, (0.02, AMBER), (0.1, RED)), nothing="no GPU billed"),
    )


def detail(page):
    page.row("In detail: chosen providers, models and teams, at list prices")
    pick = (PROVIDER, MODEL)
    page.add(
        12, 8,
        lines("Pace by upstream and kind, per hour", "List price of tokens in dollars an hour: served, wasted on attempts that did "
              "not serve, or estimated.", USD,
              Query(f"3600 * {sum_of(rate(COST, *pick), by='upstream, kind')} > 0", "{{upstream}} {{kind}}"),
              Query(f"3600 * {sum_of(rate(ESTIMATED, *pick), by='upstream')} > 0", "{{upstream}} estimated"), stacked=True, low=0),
        lines("Tokens per second by type", "As upstreams counted them; cached input and reasoning stand apart.", COUNT,
              Query(sum_of(rate(TOKENS, *pick), by="upstream, type") + " > 0", "{{upstream}} {{type}}"), stacked=True, low=0),
    )
    cost, estimated = (sum_of(increase(metric, MODEL), by="model") for metric in (COST, ESTIMATED))
    base = sum_of(increase(BASELINE, 'baseline="$baseline"', MODEL), by="model")
    team_cost = sum_of(increase("llmrouter_team_cost_usd_total", TEAM), by="team")
    team_base = sum_of(increase("llmrouter_team_baseline_cost_usd_total", TEAM), by="team")
    page.add(
        12, 8,
        columns("By model", "Spending of each chosen model over all providers, at list prices.", USD, {"model": "Model"}, {
            "Tokens": sum_of(increase(TOKENS, MODEL), by="model"),
            "Spent": f"{cost} + {estimated}",
            "At the baseline": base,
            "Saved": f"{base} - ({cost} + {estimated})",
        }, {"Tokens": COUNT}),
        columns("Showback by team", "Every team's share at list prices; wasted and estimated tokens count as its own. The baseline "
                "is the configured one, whatever is chosen above. To show, not to charge by.", USD, {"team": "Team"}, {
            "Requests": sum_of(increase("llmrouter_team_requests_total", TEAM), by="team"),
            "Tokens": sum_of(increase("llmrouter_team_tokens_total", TEAM), by="team"),
            "Spent": team_cost,
            "At the baseline": team_base,
            "Saved": f"{team_base} - {team_cost}",
        }, {"Requests": COUNT, "Tokens": COUNT}),
    )
