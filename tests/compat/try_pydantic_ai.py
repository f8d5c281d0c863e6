"""Pydantic AI."""

import asyncio
from typing import Literal

from pydantic_ai import Agent, NativeOutput, PromptedOutput
from pydantic_ai.embeddings import Embedder
from pydantic_ai.models.openai import OpenAIResponsesModel

from suite import (
    EMBEDDINGS, KEY, MODEL, PROMPT, RECIPE_PROMPT, TEXTS, URL, WEATHER_PROMPT, Recipe, Tool, assert_recipe,
    assert_same_text, assert_text, assert_vectors, run,
)

# for the page
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

router = OpenAIProvider(base_url=URL, api_key=KEY)
model = OpenAIChatModel(MODEL, provider=router)
embeddings = OpenAIEmbeddingModel(EMBEDDINGS, provider=router)
# end


# One loop for all: the provider's connections belong to the loop that opened them.
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)


def whole() -> None:
    assert_text(Agent(model).run_sync(PROMPT).output)


def whole_by_responses() -> None:
    assert_text(Agent(OpenAIResponsesModel(MODEL, provider=router)).run_sync(PROMPT).output)


def streamed() -> None:
    async def pieces() -> list:
        async with Agent(model).run_stream(PROMPT) as reply:
            return [piece async for piece in reply.stream_text(delta=True, debounce_by=None)]

    assert_same_text(loop.run_until_complete(pieces()), Agent(model).run_sync(PROMPT).output)


def weather_agent(other_side: Tool, **more) -> Agent:
    agent = Agent(model, **more)

    @agent.tool_plain
    def get_weather(city: str, unit: Literal["celsius", "fahrenheit"]) -> str:
        """The weather in a city."""
        return other_side.answer(city=city, unit=unit)

    return agent


def agent() -> None:
    other_side = Tool()
    other_side.was_called_once_and_told_in(weather_agent(other_side).run_sync(WEATHER_PROMPT).output)


def structured(output_type: object) -> None:
    assert_recipe(Agent(model, output_type=output_type).run_sync(RECIPE_PROMPT).output)


def structured_with_tool() -> None:
    other_side = Tool()
    assert_recipe(weather_agent(other_side, output_type=Recipe).run_sync(f"{WEATHER_PROMPT} {RECIPE_PROMPT}").output)
    assert len(other_side.called_with) == 1, other_side.called_with


def embedded() -> None:
    assert_vectors(Embedder(embeddings).embed_documents_sync(TEXTS).embeddings)


run({
    "text": {"`run_sync`": whole, "the same with `OpenAIResponsesModel`": whole_by_responses},
    "stream": {"`run_stream`": streamed},
    "tools": {"an agent's tool: a call, its result, an answer": agent},
    "structured output": {
        "`output_type`, by a tool (the default)": lambda: structured(Recipe),
        "`output_type`, beside a tool of one's own": structured_with_tool,
        "`NativeOutput`, by JSON schema": lambda: structured(NativeOutput(Recipe)),
        "`PromptedOutput`, by any JSON": lambda: structured(PromptedOutput(Recipe)),
    },
    "embeddings": {"`Embedder`": embedded},
})
