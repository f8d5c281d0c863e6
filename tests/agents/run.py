"""Agents through the doors that they use, /v1/messages and /v1/responses, with a real router in between.

What the SDKs make of errors, images and streams that are left; the same shapes from a real, small model; ten turns of a tool loop
while RunPod is cut off; and coding agents that edit a file. Prints one line per check and, last, {"passed": N, "failed": N} as
JSON. The exit code is 1 when a check failed.

tests/run installs what this needs (../compat/requirements-agents.txt, ../clients/requirements.txt, package-lock.json) and starts it
as `tests/run agents`.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import coding
import doors
import lab
import loops
import real

ROOT = lab.HERE.parents[1]
SUITE_TIMEOUT_S = 120
NODE_CHECKS = 22


def by_node(report: lab.Report, at: lab.Lab, node: pathlib.Path) -> None:
    env = {
        **os.environ, "NO_PROXY": "127.0.0.1", "ROUTER_ORIGIN": at.origin, "ROUTER_MODEL": lab.MODEL,
        "ROUTER_BLIND": lab.BLIND_MODEL, "ROUTER_BUSY": lab.BUSY_MODEL, "ROUTER_IMAGE": doors.IMAGE,
        "ROUTER_REAL": lab.REAL_MODEL, "ROUTER_KEYS": json.dumps(at.keys),
    }
    done = subprocess.run(
        [node, lab.HERE / "doors.mjs"], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SUITE_TIMEOUT_S,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]

    def passes(error: str | None) -> None:
        lab.expect(error is None, error)

    def all_ran() -> None:
        lab.expect(len(said) == NODE_CHECKS, f"{len(said)} checks instead of {NODE_CHECKS}\n{done.stderr[-2000:]}")

    for check in said:
        report.attempt(f"node, {check['check']}", passes, check["error"])
    report.attempt("node: every check ran", all_ran)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/debug/llm-router", help="the router to test")
    parser.add_argument("--node", type=pathlib.Path, required=True, help="Node 22 or newer, the program itself")
    parser.add_argument("--model-python", type=pathlib.Path, required=True, help="a Python with llama.cpp and the small model")
    parser.add_argument("--write", action="store_true", help="write docs/generated/agents.md, if every check passed")
    args = parser.parse_args()
    binary = args.binary.resolve()
    if not shutil.which(binary):
        parser.error(f"{binary} is not there or cannot be run")
    lab.end_on_sigterm()
    report = lab.Report()
    with (
        tempfile.TemporaryDirectory(prefix="llm-router-agents-") as folder,
        lab.Lab(binary, pathlib.Path(folder), args.model_python) as at,
    ):
        doors.check(report, at)
        by_node(report, at, args.node.resolve())
        real.check(report, at)
        loops.check(report, at)
        transcripts = coding.check(report, at, args.node.resolve())
        report.attempt("the router's output names no key and no prompt", at.names_no_secret, doors.PROMPT, doors.LEFT)
    if args.write and not report.failed:
        coding.TRANSCRIPTS.write_text(coding.page(transcripts), "utf-8")
    print(json.dumps({"passed": report.passed, "failed": report.failed}))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
