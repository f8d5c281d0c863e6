// OpenAI's SDK for Node.

import assert from "node:assert/strict";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";

import {
  EMBEDDINGS, KEY, MODEL, PROMPT, RECIPE_PROMPT, Recipe, TEXTS, Tool, URL, WEATHER_PROMPT, Weather, assertSameText,
  assertText, assertVectors, run,
} from "./suite.mjs";

// for the page
import OpenAI from "openai";

const client = new OpenAI({ baseURL: URL, apiKey: KEY });
// end

const user = (content) => [{ role: "user", content }];
const ask = (more = {}) => client.chat.completions.create({ model: MODEL, messages: user(PROMPT), ...more });
const recipe = { model: MODEL, messages: user(RECIPE_PROMPT), response_format: zodResponseFormat(Recipe, "recipe") };

async function whole() {
  const reply = await ask();
  assertText(reply.choices[0].message.content);
  assert.ok(reply.usage.completion_tokens > 0);
}

async function streamed() {
  const pieces = [];
  for await (const chunk of await ask({ stream: true })) pieces.push(chunk.choices[0]?.delta.content ?? "");
  assertSameText(pieces, (await ask()).choices[0].message.content);
}

async function streamHelper() {
  const pieces = [];
  const stream = client.chat.completions.stream({ model: MODEL, messages: user(PROMPT) });
  stream.on("content", (piece) => pieces.push(piece));
  assertSameText(pieces, await stream.finalContent());
  assertSameText(pieces, (await ask()).choices[0].message.content);
}

// The SDK calls the tool and asks again until there is an answer.
async function runTools(more) {
  const tool = new Tool();
  const tools = [zodFunction({ name: "get_weather", parameters: Weather, function: tool.answer })];
  const runner = client.chat.completions.runTools({ model: MODEL, messages: user(WEATHER_PROMPT), tools, ...more });
  tool.wasCalledOnceAndToldIn(await runner.finalContent());
}

async function forcedTool() {
  const tools = [zodFunction({ name: "get_weather", parameters: Weather })];
  for (const tool_choice of ["required", { type: "function", function: { name: "get_weather" } }]) {
    const reply = await client.chat.completions.parse({ model: MODEL, messages: user(PROMPT), tools, tool_choice });
    const calls = reply.choices[0].message.tool_calls;
    assert.equal(calls.length, 1);
    Weather.parse(calls[0].function.parsed_arguments);
  }
}

async function parsed() {
  const reply = await client.chat.completions.parse(recipe);
  Recipe.parse(reply.choices[0].message.parsed);
}

async function parsedStream() {
  const reply = await client.chat.completions.stream(recipe).finalChatCompletion();
  Recipe.parse(reply.choices[0].message.parsed);
}

async function embedded(more = {}) {
  const reply = await client.embeddings.create({ model: EMBEDDINGS, input: TEXTS, ...more });
  assertVectors(reply.data.map((each) => each.embedding));
}

await run({
  text: { "`create`": whole },
  stream: { "`create({ stream: true })`": streamed, "`stream`": streamHelper },
  tools: {
    "`runTools`: a call, its result, an answer": () => runTools({}),
    "`runTools`, streamed": () => runTools({ stream: true }),
    "`tool_choice`: `required`, and the tool's name": forcedTool,
  },
  "structured output": { "`parse` with Zod": parsed, "`stream` with Zod": parsedStream },
  embeddings: { "base64, the default": () => embedded(), float: () => embedded({ encoding_format: "float" }) },
});
