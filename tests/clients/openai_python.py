"""The checks of the OpenAI SDK for Python against a running router; run.py starts it and reads its lines.

One JSON line per check: {"check", "ok", "error", "exchange": [{"request", "answer"}]}.
The environment says where the router is: ROUTER_URL, ROUTER_KEY, ROUTER_MODEL, ROUTER_PROVIDER; ROUTER_SILENT_MODEL and
ROUTER_BROKEN_MODEL are those of odd_upstream.py.
The same checks, under the same names, are in openai_node.mjs.
"""

import json
import os
import traceback

import openai

URL, KEY = os.environ["ROUTER_URL"], os.environ["ROUTER_KEY"]
MODEL, PROVIDER = os.environ["ROUTER_MODEL"], os.environ["ROUTER_PROVIDER"]
SILENT_MODEL = os.environ["ROUTER_SILENT_MODEL"]

client = openai.OpenAI(base_url=URL, api_key=KEY, timeout=60)
chat = client.chat.completions

PARIS = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
    "temperature": 0,
    "max_tokens": 40,
}
CITY_SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 30}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
# ignore_eos makes the model talk on until it is stopped; the SDK does not know the parameter, the router passes it through.
ENDLESS = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Tell me a very long story about a lighthouse."}],
    "max_tokens": 1500,
    "extra_body": {"ignore_eos": True},
}

BROKEN = {"model": os.environ["ROUTER_BROKEN_MODEL"], "messages": [{"role": "user", "content": "How does it end?"}]}
SILENT = {"model": SILENT_MODEL, "messages": [{"role": "user", "content": "Is it quiet there?"}]}

exchange: list[dict] = []


def note(request: object, answer: object) -> None:
    exchange.append({"request": request, "answer": answer})


def answers_paris() -> None:
    reply = chat.create(**PARIS)
    note(PARIS, reply.model_dump(exclude_none=True))
    text = reply.choices[0].message.content
    assert "Paris" in text, f"no Paris in {text!r}"
    assert reply.usage and reply.usage.prompt_tokens > 0 and reply.usage.completion_tokens > 0, f"usage {reply.usage}"


def streamed(request: dict) -> list:
    with chat.create(stream=True, **request) as stream:
        chunks = list(stream)
    note({**request, "stream": True}, [chunk.model_dump(exclude_none=True) for chunk in chunks])
    return chunks


def text_of(chunks: list) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def streams_with_usage() -> None:
    chunks = streamed({**PARIS, "stream_options": {"include_usage": True}})
    assert "Paris" in text_of(chunks), f"no Paris in {text_of(chunks)!r}"
    last = chunks[-1]
    assert last.choices == [], f"the last chunk has choices: {last.choices}"
    assert last.usage and last.usage.completion_tokens > 0, f"usage of the last chunk: {last.usage}"
    assert all(chunk.usage is None for chunk in chunks[:-1]), "usage before the last chunk"


def streams_without_usage() -> None:
    chunks = streamed(PARIS)
    assert "Paris" in text_of(chunks), f"no Paris in {text_of(chunks)!r}"
    assert all(chunk.usage is None for chunk in chunks), "a chunk carries usage that was not asked for"
    assert all(chunk.choices for chunk in chunks), "a chunk without choices, which only a usage chunk may be"
    assert chunks[-1].choices[0].finish_reason, "the last chunk has no finish_reason"


def silence_is_bridged() -> None:
    with chat.with_streaming_response.create(stream=True, **SILENT) as raw:
        lines = list(raw.iter_lines())
    note({**SILENT, "stream": True}, lines)
    assert ": keep-alive" in lines, f"no comment came: {lines}"
    text = text_of(streamed(SILENT))
    assert text == "It is quiet here.", f"{text!r}"


def broken_stream_raises() -> None:
    text = ""
    try:
        for chunk in chat.create(stream=True, **BROKEN):
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        note({**BROKEN, "stream": True}, {"text": text, "raised": type(error).__name__, "message": error.message})
        assert text == "It is", f"what came before the end is kept: {text!r}"
        assert "upstream" in error.message, error.message
        return
    raise AssertionError(f"no error after {text!r}")


