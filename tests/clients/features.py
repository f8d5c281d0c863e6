"""What works through which provider, and docs/generated/features.md: tried through the router, against the emulated providers and a real
small model.

Each feature is asked for in one call, and what came back is looked at: that the router forwards a field does not make it work. Prints one
line per check and, last, {"passed": N, "failed": N} as JSON. The exit code is 1 when a check failed, or when the page says anything else.

tests/run starts it as part of `tests/run clients`.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import pathlib
import socket
import struct
import sys
import tempfile
import time
import typing
import urllib.error
import urllib.request
import zlib

from run import (
    CLIENT_KEY, ROOT, START_TIMEOUT_S, UPSTREAM_KEY, CheckFailed, Process, Report, free_ports, start_model_server, wait_until_ready,
)

PAGE = ROOT / "docs/generated/features.md"
WORKS, REFUSED, ABSENT = "✓", "refused", "–"
LLAMA, BGE, WHISPER = "meta-llama/Llama-3.1-8B-Instruct", "BAAI/bge-small", "openai/whisper-small"
# Of the emulated providers: models that look at images and call functions.
EMULATED = {
    "runpod_lb": {"images": True, "tool_parser": True},
    "runpod_queue": {"images": True, "tool_parser": True},
    "cerebras": {"images": True, "models": ["gpt-oss-120b"]},
}
# What an emulated provider lacks, which says nothing of the provider itself.
NOT_EMULATED = {("`logprobs`", "cerebras")}
# A column each: its heading, and the prefix of its models.
PROVIDERS = {
    "lb": "RunPod, load balancer",
    "queue": "RunPod, queue",
    "cerebras": "Cerebras",
    "vllm": "OpenAI-compatible",
    "real": "a real model",
}

INTRODUCTION = """\
# What works through which provider

<!-- Made by tests/clients/features.py: --write makes it anew -->

