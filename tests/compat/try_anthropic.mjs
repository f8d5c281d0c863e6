// Anthropic's SDK for Node.

import assert from "node:assert/strict";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";

import {
  KEY, MODEL, ORIGIN, PROMPT, RECIPE_PROMPT, Recipe, Tool, WEATHER_PROMPT, Weather, assertSameText, assertText, run,
} from "./suite.mjs";

// for the page
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: ORIGIN, apiKey: KEY });
// end

const user = (content) => [{ role: "user", content }];
const request = (text, more = {}) => ({ model: MODEL, max_tokens: 500, messages: user(text), ...more });
const ask = (more) => client.messages.create(request(PROMPT, more));
const textOf = (message) => message.content.map((block) => block.text ?? "").join("");
const weather = (run) => betaZodTool({ name: "get_weather", description: "The weather in a city.", inputSchema: Weather, run });
const { run: _, parse: __, ...TOOL } = weather(() => "");

async function whole() {
  const reply = await ask({ system: "Answer briefly." });
  assertText(textOf(reply));
  assert.equal(reply.stop_reason, "end_turn");
  assert.ok(reply.usage.input_tokens > 0 && reply.usage.output_tokens > 0);
  assert.ok(reply._request_id);
}

async function counted() {
  assert.ok((await client.messages.countTokens({ model: MODEL, messages: user(PROMPT) })).input_tokens > 0);
}

async function listed() {
  const models = await Array.fromAsync(client.models.list());
  assert.equal((await client.models.retrieve(models[0].id)).id, models[0].id);
}

async function streamed() {
  const pieces = [];
  for await (const event of await ask({ stream: true })) pieces.push(event.delta?.text ?? "");
  assertSameText(pieces, textOf(await ask()));
}

async function streamHelper() {
  const pieces = [];
  const stream = client.messages.stream(request(PROMPT)).on("text", (piece) => pieces.push(piece));
  assertSameText(pieces, await stream.finalText());
}

async function toolLoop(more) {
  const tool = new Tool();
  const runner = client.beta.messages.toolRunner(request(WEATHER_PROMPT, { tools: [weather(tool.answer)], ...more }));
  tool.wasCalledOnceAndToldIn(textOf(await runner.runUntilDone()));
}

async function forcedTool() {
  for (const tool_choice of [{ type: "any" }, { type: "tool", name: "get_weather" }]) {
    const { content } = await ask({ tools: [TOOL], tool_choice });
    assert.equal(content.length, 1);
    Weather.parse(content[0].input);
  }
}

async function streamedTool() {
  let json = "";
  const stream = client.messages.stream(request(WEATHER_PROMPT, { tools: [TOOL] }));
  stream.on("inputJson", (piece) => { json += piece; });
  const { content } = await stream.finalMessage();
  assert.deepEqual(JSON.parse(json), content[0].input);
  Weather.parse(content[0].input);
}

const recipe = request(RECIPE_PROMPT, { output_config: { format: zodOutputFormat(Recipe) } });

async function parsed() {
  Recipe.parse((await client.messages.parse(recipe)).parsed_output);
}

async function parsedStream() {
  Recipe.parse((await client.messages.stream(recipe).finalMessage()).parsed_output);
}

await run({
  text: { "`create`": whole, "`countTokens`": counted, "`models.list`": listed },
  stream: { "`create({ stream: true })`": streamed, "`stream`": streamHelper },
  tools: {
    "`toolRunner`: a call, its result, an answer": () => toolLoop({}),
    "`toolRunner`, streamed": () => toolLoop({ stream: true }),
    "`tool_choice`: `any`, and the tool's name": forcedTool,
    "streamed arguments": streamedTool,
  },
  "structured output": { "`parse` with Zod": parsed, "`stream` with Zod": parsedStream },
});
