"""OpenAI's SDK for Python."""

import json

import openai

from suite import (
    EMBEDDINGS, KEY, MODEL, PROMPT, RECIPE_PROMPT, TEXTS, URL, WEATHER_PROMPT, WEATHER_TOOL, Recipe, Tool, Weather,
    assert_recipe, assert_same_text, assert_text, assert_vectors, assert_weather, run,
)

# for the page
from openai import OpenAI

client = OpenAI(base_url=URL, api_key=KEY)
# end


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


def ask(**more):
    return client.chat.completions.create(model=MODEL, messages=user(PROMPT), **more)


def whole() -> None:
    reply = ask()
    assert_text(reply.choices[0].message.content)
    assert reply.usage.completion_tokens > 0 and reply.usage.prompt_tokens > 0, reply.usage


def streamed() -> None:
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert_same_text(pieces, ask().choices[0].message.content)
    assert chunks[-1].usage.completion_tokens > 0, chunks[-1]


def stream_helper() -> None:
    with client.chat.completions.stream(model=MODEL, messages=user(PROMPT)) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert_same_text(pieces, final.choices[0].message.content)
    assert_same_text(pieces, ask().choices[0].message.content)


def tool_loop() -> None:
    tool, messages = Tool(), user(WEATHER_PROMPT)
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER_TOOL]).choices[0]
    assert first.finish_reason == "tool_calls", first
    messages.append(first.message)
    for call in first.message.tool_calls:
        assert call.function.name == "get_weather", call
        said = tool.answer(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": said})
    second = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER_TOOL]).choices[0]
    tool.was_called_once_and_told_in(second.message.content)


def forced_tool() -> None:
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        reply = ask(tools=[WEATHER_TOOL], tool_choice=choice)
        (call,) = reply.choices[0].message.tool_calls
        assert call.function.name == "get_weather", call
        assert_weather(call.function.arguments)


def no_tool() -> None:
    message = ask(tools=[WEATHER_TOOL], tool_choice="none").choices[0].message
    assert not message.tool_calls, message
    assert_text(message.content)


def streamed_tool() -> None:
    tools = [openai.pydantic_function_tool(Weather, name="get_weather")]
    with client.chat.completions.stream(model=MODEL, messages=user(WEATHER_PROMPT), tools=tools) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        (call,) = stream.get_final_completion().choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, Weather), call
    assert [event.arguments for event in done] == [call.function.arguments], done


def parsed() -> None:
    reply = client.chat.completions.parse(model=MODEL, messages=user(RECIPE_PROMPT), response_format=Recipe)
    assert_recipe(reply.choices[0].message.parsed)


def parsed_stream() -> None:
    with client.chat.completions.stream(model=MODEL, messages=user(RECIPE_PROMPT), response_format=Recipe) as stream:
        for _ in stream:
            pass
        assert_recipe(stream.get_final_completion().choices[0].message.parsed)


def json_object() -> None:
    reply = client.chat.completions.create(
        model=MODEL, messages=user(f"{RECIPE_PROMPT} Answer in JSON."), response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(reply.choices[0].message.content), dict), reply


def embedded(inputs: list, **more) -> None:
    reply = client.embeddings.create(model=EMBEDDINGS, input=inputs, **more)
    assert [each.index for each in reply.data] == list(range(len(inputs))), reply
    assert_vectors([each.embedding for each in reply.data])


run({
    "text": {"`create`": whole},
    "stream": {"`create(stream=True)` with usage": streamed, "`stream`": stream_helper},
    "tools": {
        "a call, its result, an answer": tool_loop,
        "`tool_choice`: `required`, and the tool's name": forced_tool,
        "`tool_choice`: `none`": no_tool,
        "streamed arguments": streamed_tool,
    },
    "structured output": {"`parse`": parsed, "`stream`": parsed_stream, "`json_object`": json_object},
    "embeddings": {
        "base64, the default": lambda: embedded(TEXTS),
        "float": lambda: embedded(TEXTS, encoding_format="float"),
        "token ids": lambda: embedded([[11, 22, 33], [44, 55], [11, 22, 33]]),
    },
})
