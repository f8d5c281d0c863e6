"""The providers of the simulator as settings of the emulator."""

import pathlib
import tomllib

from traffic import Arrival

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROVIDERS = ROOT / "config" / "simulated-providers.toml"
CONTEXT = 131072
# An event for each token would cost proxies more processor time than there is here.
EVENT_TOKENS = 32


def read() -> list[dict]:
    """RunPod and Cerebras, as the simulator has them."""
    runpod, cerebras = tomllib.loads(PROVIDERS.read_text())["upstreams"]
    assert (runpod["kind"], cerebras["kind"]) == ("runpod", "cerebras")
    return [runpod, cerebras]


def per_minute(requests: list[Arrival]) -> tuple[float, float]:
    """Cerebras' limits in requests and in tokens: parts of what the trace asks for."""
    limits = read()[1]["limits"]
    minutes = requests[-1].at / 60
    tokens = sum(one.prompt_tokens + one.completion_tokens for one in requests)
    return limits["requests_of_load"] * len(requests) / minutes, limits["tokens_of_load"] * tokens / minutes


def emulated(requests: list[Arrival], max_workers: int) -> dict:
    """What the emulator has to be told."""
    runpod, cerebras = read()
    longest = max(one.completion_tokens for one in requests)
    common = {"context": CONTEXT, "answer_tokens": longest, "event_tokens": EVENT_TOKENS}
    per_minute_requests, per_minute_tokens = per_minute(requests)
    start = runpod["cold_start"]
    assert runpod["scaler"]["kind"] == "request_count"
    return {
        "runpod_queue": common | {
            "prefill_tokens_per_s": runpod["prefill_tokens_per_second"],
            "latency": {
                "first_token_ms": runpod["overhead"]["median_ms"],
                "spread": runpod["overhead"]["sigma"],
                "tokens_per_s": runpod["decode_tokens_per_second"],
                "crowding": runpod["decode_slowdown"],
            },
            "workers": {
                "min": runpod["workers"]["min"],
                "max": max_workers,
                "concurrency": runpod["workers"]["slots"],
                "requests_per_worker": runpod["scaler"]["value"],
                # All of a start counts as running, as in the simulator.
                "cold_start_s": start["median_s"], "load_s": start["median_s"], "cold_start_spread": start["sigma"],
                "idle_timeout_s": runpod["idle_timeout_s"],
            },
        },
        "cerebras": common | {
            "prefill_tokens_per_s": cerebras["prefill_tokens_per_second"],
            "latency": {
                "first_token_ms": cerebras["first_token"]["median_ms"],
                "spread": cerebras["first_token"]["sigma"],
                "tokens_per_s": cerebras["decode_tokens_per_second"],
                "crowding": 0.0,
            },
            "quota": {"requests_per_minute": per_minute_requests, "tokens_per_minute": per_minute_tokens},
        },
    }


def faults(scenario: str) -> tuple[dict, dict]:
    """Orders for the emulator that begin and end what goes wrong."""
    begin: dict = {"face": "runpod_queue", "sever": True}
    if scenario == "throttle":
        start_s = read()[0]["cold_start"]["median_s"]
        begin["rules"] = [{"fault": {"kind": "throttled"}}, {"fault": {"kind": "cold", "start_s": start_s}}]
    elif scenario == "outage":
        begin["rules"] = [{"fault": {"kind": "status", "code": 503}, "probes": True}]
    else:
        raise ValueError(scenario)
    return begin, {"face": "runpod_queue", "rules": []}
