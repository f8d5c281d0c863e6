"""Latency and reliability: what on-call opens."""

import board as boards
from panels import (
    AMBER, BLUE, COUNT, GREEN, GREY, PERCENT, PER_SECOND, RED, SECONDS, YELLOW, Query, buckets, by_provider, colored, dashed,
    lines, note, number, states, steps, timeline, wide,
)
from promql import MODEL, PROVIDER, REQUESTS, increase, quantile, rate, ratio, series, sum_of

PICK = (PROVIDER, MODEL)
DURATION = "llmrouter_request_duration_seconds"
FIRST_TOKEN = "llmrouter_time_to_first_token_seconds"
OVERHEAD = "llmrouter_overhead_seconds"
ATTEMPTS = "llmrouter_upstream_attempts_total"
OURS = 'outcome=~"ok|error|timeout"'
BUDGET = "0.005"

NOTES = """
- **Success** counts what we or the providers answer for: `ok` over `ok`, `error` and `timeout`. Clients that left and requests
  that were at fault themselves are in neither.
- **Burn rate** 1 uses up a budget of 0.5 % failures in exactly 30 days. 14.4 over an hour and 6 over six hours wake someone.
- **Time to first token** is of streams only; a whole answer has no first token.
- **Overhead** is the router's own time: the request's, less calls to upstreams and waits before repeats. If it is low and
  answers are slow, the provider is slow.
- Latencies are read off histogram buckets, so a figure is right to within its bucket: 0.1 s wide around a second.
"""


def quantiles(metric, *matchers, by=""):
    label = f"{{{{{by}}}}} " if by else ""
    return [Query(quantile(q, metric, *matchers, by=by), f"{label}p{round(q * 100)}") for q in (0.5, 0.95, 0.99)]


def board():
    page = boards.Board(
        "llm-router-latency", "llm-router: latency and reliability",
        "How fast and how reliably requests are answered, and which upstream is at fault when they are not.",
        "now-1h", boards.provider(), boards.model(),
    )
    headline(page)
    latency(page)
    failures(page)
    upstreams(page)
    page.row("Reading this page")
    page.add(24, 6, note("What is counted", "Definitions of the figures above.", NOTES.strip()))
    return page.build()


def headline(page):
    aim = f"max({series('llmrouter_slo_first_token_seconds', MODEL)})"
    success = ratio(sum_of(increase(REQUESTS, *PICK, 'outcome="ok"')), sum_of(increase(REQUESTS, *PICK, OURS)))
    page.row("Now and in this range")
    page.add(
        4, 4,
        number("Requests per second", "Average over the range, all outcomes.", PER_SECOND,
               Query(f"sum(rate({series(REQUESTS, *PICK)}[$__range]))")),
        number("Success ratio", "Served requests over served and failed ones; clients' own faults and departures are left out.",
               PERCENT, Query(success), thresholds=steps(RED, (0.99, AMBER), (0.995, GREEN)), decimals=3, nothing="no traffic"),
        number("p95, end to end", "95 of 100 answers ended within this time.", SECONDS,
               Query(quantile(0.95, DURATION, *PICK, window="$__range")), nothing="no traffic"),
        number("p95, first token", "95 of 100 streams began within this time; beside it the shortest aim of a chosen model.", SECONDS,
               Query(quantile(0.95, FIRST_TOKEN, *PICK, window="$__range"), "p95"),
               Query(aim.replace("max(", "min(", 1), "aim"), nothing="no streams"),
        number("p99, router overhead", "The router's own time in 99 of 100 answers.", SECONDS,
               Query(quantile(0.99, OVERHEAD, window="$__range")), thresholds=steps(GREEN, (0.005, AMBER), (0.02, RED)),
               nothing="no traffic"),
        number("Calls in flight", "Calls to upstreams under way now.", COUNT,
               Query(sum_of(series("llmrouter_inflight_requests", PROVIDER)))),
    )


