"""What the Python SDKs make of errors, images and streams that are left, through /v1/messages and /v1/responses."""

import base64
import struct
import zlib

import anthropic
import openai

import lab
from lab import ALIAS, BLIND_MODEL, BUSY_MODEL, MODEL, Lab, expect

PROMPT = "Name three fruits."
LEFT = "a-stream-that-is-left"  # by these words the emulator knows the request that it lets hang


def png() -> bytes:
    """A white pixel."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">2I5B", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\xff\xff\xff")) + chunk(b"IEND", b"")


IMAGE = base64.b64encode(png()).decode()


class Messages:
    """Anthropic's SDK."""

    sdk = anthropic

    def __init__(self, at: Lab, key: str):
        self.client = anthropic.Anthropic(base_url=at.origin, api_key=key, max_retries=0, timeout=30)

    def ask(self, text: str = PROMPT, model: str = MODEL, image: str | None = None, **more) -> str:
        # The SDK has no parameters for sampling any more.
        content = [{"type": "text", "text": text}]
        if image:
            content.append({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}})
        reply = self.client.messages.create(
            model=model, max_tokens=100, messages=[{"role": "user", "content": content}], extra_body=more
        )
        return reply.content[0].text

    def stream(self, text: str, model: str = MODEL):
        return self.client.messages.create(
            model=model, max_tokens=100, messages=[{"role": "user", "content": text}], stream=True
        )


class Responses:
    """OpenAI's SDK."""

    sdk = openai

    def __init__(self, at: Lab, key: str):
        self.client = openai.OpenAI(base_url=f"{at.origin}/v1", api_key=key, max_retries=0, timeout=30)

    def ask(self, text: str = PROMPT, model: str = MODEL, image: str | None = None, **more) -> str:
        content = [{"type": "input_text", "text": text}]
        if image:
            content.append({"type": "input_image", "image_url": f"data:image/png;base64,{image}"})
        return self.client.responses.create(
            model=model, max_output_tokens=100, input=[{"role": "user", "content": content}], **more
        ).output_text

    def stream(self, text: str, model: str = MODEL):
        return self.client.responses.create(model=model, max_output_tokens=100, input=text, stream=True)


def raised(call, kind: type, status: int):
    """The error, which must be of just this class."""
    try:
        said = call()
    except Exception as error:
        expect(type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}")
        expect(error.status_code == status, f"status {error.status_code} instead of {status}")
        return error
    raise lab.CheckFailed(f"no error, but {said!r}")


def bad_request(door, at: Lab) -> None:
    error = raised(lambda: door(at, at.keys["main"]).ask(temperature=99), door.sdk.BadRequestError, 400)
    expect("temperature" in str(error), f"the field is not named: {error}")


def authentication(door, at: Lab) -> None:
    raised(door(at, "sk-unknown").ask, door.sdk.AuthenticationError, 401)


def permission(door, at: Lab) -> None:
    call = lambda: door(at, at.keys["main"]).ask(model=f"runpod-8b/{MODEL}")  # noqa: E731
    raised(call, door.sdk.PermissionDeniedError, 403)


def not_found(door, at: Lab) -> None:
    error = raised(lambda: door(at, at.keys["main"]).ask(model="no-such-model"), door.sdk.NotFoundError, 404)
    expect("no-such-model" in str(error), f"the model is not named: {error}")


def rate_limit(door, at: Lab) -> None:
    slow = door(at, at.keys["slow"])
    for _ in range(3):
        try:
            slow.ask()
        except door.sdk.APIStatusError:
            break
    error = raised(slow.ask, door.sdk.RateLimitError, 429)
    expect(int(error.response.headers["retry-after"]) > 0, f"headers {error.response.headers}")


def no_budget(door, at: Lab) -> None:
    poor = door(at, at.keys["poor"])
    if door is Messages:
        error = raised(poor.ask, anthropic.PaymentRequiredError, 402)
        expect(error.type == "billing_error", f"type {error.type}")
    else:
        error = raised(poor.ask, openai.RateLimitError, 429)
        expect(error.code == "insufficient_quota", f"code {error.code}")


