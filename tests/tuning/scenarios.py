"""What is measured: one scenario differs from its neighbours in one knob, or in what goes wrong."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Scenario:
    """All times are emulated seconds (at speed 1 those of the wall's clock)."""

    name: str
    strategy: str = "balanced"
    share: float = 0.8
    slo_ms: int | None = 2000
    first_token_ms: int = 10_000
    deadline_ms: int = 60_000
    max_in_flight: int = 1000
    poll_s: float | None = 1  # None: nobody counts workers
    early_headers: bool = False
    rate: float = 20
    requests: int = 400
    random_gaps: bool = False
    faults: tuple = ()  # (second, fault or None) at RunPod
    idle_timeout_s: float | None = None  # None: one worker is always up
    cold_start_s: float = 40
    speed: float = 1
    phases: tuple = ()  # (name, from, to)


def both(second: float, seconds: float, fault: dict) -> tuple:
    return ((second, fault), (second + seconds, None))


COLD = {"kind": "cold", "start_s": 40}
DOWN = {"kind": "status", "code": 503}
HANG = {"kind": "hang_before"}
SLOW = {"kind": "brownout", "factor": 8}


def phases(start: float, end: float, last: float) -> tuple:
    found = (("before", 0, start), ("amid", start, end), ("20 s after", end, end + 20), ("then", end + 20, last))
    return tuple(phase for phase in found if phase[1] < phase[2])


def cold(at: float = 10) -> dict:
    """Ten requests a second; at that second all workers are scaled down, and a start takes 40 s."""
    end = at + 40
    return {"rate": 10, "requests": round(10 * (end + 40)), "faults": ((at, COLD),), "phases": phases(at, end, end + 40)}


def outage(seconds: float, fault: dict = DOWN, more: float = 40) -> dict:
    end = 10 + seconds
    return {"rate": 10, "requests": round(10 * (end + more)), "faults": both(10, seconds, fault),
            "phases": phases(10, end, end + more)}


# RunPod alone, as the price of its workers is what is asked about.
gpu = {"strategy": "weighted", "share": 1, "slo_ms": None, "first_token_ms": 100_000, "deadline_ms": 300_000, "poll_s": 1}
# Forty requests, on average one a minute.
rare = gpu | {"rate": 1 / 60, "requests": 40, "random_gaps": True, "speed": 20}

GROUPS = {
    "strategy": [Scenario(name, strategy=name) for name in ("weighted", "balanced", "cost", "latency")],
    "share": [Scenario(f"balanced, {share}", share=share) for share in (0.6, 0.8, 0.95)],
    "room": [Scenario(f"max_in_flight {most}", max_in_flight=most) for most in (1000, 8, 4)],
    "cold start": [
        *(Scenario(name, strategy=name, **cold()) for name in ("weighted", "balanced", "cost", "latency")),
        Scenario("balanced, first_token_ms 2000", first_token_ms=2000, **cold()),
        # Amid two counts, which is what happens on average.
        Scenario("balanced, capacity_poll_s 5", poll_s=5, **cold(12.5)),
        Scenario("balanced, capacity_poll_s 15", poll_s=15, **cold(7.5)),
        Scenario("balanced, workers unknown", poll_s=None, **cold()),
    ],
    "outage": [
        Scenario(f"{name}, {seconds} s of 503", strategy=name, **outage(seconds))
        for name in ("weighted", "balanced") for seconds in (5, 20)
    ],
    "slow": [
        Scenario("cost, slo 2000", strategy="cost", **outage(30, SLOW, 20)),
        Scenario("cost, no slo", strategy="cost", slo_ms=None, **outage(30, SLOW, 20)),
        Scenario("balanced, slo 2000", **outage(30, SLOW, 20)),
        Scenario("balanced, no slo", slo_ms=None, **outage(30, SLOW, 20)),
        Scenario("balanced, first_token_ms 2000", first_token_ms=2000, **outage(30, SLOW, 20)),
        Scenario("latency", strategy="latency", **outage(30, SLOW, 20)),
    ],
    "hang": [
        Scenario("first_token_ms 10000", **outage(20, HANG)),
        Scenario("first_token_ms 2000", first_token_ms=2000, **outage(20, HANG)),
        Scenario("first_token_ms 10000, deadline_ms 8000", deadline_ms=8000, **outage(20, HANG)),
    ],
    "head": [
        Scenario(f"early_headers {str(early).lower()}", strategy="weighted", share=1, first_token_ms=60_000,
                 early_headers=early, rate=2, requests=100, faults=((5, {"kind": "cold", "start_s": 20}),))
        for early in (False, True)
    ],
    "worker": [
        Scenario("20/s, one worker always up", **gpu),
        Scenario("10/s, one worker always up", rate=10, speed=2, **gpu),
        Scenario("5/s, one worker always up", rate=5, speed=4, **gpu),
        Scenario("1/s, one worker always up", rate=1, speed=20, **gpu),
        Scenario("1/min, one worker always up", **rare),
        Scenario("1/min, none kept, idle timeout 5 s", idle_timeout_s=5, **rare),
        Scenario("1/min, none kept, idle timeout 30 s", idle_timeout_s=30, **rare),
        Scenario("1/min, none kept, idle timeout 90 s", idle_timeout_s=90, **rare),
        Scenario("40 at 1/s, none kept, idle timeout 5 s", idle_timeout_s=5, **(rare | {"rate": 1, "random_gaps": False})),
    ],
}
