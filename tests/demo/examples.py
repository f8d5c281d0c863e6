"""Runs what is in docs/examples, unchanged, against a running demo.

Each script must end well and say what it should; the FastAPI service runs under uvicorn, and 50 users at a time ask it, each
for whole answers and for streamed ones. Prints one line per check and, last, {"passed": N, "failed": N} as JSON. The exit code
is 1 when a check failed.

tests/run installs what this needs (requirements-examples.txt, ../clients/package-lock.json) and starts it as
`tests/run examples`.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import users
from demo import KEY, Demo, Report, expect, free_ports, wait_until_ready

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "docs/examples"
SCRIPT_TIMEOUT_S = 120
GREETING = "You said: Say hello to the router."  # what the emulated models answer

# Every file but the service, and what it must print.
SCRIPTS = {
    "chat.py": [GREETING, r"-- (runpod|cerebras), because of \w+, for 0\.0000\d+ USD, \d+ tokens"],
    "stream.py": [GREETING, r"-- \d+ tokens"],
    "names.py": [
        r"there are llama-3\.1-8b, .*task/code, .*ensemble/longest-of-two",
        r"llama-3\.1-8b: (runpod|cerebras)-8b, (share|spill)",
        r"task/code: (runpod|cerebras)-8b, (share|spill)",
        r"cerebras-8b/llama-3\.1-8b: cerebras-8b, direct",
        r"ensemble/longest-of-two: .*\n  member \d won: ",
        rf"by header: {GREETING}.* / {GREETING}",
        r"a completion: \S",
    ],
    "batch.py": [r"Quito: You said: One sentence about Quito\.", r"-- 5 answered, 0 failed"],
    "drop_in.py": [rf"{GREETING}.*\n{GREETING}", r"'You said: One\..*\n'You said: Two\..*\nRuntimeError\(.*is empty"],
    "chat.mjs": [GREETING, r"-- (runpod|cerebras), because of \w+, for 0\.0000\d+ USD, \d+ tokens"],
    "stream.mjs": [GREETING, r"-- \d+ tokens"],
    "curl.sh": [],
}
# What curl.sh gets, in its order.
CURL_STATUSES = [200] * 3 + [400] + [200] * 4 + [400] + [200] * 24 + [409] + [200] * 12
SERVICE = {"README.md", "fastapi_app/app.py", "fastapi_app/requirements.txt"}


def nothing_is_left_out() -> None:
    found = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    expect(found == SCRIPTS.keys() | SERVICE, f"run here: {sorted(SCRIPTS.keys() | SERVICE)}, there: {sorted(found)}")
    table = (EXAMPLES / "README.md").read_text("utf-8")
    missing = [name for name in SCRIPTS if f"[{name}]({name})" not in table]
    expect(not missing, f"docs/examples/README.md says nothing of {missing}")


def the_service_is_tested_with_what_it_names() -> None:
    named = (EXAMPLES / "fastapi_app/requirements.txt").read_text("utf-8").split()
    pinned = (HERE / "requirements-examples.txt").read_text("utf-8").split()
    expect(set(named) <= set(pinned), f"{named} are not the versions in requirements-examples.txt")


def environment(demo: Demo) -> dict[str, str]:
    return {
        **os.environ,
        "LLM_ROUTER_URL": demo.url,
        "LLM_ROUTER_KEY": KEY,
        "LLM_ROUTER_ADMIN_URL": demo.admin_url,
        "LLM_ROUTER_ADMIN_TOKEN": demo.token,
    }


def run(script: pathlib.Path, node: pathlib.Path, demo: Demo) -> str:
    with_what = {".py": [sys.executable], ".mjs": [node], ".sh": []}[script.suffix]
    done = subprocess.run(
        [*with_what, script], env=environment(demo), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SCRIPT_TIMEOUT_S,
    )
    expect(done.returncode == 0, f"ended with {done.returncode}\n{done.stdout}{done.stderr}")
    expect(done.stderr == "", f"complained\n{done.stderr}")
    return done.stdout


def says_what_it_should(script: pathlib.Path, node: pathlib.Path, demo: Demo) -> None:
    said = run(script, node, demo)
    for wanted in SCRIPTS[script.name]:
        expect(re.search(wanted, said), f"{wanted!r} is not in\n{said}")


def makes_every_call(script: pathlib.Path, node: pathlib.Path, demo: Demo) -> str:
    said = run(script, node, demo)
    statuses = [int(status) for status in re.findall(r"^\[(\d+) ", said, re.MULTILINE)]
    expect(statuses == CURL_STATUSES, f"{statuses} instead of {CURL_STATUSES}\n{said}")
    called = set(re.findall(r"^## (\w+ /[^\s?]*)", said, re.MULTILINE))
    with contextlib.suppress(KeyError):
        called.remove("GET /v1/models/llama-3.1-8b")
        called.add("GET /v1/models/{name}")
    documented = users.documented(demo.url) | users.documented(demo.admin_url)
    expect(called == documented, f"called: {sorted(called)}, documented: {sorted(documented)}")
    return f"{len(statuses)} calls"


def check(report: Report, demo: Demo, node: pathlib.Path, node_modules: pathlib.Path, folder: pathlib.Path) -> None:
    report.attempt("every example is run, and in the README", nothing_is_left_out)
    report.attempt("the FastAPI service is tested with what it names", the_service_is_tested_with_what_it_names)
    # A copy, beside which Node finds the packages.
    copy = folder / "examples"
    shutil.copytree(EXAMPLES, copy)
    (folder / "node_modules").symlink_to(node_modules)
    for name in SCRIPTS:
        how = makes_every_call if name == "curl.sh" else says_what_it_should
        report.attempt(name, how, copy / name, node, demo)
    (port,) = free_ports(1)
    log, url = folder / "service.log", f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "warning"]
    with contextlib.ExitStack() as held:
        sink = held.enter_context(log.open("wb"))
        child = subprocess.Popen(
            command, cwd=copy / "fastapi_app", env=environment(demo), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
        held.callback(child.wait)
        held.callback(child.kill)
        report.attempt("FastAPI service: starts", wait_until_ready, child, f"{url}/health", log)
        report.attempt("FastAPI service: answers whole", users.all_answered, users.whole, url, demo)
        report.attempt("FastAPI service: answers streamed", users.all_answered, users.streamed, url, demo)
        report.attempt("FastAPI service: a reader that leaves ends the call", users.leaves, url, demo)
        report.attempt("FastAPI service: refuses an empty text itself", users.refused, url, demo)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/debug/llm-router", help="the router to test")
    parser.add_argument("--node", type=pathlib.Path, default="node", help="Node 22 or newer")
    parser.add_argument("--node-modules", type=pathlib.Path, default=ROOT / "tests/clients/node_modules")
    args = parser.parse_args()
    binary = args.binary.resolve()
    if not shutil.which(binary):
        parser.error(f"{binary} is not there or cannot be run")
    report = Report()
    with tempfile.TemporaryDirectory(prefix="llm-router-examples-") as name, Demo(binary, pathlib.Path(name)) as demo:
        node = pathlib.Path(shutil.which(args.node) or args.node).resolve()
        check(report, demo, node, args.node_modules.resolve(), pathlib.Path(name))
    print(json.dumps({"passed": report.passed, "failed": report.failed}))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
