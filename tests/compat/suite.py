"""What the Python clients' checks share: where the router is, what is asked of it, and how a check's end is reported.

run.py starts each try_*.py as a process of its own, once for each name of the model, and reads its lines.
"""

import json
import os
import traceback
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import BaseModel, Field

URL = os.environ["ROUTER_URL"]
ORIGIN = URL.removesuffix("/v1")  # where Anthropic's clients find /v1/messages
KEY = os.environ["ROUTER_KEY"]
MODEL = os.environ["ROUTER_MODEL"]
EMBEDDINGS = os.environ["ROUTER_EMBEDDINGS"]

PROMPT = "Name three fruits."
WEATHER_PROMPT = "What is the weather in Paris? Use get_weather."
WEATHER = "sunny, 24 degrees"  # what the tool answers
RECIPE_PROMPT = "A recipe for pasta with tomatoes."
TEXTS = ["apples", "pears and quinces", "apples"]  # to embed: the first and the last are equal


class Weather(BaseModel):
    """The weather in a city."""

    city: str = Field(description="name of the city")
    unit: Literal["celsius", "fahrenheit"]


class Ingredient(BaseModel):
    name: str
    grams: int


class Recipe(BaseModel):
    """A recipe, with what it takes."""

    title: str
    kind: Literal["starter", "main course", "dessert"]
    minutes: int
    vegetarian: bool
    ingredients: list[Ingredient]


# The schema by hand, as who uses no Pydantic writes it.
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "name of the city"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}


class Tool:
    """The weather tool's other side: keeps what it was called with, once that fits the schema."""

    def __init__(self):
        self.called_with: list[Weather] = []

    def answer(self, **arguments: object) -> str:
        self.called_with.append(Weather.model_validate(arguments, strict=True))
        return WEATHER

    def was_called_once_and_told_in(self, text: object) -> None:
        assert len(self.called_with) == 1, f"called with {self.called_with}"
        assert isinstance(text, str) and WEATHER in text, f"no {WEATHER!r} in {text!r}"


def assert_text(text: object) -> None:
    assert isinstance(text, str) and text.strip(), f"no text: {text!r}"


def assert_same_text(pieces: Sequence[object], whole: object) -> None:
    """A stream's pieces are the whole answer, and more than one."""
    assert_text(whole)
    joined = "".join(piece for piece in pieces if isinstance(piece, str))
    assert joined == whole, f"streamed {joined!r}, whole {whole!r}"
    assert len([piece for piece in pieces if piece]) > 1, f"one piece: {pieces!r}"


def assert_recipe(value: object) -> None:
    assert isinstance(value, Recipe), f"no recipe: {value!r}"


def assert_weather(arguments: str | dict) -> None:
    """A call's arguments fit the schema of the tool."""
    if isinstance(arguments, str):
        Weather.model_validate_json(arguments, strict=True)
    else:
        Weather.model_validate(arguments, strict=True)


def assert_vectors(vectors: Sequence[Sequence[float]], count: int = len(TEXTS)) -> None:
    """One vector for each input, of one length; equal inputs have equal vectors, others do not."""
    assert len(vectors) == count, f"{len(vectors)} vectors for {count} inputs"
    lengths = {len(vector) for vector in vectors}
    assert len(lengths) == 1 and min(lengths) > 1, f"vectors of lengths {lengths}"
    assert all(isinstance(number, float) for vector in vectors for number in vector), "not all are floats"
    assert list(vectors[0]) == list(vectors[-1]), "equal inputs, other vectors"
    assert list(vectors[0]) != list(vectors[1]), "other inputs, equal vectors"


def run(checks: dict[str, dict[str, Callable[[], object]]]) -> None:
    """Runs the checks of each feature; one line of JSON for each."""
    for feature, named in checks.items():
        for name, check in named.items():
            error = None
            try:
                check()
            # However a check fails, it must not hide the checks after it.
            except Exception as failed:
                error = "".join(traceback.format_exception_only(failed))[-2000:]
            print(json.dumps({"feature": feature, "check": name, "error": error}), flush=True)