def latency(page):
    page.row("Latency")
    page.add(
        12, 8,
        dashed(wide(by_provider(
            lines("End to end, by provider", "From a request's arrival to the end of its answer; served requests. Thin: median. "
                  "Thick: p95. Dashed: p99.", SECONDS, *quantiles(DURATION, *PICK, by="provider"), log=2)), "p95$"), "p99$"),
        buckets("End to end, distribution", "How many answers took how long, in the histogram's own buckets. Two bands are two "
                "providers.", SECONDS, Query(sum_of(increase(DURATION + "_bucket", *PICK).replace("$__range", "$__rate_interval"),
                                                    by="le"), "{{le}}")),
    )
    page.add(
        8, 8,
        dashed(colored(by_provider(
            lines("First token: p95 against the aim", "Streams, from sending the call to its first token, by provider; dashed where "
                  "a model has an aim.", SECONDS, Query(quantile(0.95, FIRST_TOKEN, *PICK, by="provider"), "{{provider}} p95"),
                  Query(f"max by (model) ({series('llmrouter_slo_first_token_seconds', MODEL)})", "aim of {{model}}"), log=2)),
            aim=GREY), "^aim"),
        by_provider(
            lines("Mean, end to end, by provider", "What the cheaper provider costs in time, as an average.", SECONDS,
                  Query(ratio(sum_of(rate(DURATION + "_sum", *PICK), by="provider"),
                              sum_of(rate(DURATION + "_count", *PICK), by="provider")), "{{provider}}"), low=0)),
        lines("Router overhead", "Time in the router itself: not in calls, not in waits before repeats.", SECONDS,
              *quantiles(OVERHEAD), low=0, thresholds=steps(GREEN, (0.02, RED))),
    )


def failures(page):
    page.row("Requests and failures")
    burn = [Query(f"{series(f'job:llmrouter_errors:ratio_rate{window}')} / {BUDGET}", f"{{{{job}}}} {window}")
            for window in ("5m", "30m", "1h", "6h", "3d")]
    page.add(
        8, 8,
        colored(
            lines("Requests by outcome", "Rejected: the client's own fault. Cancelled: it left.", PER_SECOND,
                  Query(sum_of(rate(REQUESTS, *PICK), by="outcome"), "{{outcome}}"), stacked=True, low=0),
            ok=GREEN, error=RED, timeout=AMBER, rejected=YELLOW, cancelled=BLUE),
        by_provider(
            lines("Success ratio over time", "Served over served and failed, by provider that answered or failed last.", PERCENT,
                  Query(ratio(sum_of(rate(REQUESTS, *PICK, 'outcome="ok"'), by="provider"),
                              sum_of(rate(REQUESTS, *PICK, OURS), by="provider")), "{{provider}}"), high=1)),
        lines("Burn rate of the error budget", "How many times faster than allowed the 30-day budget is used, over several windows, "
              "all models and providers. From the recording rules.", COUNT, *burn, low=0,
              thresholds=steps(GREEN, (1, AMBER), (6, RED)), nothing="no traffic, or no recording rules"),
    )
    page.add(
        8, 8,
        lines("Failed requests by code", "What clients were told, by outcome and code; all providers.", PER_SECOND,
              Query(sum_of(rate("llmrouter_request_errors_total", MODEL), by="outcome, code"), "{{outcome}}: {{code}}"),
              low=0, nothing="none failed"),
        lines("Failed calls by kind", "Calls to upstreams that failed, whether or not another one answered in the end.", PER_SECOND,
              Query(sum_of(rate("llmrouter_upstream_errors_total", PROVIDER), by="upstream, kind") + " > 0", "{{upstream}}: {{kind}}"),
              low=0, nothing="none failed"),
        lines("Fallbacks by cause", "Attempts on another upstream, by where the failure was and what it was.", PER_SECOND,
              Query(sum_of(rate("llmrouter_fallbacks_total", MODEL), by="from, cause"), "{{from}}: {{cause}}"),
              low=0, nothing="no fallback"),
    )


def upstreams(page):
    page.row("Upstreams")
    page.add(
        12, 7,
        lines("Attempts by role and outcome", "Every call to an upstream: the first of a request, a repeat, or on another one.",
              PER_SECOND, Query(sum_of(rate(ATTEMPTS, *PICK), by="provider, role, outcome") + " > 0",
                                "{{provider}} {{role}} {{outcome}}"), stacked=True, low=0),
        lines("Calls in flight", "Calls under way, by upstream.", COUNT,
              Query(sum_of(series("llmrouter_inflight_requests", PROVIDER), by="upstream"), "{{upstream}}"), low=0),
    )
    page.add(
        12, 6,
        timeline("Breakers", "The worst state over all replicas. Open: no calls but probes.", COUNT,
                 Query(f"max by (upstream) ({series('llmrouter_breaker_state', PROVIDER)})", "{{upstream}}"),
                 states(v0=("closed", GREEN), v1=("half-open", AMBER), v2=("open", RED))),
        timeline("Upstream takes calls", "In every replica, in none, or in some.", PERCENT,
                 Query(f"avg by (upstream) ({series('llmrouter_provider_up', PROVIDER)})", "{{upstream}}"),
                 states(v0=("no", RED), v1=("yes", GREEN))),
    )
