"""Instructor."""

from suite import (
    KEY, MODEL, PROMPT, RECIPE_PROMPT, URL, WEATHER_PROMPT, Recipe, Weather, assert_recipe, assert_text, run,
)

# for the page
import instructor
from openai import OpenAI

client = instructor.from_openai(OpenAI(base_url=URL, api_key=KEY))
# end


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


RECIPE_REQUEST = {"model": MODEL, "messages": user(RECIPE_PROMPT)}


def whole() -> None:
    reply = client.chat.completions.create(model=MODEL, messages=user(PROMPT), response_model=None)
    assert_text(reply.choices[0].message.content)


def partial(mode: instructor.Mode) -> list[Recipe]:
    using = instructor.from_openai(OpenAI(base_url=URL, api_key=KEY), mode=mode)
    recipes = list(using.chat.completions.create_partial(response_model=Recipe, **RECIPE_REQUEST))
    Recipe.model_validate(recipes[-1].model_dump(), strict=True)
    return recipes


def grows() -> None:
    recipes = partial(instructor.Mode.JSON_SCHEMA)
    assert recipes[0] != recipes[-1], f"nothing grew: {recipes}"


def iterable() -> None:
    found = list(client.chat.completions.create_iterable(response_model=Recipe, **RECIPE_REQUEST))
    assert found, "no recipe"
    for recipe in found:
        assert_recipe(recipe)


def called() -> None:
    weather = client.chat.completions.create(model=MODEL, messages=user(WEATHER_PROMPT), response_model=Weather)
    assert isinstance(weather, Weather), weather


def structured(mode: instructor.Mode) -> None:
    using = instructor.from_openai(OpenAI(base_url=URL, api_key=KEY), mode=mode)
    # No second try: the first answer fits.
    assert_recipe(using.chat.completions.create(response_model=Recipe, max_retries=0, **RECIPE_REQUEST))


run({
    "text": {"`create(response_model=None)`": whole},
    "stream": {
        # Not that it grows: Cerebras sends the arguments of a call in one piece.
        "`create_partial`, `Mode.TOOLS`": lambda: partial(instructor.Mode.TOOLS),
        "`create_partial`, `Mode.JSON_SCHEMA`": grows,
        "`create_iterable`": iterable,
    },
    "tools": {"`create`, `Mode.TOOLS` (the default)": called},
    "structured output": {
        f"`Mode.{name}`": lambda mode=instructor.Mode[name]: structured(mode)
        for name in ("TOOLS", "TOOLS_STRICT", "JSON", "JSON_SCHEMA")
    },
})
