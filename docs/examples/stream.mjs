// The same chat as a stream, with usage at its end.

import OpenAI from "openai";

const { LLM_ROUTER_URL = "http://127.0.0.1:8080", LLM_ROUTER_KEY = "sk-demo" } = process.env;
const router = new OpenAI({ baseURL: `${LLM_ROUTER_URL}/v1`, apiKey: LLM_ROUTER_KEY });

try {
  const chunks = await router.chat.completions.create({
    model: "task/chat",
    messages: [{ role: "user", content: "Say hello to the router." }],
    max_tokens: 100,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of chunks) {
    process.stdout.write(chunk.choices[0]?.delta.content ?? "");
    if (chunk.usage) console.log(`\n-- ${chunk.usage.total_tokens} tokens`);
  }
} catch (error) {
  // Before the first token nobody has seen anything yet; after it, the text so far is not the whole answer.
  if (!(error instanceof OpenAI.APIError)) throw error;
  console.error(`\nthe answer broke off: ${error.message}`);
  process.exitCode = 1;
}
