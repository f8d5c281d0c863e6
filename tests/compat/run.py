"""Clients that many applications use, each as its users write it, against a running demo.

Text, streams, tools, structured output and embeddings: for the model's plain name and for each of its upstreams alone.
What came of it is docs/generated/clients.md, which must say just that. Prints one line per check and, last,
{"passed": N, "failed": N} as JSON. The exit code is 1 when a check failed.

tests/run installs what this needs (requirements-*.txt, package-lock.json) and starts it as `tests/run compat`.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import page
from page import CLIENTS, FEATURES, Client

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "demo"))

from demo import KEY, MODEL, Demo, Report, expect  # noqa: E402

EMBEDDINGS = "bge-small"
# By the plain name, which both upstreams serve in turn, and by each upstream's own.
MODELS = [MODEL, f"runpod-8b/{MODEL}", f"cerebras-8b/{MODEL}"]
AT_ONCE = 2
SCRIPT_TIMEOUT_S = 150

# Where the packages bring the data that tiktoken would download.
TOKENIZERS = {"sdk3": "litellm/litellm_core_utils/tokenizers", "sdk2": "llama_index/core/_static/tiktoken_cache"}
# Nothing is fetched from outside and nothing reported to anyone.
QUIET = {
    "AI_SDK_LOG_WARNINGS": "false",
    "HF_HUB_OFFLINE": "1",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NO_PROXY": "127.0.0.1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Outcome:
    """What one client's script reported, for one name of the model."""

    def __init__(self, client: Client, model: str, output: str, problem: str | None):
        self.client, self.model, self.problem = client, model, problem
        self.checks = []
        for line in output.splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                continue  # some clients print notices of their own
            if isinstance(said, dict) and "check" in said:
                self.checks.append(said)


def program(client: Client, args: argparse.Namespace) -> tuple[pathlib.Path, dict[str, str]]:
    """What runs the client's script, and what that needs in its environment."""
    if client.runs_in == "node":
        return args.node, {}
    venv = args.venvs / client.runs_in
    (packages,) = venv.glob("lib/python3*/site-packages")
    tokenizer = TOKENIZERS.get(client.runs_in)
    return venv / "bin/python", {"TIKTOKEN_CACHE_DIR": str(packages / tokenizer)} if tokenizer else {}


def try_client(client: Client, model: str, args: argparse.Namespace, demo: Demo) -> Outcome:
    with_what, more = program(client, args)
    env = {
        **os.environ, **QUIET, **more,
        "ROUTER_URL": f"{demo.url}/v1", "ROUTER_KEY": KEY, "ROUTER_MODEL": model, "ROUTER_EMBEDDINGS": EMBEDDINGS,
    }
    try:
        done = subprocess.run(
            [with_what, HERE / client.script], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SCRIPT_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as late:
        return Outcome(client, model, (late.stdout or b"").decode(), f"still running after {SCRIPT_TIMEOUT_S} s")
    problem = f"ended with {done.returncode}\n{done.stderr[-3000:]}" if done.returncode else None
    return Outcome(client, model, done.stdout, problem)


def passes(error: str | None) -> None:
    expect(error is None, error)


def nothing_is_left_out(outcome: Outcome) -> None:
    """A crash, or a feature without a check, is no pass."""
    expect(outcome.problem is None, outcome.problem)
    tried = {check["feature"] for check in outcome.checks}
    wanted = set(FEATURES) - outcome.client.lacks.keys()
    expect(tried == wanted, f"tried {sorted(tried)} instead of {sorted(wanted)}")


def report_outcome(report: Report, outcome: Outcome) -> None:
    for check in outcome.checks:
        name = f"{outcome.client.name}, {check['feature']}, {outcome.model}: {check['check']}"
        report.attempt(name, passes, check["error"])
    report.attempt(f"{outcome.client.name}, {outcome.model}: everything was tried", nothing_is_left_out, outcome)


def passed_everywhere(outcomes: list[Outcome]) -> dict[str, dict[str, list[str]]]:
    """By client and feature, the names of the checks; none for a feature of which any check failed on any model."""
    names = {client.name: collections.defaultdict(list) for client in CLIENTS}
    failed = set()
    for outcome in outcomes:
        for check in outcome.checks:
            of_feature = names[outcome.client.name][check["feature"]]
            if check["check"] not in of_feature:
                of_feature.append(check["check"])
            if check["error"] is not None:
                failed.add((outcome.client.name, check["feature"]))
    for client, feature in failed:
        names[client][feature] = []
    return names


def is_the_page(rendered: str) -> None:
    expect(page.PAGE.is_file(), f"{page.PAGE.name} is not there: tests/compat/run.py --write makes it")
    expect(
        page.PAGE.read_text("utf-8") == rendered,
        f"docs/{page.PAGE.name} says something else than this run: tests/compat/run.py --write makes it anew",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/debug/llm-router", help="the router")
    parser.add_argument("--node", type=pathlib.Path, default="node", help="Node 22 or newer")
    parser.add_argument("--venvs", type=pathlib.Path, default=ROOT / ".cache/compat", help="where sdk2, sdk3 and agents are")
    parser.add_argument("--client", choices=[client.script for client in CLIENTS], help="only this one, without the page")
    parser.add_argument("--write", action="store_true", help="write docs/generated/clients.md, if every check passed")
    args = parser.parse_args()
    binary = args.binary.resolve()
    if not shutil.which(binary):
        parser.error(f"{binary} is not there or cannot be run")
    args.node, args.venvs = pathlib.Path(shutil.which(args.node) or args.node).resolve(), args.venvs.resolve()

    report, outcomes = Report(), []
    wanted = [client for client in CLIENTS if args.client in (None, client.script)]
    with (
        tempfile.TemporaryDirectory(prefix="llm-router-compat-") as folder,
        Demo(binary, pathlib.Path(folder)) as demo,
        concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        started = [pool.submit(try_client, client, model, args, demo) for client in wanted for model in MODELS]
        for future in started:
            outcomes.append(future.result())
            report_outcome(report, outcomes[-1])
    if not args.client:
        rendered = page.render(passed_everywhere(outcomes))
        if args.write and not report.failed:
            page.PAGE.write_text(rendered, "utf-8")
        report.attempt(f"docs/{page.PAGE.name} is what this run gives", is_the_page, rendered)
    print(json.dumps({"passed": report.passed, "failed": report.failed}))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