def json_schema_parses() -> None:
    request = {**PARIS, "response_format": CITY_SCHEMA, "max_tokens": 60}
    reply = chat.create(**request)
    note(request, reply.model_dump(exclude_none=True))
    answer = json.loads(reply.choices[0].message.content)
    assert isinstance(answer.get("city"), str), f"no city in {answer}"


def lists_the_model() -> None:
    names = [model.id for model in client.models.list()]
    note("GET /models", names)
    assert MODEL in names, f"{MODEL} is not in {names}"
    assert client.models.retrieve(MODEL).id == MODEL


def response_headers() -> None:
    raw = chat.with_raw_response.create(**PARIS)
    ours = {name: value for name, value in raw.headers.items() if name.startswith(("x-llm-router", "x-request-id"))}
    note(PARIS, ours)
    assert ours.get("x-request-id"), f"no x-request-id in {dict(raw.headers)}"
    assert ours.get("x-llm-router-provider") == PROVIDER, f"headers {ours}"
    assert raw.parse()._request_id == ours["x-request-id"]


def refused(error_type: type, status: int, request: dict, using: openai.OpenAI = client) -> openai.APIStatusError:
    try:
        reply = using.chat.completions.create(**request)
    except openai.APIStatusError as error:
        note(request, {"raised": type(error).__name__, "status": error.status_code, "body": error.body})
        assert type(error) is error_type, f"{type(error).__name__} instead of {error_type.__name__}: {error}"
        assert error.status_code == status, f"status {error.status_code}"
        assert isinstance(error.body, dict) and error.body.get("message"), f"no message in {error.body}"
        return error
    raise AssertionError(f"no error, but {reply.choices[0].message.content!r}")


def unknown_model() -> None:
    error = refused(openai.NotFoundError, 404, {**PARIS, "model": "no-such-model"})
    assert error.code == "model_not_found", f"code {error.code}"
    assert "no-such-model" in str(error), f"the message does not name the model: {error}"


def bad_key() -> None:
    refused(openai.AuthenticationError, 401, PARIS, openai.OpenAI(base_url=URL, api_key="sk-wrong", timeout=60))


def bad_temperature() -> None:
    error = refused(openai.BadRequestError, 400, {**PARIS, "temperature": 99})
    assert "temperature" in str(error), f"the message does not name the parameter: {error}"


def bad_max_tokens() -> None:
    error = refused(openai.BadRequestError, 400, {**PARIS, "max_tokens": -1})
    assert "max_tokens" in str(error), f"the message does not name the parameter: {error}"


def early_disconnect() -> None:
    with chat.create(stream=True, **ENDLESS) as stream:
        first = next(iter(stream))
    note({**ENDLESS, "stream": True}, ["closed after", first.model_dump(exclude_none=True)])
    answers_paris()


CHECKS = {
    "chat answers Paris": answers_paris,
    "stream with usage": streams_with_usage,
    "stream without usage": streams_without_usage,
    "stream with ids that falls silent": silence_is_bridged,
    "stream that breaks": broken_stream_raises,
    "json_schema answer parses": json_schema_parses,
    "models are listed": lists_the_model,
    "response headers": response_headers,
    "unknown model is NotFoundError": unknown_model,
    "bad key is AuthenticationError": bad_key,
    "temperature 99 is BadRequestError": bad_temperature,
    "max_tokens -1 is BadRequestError": bad_max_tokens,
    "early disconnect, then the next request": early_disconnect,
}

if __name__ == "__main__":
    for name, check in CHECKS.items():
        exchange.clear()
        error = None
        try:
            check()
        except AssertionError as failed:
            error = str(failed) or traceback.format_exc(limit=-1)
        except Exception:  # noqa: BLE001 - whatever the SDK raises is this check's failure, the next check still runs
            error = traceback.format_exc(limit=-3)
        print(json.dumps({"check": name, "ok": error is None, "error": error, "exchange": exchange}), flush=True)
