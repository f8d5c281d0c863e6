"""Runs openai-python's suite against a server and tells how each test ended."""

import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

# Below tests/api_resources/ of the SDK's source distribution. What the suite tests under tests/lib and in
# test_client.py never leaves its process: it ends alike whether a server answers or none does.
FILES = (
    "chat/test_completions.py",
    "chat/completions/test_messages.py",
    "test_completions.py",
    "test_embeddings.py",
    "test_models.py",
)
FOLDER = "tests/api_resources"
TIMEOUT_S = 600


class DidNotRun(Exception):
    """The suite ended without its results; the message says what it printed."""


def run(source: pathlib.Path, base_url: str, results: pathlib.Path) -> dict[str, str | None]:
    """Each test as `file::class::name`, with None where it passed and the reason where it did not."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={results}"]
    # The suite's own options ask for a process per core, which would only make its log harder to read.
    command += ["-o", "addopts=", "--tb=line", *(f"{FOLDER}/{file}" for file in FILES)]
    try:
        done = subprocess.run(
            command,
            cwd=source,
            env=environment(base_url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise DidNotRun(f"still running after {TIMEOUT_S} s") from None
    # 1 is pytest's exit code for a run to its end in which tests failed.
    if done.returncode not in (0, 1):
        raise DidNotRun(f"pytest ended with {done.returncode}\n{done.stdout[-3000:]}")
    return dict(read(results))


def environment(base_url: str) -> dict[str, str]:
    """The caller's, without what would send the SDK elsewhere."""
    elsewhere = re.compile(r"OPENAI_|.*_PROXY$", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not elsewhere.match(name)}
    # The second as in the SDK's own scripts/test.
    return kept | {"TEST_API_BASE_URL": base_url, "DEFER_PYDANTIC_BUILD": "false"}


def read(results: pathlib.Path):
    """The tests of a JUnit report; one that was skipped has not passed."""
    for case in xml.etree.ElementTree.parse(results).iter("testcase"):
        module, klass = case.get("classname").removeprefix(FOLDER.replace("/", ".") + ".").rsplit(".", 1)
        bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        reason = None if bad is None else (bad.get("message") or bad.text or bad.tag)
        yield f"{module.replace('.', '/')}.py::{klass}::{case.get('name')}", reason