Each asked for once through the router, with the answer looked at: ✓ it is there; *refused*: a 400 says so, and a model with another upstream is served by
that; – the answer came without it; ? not known. RunPod (vLLM), Cerebras (`gpt-oss-120b`) and the OpenAI-compatible server (vLLM) are emulated, with a tool parser
and models that look at images; the real model is SmolLM2-135M-Instruct on llama.cpp's server, as an OpenAI-compatible upstream. What an upstream is asked for at all, its
[`supports` and `features`](../configuration.md#upstreams) say.

"""

ENDING = """
- Calls of functions are forced here: whether a model calls one by itself, and how well, is the model's affair. The emulated ones call one function at a time.
- Reasoning comes from models that reason; `reasoning_field` shows it under both of its names. `logprobs` are forwarded to Cerebras; the emulated one has none, which says nothing of the real one (?).
- Rerank, score, tokenizer and transcriptions are [passed through](../api.md#passed-through) to servers that have them. A RunPod queue runs chats and completions alone.
"""


def upstream(name: str, provider: str, base_url: str, model: str, more: str) -> str:
    return f"""
[[upstreams]]
id = "{name}"
provider = "{provider}"
base_url = "{base_url}"
api_key_env = "TEST_UPSTREAM_KEY"
model = "{model}"
{more}

[[models]]
name = "{name}"
strategy = "weighted"
deadline_ms = 180000
targets = [{{ upstream = "{name}" }}]
"""


def config(emulator: int, model: dict, listen: int, admin: int) -> str:
    at = f"http://127.0.0.1:{emulator}"
    chats = 'supports = ["chat", "completions"{}]\nfeatures = {{ tools = true, images = {} }}'
    tokenizer = ', "tokenize", "detokenize"'
    pod = 'endpoint_type = "load_balancer"\ncapacity_url = "none"\n'
    parts = [
        f'[server]\nlisten = "127.0.0.1:{listen}"\nadmin_listen = "127.0.0.1:{admin}"\n',
        f'[[keys]]\nid = "features"\nteam = "tests"\nsha256 = "{hashlib.sha256(CLIENT_KEY.encode()).hexdigest()}"\n',
        upstream("queue", "runpod", f"{at}/v2/features/openai/v1", LLAMA, 'endpoint_type = "queue"\n' + chats.format("", "true")),
        upstream("cerebras", "cerebras", f"{at}/cerebras/v1", "gpt-oss-120b", chats.format("", "true")),
        upstream(
            "real", "openai", f"{model['origin']}/v1", model["model"],
            chats.format("", "false") + "\ntimeouts = { first_token_ms = 60000 }",
        ),
    ]
    for name, provider, of_pod in (("lb", "runpod", pod), ("vllm", "openai", "")):
        parts += [
            upstream(name, provider, f"{at}/lb/v1", LLAMA, of_pod + chats.format(tokenizer, "true")),
            upstream(f"{name}-bge", provider, f"{at}/lb/v1", BGE, of_pod + 'supports = ["embeddings", "rerank", "score"]'),
            upstream(f"{name}-whisper", provider, f"{at}/lb/v1", WHISPER, of_pod + 'supports = ["transcriptions"]'),
        ]
    return "\n".join(parts)


class Router(typing.NamedTuple):
    """Where the router is."""

    origin: str

    def send(self, path: str, body: bytes, content_type: str) -> tuple[int, str]:
        headers = {"authorization": f"Bearer {CLIENT_KEY}", "content-type": content_type}
        request = urllib.request.Request(f"{self.origin}/v1/{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=180) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def post(self, path: str, **fields) -> dict:
        """The answer; its refusal with 400 is one as well."""
        status, text = self.send(path, json.dumps(fields).encode(), "application/json")
        return answered(status, text)

    def chat(self, model: str, text: object, **fields) -> dict:
        messages = [{"role": "user", "content": text}]
        return self.post("chat/completions", model=model, messages=messages, **{"max_tokens": 64, "temperature": 0} | fields)

    def events(self, model: str, **fields) -> list:
        body = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16, "stream": True, **fields}
        status, text = self.send("chat/completions", json.dumps(body).encode(), "application/json")
        if status != 200:
            answered(status, text)
        *events, last = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
        if last != "[DONE]":
            raise CheckFailed(f"no [DONE] but {last[:200]}")
        return [json.loads(event) for event in events]


class Refused(Exception):
    """A 400 that says why."""


def answered(status: int, text: str) -> dict:
    if status == 400:
        raise Refused(text)
    if status != 200:
        raise CheckFailed(f"{status} {text[:300]}")
    return json.loads(text)


def message(answer: dict) -> dict:
    return answer["choices"][0]["message"]


def function(name: str) -> dict:
    properties = {"city": {"type": "string", "enum": ["Rome", "Oslo"]}}
    parameters = {"type": "object", "properties": properties, "required": ["city"], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": f"Gets the {name}.", "parameters": parameters}}


def calls_of(answer: dict) -> list[dict]:
    return [json.loads(call["function"]["arguments"]) for call in message(answer).get("tool_calls") or []]


def png() -> str:
    """A red square of 32 by 32 pixels."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xff\0\0" * 32) * 32
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(file).decode()


def text(router: Router, model: str) -> bool:
    return bool(message(router.chat(model, "Say hello."))["content"])


def stream(router: Router, model: str) -> bool:
    deltas = [choice["delta"] for event in router.events(model) for choice in event["choices"]]
    # A model that reasons may spend so few tokens on that alone.
    return any(delta.get("content") or delta.get("reasoning") for delta in deltas)


def streaming_usage(router: Router, model: str) -> bool:
    events = router.events(model, stream_options={"include_usage": True})
    return events[-1]["choices"] == [] and events[-1]["usage"]["completion_tokens"] > 0


def tools(router: Router, model: str) -> bool:
    choice = {"type": "function", "function": {"name": "weather"}}
    answer = router.chat(model, "What is the weather in Rome?", tools=[function("weather")], tool_choice=choice)
    calls = calls_of(answer)
    return len(calls) == 1 and calls[0]["city"] in ("Rome", "Oslo")


def parallel_tools(router: Router, model: str) -> bool:
    question = "What is the weather, and what is the time, in Rome? Call both functions."
    functions = [function("weather"), function("time")]
    answer = router.chat(model, question, tools=functions, tool_choice="required", parallel_tool_calls=True, max_tokens=200)
    return len(calls_of(answer)) > 1


def json_schema(router: Router, model: str) -> bool:
    properties = {"capital": {"type": "string", "enum": ["Paris", "Oslo"]}, "is_large": {"type": "boolean"}}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    format_ = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": schema}}
    answer = router.chat(model, "What is the capital of France? Is it large?", response_format=format_, max_tokens=200)
    said = json.loads(message(answer)["content"])
    return said.keys() == properties.keys() and said["capital"] in ("Paris", "Oslo") and isinstance(said["is_large"], bool)


def images(router: Router, model: str) -> bool:
    parts = [{"type": "text", "text": "Which colour is this?"}, {"type": "image_url", "image_url": {"url": png()}}]
    return bool(message(router.chat(model, parts))["content"])


def reasoning(router: Router, model: str) -> bool:
    said = message(router.chat(model, "Say hello."))
    return bool(said.get("reasoning") or said.get("reasoning_content"))


def logprobs(router: Router, model: str) -> bool:
    answer = router.chat(model, "Say hello.", logprobs=True, top_logprobs=2)
    return bool((answer["choices"][0].get("logprobs") or {}).get("content"))


def several(router: Router, model: str) -> bool:
    return len(router.chat(model, "Say hello.", n=2, temperature=1)["choices"]) == 2


def completion(router: Router, model: str) -> bool:
    answer = router.post("completions", model=model, prompt="Once upon a time", max_tokens=8)
    return bool(answer["choices"][0]["text"])


def embeddings(router: Router, model: str) -> bool:
    return len(router.post("embeddings", model=model, input="a text")["data"][0]["embedding"]) > 10


def rerank(router: Router, model: str) -> bool:
    answer = router.post("rerank", model=model, query="red cat", documents=["a dog", "the red cat"])
    return answer["results"][0]["index"] == 1


def score(router: Router, model: str) -> bool:
    answer = router.post("score", model=model, text_1="red cat", text_2=["a dog", "the red cat"])
    return answer["data"][1]["score"] > answer["data"][0]["score"]


def tokenizer(router: Router, model: str) -> bool:
    tokens = router.post("tokenize", model=model, prompt="Say hello.")["tokens"]
    return router.post("detokenize", model=model, tokens=tokens)["prompt"] == "Say hello."


def transcription(router: Router, model: str) -> bool:
    silence = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 32036, b"WAVEfmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", 32000)
    fields = f'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n'
    file = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = (fields + file).encode() + silence + bytes(32000) + b"\r\n--x--\r\n"
    return bool(answered(*router.send("audio/transcriptions", body, "multipart/form-data; boundary=x"))["text"])


