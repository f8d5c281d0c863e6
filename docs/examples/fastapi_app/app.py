"""A service with the router as its only LLM client: a summary, whole or as it is written.

Start it with `uvicorn app:app`; LLM_ROUTER_URL and LLM_ROUTER_KEY say where the router is.
"""

import contextlib
import os
from collections.abc import AsyncIterator

import openai
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from openai import AsyncOpenAI, AsyncStream
from pydantic import BaseModel, Field


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # One client for the whole service: it holds the connections. Repeats, fallback and time limits are the router's business.
    async with AsyncOpenAI(
        base_url=os.environ.get("LLM_ROUTER_URL", "http://127.0.0.1:8080") + "/v1",
        api_key=os.environ.get("LLM_ROUTER_KEY", "sk-demo"),
    ) as app.state.router:
        yield


app = FastAPI(title="Summaries", lifespan=lifespan)


class Text(BaseModel):
    text: str = Field(min_length=1, max_length=20_000)


class Summary(BaseModel):
    summary: str
    upstream: str


def chat(text: str) -> dict:
    """A task, not a model: which model serves it is the router's configuration."""
    messages = [
        {"role": "system", "content": "Summarise the user's text in one sentence."},
        {"role": "user", "content": text},
    ]
    return {"model": "task/chat", "messages": messages, "max_tokens": 120}


@app.post("/summaries")
async def summarise(body: Text, request: Request) -> Summary:
    reply = await request.app.state.router.chat.completions.with_raw_response.create(**chat(body.text))
    summary = reply.parse().choices[0].message.content or ""
    return Summary(summary=summary, upstream=reply.headers["x-llm-router-upstream"])


@app.post("/summaries/stream")
async def summarise_as_it_is_written(body: Text, request: Request) -> StreamingResponse:
    # Waits for the first token, so that a failure until then still has a status of its own.
    chunks = await request.app.state.router.chat.completions.create(**chat(body.text), stream=True)
    return StreamingResponse(pieces(chunks), media_type="text/plain; charset=utf-8")


async def pieces(chunks: AsyncStream) -> AsyncIterator[str]:
    # Leaving the block ends the call: a reader that goes away stops the model. One that breaks raises, and cuts the response.
    async with chunks:
        async for chunk in chunks:
            for choice in chunk.choices:
                yield choice.delta.content or ""


@app.get("/health")
async def health() -> dict[str, str]:
    """Of this service alone: a router that is away must not take it out of the balancer as well."""
    return {"status": "ok"}


@app.exception_handler(openai.APIStatusError)
async def router_refused(request: Request, error: openai.APIStatusError) -> JSONResponse:
    """Busy stays busy; whatever else went wrong between this service and the router is not the caller's mistake."""
    busy = error.status_code in (429, 503)
    headers = {"Retry-After": error.response.headers.get("Retry-After", "1")} if busy else {}
    return JSONResponse({"detail": "no summary at the moment"}, 503 if busy else 502, headers)


@app.exception_handler(openai.APIConnectionError)
async def router_away(request: Request, error: openai.APIConnectionError) -> JSONResponse:
    return JSONResponse({"detail": "no summary at the moment"}, 503, {"Retry-After": "1"})
