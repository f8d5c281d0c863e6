"""LangChain with langchain-openai."""

import asyncio
import json

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from suite import (
    EMBEDDINGS, KEY, MODEL, PROMPT, RECIPE_PROMPT, TEXTS, URL, WEATHER_PROMPT, Recipe, Tool, Weather, assert_recipe,
    assert_same_text, assert_text, assert_vectors, assert_weather, run,
)

# for the page
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

chat = ChatOpenAI(model=MODEL, base_url=URL, api_key=KEY)
embeddings = OpenAIEmbeddings(model=EMBEDDINGS, base_url=URL, api_key=KEY, check_embedding_ctx_length=False)
# end


SCHEMA = json.dumps(Recipe.model_json_schema())


def whole() -> None:
    reply = chat.invoke(PROMPT)
    assert_text(reply.content)
    assert reply.usage_metadata["output_tokens"] > 0, reply


def streamed() -> None:
    assert_same_text([chunk.content for chunk in chat.stream(PROMPT)], chat.invoke(PROMPT).content)


def streamed_async() -> None:
    async def pieces() -> list:
        return [chunk.content async for chunk in chat.astream(PROMPT)]

    assert_same_text(asyncio.run(pieces()), chat.invoke(PROMPT).content)


def weather_tool(other_side: Tool):
    @tool(args_schema=Weather)
    def get_weather(city: str, unit: str) -> str:
        """The weather in a city."""
        return other_side.answer(city=city, unit=unit)

    return get_weather


def tool_loop() -> None:
    other_side, messages = Tool(), [HumanMessage(WEATHER_PROMPT)]
    get_weather = weather_tool(other_side)
    able = chat.bind_tools([get_weather])
    messages.append(able.invoke(messages))
    for call in messages[-1].tool_calls:
        messages.append(get_weather.invoke(call))
    other_side.was_called_once_and_told_in(able.invoke(messages).content)


def forced_tool() -> None:
    (call,) = chat.bind_tools([weather_tool(Tool())], tool_choice="any", strict=True).invoke(PROMPT).tool_calls
    assert_weather(call["args"])


def streamed_tool() -> None:
    chunks = list(chat.bind_tools([weather_tool(Tool())]).stream(WEATHER_PROMPT))
    (call,) = sum(chunks[1:], start=chunks[0]).tool_calls
    assert_weather(call["args"])


def structured(method: str, prompt: str = RECIPE_PROMPT) -> None:
    assert_recipe(chat.with_structured_output(Recipe, method=method).invoke(prompt))


def embedded(**more) -> None:
    using = OpenAIEmbeddings(model=EMBEDDINGS, base_url=URL, api_key=KEY, **more)
    vectors = using.embed_documents(TEXTS)
    assert_vectors(vectors)
    assert using.embed_query(TEXTS[0]) == vectors[0], "alone a text has another vector"


run({
    "text": {"`invoke`": whole},
    "stream": {"`stream`": streamed, "`astream`": streamed_async},
    "tools": {
        "`bind_tools`: a call, its result, an answer": tool_loop,
        "`tool_choice=\"any\"`, strict": forced_tool,
        "streamed call": streamed_tool,
    },
    "structured output": {
        "`with_structured_output`: `json_schema`": lambda: structured("json_schema"),
        "`function_calling`": lambda: structured("function_calling"),
        "`json_mode`": lambda: structured("json_mode", f"{RECIPE_PROMPT} As JSON: {SCHEMA}"),
    },
    "embeddings": {
        "as texts (`check_embedding_ctx_length=False`)": lambda: embedded(check_embedding_ctx_length=False),
        "as token ids, the default": embedded,
    },
})