# A row each: its name, what tries it, and the suffix of the models that do such a thing, where they are others.
FEATURES = [
    ("text", text, ""),
    ("stream", stream, ""),
    ("usage in streams (`stream_options`)", streaming_usage, ""),
    ("tools", tools, ""),
    ("several calls of tools at once", parallel_tools, ""),
    ("JSON schema (`response_format`)", json_schema, ""),
    ("images", images, ""),
    ("reasoning", reasoning, ""),
    ("`logprobs`", logprobs, ""),
    ("several answers (`n`)", several, ""),
    ("text completion", completion, ""),
    ("embeddings", embeddings, "-bge"),
    ("rerank", rerank, "-bge"),
    ("score", score, "-bge"),
    ("tokenize, detokenize", tokenizer, ""),
    ("transcription", transcription, "-whisper"),
]


def outcome(router: Router, attempt: typing.Callable, model: str) -> str:
    try:
        return WORKS if attempt(router, model) else ABSENT
    except Refused as refused:
        error = json.loads(str(refused))["error"]
        if not error["message"]:
            raise CheckFailed("a refusal says nothing") from None
        return REFUSED


def rendered(cells: dict[tuple[str, str], str]) -> str:
    rows = [["", *PROVIDERS.values()], ["---"] * (len(PROVIDERS) + 1)]
    rows += [[name, *(cells.get((name, provider), "?") for provider in PROVIDERS)] for name, _, _ in FEATURES]
    return INTRODUCTION + "".join(f"| {' | '.join(row)} |\n".replace("|  |", "| |") for row in rows) + ENDING


def start_emulator(held: contextlib.ExitStack, binary: pathlib.Path, folder: pathlib.Path) -> int:
    (port,) = free_ports(1)
    settings = folder / "emulator.json"
    settings.write_text(json.dumps(EMULATED), encoding="utf-8")
    command = [binary, "emulate", "--listen", f"127.0.0.1:{port}", "--speed", "0", "--settings", settings]
    emulator = held.enter_context(Process(command, folder / "emulator.log", {}))
    give_up = time.monotonic() + START_TIMEOUT_S
    while emulator.child.poll() is None and time.monotonic() < give_up:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return port
        time.sleep(0.05)
    raise CheckFailed(f"the emulator did not start\n{emulator.log_tail()}")


def is_the_page(page: str) -> None:
    if not PAGE.is_file() or PAGE.read_text("utf-8") != page:
        raise CheckFailed(f"{PAGE.name} says something else than this run: tests/clients/features.py --write makes it anew")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/debug/llm-router", help="the router")
    parser.add_argument("--write", action="store_true", help="write docs/generated/features.md, if every check passed")
    args = parser.parse_args()
    report, cells = Report(None), {}
    with contextlib.ExitStack() as held:
        folder = pathlib.Path(held.enter_context(tempfile.TemporaryDirectory(prefix="llm-router-features-")))
        emulator, model = start_emulator(held, args.binary, folder), start_model_server(held, folder)
        listen, admin = free_ports(2)
        file = folder / "router.toml"
        file.write_text(config(emulator, model, listen, admin), encoding="utf-8")
        env = {"TEST_UPSTREAM_KEY": UPSTREAM_KEY}
        process = held.enter_context(Process([args.binary, "serve", "--config", file], folder / "router.log", env))
        router = Router(f"http://127.0.0.1:{listen}")
        wait_until_ready(process, router.origin)
        for name, attempt, suffix in FEATURES:
            for provider in PROVIDERS:
                has_own = suffix and provider in ("lb", "vllm")
                what = f"{name}, {provider}"
                try:
                    found = outcome(router, attempt, provider + suffix if has_own else provider)
                    cells[name, provider] = "?" if found == ABSENT and (name, provider) in NOT_EMULATED else found
                    report.check(f"{what}: {cells[name, provider]}", None)
                except (CheckFailed, OSError, ValueError, KeyError, IndexError, TypeError) as failed:
                    report.check(what, f"{type(failed).__name__}: {failed}")
    page = rendered(cells)
    if args.write and not report.failed:
        PAGE.write_text(page, encoding="utf-8")
    report.attempt("docs/generated/features.md is this run's", is_the_page, page)
    print(json.dumps({"passed": report.passed, "failed": report.failed}))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
