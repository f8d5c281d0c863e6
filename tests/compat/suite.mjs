// What the Node clients' checks share; as suite.py, with its texts.

import assert from "node:assert/strict";
import { z } from "zod";

export const { ROUTER_URL: URL, ROUTER_KEY: KEY, ROUTER_MODEL: MODEL, ROUTER_EMBEDDINGS: EMBEDDINGS } = process.env;
export const ORIGIN = URL.replace(/\/v1$/, "");

export const PROMPT = "Name three fruits.";
export const WEATHER_PROMPT = "What is the weather in Paris? Use get_weather.";
export const WEATHER = "sunny, 24 degrees"; // what the tool answers
export const RECIPE_PROMPT = "A recipe for pasta with tomatoes.";
export const TEXTS = ["apples", "pears and quinces", "apples"]; // to embed: the first and the last are equal

export const Weather = z.strictObject({
  city: z.string().describe("name of the city"),
  unit: z.enum(["celsius", "fahrenheit"]),
});
export const Recipe = z.strictObject({
  title: z.string(),
  kind: z.enum(["starter", "main course", "dessert"]),
  minutes: z.int(),
  vegetarian: z.boolean(),
  ingredients: z.array(z.strictObject({ name: z.string(), grams: z.int() })),
});

// The weather tool's other side: keeps what it was called with, once that fits the schema.
export class Tool {
  calledWith = [];

  answer = (given) => {
    this.calledWith.push(Weather.parse(given));
    return WEATHER;
  };

  wasCalledOnceAndToldIn(text) {
    assert.equal(this.calledWith.length, 1, `called with ${JSON.stringify(this.calledWith)}`);
    assert.ok(text.includes(WEATHER), `no ${WEATHER} in ${text}`);
  }
}

export const assertText = (text) => assert.ok(text?.trim(), `no text: ${text}`);

// A stream's pieces are the whole answer, and more than one.
export function assertSameText(pieces, whole) {
  assertText(whole);
  assert.equal(pieces.join(""), whole);
  assert.ok(pieces.filter(Boolean).length > 1, `one piece: ${JSON.stringify(pieces)}`);
}

// One vector for each input, of one length; equal inputs have equal vectors, others do not.
export function assertVectors(vectors) {
  assert.equal(vectors.length, TEXTS.length);
  const lengths = new Set(vectors.map((vector) => vector.length));
  assert.ok(lengths.size === 1 && Math.min(...lengths) > 1, `vectors of lengths ${[...lengths]}`);
  assert.ok(vectors.flat().every((number) => typeof number === "number"), "not all are numbers");
  assert.deepEqual(vectors[0], vectors.at(-1), "equal inputs, other vectors");
  assert.notDeepEqual(vectors[0], vectors[1], "other inputs, equal vectors");
}

// Runs the checks of each feature; one line of JSON for each.
export async function run(checks) {
  for (const [feature, named] of Object.entries(checks)) {
    for (const [check, does] of Object.entries(named)) {
      let error = null;
      try {
        await does();
      } catch (failure) {
        error = failure instanceof assert.AssertionError ? failure.message : failure.stack;
      }
      console.log(JSON.stringify({ feature, check, error }));
    }
  }
}
