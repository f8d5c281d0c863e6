"""LlamaIndex with OpenAILike and OpenAIEmbedding."""

import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool

from suite import (
    EMBEDDINGS, KEY, MODEL, PROMPT, RECIPE_PROMPT, TEXTS, URL, WEATHER_PROMPT, Recipe, Tool, Weather, assert_recipe,
    assert_same_text, assert_text, assert_vectors, assert_weather, run,
)

# for the page
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(model=MODEL, api_base=URL, api_key=KEY, is_chat_model=True, is_function_calling_model=True)
embeddings = OpenAIEmbedding(model_name=EMBEDDINGS, api_base=URL, api_key=KEY)
# end


def completed() -> None:
    assert_text(llm.complete(PROMPT).text)


def chatted() -> None:
    assert_text(llm.chat([ChatMessage(role="user", content=PROMPT)]).message.content)


def streamed() -> None:
    replies = list(llm.stream_chat([ChatMessage(role="user", content=PROMPT)]))
    assert_same_text([reply.delta for reply in replies], llm.complete(PROMPT).text)
    assert replies[-1].message.content == llm.complete(PROMPT).text, replies[-1]


def weather_tool(other_side: Tool) -> FunctionTool:
    def get_weather(city: str, unit: str) -> str:
        return other_side.answer(city=city, unit=unit)

    return FunctionTool.from_defaults(get_weather, description="The weather in a city.", fn_schema=Weather)


def called() -> None:
    get_weather = weather_tool(Tool())
    reply = llm.chat_with_tools([get_weather], user_msg=WEATHER_PROMPT)
    (call,) = llm.get_tool_calls_from_response(reply)
    assert call.tool_name == "get_weather", call
    assert_weather(call.tool_kwargs)


def agent() -> None:
    other_side = Tool()

    async def ask() -> str:
        return str(await FunctionAgent(tools=[weather_tool(other_side)], llm=llm).run(WEATHER_PROMPT))

    other_side.was_called_once_and_told_in(asyncio.run(ask()))


def structured() -> None:
    assert_recipe(llm.structured_predict(Recipe, PromptTemplate(RECIPE_PROMPT)))


def structured_llm() -> None:
    assert_recipe(llm.as_structured_llm(Recipe).complete(RECIPE_PROMPT).raw)


def embedded() -> None:
    vectors = embeddings.get_text_embedding_batch(TEXTS)
    assert_vectors(vectors)
    assert embeddings.get_text_embedding(TEXTS[0]) == vectors[0], "alone a text has another vector"


run({
    "text": {"`complete`": completed, "`chat`": chatted},
    "stream": {"`stream_chat`": streamed},
    "tools": {"`chat_with_tools`": called, "`FunctionAgent`: a call, its result, an answer": agent},
    "structured output": {"`structured_predict`": structured, "`as_structured_llm`": structured_llm},
    "embeddings": {"`get_text_embedding`, `get_text_embedding_batch`": embedded},
})
