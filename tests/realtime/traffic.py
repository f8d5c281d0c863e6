"""A slice of a trace as streamed requests at their times, and how each of them went for its client."""

import asyncio
import csv
import dataclasses
import gzip
import json
import multiprocessing
import pathlib
import secrets
import time

TRACE = pathlib.Path(__file__).resolve().parents[1] / "traces" / "azure_llm_2023_conv.csv.gz"
SPEED = 2.5
# Where the slice begins, in seconds of the trace; from there on its rate is that of the whole.
BEGIN = 1800
MODEL = "llama"
# What clients send; LiteLLM does not start with a weak one.
KEY = f"sk-{secrets.token_hex(32)}"
PATIENCE = 120
# How the emulator counts a prompt: a quarter of its bytes, and these.
PROMPT_EXTRA = 8
NUMBER_TOKENS = 2
FAILURES = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, TimeoutError)


@dataclasses.dataclass
class Arrival:
    """A request of the trace."""

    at: float
    prompt_tokens: int
    completion_tokens: int


@dataclasses.dataclass
class Outcome:
    """How a request went; times in seconds from when it was due, as the simulator counts them."""

    late: float = 0.0
    status: int = 0
    first: float | None = None
    tokens: int = 0
    ok: bool = False
    error: str = ""


def arrivals(minutes: float) -> list[Arrival]:
    """So many minutes of the replay, from 0."""
    with gzip.open(TRACE, "rt") as file:
        rows = [(float(row["t_s"]), int(row["input_tokens"]), int(row["output_tokens"])) for row in csv.DictReader(file)]
    rows = [row for row in rows if BEGIN <= row[0] < BEGIN + minutes * 60 * SPEED]
    # No prompt is shorter than its number, and no answer is empty.
    shortest = PROMPT_EXTRA + NUMBER_TOKENS
    return [Arrival((at - rows[0][0]) / SPEED, max(prompt, shortest), max(answer, 1)) for at, prompt, answer in rows]


def write(requests: list[Arrival], path: pathlib.Path) -> None:
    """The slice as a trace of its own, whose time is that of the replay."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["t_s", "input_tokens", "output_tokens"])
        rows.writerows((f"{one.at:.6f}", one.prompt_tokens, one.completion_tokens) for one in requests)


def stream(number: int, arrival: Arrival) -> bytes:
    """A request whose limit is the length of its answer. No two prompts begin alike."""
    length = 4 * (arrival.prompt_tokens - PROMPT_EXTRA)
    text = (f"{number:07d} " + "word for word " * (length // 14 + 1))[:length]
    body = {"model": MODEL, "stream": True, "stream_options": {"include_usage": True}, "max_tokens": arrival.completion_tokens,
            "messages": [{"role": "user", "content": text}]}
    data = json.dumps(body).encode()
    head = (f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n")
    return head.encode() + data


async def events(reader: asyncio.StreamReader):
    """The `data:` of each event of a chunked body; whatever is not chunked is one event."""
    head = await reader.readuntil(b"\r\n\r\n")
    yield int(head.split(b" ", 2)[1])
    if b"transfer-encoding: chunked" not in head.lower():
        yield await reader.read()
        return
    text = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        text += (await reader.readexactly(size + 2))[:-2]
        *whole, text = text.split(b"\n\n")
        for event in whole:
            yield event.removeprefix(b"data: ")
    if text:
        yield text


async def ask(port: int, number: int, arrival: Arrival, due: float, outcome: Outcome) -> None:
    """Sends a request and reads its answer."""
    message = stream(number, arrival)
    await asyncio.sleep(due - time.monotonic())
    outcome.late = time.monotonic() - due
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(message)
        parts = events(reader)
        outcome.status = await anext(parts)
        async for event in parts:
            read(event, due, outcome)
    finally:
        writer.transport.abort()


def read(event: bytes, due: float, outcome: Outcome) -> None:
    """Takes from an event what counts. Few of them need to be parsed."""
    if event == b"[DONE]":
        outcome.ok = outcome.status == 200 and outcome.first is not None and not outcome.error
    elif b'"error"' in event or outcome.status != 200:
        outcome.error = event.decode(errors="replace")[:200]
    elif outcome.first is None or b'"usage":{' in event:
        answer = json.loads(event)
        choices = answer.get("choices") or [{}]
        if outcome.first is None and choices[0].get("delta", {}).get("content"):
            outcome.first = time.monotonic() - due
        outcome.tokens = (answer.get("usage") or {}).get("completion_tokens", outcome.tokens)


async def replay(port: int, requests: list[Arrival], begin: float) -> list[Outcome]:
    """Sends every request when it is due, whatever became of those before, and waits for the last one."""
    outcomes = [Outcome() for _ in requests]

    async def one(number: int) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await ask(port, number, requests[number], begin + requests[number].at, outcomes[number])
        except FAILURES as error:
            outcomes[number].error = outcomes[number].error or f"{type(error).__name__}: {error}"

    async with asyncio.TaskGroup() as group:
        for number, arrival in enumerate(requests):
            # A task a second ahead, so that its body is there when it is due.
            await asyncio.sleep(begin + arrival.at - 1 - time.monotonic())
            group.create_task(one(number))
    return outcomes


class Client:
    """A replay in a process of its own, so that none waits for another's."""

    def __init__(self, port: int, requests: list[Arrival], begin: float):
        self._ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self._run, args=(port, requests, begin, theirs), daemon=True)
        self.process.start()

    @staticmethod
    def _run(port, requests, begin, results) -> None:
        results.send(asyncio.run(replay(port, requests, begin)))

    def outcomes(self) -> list[Outcome]:
        found = self._ours.recv()
        self.process.join()
        return found
