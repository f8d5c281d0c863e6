"""LangChain with langchain-anthropic."""

import asyncio

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from suite import (
    KEY, MODEL, ORIGIN, PROMPT, RECIPE_PROMPT, WEATHER_PROMPT, Recipe, Tool, Weather, assert_recipe, assert_same_text,
    assert_text, assert_weather, run,
)

# for the page
from langchain_anthropic import ChatAnthropic

chat = ChatAnthropic(model=MODEL, base_url=ORIGIN, api_key=KEY)
# end


def whole() -> None:
    reply = chat.invoke(PROMPT)
    assert_text(reply.text)
    assert reply.usage_metadata["output_tokens"] > 0 and reply.usage_metadata["input_tokens"] > 0, reply


def streamed() -> None:
    assert_same_text([chunk.text for chunk in chat.stream(PROMPT)], chat.invoke(PROMPT).text)


def streamed_async() -> None:
    async def pieces() -> list:
        return [chunk.text async for chunk in chat.astream(PROMPT)]

    assert_same_text(asyncio.run(pieces()), chat.invoke(PROMPT).text)


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
    other_side.was_called_once_and_told_in(able.invoke(messages).text)


def forced_tool() -> None:
    for choice in ("any", "get_weather"):
        (call,) = chat.bind_tools([weather_tool(Tool())], tool_choice=choice).invoke(PROMPT).tool_calls
        assert_weather(call["args"])


def streamed_tool() -> None:
    chunks = list(chat.bind_tools([weather_tool(Tool())]).stream(WEATHER_PROMPT))
    (call,) = sum(chunks[1:], start=chunks[0]).tool_calls
    assert_weather(call["args"])


def structured(method: str) -> None:
    assert_recipe(chat.with_structured_output(Recipe, method=method).invoke(RECIPE_PROMPT))


run({
    "text": {"`invoke`": whole},
    "stream": {"`stream`": streamed, "`astream`": streamed_async},
    "tools": {
        "`bind_tools`: a call, its result, an answer": tool_loop,
        "`tool_choice`: `any`, and the tool's name": forced_tool,
        "streamed call": streamed_tool,
    },
    "structured output": {
        "`with_structured_output`: `function_calling`": lambda: structured("function_calling"),
        "`json_schema`": lambda: structured("json_schema"),
    },
})
