"""The calls of an in-house service on the router: `generate`, `stream` and `batch_generate` keep their shape."""

import os
from collections.abc import Iterator

from openai import OpenAI

router = OpenAI(
    base_url=os.environ.get("LLM_ROUTER_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("LLM_ROUTER_KEY", "sk-demo"),
    timeout=120,  # longer than the router's own deadline: it gives up first, and says why
)


def generate(prompt: str, task: str = "chat", **options) -> str:
    """The whole text. `max_tokens` is 500 and `temperature` 0.7 unless given, as ever."""
    return router.post("/generate", body={"prompt": prompt, "task": task, **options}, cast_to=object)["result"]


def stream(prompt: str, task: str = "chat", max_tokens: int = 500, temperature: float = 0.7, **options) -> Iterator[str]:
    """The text in pieces; raises openai.APIError if it breaks off."""
    messages = [{"role": "user", "content": prompt}]
    with router.chat.completions.create(
        model=f"task/{task}", messages=messages, max_tokens=max_tokens, temperature=temperature, stream=True, **options
    ) as chunks:
        for chunk in chunks:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield choice.delta.content


def batch_generate(prompts: list[str], task: str = "chat", **options) -> list[str | Exception]:
    """One text or one error for each prompt, in their order."""
    body = {"prompts": prompts, "task": task, **options}
    # Each prompt has the router's retries; repeating the batch would pay for all of them again.
    patient = router.with_options(timeout=3600, max_retries=0)
    results = patient.post("/generate/batch", body=body, cast_to=object)["results"]
    return [each["result"] if "result" in each else RuntimeError(each["error"]["message"]) for each in results]


if __name__ == "__main__":
    print(generate("Say hello to the router."))
    print("".join(stream("Say hello to the router.")))
    for text in batch_generate(["One.", "Two.", ""], max_tokens=20):
        print(repr(text))
