"""The clients, and docs/generated/clients.md: how each is pointed at the router, and what it did there."""

import dataclasses
import json
import pathlib
import re
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/generated/clients.md"
FEATURES = ["text", "stream", "tools", "structured output", "embeddings"]
WIDTH = 120


@dataclasses.dataclass(frozen=True)
class Client:
    """One client and its checks, which run in Node or in one of the virtual environments: two, named after their OpenAI SDK,
    and that of agents."""

    name: str
    script: str
    runs_in: str
    packages: tuple[str, ...]
    lacks: dict[str, str] = dataclasses.field(default_factory=dict)  # feature: why
    hint: str = ""  # what the page says below the code


NOT_BY_RESPONSES = {"embeddings": "As above: `client.embeddings`"}
STORES_NOTHING = """\
Nothing is stored: send the conversation, with the items of earlier answers, in `input` instead of `previous_response_id`.
"""
NOT_BY_ANTHROPIC = {"embeddings": "Anthropic's API has no call for them"}
ANTHROPIC_HINT = """\
Tools that Anthropic runs are left out; files, batches and documents are refused by name.
"""

CLIENTS = [
    Client("OpenAI's SDK for Python", "try_openai.py", "sdk3", ("openai",)),
    Client("OpenAI's SDK for Node", "try_openai.mjs", "node", ("openai",)),
    Client(
        "LangChain", "try_langchain.py", "sdk3", ("langchain-openai",),
        hint="""\
By default `OpenAIEmbeddings` sends the ids of OpenAI's tokens instead of texts. The router relays them, but a model
with another tokenizer reads other words: hence `check_embedding_ctx_length=False`.
""",
    ),
    Client(
        "LlamaIndex", "try_llama_index.py", "sdk2",
        ("llama-index-core", "llama-index-llms-openai-like", "llama-index-embeddings-openai"),
        hint="`OpenAILike`, because LlamaIndex' `OpenAI` needs to know the model's name.\n",
    ),
    Client(
        "Pydantic AI", "try_pydantic_ai.py", "sdk3", ("pydantic-ai-slim",),
        hint="`OpenAIChatModel` asks `/v1/chat/completions`, `OpenAIResponsesModel` `/v1/responses`.\n",
    ),
    Client(
        "Instructor", "try_instructor.py", "sdk2", ("instructor",),
        {"embeddings": "Instructor has no call for them; the `OpenAI` client that it wraps has"},
    ),
    Client(
        "Vercel's AI SDK", "try_ai.mjs", "node", ("ai", "@ai-sdk/openai-compatible"),
        hint="""\
Without `supportsStructuredOutputs` the SDK asks for any JSON instead of the schema's. With `@ai-sdk/openai` it is
`createOpenAI({ baseURL: URL, apiKey: KEY }).chat(MODEL)`; without `.chat` that asks `/v1/responses`.
""",
    ),
    Client(
        "LiteLLM's SDK", "try_litellm.py", "sdk3", ("litellm",),
        hint="`openai/` tells LiteLLM how to ask; the router sees the name after it.\n",
    ),
    Client("OpenAI's SDK for Python, by Responses", "try_responses.py", "agents", ("openai",), NOT_BY_RESPONSES, STORES_NOTHING),
    Client("OpenAI's SDK for Node, by Responses", "try_responses.mjs", "node", ("openai",), NOT_BY_RESPONSES, STORES_NOTHING),
    Client(
        "OpenAI's Agents SDK", "try_openai_agents.py", "agents", ("openai-agents", "openai"),
        {"embeddings": "An agent has no call for them"},
        """\
It asks `/v1/responses`, with the whole conversation each time. Sessions of the SDK's own (`SQLiteSession`) keep it;
OpenAI's (`OpenAIConversationsSession`, `previous_response_id`) need a store and are refused. Tools that OpenAI runs
(`WebSearchTool` and others) are left out. A model given by its name alone must have no slash in it: the SDK takes what is
before that for a provider.
""",
    ),
    Client("Anthropic's SDK for Python", "try_anthropic.py", "agents", ("anthropic",), NOT_BY_ANTHROPIC, ANTHROPIC_HINT),
    Client("Anthropic's SDK for Node", "try_anthropic.mjs", "node", ("@anthropic-ai/sdk",), NOT_BY_ANTHROPIC, ANTHROPIC_HINT),
    Client(
        "LangChain's `ChatAnthropic`", "try_langchain_anthropic.py", "agents", ("langchain-anthropic", "anthropic"),
        {"embeddings": "`langchain-anthropic` has none; `langchain-openai` has"},
    ),
]

