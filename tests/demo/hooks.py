"""What Schemathesis cannot know of this API: names that exist, how streams and lines end, and what a schema cannot say.

openapi.py names this file in SCHEMATHESIS_HOOKS, and in STATUSES a file that takes the status of every answer.
"""

import json
import os

import schemathesis

LEAST_DEADLINE_MS = 30_000
# The demo's.
EMBEDDING_MODELS = ["bge-small"]
MODELS, TASKS = ["llama-3.1-8b", "ensemble/longest-of-two", "task/code"], ["chat"]


def known(name, names: list[str]):
    """Most made-up names become one that exists, or nearly every case would end in a 404."""
    if not isinstance(name, str) or name == "" or name in names or len(name) % 5 == 0:
        return name
    return names[len(name) % len(names)]


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict):
        models = EMBEDDING_MODELS if context.operation.path in ("/v1/embeddings", "/v1/rerank", "/v1/score") else MODELS
        for field, names in (("model", models), ("task", TASKS)):
            if field in body:
                body[field] = known(body[field], names)
    return body


@schemathesis.hook
def map_headers(context, headers):
    task = "x-llm-router-task"
    if headers and task in headers:
        headers[task] = known(headers[task], TASKS)
    return headers


def has_whole_float(value) -> bool:
    if isinstance(value, dict):
        return any(has_whole_float(each) for each in value.values())
    if isinstance(value, list):
        return any(has_whole_float(each) for each in value)
    return isinstance(value, float) and value.is_integer()


def names_both(body) -> bool:
    pairs = (("prompt", "messages"), ("prompts", "requests"))
    return isinstance(body, dict) and any(one in body and other in body for one, other in pairs)


@schemathesis.hook
def filter_body(context, body):
    """JSON Schema takes 131.0 for an integer; the router wants it written as one. And "one of" two fields is fulfilled where
    the other one is there but wrong; the router says that they exclude each other."""
    return not has_whole_float(body) and not names_both(body)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Every other batch asks for lines; not in the phase that leaves headers out on purpose. No deadline is one that nobody can
    meet: that is a 504, which is right."""
    deadline = "x-llm-router-deadline-ms"
    sent = str((case.headers or {}).get(deadline, ""))
    if sent.isdecimal() and int(sent) in range(1, LEAST_DEADLINE_MS):
        case.headers[deadline] = str(LEAST_DEADLINE_MS)
    is_batch = case.operation.path == "/v1/generate/batch" and case.meta.phase.name == "fuzzing"
    if is_batch and len(repr(case.body)) % 2:
        case.headers["accept"] = "application/x-ndjson"


@schemathesis.hook
def after_call(context, case, response):
    with open(os.environ["STATUSES"], "a", encoding="ascii") as file:
        file.write(f"{response.status_code}\n")


def events(text: str) -> list[str]:
    """The data of each event; comments and other fields fail."""
    blocks = [block for block in text.split("\n\n") if block]
    for block in blocks:
        assert block.startswith("data: ") and "\n" not in block, f"no event with data alone: {block!r}"
    return [block.removeprefix("data: ") for block in blocks]


# The last events that streams with named events may have.
LAST_EVENTS = {
    "/v1/messages": ("message_stop", "error"),
    "/v1/responses": ("response.completed", "response.incomplete", "response.failed"),
}


def named_events(text: str) -> list[str]:
    """The name of each event, which is the type in its data."""
    names = []
    for block in (block for block in text.split("\n\n") if block):
        name, _, data = block.removeprefix("event: ").partition("\ndata: ")
        assert json.loads(data)["type"] == name, f"the name is not the type: {block!r}"
        names.append(name)
    return names


@schemathesis.check
def a_stream_has_a_proper_end(context, response, case):
    if not response.headers.get("content-type", [""])[0].startswith("text/event-stream"):
        return
    if case.operation.path in LAST_EVENTS:
        names, last = named_events(response.text), LAST_EVENTS[case.operation.path]
        assert [name for name in names if name in last] == names[-1:], f"one of {last} at the end: {names}"
        return
    *before, last = events(response.text)
    field = "chunk" if case.operation.path in ("/v1/generate/stream", "/v1/chat/stream") else "choices"
    for data in before:
        assert field in json.loads(data), f"an event without {field!r}: {data}"
    assert last == "[DONE]" or "error" in json.loads(last), f"neither [DONE] nor an error at the end: {last}"


@schemathesis.check
def every_line_has_its_place(context, response, case):
    if response.headers.get("content-type", [""])[0] != "application/x-ndjson":
        return
    lines = [json.loads(line) for line in response.text.split("\n") if line]
    given = case.body.get("prompts", case.body.get("requests"))
    assert sorted(line["index"] for line in lines) == list(range(len(given))), "an index is missing or comes twice"
    assert all(("result" in line) != ("error" in line) for line in lines), "a line without result or error"
