// Vercel's AI SDK with @ai-sdk/openai-compatible.

import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { Output, embed, embedMany, generateObject, generateText, stepCountIs, streamText, tool } from "ai";

import {
  EMBEDDINGS, KEY, MODEL, PROMPT, RECIPE_PROMPT, Recipe, TEXTS, Tool, URL, WEATHER_PROMPT, Weather, assertSameText,
  assertText, assertVectors, run,
} from "./suite.mjs";

// for the page
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const router = createOpenAICompatible({ name: "router", baseURL: URL, apiKey: KEY, supportsStructuredOutputs: true });
const model = router(MODEL);
const embeddings = router.embeddingModel(EMBEDDINGS);
// end

async function whole() {
  const reply = await generateText({ model, prompt: PROMPT });
  assertText(reply.text);
  assert.ok(reply.usage.outputTokens > 0);
}

async function wholeByOpenAIProvider() {
  const chat = createOpenAI({ baseURL: URL, apiKey: KEY }).chat(MODEL);
  assertText((await generateText({ model: chat, prompt: PROMPT })).text);
}

// What the provider asks without `.chat`: Responses.
async function wholeByResponses() {
  const responses = createOpenAI({ baseURL: URL, apiKey: KEY })(MODEL);
  assertText((await generateText({ model: responses, prompt: PROMPT })).text);
}

async function toolLoopByResponses() {
  const other = new Tool();
  const responses = createOpenAI({ baseURL: URL, apiKey: KEY })(MODEL);
  const reply = await generateText({ ...weatherRequest(other), model: responses });
  other.wasCalledOnceAndToldIn(reply.text);
}

async function streamed() {
  const pieces = await Array.fromAsync(streamText({ model, prompt: PROMPT }).textStream);
  assertSameText(pieces, (await generateText({ model, prompt: PROMPT })).text);
}

// The SDK calls the tool and asks again until there is an answer.
const weatherRequest = (other) => ({
  model,
  prompt: WEATHER_PROMPT,
  tools: { get_weather: tool({ description: "The weather in a city.", inputSchema: Weather, execute: other.answer }) },
  stopWhen: stepCountIs(3),
});

async function toolLoop() {
  const other = new Tool();
  const reply = await generateText(weatherRequest(other));
  other.wasCalledOnceAndToldIn(reply.text);
  assert.equal(reply.steps.length, 2);
}

async function streamedToolLoop() {
  const other = new Tool();
  other.wasCalledOnceAndToldIn(await streamText(weatherRequest(other)).text);
}

async function outputByOpenAIProvider() {
  const chat = createOpenAI({ baseURL: URL, apiKey: KEY }).chat(MODEL);
  const reply = await generateText({ model: chat, output: Output.object({ schema: Recipe }), prompt: RECIPE_PROMPT });
  Recipe.parse(reply.output);
}

async function object() {
  const reply = await generateObject({ model, schema: Recipe, prompt: RECIPE_PROMPT });
  Recipe.parse(reply.object);
}

async function output() {
  const reply = await generateText({ model, output: Output.object({ schema: Recipe }), prompt: RECIPE_PROMPT });
  Recipe.parse(reply.output);
}

async function streamedOutput() {
  const reply = streamText({ model, output: Output.object({ schema: Recipe }), prompt: RECIPE_PROMPT });
  const parts = await Array.fromAsync(reply.partialOutputStream);
  assert.ok(parts.length > 1, `one piece: ${JSON.stringify(parts)}`);
  Recipe.parse(await reply.output);
}

async function embedded() {
  const { embeddings: vectors } = await embedMany({ model: embeddings, values: TEXTS });
  assertVectors(vectors);
  assert.deepEqual((await embed({ model: embeddings, value: TEXTS[0] })).embedding, vectors[0]);
}

await run({
  text: {
    "`generateText`": whole,
    "`generateText` with `@ai-sdk/openai`": wholeByOpenAIProvider,
    "the same by Responses": wholeByResponses,
  },
  stream: { "`streamText`": streamed },
  tools: {
    "`generateText`: a call, its result, an answer": toolLoop,
    "`streamText`: the same": streamedToolLoop,
    "`generateText` by Responses: the same": toolLoopByResponses,
  },
  "structured output": {
    "`generateObject`": object,
    "`generateText` with `Output.object`": output,
    "the same with `@ai-sdk/openai`": outputByOpenAIProvider,
    "`streamText` with `Output.object`": streamedOutput,
  },
  embeddings: { "`embed`, `embedMany`": embedded },
});
