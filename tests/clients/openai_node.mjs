// The checks of the OpenAI SDK for Node against a running router; run.py starts it and reads its lines.
// Environment, output and check names as in openai_python.py.

import assert from "node:assert/strict";
import OpenAI from "openai";

const { ROUTER_URL, ROUTER_KEY, ROUTER_MODEL: MODEL, ROUTER_PROVIDER: PROVIDER } = process.env;
const SILENT = { model: process.env.ROUTER_SILENT_MODEL, messages: [{ role: "user", content: "Is it quiet there?" }] };
const BROKEN = { model: process.env.ROUTER_BROKEN_MODEL, messages: [{ role: "user", content: "How does it end?" }] };

const connect = (apiKey) => new OpenAI({ baseURL: ROUTER_URL, apiKey, timeout: 60_000 });
const client = connect(ROUTER_KEY);

const PARIS = {
  model: MODEL,
  messages: [
    { role: "system", content: "You are a helpful assistant." },
    { role: "user", content: "What is the capital of France?" },
  ],
  temperature: 0,
  max_tokens: 40,
};
const CITY_SCHEMA = {
  type: "json_schema",
  json_schema: {
    name: "city",
    strict: true,
    schema: {
      type: "object",
      properties: { city: { type: "string", maxLength: 30 } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};
// ignore_eos makes the model talk on until it is stopped; the SDK does not know the parameter, the router passes it through.
const ENDLESS = {
  model: MODEL,
  messages: [{ role: "user", content: "Tell me a very long story about a lighthouse." }],
  max_tokens: 1500,
  ignore_eos: true,
};

let exchange = [];
const note = (request, answer) => exchange.push({ request, answer });

const assertParis = (text) => assert.ok(text.includes("Paris"), `no Paris in ${JSON.stringify(text)}`);

async function answersParis() {
  const reply = await client.chat.completions.create(PARIS);
  note(PARIS, reply);
  assertParis(reply.choices[0].message.content);
  assert.ok(reply.usage?.prompt_tokens > 0 && reply.usage?.completion_tokens > 0, `usage ${JSON.stringify(reply.usage)}`);
}

async function streamed(request) {
  const body = { ...request, stream: true };
  const chunks = [];
  for await (const chunk of await client.chat.completions.create(body)) chunks.push(chunk);
  note(body, chunks);
  return chunks;
}

const textOf = (chunks) => chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.delta.content ?? "").join("");

async function streamsWithUsage() {
  const chunks = await streamed({ ...PARIS, stream_options: { include_usage: true } });
  assertParis(textOf(chunks));
  const last = chunks.pop();
  assert.deepEqual(last.choices, [], "the last chunk has choices");
  assert.ok(last.usage?.completion_tokens > 0, `usage of the last chunk: ${JSON.stringify(last.usage)}`);
  assert.ok(chunks.every((chunk) => !chunk.usage), "usage before the last chunk");
}

async function streamsWithoutUsage() {
  const chunks = await streamed(PARIS);
  assertParis(textOf(chunks));
  assert.ok(chunks.every((chunk) => !chunk.usage), "a chunk carries usage that was not asked for");
  assert.ok(chunks.every((chunk) => chunk.choices.length > 0), "a chunk without choices, which only a usage chunk may be");
  assert.ok(chunks.at(-1).choices[0].finish_reason, "the last chunk has no finish_reason");
}

async function silenceIsBridged() {
  const raw = await client.chat.completions.create({ ...SILENT, stream: true }).asResponse();
  const lines = (await raw.text()).split("\n");
  note({ ...SILENT, stream: true }, lines);
  assert.ok(lines.includes(": keep-alive"), `no comment came: ${lines}`);
  assert.equal(textOf(await streamed(SILENT)), "It is quiet here.");
}

async function brokenStreamThrows() {
  let text = "";
  try {
    for await (const chunk of await client.chat.completions.create({ ...BROKEN, stream: true })) {
      text += chunk.choices[0].delta.content ?? "";
    }
  } catch (error) {
    note({ ...BROKEN, stream: true }, { text, raised: error.constructor.name, message: error.message });
    assert.ok(error instanceof OpenAI.APIError, `${error.constructor.name}: ${error.message}`);
    assert.equal(text, "It is", "what came before the end is kept");
    assert.match(error.message, /upstream/);
    return;
  }
  assert.fail(`no error after ${text}`);
}

async function jsonSchemaParses() {
  const request = { ...PARIS, response_format: CITY_SCHEMA, max_tokens: 60 };
  const reply = await client.chat.completions.create(request);
  note(request, reply);
  assert.equal(typeof JSON.parse(reply.choices[0].message.content).city, "string");
}

async function listsTheModel() {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  note("GET /models", names);
  assert.ok(names.includes(MODEL), `${MODEL} is not in ${names}`);
  assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
}

async function responseHeaders() {
  const { data, response } = await client.chat.completions.create(PARIS).withResponse();
  const ours = [...response.headers].filter(([name]) => name.startsWith("x-llm-router") || name === "x-request-id");
  note(PARIS, Object.fromEntries(ours));
  const id = response.headers.get("x-request-id");
  assert.ok(id, "no x-request-id");
  assert.equal(response.headers.get("x-llm-router-provider"), PROVIDER);
  assert.equal(data._request_id, id);
}

async function refused(ErrorType, status, request, using = client) {
  let reply;
  try {
    reply = await using.chat.completions.create(request);
  } catch (error) {
    note(request, { raised: error.constructor.name, status: error.status, body: error.error });
    assert.equal(error.constructor, ErrorType, `${error.constructor.name} instead of ${ErrorType.name}: ${error.message}`);
    assert.equal(error.status, status);
    assert.ok(error.error?.message, `no message in ${JSON.stringify(error.error)}`);
    return error;
  }
  assert.fail(`no error, but ${JSON.stringify(reply.choices[0].message.content)}`);
}

async function unknownModel() {
  const error = await refused(OpenAI.NotFoundError, 404, { ...PARIS, model: "no-such-model" });
  assert.equal(error.code, "model_not_found");
  assert.match(error.message, /no-such-model/, "the message names the model");
}

async function badKey() {
  await refused(OpenAI.AuthenticationError, 401, PARIS, connect("sk-wrong"));
}

async function badTemperature() {
  const error = await refused(OpenAI.BadRequestError, 400, { ...PARIS, temperature: 99 });
  assert.match(error.message, /temperature/, "the message names the parameter");
}

async function badMaxTokens() {
  const error = await refused(OpenAI.BadRequestError, 400, { ...PARIS, max_tokens: -1 });
  assert.match(error.message, /max_tokens/, "the message names the parameter");
}

async function earlyDisconnect() {
  const body = { ...ENDLESS, stream: true };
  let first;
  for await (const chunk of await client.chat.completions.create(body)) {
    first = chunk;
    break; // the SDK aborts the request when its loop is left
  }
  assert.ok(first, "the stream was empty");
  note(body, ["closed after", first]);
  await answersParis();
}

const CHECKS = {
  "chat answers Paris": answersParis,
  "stream with usage": streamsWithUsage,
  "stream without usage": streamsWithoutUsage,
  "stream with ids that falls silent": silenceIsBridged,
  "stream that breaks": brokenStreamThrows,
  "json_schema answer parses": jsonSchemaParses,
  "models are listed": listsTheModel,
  "response headers": responseHeaders,
  "unknown model is NotFoundError": unknownModel,
  "bad key is AuthenticationError": badKey,
  "temperature 99 is BadRequestError": badTemperature,
  "max_tokens -1 is BadRequestError": badMaxTokens,
  "early disconnect, then the next request": earlyDisconnect,
};

for (const [name, check] of Object.entries(CHECKS)) {
  exchange = [];
  let error = null;
  try {
    await check();
  } catch (failure) {
    error = failure instanceof assert.AssertionError ? failure.message : failure.stack;
  }
  console.log(JSON.stringify({ check: name, ok: error === null, error, exchange }));
}
