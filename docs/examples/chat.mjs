// A chat through the router with OpenAI's SDK, and who served it.

import OpenAI from "openai";

const { LLM_ROUTER_URL = "http://127.0.0.1:8080", LLM_ROUTER_KEY = "sk-demo" } = process.env;
const router = new OpenAI({ baseURL: `${LLM_ROUTER_URL}/v1`, apiKey: LLM_ROUTER_KEY });

const { data, response } = await router.chat.completions
  .create({
    model: "task/chat",
    messages: [{ role: "user", content: "Say hello to the router." }],
    max_tokens: 100,
  })
  .withResponse();
const header = (name) => response.headers.get(`x-llm-router-${name}`);
console.log(data.choices[0].message.content);
console.log(`-- ${header("provider")}, because of ${header("reason")}, for ${header("cost-usd")} USD, ${data.usage.total_tokens} tokens`);
