"""Pieces of PromQL. Every selector carries the job; a ratio divides sums, never averages ratios."""

JOB = 'job=~"$job"'
MODEL = 'model=~"$model"'
PROVIDER = 'provider=~"$provider"'

COST = "llmrouter_cost_usd_total"
ESTIMATED = "llmrouter_estimated_cost_usd_total"
BASELINE = "llmrouter_baseline_cost_usd_total"
GPU_COST = "llmrouter_gpu_cost_usd_total"
GPU_SECONDS = "llmrouter_gpu_seconds_total"
GPU_PRICE = "llmrouter_gpu_second_price_usd"
TOKENS = "llmrouter_tokens_total"
REQUESTS = "llmrouter_requests_total"


def series(metric: str, *matchers: str) -> str:
    return f"{metric}{{{', '.join((JOB, *matchers))}}}"


def rate(metric: str, *matchers: str) -> str:
    return f"rate({series(metric, *matchers)}[$__rate_interval])"


def increase(metric: str, *matchers: str) -> str:
    return f"increase({series(metric, *matchers)}[$__range])"


def sum_of(vector: str, by: str = "") -> str:
    return f"sum by ({by}) ({vector})" if by else f"sum({vector})"


def ratio(above: str, below: str) -> str:
    """Nothing, rather than NaN, while there is nothing to divide by."""
    return f"{above} / ({below} > 0)"


def or_zero(vector: str) -> str:
    return f"({vector} or vector(0))"


def quantile(q: float, metric: str, *matchers: str, by: str = "", window: str = "$__rate_interval") -> str:
    """A quantile of a histogram. Without observations it is NaN, which no comparison keeps."""
    labels = f"le, {by}" if by else "le"
    buckets = f"rate({series(metric + '_bucket', *matchers)}[{window}])"
    return f"histogram_quantile({q}, sum by ({labels}) ({buckets})) >= 0"


def not_gpu(vector: str, window: str) -> str:
    """Only what is paid by the token. The price is looked for in all of the window: a replica that is gone has counted too."""
    price = f"last_over_time({series(GPU_PRICE)}[{window}])"
    return f"{vector} unless on (job, instance, upstream) {price}"


def utilisation(over, by: str = "") -> str:
    """Busy over billed worker time, which one replica counts for the calls of all."""
    return ratio(sum_of(over(GPU_SECONDS, 'state="busy"'), by), sum_of(over(GPU_SECONDS), by))


def listed(over) -> str:
    """What was spent at list prices; `over` is `rate` or `increase`."""
    return f"({sum_of(over(COST))} + {sum_of(over(ESTIMATED))})"


def billed(over) -> str:
    """What providers bill: tokens where tokens are paid for, worker seconds where workers are."""
    window = "$__range" if over is increase else "$__rate_interval"
    tokens = " + ".join(or_zero(sum_of(not_gpu(over(metric), window))) for metric in (COST, ESTIMATED))
    return f"({tokens} + {or_zero(sum_of(over(GPU_COST)))})"


def baseline(over) -> str:
    return sum_of(over(BASELINE, 'baseline="$baseline"'))
