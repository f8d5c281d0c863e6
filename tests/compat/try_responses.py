"""OpenAI's SDK for Python, by Responses."""

import json

import openai

from suite import (
    KEY, MODEL, PROMPT, RECIPE_PROMPT, URL, WEATHER_PROMPT, WEATHER_TOOL, Recipe, Tool, Weather, assert_recipe,
    assert_same_text, assert_text, assert_weather, run,
)

# for the page
from openai import OpenAI

client = OpenAI(base_url=URL, api_key=KEY)
# end

TOOL = {"type": "function", "strict": True, **WEATHER_TOOL["function"]}


def ask(prompt: object = PROMPT, **more):
    return client.responses.create(model=MODEL, input=prompt, **more)


def whole() -> None:
    reply = ask(instructions="Answer briefly.")
    assert_text(reply.output_text)
    assert reply.status == "completed" and reply.usage.total_tokens > reply.usage.output_tokens > 0, reply


def with_history() -> None:
    before = ask()
    said = [{"role": "user", "content": PROMPT}, *before.output, {"role": "user", "content": "And three more."}]
    assert_text(ask(said, store=False, include=["reasoning.encrypted_content"]).output_text)


def streamed() -> None:
    events = list(ask(stream=True))
    assert_same_text([event.delta for event in events if event.type == "response.output_text.delta"], ask().output_text)
    assert [event.sequence_number for event in events] == list(range(len(events))), events
    assert events[-1].type == "response.completed" and events[-1].response.usage.output_tokens > 0, events[-1]


def stream_helper() -> None:
    with client.responses.stream(model=MODEL, input=PROMPT) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert_same_text(pieces, stream.get_final_response().output_text)


def tool_loop() -> None:
    tool, items = Tool(), [{"role": "user", "content": WEATHER_PROMPT}]
    first = ask(items, tools=[TOOL])
    items += first.output
    for call in first.output:
        if call.type == "function_call":
            said = tool.answer(**json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": said})
    tool.was_called_once_and_told_in(ask(items, tools=[TOOL]).output_text)


def forced_tool() -> None:
    for choice in ("required", {"type": "function", "name": "get_weather"}):
        (call,) = ask(tools=[TOOL], tool_choice=choice).output
        assert call.name == "get_weather", call
        assert_weather(call.arguments)


def no_tool() -> None:
    assert_text(ask(WEATHER_PROMPT, tools=[TOOL], tool_choice="none").output_text)


def custom_tool() -> None:
    tool = {"type": "custom", "name": "run_query", "description": "Runs a query."}
    (call,) = ask(tools=[tool], tool_choice={"type": "custom", "name": "run_query"}).output
    assert call.type == "custom_tool_call" and call.name == "run_query" and isinstance(call.input, str), call


def streamed_tool() -> None:
    tools = [openai.pydantic_function_tool(Weather, name="get_weather")]
    with client.responses.stream(model=MODEL, input=WEATHER_PROMPT, tools=tools) as stream:
        pieces = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
        (call,) = stream.get_final_response().output
    assert "".join(pieces) == call.arguments, pieces
    assert isinstance(call.parsed_arguments, Weather), call


def parsed() -> None:
    assert_recipe(client.responses.parse(model=MODEL, input=RECIPE_PROMPT, text_format=Recipe).output_parsed)


def parsed_stream() -> None:
    with client.responses.stream(model=MODEL, input=RECIPE_PROMPT, text_format=Recipe) as stream:
        for _ in stream:
            pass
        assert_recipe(stream.get_final_response().output_parsed)


run({
    "text": {"`create`": whole, "`create` with earlier items": with_history},
    "stream": {"`create(stream=True)`": streamed, "`stream`": stream_helper},
    "tools": {
        "a call, its result, an answer": tool_loop,
        "`tool_choice`: `required`, and the tool's name": forced_tool,
        "`tool_choice`: `none`": no_tool,
        "a `custom` tool": custom_tool,
        "streamed arguments": streamed_tool,
    },
    "structured output": {"`parse`": parsed, "`stream(text_format=…)`": parsed_stream},
})
