"""Counts checks, and runs the tools that they use."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable


class CheckFailed(Exception):
    """What did not hold."""


class Report:
    """Prints the checks as they end and counts them."""

    def __init__(self):
        self.passed = self.failed = 0

    def attempt(self, name: str, check: Callable, *args):
        """Runs one check; its result, or None when it failed."""
        try:
            result = check(*args)
        # A file that lacks a key or is no YAML at all has failed too, and must not hide the checks after it.
        except Exception as failed:
            self.failed += 1
            kind = "" if isinstance(failed, CheckFailed) else f"{type(failed).__name__}: "
            print(f"FAIL  {name}: {kind}{str(failed).strip()}", flush=True)
            return None
        self.passed += 1
        print(f"ok    {name}", flush=True)
        return result

    def skip(self, name: str, why: str) -> None:
        print(f"skip  {name}: {why}", flush=True)


def expect(condition: object, problem: str) -> None:
    if not condition:
        raise CheckFailed(problem)


def run(*command: str | pathlib.Path, env: dict[str, str] | None = None) -> str:
    """What a tool printed; it has to end with 0."""
    done = subprocess.run(
        command, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    expect(done.returncode == 0, f"{command[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def packaged(tool: str) -> pathlib.Path:
    """A program that a Python package brought along."""
    return pathlib.Path(sys.executable).parent / tool


def redis_forgets_nothing(redis: dict) -> None:
    """A service or container whose command is a shell's. An evicted key would be a limit that begins anew."""
    *_, script = redis["command"]
    expect("--maxmemory-policy noeviction" in script, "it may evict keys")
    # Arguments can be seen by everyone on the machine.
    arguments, _, stdin = script.partition("<<END")
    expect("PASSWORD" not in arguments and "requirepass" in stdin, "its password is not read from the standard input")
