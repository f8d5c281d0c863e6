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


def once(over, metric: str) -> str:
    """Worker time, by job and upstream. Every replica watches the same workers, so that their sum would count them more than
    once: of rates the largest is taken; rises are divided by how many replicas there were on average, as these come and go."""
    if over is rate:
        return f"max by (job, upstream) (sum by (job, instance, upstream) ({over(metric)}))"
    replicas = f"avg_over_time((count by (job, upstream) ({series(GPU_PRICE)}))[$__range:$__rate_interval])"
    return f"(sum by (job, upstream) ({over(metric)}) / on (job, upstream) {replicas})"


def utilisation(over, by: str = "") -> str:
    """Busy over billed worker time. Busy is what each replica's own calls came to, which together can be more than all."""
    busy = sum_of(over(GPU_SECONDS, 'state="busy"'), by)
    return f"clamp_max({ratio(busy, sum_of(once(over, GPU_SECONDS), by))}, 1)"


def listed(over) -> str:
    """What was spent at list prices; `over` is `rate` or `increase`."""
    return f"({sum_of(over(COST))} + {sum_of(over(ESTIMATED))})"


def billed(over) -> str:
    """What providers bill: tokens where tokens are paid for, worker seconds where workers are."""
    window = "$__range" if over is increase else "$__rate_interval"
    tokens = " + ".join(or_zero(sum_of(not_gpu(over(metric), window))) for metric in (COST, ESTIMATED))
    return f"({tokens} + {or_zero(sum_of(once(over, GPU_COST)))})"


def baseline(over) -> str:
    return sum_of(over(BASELINE, 'baseline="$baseline"'))