def overloaded(door, at: Lab) -> None:
    call = lambda: door(at, at.keys["main"]).ask(model=BUSY_MODEL)  # noqa: E731
    if door is Messages:
        error = raised(call, anthropic.OverloadedError, 529)
        expect(error.type == "overloaded_error", f"type {error.type}")
    else:
        error = raised(call, openai.InternalServerError, 503)
    expect(int(error.response.headers["retry-after"]) > 0, f"headers {error.response.headers}")


def image_is_seen(door, at: Lab) -> None:
    said = door(at, at.keys["main"]).ask("What is that?", image=IMAGE)
    expect("I see 1 image." in said, f"it says {said!r}")


def image_is_refused(door, at: Lab) -> None:
    call = lambda: door(at, at.keys["main"]).ask("What is that?", BLIND_MODEL, IMAGE)  # noqa: E731
    error = raised(call, door.sdk.BadRequestError, 400)
    expect("image" in str(error), f"images are not named: {error}")


def alias(door, at: Lab) -> None:
    expect(door(at, at.keys["main"]).ask(model=ALIAS), "no text")


def left_stream(door, at: Lab) -> None:
    """The emulator's stream stalls after its first words; whoever leaves then frees the call."""
    hanging = {"fault": {"kind": "hang_amid", "after_events": 4}, "containing": LEFT}
    at.runpod.set("runpod_lb", hanging)
    at.cerebras.set("cerebras", hanging)
    before = [at.runpod.calls("runpod_lb")["cancelled"], at.cerebras.calls("cerebras")["cancelled"]]
    with door(at, at.keys["main"]).stream(f"{LEFT}, by {door.__name__}") as stream:
        for event in stream:
            if event.type in ("content_block_delta", "response.output_text.delta"):
                break
        expect(at.in_flight() == 1, f"{at.in_flight()} calls under way while it streams")
    expect(lab.within_a_second(lambda: at.in_flight() == 0), "the call is still under way after a second")

    def cancelled() -> bool:
        now = [at.runpod.calls("runpod_lb")["cancelled"], at.cerebras.calls("cerebras")["cancelled"]]
        return sum(now) == sum(before) + 1

    expect(lab.within_a_second(cancelled), "upstream, the call was not cancelled within a second")
    at.runpod.set("runpod_lb")
    at.cerebras.set("cerebras")


def broken_stream(door, at: Lab) -> None:
    """What came before the break is kept, and then the SDK raises."""
    cut = {"fault": {"kind": "reset_amid", "after_events": 6}, "containing": "cut-short"}
    at.runpod.set("runpod_lb", cut)
    at.cerebras.set("cerebras", cut)
    text = ""
    try:
        for event in door(at, at.keys["main"]).stream("cut-short"):
            if event.type in ("content_block_delta", "response.output_text.delta"):
                text += event.delta.text if door is Messages else event.delta
            elif event.type == "response.failed":
                expect(event.response.error and text, f"failed without an error, or without text: {event}")
                return
    except door.sdk.APIError as error:
        expect(text and "upstream" in str(error), f"after {text!r}: {error}")
        return
    finally:
        at.runpod.set("runpod_lb")
        at.cerebras.set("cerebras")
    raise lab.CheckFailed(f"it ended well after {text!r}")


CHECKS = {
    "a bad field is BadRequest": bad_request,
    "an unknown key is Authentication": authentication,
    "a named upstream is PermissionDenied": permission,
    "an unknown model is NotFound": not_found,
    "calls a minute used up are RateLimit": rate_limit,
    "a budget used up": no_budget,
    "no room anywhere": overloaded,
    "an image is seen": image_is_seen,
    "an image that no upstream takes is BadRequest": image_is_refused,
    "a name by a pattern": alias,
    "a stream that is left frees the call within a second": left_stream,
    "a stream that breaks raises": broken_stream,
}


def check(report: lab.Report, at: Lab) -> None:
    for door in (Messages, Responses):
        for name, does in CHECKS.items():
            report.attempt(f"python, {door.__name__.lower()}: {name}", does, door, at)
