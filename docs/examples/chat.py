"""A chat through the router with OpenAI's SDK, and who served it."""

import os

from openai import OpenAI

router = OpenAI(
    base_url=os.environ.get("LLM_ROUTER_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("LLM_ROUTER_KEY", "sk-demo"),
)

reply = router.chat.completions.with_raw_response.create(
    model="task/chat",
    messages=[{"role": "user", "content": "Say hello to the router."}],
    max_tokens=100,
)
answer = reply.parse()
print(answer.choices[0].message.content)
print(
    f"-- {reply.headers['x-llm-router-provider']}, because of {reply.headers['x-llm-router-reason']},"
    f" for {reply.headers['x-llm-router-cost-usd']} USD, {answer.usage.total_tokens} tokens"
)
