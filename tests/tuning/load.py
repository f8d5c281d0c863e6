"""Streams at set times, what goes wrong meanwhile, and how each stream went for its client."""

import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import random
import threading
import time

import rig as rigs

CLIENTS = 400
# 968 bytes are 250 tokens in the emulator's count; its answers have 24.
PROMPT = ("What a token costs is what a second of a worker costs, over what the worker makes of it. " * 11)[:968]


@dataclasses.dataclass
class Call:
    """One stream as its client saw it; times in emulated seconds."""

    at: float
    upstream: str | None = None
    head: float | None = None
    first: float | None = None
    total: float | None = None
    ok: bool = False


class ScaleDown:
    """RunPod's idle timeout: without calls for so long, every worker is scaled down, and the next call starts one."""

    def __init__(self, rig, it):
        self._rig, self._after, self._cold = rig, it.idle_timeout_s / it.speed, {"kind": "cold", "start_s": it.cold_start_s}
        self._lock, self._calls, self._quiet_since, self._stop = threading.Lock(), 0, None, threading.Event()
        self._rig.fault(self._cold)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    @contextlib.contextmanager
    def call(self):
        with self._lock:
            self._calls += 1
            self._quiet_since = None
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                if not self._calls:
                    self._quiet_since = time.monotonic()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            with self._lock:
                since = self._quiet_since
                if since is not None and time.monotonic() - since >= self._after:
                    self._rig.fault(self._cold)
                    self._quiet_since = None


def arrivals(it) -> list[float]:
    """When requests are sent, in emulated seconds: evenly, or as from many clients that know nothing of each other."""
    if not it.random_gaps:
        return [number / it.rate for number in range(it.requests)]
    chance, at, found = random.Random(1), 0.0, []
    for _ in range(it.requests):
        at += chance.expovariate(it.rate)
        found.append(at)
    return found


def send(port: int, call: Call, speed: float) -> Call:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    since = time.monotonic()

    def passed() -> float:
        return (time.monotonic() - since) * speed

    try:
        body = {"model": rigs.MODEL, "stream": True, "max_tokens": 64, "messages": [{"role": "user", "content": PROMPT}]}
        client.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        answer = client.getresponse()
        call.head = passed()
        call.upstream = answer.getheader("x-llm-router-upstream")
        is_done = is_broken = False
        for line in answer:
            if not line.startswith(b"data: "):
                continue
            is_done |= line.startswith(b"data: [DONE]")
            is_broken |= line.startswith(b'data: {"error"')
            if call.first is None and not is_done:
                choices = json.loads(line[6:]).get("choices") or [{}]
                if choices[0].get("delta", {}).get("content"):
                    call.first = passed()
        call.total = passed()
        call.ok = answer.status == 200 and is_done and not is_broken
    except (OSError, http.client.HTTPException):
        call.total = passed()
    finally:
        client.close()
    return call


def run(rig, it) -> list[Call]:
    """Runs the load and the faults of a scenario; waits for every answer."""
    steps = [(at, None) for at in arrivals(it)] + [(at, (fault,)) for at, fault in it.faults]
    steps.sort(key=lambda step: step[0])
    with contextlib.ExitStack() as stack:
        scale_down = stack.enter_context(ScaleDown(rig, it)) if it.idle_timeout_s else None
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(CLIENTS))
        begun = time.monotonic()

        def one(call: Call) -> Call:
            with scale_down.call() if scale_down else contextlib.nullcontext():
                return send(rig.api_port, call, it.speed)

        sent = []
        for at, order in steps:
            time.sleep(max(0.0, begun + at / it.speed - time.monotonic()))
            if order:
                rig.fault(*order)
            else:
                sent.append(pool.submit(one, Call(at)))
        calls = [each.result() for each in sent]
        if scale_down:
            # The idle tail after the last answer is paid for as well, and has to be seen to end.
            time.sleep((it.idle_timeout_s + 10) / it.speed + 0.3)
    return calls