INTRODUCTION = """\
# Clients

What these clients need to ask the router, and what they did when `tests/run compat` tried them on
`llm-router serve --demo`. The test makes this page, and fails if the page says anything else. Coding agents have [a page of
their own](../clients/agents.md).

| Client | Package | Text | Stream | Tools | Structured output | Embeddings |
|---|---|---|---|---|---|---|
"""

EXPLANATION = """\
A ✓: every check named below passed for the model's plain name, which both upstreams serve, and for each upstream alone,
by [direct calls](../api.md#what-a-models-name-can-be). The demo's providers are emulated: their answers have the providers'
shapes, and their values fit each schema. With a real model, how good a value is depends on the model.

In the code, `URL` is the router's address with `/v1`, `ORIGIN` the same without, `KEY` a client's key, and `MODEL` and `EMBEDDINGS` are names of
models. In the demo: `http://127.0.0.1:8080/v1`, `sk-demo`, `llama-3.1-8b`, `bge-small`. The rest of a program stays.
"""


def versions(runs_in: str) -> dict[str, str]:
    """The pinned version of each package."""
    if runs_in == "node":
        return json.loads((HERE / "package.json").read_text("utf-8"))["dependencies"]
    pinned = (HERE / f"requirements-{runs_in}.txt").read_text("utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", pinned, re.MULTILINE))


def packages(client: Client) -> list[str]:
    pinned = versions(client.runs_in)
    return [f"`{package}` {pinned[package]}" for package in client.packages]


def connection(client: Client) -> str:
    """The lines of the client's script that point it at the router."""
    script = (HERE / client.script).read_text("utf-8")
    return re.search(r"^(?:#|//) for the page\n(.*?)^(?:#|//) end$", script, re.MULTILINE | re.DOTALL)[1]


def section(client: Client, passed: dict[str, list[str]]) -> str:
    language = "js" if client.runs_in == "node" else "python"
    tried = [f"{feature}: {'; '.join(passed[feature])}" for feature in FEATURES if passed.get(feature)]
    items = [textwrap.fill(f"- {item}", WIDTH, subsequent_indent="  ", break_on_hyphens=False) for item in tried]
    code = f"```{language}\n{connection(client)}```"
    hint = f"{client.hint}\n" if client.hint else ""
    return f"## {client.name}\n\nWith {', '.join(packages(client))}:\n\n{code}\n\n{hint}" + "\n".join(items) + "\n"


def render(passed: dict[str, dict[str, list[str]]]) -> str:
    """The page, from the names of the checks that passed on every model: by client, then by feature."""
    rows, sections, reasons = [], [], []
    for client in CLIENTS:
        cells = []
        for feature in FEATURES:
            if feature in client.lacks:
                reasons.append(client.lacks[feature])
                cells.append(f"– ({len(reasons)})")
            else:
                cells.append("✓" if passed[client.name].get(feature) else "✗")
        rows.append(f"| {client.name} | {packages(client)[0]} | {' | '.join(cells)} |\n")
        sections.append(section(client, passed[client.name]))
    notes = "".join(f"({number}) {reason}.\n" for number, reason in enumerate(reasons, 1))
    return f"{INTRODUCTION}{''.join(rows)}\n{notes}\n{EXPLANATION}\n" + "\n".join(sections)
