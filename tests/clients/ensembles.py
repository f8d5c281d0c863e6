"""Ensembles of a real model and an emulated one: who wins is said, and every member is accounted for."""

import json
import urllib.error
import urllib.request

EMULATED_MODEL = "test/emulated"
PICKS = {
    "longest": '{{ kind = "longest" }}',
    "logprob": '{{ kind = "logprob" }}',
    "judge": '{{ kind = "judge", model = "{judge}", rubric = "Does the answer name the right city?" }}',
}


def config(emulator_port: int, real_model: str) -> str:
    """The emulated model, and an ensemble of both for each way to pick; the real model judges."""
    text = f"""
[[upstreams]]
id = "emulated"
provider = "openai"
base_url = "http://127.0.0.1:{emulator_port}/lb/v1"
api_key_env = "TEST_UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
cost = {{ kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }}

[[models]]
name = "{EMULATED_MODEL}"
strategy = "weighted"
targets = [{{ upstream = "emulated" }}]
"""
    for name, pick in PICKS.items():
        text += f"""
[[ensembles]]
name = "ensemble/{name}"
members = ["{real_model}", "{EMULATED_MODEL}"]
pick = {pick.format(judge=real_model)}
"""
    return text


def ask(origin: str, key: str, pick: str) -> dict:
    """The reply, well-formed whatever the real model said; its ensemble object."""
    body = {
        "model": f"ensemble/{pick}",
        "messages": [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}],
        "max_tokens": 64,
        "temperature": 0,
    }
    request = urllib.request.Request(
        f"{origin}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            reply, headers = json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        raise OSError(f"status {error.code}: {error.read()[:500]!r}") from None
    ensemble = reply["ensemble"]
    members = ensemble["members"]
    winner = members[ensemble["winner"]]
    problems = {
        "an answer": not reply["choices"][0]["message"]["content"],
        "both members": [member["error"] for member in members] != [None, None],
        "the upstreams": [member["upstream"] for member in members] != ["small", "emulated"],
        "the winner in the header": headers["x-llm-router-upstream"] != winner["upstream"],
        "a reason": not ensemble["why"],
        "costs": not (ensemble["cost_usd"] >= sum(member["cost_usd"] or 0 for member in members) > 0),
        "the cost in the header": abs(float(headers["x-llm-router-cost-usd"]) - ensemble["cost_usd"]) > 1e-12,
    }
    missing = [what for what, is_missing in problems.items() if is_missing]
    if missing:
        raise OSError(f"without {', '.join(missing)}: {json.dumps(reply)}")
    return ensemble


def check(origin: str, key: str) -> dict:
    """Asks each ensemble; what they said."""
    said = {pick: ask(origin, key, pick) for pick in PICKS}
    for pick, ensemble in said.items():
        scores = [member["score"] for member in ensemble["members"]]
        known = [score for score in scores if score is not None]
        # A small model may give no verdict that can be read; then the reply must say so.
        if not known and pick == "judge":
            is_right = ensemble["winner"] == 0 and ensemble["why"].startswith("the judge gave no verdict")
        else:
            is_right = bool(known) and scores[ensemble["winner"]] == max(known)
        if not is_right or (pick != "judge" and None in scores):
            raise OSError(f"{pick}: {json.dumps(ensemble)}")
    return said
