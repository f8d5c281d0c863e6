// OpenAI's SDK for Node, by Responses.

import assert from "node:assert/strict";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";

import {
  KEY, MODEL, PROMPT, RECIPE_PROMPT, Recipe, Tool, URL, WEATHER_PROMPT, Weather, assertSameText, assertText, run,
} from "./suite.mjs";

// for the page
import OpenAI from "openai";

const client = new OpenAI({ baseURL: URL, apiKey: KEY });
// end

const ask = (input = PROMPT, more = {}) => client.responses.create({ model: MODEL, input, ...more });
const tools = [zodResponsesFunction({ name: "get_weather", parameters: Weather })];
const recipe = { model: MODEL, input: RECIPE_PROMPT, text: { format: zodTextFormat(Recipe, "recipe") } };

async function whole() {
  const reply = await ask(PROMPT, { instructions: "Answer briefly." });
  assertText(reply.output_text);
  assert.ok(reply.status === "completed" && reply.usage.output_tokens > 0);
}

async function withHistory() {
  const { output } = await ask();
  const input = [{ role: "user", content: PROMPT }, ...output, { role: "user", content: "And three more." }];
  assertText((await ask(input, { store: false })).output_text);
}

async function streamed() {
  const pieces = [];
  for await (const event of await ask(PROMPT, { stream: true })) {
    if (event.type === "response.output_text.delta") pieces.push(event.delta);
  }
  assertSameText(pieces, (await ask()).output_text);
}

async function streamHelper() {
  const pieces = [];
  const stream = client.responses.stream({ model: MODEL, input: PROMPT });
  stream.on("response.output_text.delta", ({ delta }) => pieces.push(delta));
  assertSameText(pieces, (await stream.finalResponse()).output_text);
}

async function toolLoop() {
  const tool = new Tool();
  const input = [{ role: "user", content: WEATHER_PROMPT }];
  const { output } = await client.responses.parse({ model: MODEL, input, tools });
  input.push(...output.map(({ parsed_arguments: _, ...item }) => item));
  for (const call of output.filter(({ type }) => type === "function_call")) {
    input.push({ type: "function_call_output", call_id: call.call_id, output: tool.answer(call.parsed_arguments) });
  }
  tool.wasCalledOnceAndToldIn((await ask(input, { tools })).output_text);
}

async function forcedTool() {
  for (const tool_choice of ["required", { type: "function", name: "get_weather" }]) {
    const { output } = await ask(PROMPT, { tools, tool_choice });
    assert.equal(output.length, 1);
    Weather.parse(JSON.parse(output[0].arguments));
  }
}

async function parsed() {
  Recipe.parse((await client.responses.parse(recipe)).output_parsed);
}

async function parsedStream() {
  Recipe.parse((await client.responses.stream(recipe).finalResponse()).output_parsed);
}

await run({
  text: { "`create`": whole, "`create` with earlier items": withHistory },
  stream: { "`create({ stream: true })`": streamed, "`stream`": streamHelper },
  tools: {
    "a call, its result, an answer": toolLoop,
    "`tool_choice`: `required`, and the tool's name": forcedTool,
  },
  "structured output": { "`parse` with Zod": parsed, "`stream` with Zod": parsedStream },
});
