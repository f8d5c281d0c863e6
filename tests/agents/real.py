"""The Python SDKs, OpenAI's Agents SDK and LangChain against a real, small model; the SDKs for Node are in doors.mjs.

What it says is its own, so that the shapes are what is checked. It is too small to call tools, and llama.cpp does not make it.
"""

import asyncio
import json

from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, set_tracing_disabled
from langchain_anthropic import ChatAnthropic
from openai import AsyncOpenAI
from pydantic import BaseModel

import lab
from doors import Messages, Responses
from lab import REAL_MODEL, Lab, expect

PARIS = "What is the capital of France?"
ASKED = "What is the weather in Paris?"
WEATHER = "sunny, 24 degrees"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}


# The SDK for Messages has no parameter for it any more.
STEADY = {"temperature": 0}


class City(BaseModel):
    """The name of a city."""

    city: str


def messages_text(at: Lab) -> str:
    client = Messages(at, at.keys["main"]).client
    request = {"model": REAL_MODEL, "max_tokens": 40, "extra_body": STEADY, "system": "You are a helpful assistant."}
    request["messages"] = [{"role": "user", "content": PARIS}]
    whole = client.messages.create(**request)
    with client.messages.stream(**request) as stream:
        streamed = stream.get_final_message()
    expect("Paris" in whole.content[0].text, f"no Paris in {whole.content}")
    expect(streamed.content[0].text == whole.content[0].text, f"streamed {streamed.content}, whole {whole.content}")
    expect(streamed.usage.output_tokens == whole.usage.output_tokens > 0, f"{streamed.usage}, {whole.usage}")
    expect(streamed.stop_reason == whole.stop_reason, f"{streamed.stop_reason}, {whole.stop_reason}")
    return whole.content[0].text


def messages_tools(at: Lab) -> str:
    client = Messages(at, at.keys["main"]).client
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": WEATHER}
    messages = [
        {"role": "user", "content": ASKED},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    tools = [{"name": "get_weather", "description": "The weather in a city.", "input_schema": SCHEMA}]
    request = {"model": REAL_MODEL, "max_tokens": 40, "extra_body": STEADY, "tools": tools, "messages": messages}
    with client.messages.stream(**request) as stream:
        reply = stream.get_final_message()
    expect(reply.content[0].text.strip(), f"{reply}")
    return reply.content[0].text


def messages_parsed(at: Lab) -> str:
    client = Messages(at, at.keys["main"]).client
    reply = client.messages.parse(
        model=REAL_MODEL, max_tokens=60, output_format=City, messages=[{"role": "user", "content": PARIS}], extra_body=STEADY
    )
    expect(isinstance(reply.parsed_output, City), f"{reply}")
    return str(reply.parsed_output)


def responses_text(at: Lab) -> str:
    client = Responses(at, at.keys["main"]).client
    request = {"model": REAL_MODEL, "max_output_tokens": 40, "temperature": 0, "input": PARIS}
    request["instructions"] = "You are a helpful assistant."
    whole = client.responses.create(**request)
    with client.responses.stream(**request) as stream:
        streamed = stream.get_final_response()
    expect("Paris" in whole.output_text, f"no Paris in {whole.output}")
    expect(streamed.output_text == whole.output_text, f"streamed {streamed.output_text}, whole {whole.output_text}")
    expect(streamed.usage.output_tokens == whole.usage.output_tokens > 0, f"{streamed.usage}, {whole.usage}")
    expect(streamed.status == whole.status, f"{streamed.status}, {whole.status}")
    return whole.output_text


def responses_tools(at: Lab) -> str:
    client = Responses(at, at.keys["main"]).client
    items = [
        {"role": "user", "content": ASKED},
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": json.dumps({"city": "Paris"})},
        {"type": "function_call_output", "call_id": "call_1", "output": WEATHER},
    ]
    tools = [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}]
    request = {"model": REAL_MODEL, "max_output_tokens": 40, "temperature": 0, "tools": tools, "input": items}
    with client.responses.stream(**request) as stream:
        reply = stream.get_final_response()
    expect(reply.output_text.strip(), f"{reply}")
    return reply.output_text


def responses_parsed(at: Lab) -> str:
    client = Responses(at, at.keys["main"]).client
    reply = client.responses.parse(model=REAL_MODEL, max_output_tokens=60, temperature=0, text_format=City, input=PARIS)
    expect(isinstance(reply.output_parsed, City), f"{reply}")
    return str(reply.output_parsed)


def an_agent(at: Lab) -> str:
    set_tracing_disabled(True)

    async def asked() -> tuple[str, str]:
        async with AsyncOpenAI(base_url=f"{at.origin}/v1", api_key=at.keys["main"], max_retries=0, timeout=60) as client:
            model = OpenAIResponsesModel(model=REAL_MODEL, openai_client=client)
            settings = ModelSettings(temperature=0, max_tokens=40)
            agent = Agent(name="Helper", model=model, instructions="You are a helpful assistant.", model_settings=settings)
            streamed = Runner.run_streamed(agent, PARIS)
            async for _ in streamed.stream_events():
                pass
            return (await Runner.run(agent, PARIS)).final_output, streamed.final_output

    whole, streamed = asyncio.run(asked())
    expect("Paris" in whole and streamed == whole, f"streamed {streamed!r}, whole {whole!r}")
    return whole


def a_chain(at: Lab) -> str:
    chat = ChatAnthropic(model=REAL_MODEL, base_url=at.origin, api_key=at.keys["main"], max_tokens=40, max_retries=0)
    whole, streamed = chat.invoke(PARIS), list(chat.stream(PARIS))
    expect(whole.text.strip() and whole.usage_metadata["output_tokens"] > 0, f"{whole}")
    expect("".join(chunk.text for chunk in streamed).strip(), f"{streamed}")
    return whole.text


CHECKS = {
    "messages: a text, whole and streamed": messages_text,
    "messages: a call and its result in the history": messages_tools,
    "messages: `parse`": messages_parsed,
    "responses: a text, whole and streamed": responses_text,
    "responses: a call and its result in the history": responses_tools,
    "responses: `parse`": responses_parsed,
    "OpenAI's Agents SDK: a text, whole and streamed": an_agent,
    "LangChain's ChatAnthropic: a text, whole and streamed": a_chain,
}


def check(report: lab.Report, at: Lab) -> None:
    for name, does in CHECKS.items():
        report.attempt(f"real model, {name}", does, at)
