"""LiteLLM's SDK, which calls the router as an OpenAI-compatible provider."""

import json

import litellm

from suite import (
    EMBEDDINGS, KEY, MODEL, PROMPT, RECIPE_PROMPT, TEXTS, URL, WEATHER_PROMPT, WEATHER_TOOL, Recipe, Tool,
    assert_same_text, assert_text, assert_vectors, assert_weather, run,
)

# for the page
from litellm import completion, embedding

router = {"api_base": URL, "api_key": KEY}
reply = completion(model=f"openai/{MODEL}", messages=[{"role": "user", "content": "Hello!"}], **router)
vectors = embedding(model=f"openai/{EMBEDDINGS}", input=["Hello!"], **router)
# end


def ask(messages: list | str, **more):
    messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return completion(model=f"openai/{MODEL}", messages=messages, **router, **more)


def whole() -> None:
    reply = ask(PROMPT)
    assert_text(reply.choices[0].message.content)
    assert reply.usage.completion_tokens > 0, reply.usage


def streamed() -> None:
    chunks = list(ask(PROMPT, stream=True))
    assert_same_text([chunk.choices[0].delta.content for chunk in chunks], ask(PROMPT).choices[0].message.content)


def tool_loop() -> None:
    tool, messages = Tool(), [{"role": "user", "content": WEATHER_PROMPT}]
    first = ask(messages, tools=[WEATHER_TOOL]).choices[0]
    assert first.finish_reason == "tool_calls", first
    messages.append(first.message)
    for call in first.message.tool_calls:
        said = tool.answer(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": said})
    tool.was_called_once_and_told_in(ask(messages, tools=[WEATHER_TOOL]).choices[0].message.content)


def streamed_tool() -> None:
    chunks = list(ask(WEATHER_PROMPT, tools=[WEATHER_TOOL], stream=True))
    (call,) = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls
    assert_weather(call.function.arguments)


def structured() -> None:
    Recipe.model_validate_json(ask(RECIPE_PROMPT, response_format=Recipe).choices[0].message.content, strict=True)


def embedded(**more) -> None:
    reply = embedding(model=f"openai/{EMBEDDINGS}", input=TEXTS, **router, **more)
    assert_vectors([each["embedding"] for each in reply.data])


run({
    "text": {"`completion`": whole},
    "stream": {"`completion(stream=True)`": streamed},
    "tools": {"a call, its result, an answer": tool_loop, "streamed call": streamed_tool},
    "structured output": {"`response_format`: a Pydantic model": structured},
    "embeddings": {"`embedding`": embedded, "as floats": lambda: embedded(encoding_format="float")},
})
