// What the Node SDKs make of errors, images and streams that are left; as doors.py. run.py starts it and reads its lines.

import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const { ROUTER_ORIGIN: ORIGIN, ROUTER_MODEL: MODEL, ROUTER_BLIND: BLIND, ROUTER_BUSY: BUSY, ROUTER_IMAGE: IMAGE } = process.env;
const REAL = process.env.ROUTER_REAL;
const { main: MAIN, slow: SLOW, poor: POOR } = JSON.parse(process.env.ROUTER_KEYS);
const PROMPT = "Name three fruits.";
const options = { maxRetries: 0, timeout: 30_000 };

const messages = {
  sdk: Anthropic,
  async ask(key, { text = PROMPT, model = MODEL, image, ...more } = {}) {
    const client = new Anthropic({ baseURL: ORIGIN, apiKey: key, ...options });
    const content = [{ type: "text", text }];
    if (image) content.push({ type: "image", source: { type: "base64", media_type: "image/png", data: image } });
    const reply = await client.messages.create({ model, max_tokens: 100, messages: [{ role: "user", content }], ...more });
    return reply.stop_reason ? reply.content[0].text : reply;
  },
};

const responses = {
  sdk: OpenAI,
  async ask(key, { text = PROMPT, model = MODEL, image, ...more } = {}) {
    const client = new OpenAI({ baseURL: `${ORIGIN}/v1`, apiKey: key, ...options });
    const content = [{ type: "input_text", text }];
    if (image) content.push({ type: "input_image", image_url: `data:image/png;base64,${image}` });
    const reply = await client.responses.create({ model, input: [{ role: "user", content }], ...more });
    return reply.output_text ?? reply;
  },
};

// The error, which must be of just this class.
async function raised(promise, kind, status) {
  const error = await promise.then((said) => assert.fail(`no error, but ${said}`), (error) => error);
  assert.equal(error.constructor, kind, `${error.constructor.name} instead of ${kind.name}: ${error.message}`);
  assert.equal(error.status, status);
  return error;
}

const checks = {
  async "a bad field is BadRequest"(door) {
    const error = await raised(door.ask(MAIN, { temperature: 99 }), door.sdk.BadRequestError, 400);
    assert.match(error.message, /temperature/);
  },
  "an unknown key is Authentication": (door) => raised(door.ask("sk-unknown"), door.sdk.AuthenticationError, 401),
  "a named upstream is PermissionDenied": (door) =>
    raised(door.ask(MAIN, { model: `runpod-8b/${MODEL}` }), door.sdk.PermissionDeniedError, 403),
  async "an unknown model is NotFound"(door) {
    const error = await raised(door.ask(MAIN, { model: "no-such-model" }), door.sdk.NotFoundError, 404);
    assert.match(error.message, /no-such-model/);
  },
  async "calls a minute used up are RateLimit"(door) {
    for (let i = 0; i < 3; i++) await door.ask(SLOW).catch(() => {});
    const error = await raised(door.ask(SLOW), door.sdk.RateLimitError, 429);
    assert.ok(Number(error.headers.get("retry-after")) > 0);
  },
  async "a budget used up"(door) {
    if (door === messages) {
      const error = await raised(door.ask(POOR), Anthropic.PaymentRequiredError, 402);
      assert.equal(error.type, "billing_error");
    } else {
      const error = await raised(door.ask(POOR), OpenAI.RateLimitError, 429);
      assert.equal(error.code, "insufficient_quota");
    }
  },
  async "no room anywhere"(door) {
    const [kind, status] = door === messages ? [Anthropic.OverloadedError, 529] : [OpenAI.InternalServerError, 503];
    const error = await raised(door.ask(MAIN, { model: BUSY }), kind, status);
    if (door === messages) assert.equal(error.type, "overloaded_error");
    assert.ok(Number(error.headers.get("retry-after")) > 0);
  },
  async "an image is seen"(door) {
    assert.match(await door.ask(MAIN, { image: IMAGE }), /I see 1 image\./);
  },
  async "an image that no upstream takes is BadRequest"(door) {
    const error = await raised(door.ask(MAIN, { model: BLIND, image: IMAGE }), door.sdk.BadRequestError, 400);
    assert.match(error.message, /image/);
  },
  async "a real model answers, whole and streamed"(door) {
    const role = { [door === messages ? "system" : "instructions"]: "You are a helpful assistant." };
    const request = { model: REAL, text: "What is the capital of France?", temperature: 0, ...role };
    const whole = await door.ask(MAIN, request);
    assert.match(whole, /Paris/);
    let streamed = "";
    for await (const event of await door.ask(MAIN, { ...request, stream: true })) {
      if (event.type === "content_block_delta") streamed += event.delta.text;
      if (event.type === "response.output_text.delta") streamed += event.delta;
    }
    assert.equal(streamed, whole);
  },
  async "a stream that is left ends without an error"(door) {
    for await (const event of await door.ask(MAIN, { stream: true })) {
      if (event.delta) break;
    }
  },
};

for (const [name, door] of Object.entries({ messages, responses })) {
  for (const [check, does] of Object.entries(checks)) {
    const error = await Promise.resolve(does(door)).then(() => null, (failure) => failure.message || failure.stack);
    console.log(JSON.stringify({ check: `${name}: ${check}`, error }));
  }
}
