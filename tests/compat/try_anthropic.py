"""Anthropic's SDK for Python."""

from anthropic import beta_tool

from suite import (
    KEY, MODEL, ORIGIN, PROMPT, RECIPE_PROMPT, WEATHER_PROMPT, Recipe, Tool, Weather, assert_recipe, assert_same_text,
    assert_text, assert_weather, run,
)

# for the page
from anthropic import Anthropic

client = Anthropic(base_url=ORIGIN, api_key=KEY)
# end

WEATHER_TOOL = {
    "name": "get_weather", "description": "The weather in a city.", "input_schema": Weather.model_json_schema(),
}


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


def ask(text: str = PROMPT, **more):
    return client.messages.create(model=MODEL, max_tokens=500, messages=user(text), **more)


def text_of(message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def whole() -> None:
    reply = ask(system="Answer briefly.")
    assert_text(text_of(reply))
    assert (reply.role, reply.stop_reason, reply.model) == ("assistant", "end_turn", MODEL), reply
    assert reply.usage.input_tokens > 0 and reply.usage.output_tokens > 0, reply.usage


def counted() -> None:
    count = client.messages.count_tokens(model=MODEL, messages=user(PROMPT), tools=[WEATHER_TOOL])
    assert count.input_tokens > 0, count


def listed() -> None:
    names = [model.id for model in client.models.list()]
    assert client.models.retrieve(names[0]).id == names[0], names


def streamed() -> None:
    events = list(ask(stream=True))
    pieces = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert_same_text(pieces, text_of(ask()))
    assert events[0].message.usage.input_tokens > 0, events[0]
    assert events[-2].usage.output_tokens > 0 and events[-2].delta.stop_reason == "end_turn", events[-2]


def stream_helper() -> None:
    with client.messages.stream(model=MODEL, max_tokens=500, messages=user(PROMPT)) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert_same_text(pieces, text_of(final))


def tool_loop() -> None:
    tool, messages = Tool(), user(WEATHER_PROMPT)
    first = client.messages.create(model=MODEL, max_tokens=500, messages=messages, tools=[WEATHER_TOOL])
    assert first.stop_reason == "tool_use", first
    messages.append({"role": "assistant", "content": first.content})
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": tool.answer(**block.input)}
        for block in first.content if block.type == "tool_use"
    ]
    messages.append({"role": "user", "content": results})
    tool.was_called_once_and_told_in(
        text_of(client.messages.create(model=MODEL, max_tokens=500, messages=messages, tools=[WEATHER_TOOL]))
    )


def runner() -> None:
    tool = Tool()

    @beta_tool
    def get_weather(city: str, unit: str) -> str:
        """The weather in a city.

        Args:
            city: name of the city
            unit: celsius
        """
        return tool.answer(city=city, unit="celsius")

    final = client.beta.messages.tool_runner(
        model=MODEL, max_tokens=500, messages=user(WEATHER_PROMPT), tools=[get_weather]
    ).until_done()
    tool.was_called_once_and_told_in(text_of(final))


def forced_tool() -> None:
    for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
        reply = ask(tools=[WEATHER_TOOL], tool_choice=choice)
        (call,) = [block for block in reply.content if block.type == "tool_use"]
        assert_weather(call.input)


def no_tool() -> None:
    reply = ask(WEATHER_PROMPT, tools=[WEATHER_TOOL], tool_choice={"type": "none"})
    assert reply.stop_reason == "end_turn", reply
    assert_text(text_of(reply))


def streamed_tool() -> None:
    request = {"model": MODEL, "max_tokens": 500, "messages": user(WEATHER_PROMPT), "tools": [WEATHER_TOOL]}
    with client.messages.stream(**request) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        (call,) = stream.get_final_message().content
    assert_weather("".join(pieces))
    assert_weather(call.input)


def parsed() -> None:
    reply = client.messages.parse(
        model=MODEL, max_tokens=500, messages=user(RECIPE_PROMPT), output_format=Recipe
    )
    assert_recipe(reply.parsed_output)


def parsed_stream() -> None:
    request = {"model": MODEL, "max_tokens": 500, "messages": user(RECIPE_PROMPT), "output_format": Recipe}
    with client.messages.stream(**request) as stream:
        assert_recipe(stream.get_final_message().parsed_output)


run({
    "text": {"`create`": whole, "`count_tokens`": counted, "`models.list`": listed},
    "stream": {"`create(stream=True)`": streamed, "`stream`": stream_helper},
    "tools": {
        "a call, its result, an answer": tool_loop,
        "`tool_runner`": runner,
        "`tool_choice`: `any`, and the tool's name": forced_tool,
        "`tool_choice`: `none`": no_tool,
        "streamed arguments": streamed_tool,
    },
    "structured output": {"`parse`": parsed, "`stream(output_format=…)`": parsed_stream},
})
