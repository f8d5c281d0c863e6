"""Users of the FastAPI service, and what the router counts of them."""

import concurrent.futures
import http.client
import json
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

from demo import Demo, expect

AT_A_TIME = 50
ROUNDS = 3
PATIENCE_S = 60


def documented(url: str) -> set[str]:
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as answer:
        paths = json.load(answer)["paths"]
    return {f"{method.upper()} {path}" for path, item in paths.items() for method in item}


def metric(demo: Demo, name: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    with urllib.request.urlopen(f"{demo.admin_url}/metrics", timeout=10) as answer:
        lines = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", answer.read().decode(), re.MULTILINE)
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(float(value) for series, value in lines if all(each in series for each in wanted))


def open_call(url: str, path: str, text: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=PATIENCE_S)
    connection.request("POST", path, json.dumps({"text": text}), {"Content-Type": "application/json"})
    return connection.getresponse()


def whole(url: str, text: str) -> str:
    with open_call(url, "/summaries", text) as answer:
        body = answer.read().decode()
    expect(answer.status == 200, f"{answer.status}: {body}")
    return json.loads(body)["summary"]


def streamed(url: str, text: str) -> str:
    pieces = []
    with open_call(url, "/summaries/stream", text) as answer:
        while piece := answer.read1(4096):
            pieces.append(piece)
    body = b"".join(pieces).decode()
    expect(answer.status == 200, f"{answer.status}: {body}")
    expect(len(pieces) > 3, f"{len(pieces)} pieces are no stream: {body}")
    return body


def all_answered(ask: Callable[[str, str], str], url: str, demo: Demo) -> str:
    """Every user, in every round, gets an answer to the text of their own, and the router counts as many successes."""
    before = metric(demo, "llmrouter_requests_total", outcome="ok")
    began = threading.Barrier(AT_A_TIME)

    def user(number: int) -> None:
        began.wait()
        for round_ in range(ROUNDS):
            text = f"Text number {number}.{round_} of many."
            said = ask(url, text)
            expect(text in said, f"{text!r} was answered with {said!r}")

    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        for future in [pool.submit(user, number) for number in range(AT_A_TIME)]:
            future.result()
    asked, counted = AT_A_TIME * ROUNDS, metric(demo, "llmrouter_requests_total", outcome="ok") - before
    expect(counted == asked, f"the router counted {counted} successes for {asked} answers")
    return f"{AT_A_TIME} users at a time, {asked} answers"


def leaves(url: str, demo: Demo) -> None:
    """Readers who go away after the first piece: the router must see a client leave. Cerebras may be done before that."""
    before = metric(demo, "llmrouter_requests_total", outcome="cancelled")
    end = time.monotonic() + PATIENCE_S
    while metric(demo, "llmrouter_requests_total", outcome="cancelled") == before:
        expect(time.monotonic() < end, "the router still answers a reader who has left")
        with open_call(url, "/summaries/stream", "Something very long.") as answer:
            answer.read1(1)
        time.sleep(0.3)


def refused(url: str, demo: Demo) -> None:
    with open_call(url, "/summaries", "") as answer:
        expect(answer.status == 422, f"{answer.status}: {answer.read()!r}")
