"""OpenAI's Agents SDK."""

import asyncio

from agents import Agent, ModelSettings, Runner, function_tool

from suite import KEY, MODEL, PROMPT, RECIPE_PROMPT, URL, WEATHER_PROMPT, Recipe, Tool, assert_recipe, assert_same_text
from suite import assert_text, run

# for the page
from agents import OpenAIResponsesModel, set_tracing_disabled
from openai import AsyncOpenAI

model = OpenAIResponsesModel(model=MODEL, openai_client=AsyncOpenAI(base_url=URL, api_key=KEY))
set_tracing_disabled(True)  # traces would go to OpenAI
# end

LOOP = asyncio.new_event_loop()  # the one that `run_sync` takes too
asyncio.set_event_loop(LOOP)


def whole() -> None:
    assert_text(Runner.run_sync(Agent(name="Helper", model=model, instructions="Answer briefly."), PROMPT).final_output)


def conversation() -> None:
    agent = Agent(name="Helper", model=model)
    first = Runner.run_sync(agent, PROMPT)
    items = [*first.to_input_list(), {"role": "user", "content": "And three more."}]
    assert_text(Runner.run_sync(agent, items).final_output)


def streamed() -> None:
    async def pieces() -> tuple[list, str]:
        running = Runner.run_streamed(Agent(name="Helper", model=model), PROMPT)
        events = [event async for event in running.stream_events() if event.type == "raw_response_event"]
        found = [event.data.delta for event in events if event.data.type == "response.output_text.delta"]
        return found, running.final_output

    assert_same_text(*LOOP.run_until_complete(pieces()))


def weather_agent(tool: Tool) -> Agent:
    @function_tool
    def get_weather(city: str, unit: str) -> str:
        """The weather in a city."""
        return tool.answer(city=city, unit="celsius")

    return Agent(name="Weather agent", model=model, tools=[get_weather], handoff_description="Knows the weather.")


def called() -> None:
    tool = Tool()
    tool.was_called_once_and_told_in(Runner.run_sync(weather_agent(tool), WEATHER_PROMPT).final_output)


def called_streamed() -> None:
    async def final() -> str:
        running = Runner.run_streamed(weather_agent(tool), WEATHER_PROMPT)
        async for _ in running.stream_events():
            pass
        return running.final_output

    tool = Tool()
    tool.was_called_once_and_told_in(LOOP.run_until_complete(final()))


def handed_off() -> None:
    tool = Tool()
    knows = weather_agent(tool)
    first = Agent(name="First", model=model, handoffs=[knows])
    # The demo's models make the calls that a prompt dictates; others decide by themselves.
    dictated = 'Call transfer_to_weather_agent with {}, then call get_weather with {"city": "Paris", "unit": "celsius"}'
    reply = Runner.run_sync(first, f"{WEATHER_PROMPT} {dictated}")
    assert reply.last_agent is knows, reply.last_agent.name
    tool.was_called_once_and_told_in(reply.final_output)


def forced() -> None:
    tool = Tool()
    agent = weather_agent(tool)
    agent.model_settings = ModelSettings(tool_choice="required", parallel_tool_calls=False)
    agent.tool_use_behavior = "stop_on_first_tool"
    tool.was_called_once_and_told_in(Runner.run_sync(agent, PROMPT).final_output)


def typed() -> None:
    assert_recipe(Runner.run_sync(Agent(name="Cook", model=model, output_type=Recipe), RECIPE_PROMPT).final_output)


run({
    "text": {"`Runner.run_sync`": whole, "a conversation": conversation},
    "stream": {"`Runner.run_streamed`": streamed},
    "tools": {
        "`function_tool`: a call, its result, an answer": called,
        "the same, streamed": called_streamed,
        "a hand-off to an agent that calls a tool": handed_off,
        "`tool_choice=\"required\"`": forced,
    },
    "structured output": {"`output_type`": typed},
})
