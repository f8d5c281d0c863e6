"""The scripted load: so many requests at fixed times, of fixed kinds, and what goes wrong meanwhile."""

import collections
import concurrent.futures
import http.client
import json
import time

import lab

SECONDS = 75
REQUESTS = 1200
WORKERS = 24
WORDS = "the price of a token is what a worker's second costs over what it makes of it "

DOWN = {"kind": "status", "code": 503}
FLAKY = ({"fault": DOWN, "share": 0.12}, {"fault": {"kind": "reset_amid"}, "share": 0.06})
BUSY = {"fault": {"kind": "rate_limited", "retry_after_s": 1}, "share": 0.05}
# Seconds into the load, and what is done then.
SCRIPT = [
    (12, lambda it: (it.fault("runpod_queue", *FLAKY), it.fault("cerebras", BUSY))),
    (36, lambda it: (it.fault("runpod_queue", {"fault": DOWN}), it.fault("cerebras", {"fault": DOWN}))),
    (40, lambda it: (it.fault("runpod_queue"), it.fault("cerebras"))),
    (50, lambda it: (it.write_config(more="\nnonsense = 1\n"), it.reload())),
    (54, lambda it: (it.write_config(aim_ms=2500), it.reload())),
]


def kind_of(number: int) -> str:
    if number % 40 == 11:
        return "unknown model"
    if number % 40 == 31:
        return "bad temperature"
    if number % 25 == 7:
        return "client leaves"
    return "stream" if number % 2 else "whole"


def body_of(kind: str, number: int) -> dict:
    body = {"model": lab.MODEL, "messages": [{"role": "user", "content": WORDS * (10 + number % 50)}]}
    if kind == "unknown model":
        body["model"] = f"nobody-knows-{number}"
    elif kind == "bad temperature":
        body["temperature"] = 99
    elif kind in ("stream", "client leaves"):
        body["stream"] = True
    return body


def send(it: lab.Lab, number: int) -> str:
    """Sends one request; how it ended for the client."""
    kind = kind_of(number)
    client = http.client.HTTPConnection("127.0.0.1", it.api_port, timeout=70)
    try:
        client.request("POST", "/v1/chat/completions", json.dumps(body_of(kind, number)), {
            "authorization": f"Bearer {it.keys[lab.TEAMS[number % 3 == 0]]}", "content-type": "application/json"})
        answer = client.getresponse()
        if kind == "client leaves" and answer.status == 200:
            answer.readline()
            return "left"
        text = answer.read().decode()
        if answer.status == 200:
            is_whole = kind == "whole" or "data: [DONE]" in text and '"error"' not in text
            return "ok" if is_whole else "broken"
        return "rejected" if kind in ("unknown model", "bad temperature") else "failed"
    except http.client.HTTPException:
        return "broken"
    finally:
        client.close()


def run(it: lab.Lab) -> collections.Counter:
    """Runs the whole script; how the requests ended."""
    begun = time.monotonic()

    def sleep_until(second: float) -> None:
        time.sleep(max(0.0, begun + second - time.monotonic()))

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        sent = []
        script = collections.deque(SCRIPT)
        for number in range(REQUESTS):
            second = number * SECONDS / REQUESTS
            while script and script[0][0] <= second:
                at, act = script.popleft()
                sleep_until(at)
                act(it)
            sleep_until(second)
            sent.append(pool.submit(send, it, number))
        return collections.Counter(each.result() for each in sent)
