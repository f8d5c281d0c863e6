"""The same chat as a stream, with usage at its end."""

import os
import sys

from openai import APIError, OpenAI

router = OpenAI(
    base_url=os.environ.get("LLM_ROUTER_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("LLM_ROUTER_KEY", "sk-demo"),
)

try:
    with router.chat.completions.create(
        model="task/chat",
        messages=[{"role": "user", "content": "Say hello to the router."}],
        max_tokens=100,
        stream=True,
        stream_options={"include_usage": True},
    ) as chunks:
        for chunk in chunks:
            for choice in chunk.choices:
                print(choice.delta.content or "", end="", flush=True)
            if chunk.usage:
                print(f"\n-- {chunk.usage.total_tokens} tokens")
except APIError as error:
    # Before the first token nobody has seen anything yet; after it, the text so far is not the whole answer.
    sys.exit(f"\nthe answer broke off: {error.message}")
