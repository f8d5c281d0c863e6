"""What a model's name can be, with OpenAI's SDK: a model, a task, an upstream past the strategy, an ensemble."""

import os

from openai import OpenAI

router = OpenAI(
    base_url=os.environ.get("LLM_ROUTER_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("LLM_ROUTER_KEY", "sk-demo"),
)
question = [{"role": "user", "content": "Say hello to the router."}]

print("there are", ", ".join(model.id for model in router.models.list()))

for name in ["llama-3.1-8b", "task/code", "cerebras-8b/llama-3.1-8b", "ensemble/longest-of-two"]:
    reply = router.chat.completions.with_raw_response.create(model=name, messages=question, max_tokens=20)
    print(f"{name}: {reply.headers['x-llm-router-upstream']}, {reply.headers['x-llm-router-reason']}")
    ensemble = reply.parse().model_extra.get("ensemble")
    if ensemble:
        print(f"  member {ensemble['winner']} won: {ensemble['why']}")

# The header says the same as task/code; the second one lets others help when the named upstream fails.
task = router.chat.completions.create(
    model="any", messages=question, max_tokens=20, extra_headers={"x-llm-router-task": "code"}
)
direct = router.chat.completions.create(
    model="cerebras-8b/llama-3.1-8b",
    messages=question,
    max_tokens=20,
    extra_headers={"x-llm-router-fallback": "true"},
)
print("by header:", task.choices[0].message.content, "/", direct.choices[0].message.content)

text = router.completions.create(model="task/code", prompt="Say hello to the router.", max_tokens=20)
print("a completion:", text.choices[0].text.strip())
