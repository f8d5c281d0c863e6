"""Checks what deploy/ ships, as far as that goes without Docker, a cluster or a running systemd.

Files are held against their schemas and linters, and against each other: what one mounts or names must exist in the other.
Then the compose files' emulator, routers, load, balancer and Redis run as plain processes with the same files. Prints one line per check and,
last, {"passed": N, "failed": N} as JSON. The exit code is 1 when a check failed. A tool of the system that is missing is
said in a line that starts with "skip".

tests/run installs what this needs (requirements.txt) and starts it as `tests/run deploy`.
"""

import argparse
import json
import pathlib
import shutil
import sys

import compose
import dockerfile
import kubernetes
import replicas
import stack
import systemd
import toml_files
from report import Report

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/debug/llm-router", help="the router to test")
    binary = parser.parse_args().binary.resolve()
    if not shutil.which(binary):
        parser.error(f"{binary} is not there or cannot be run")

    report, deploy = Report(), ROOT / "deploy"
    toml_files.check(report, deploy, binary)
    dockerfile.check(report, deploy)
    compose.check(report, deploy)
    kubernetes.check(report, deploy / "kubernetes")
    systemd.check(report, deploy / "llm-router.service", binary)
    stack.check(report, deploy, binary)
    replicas.check(report, deploy, binary)
    print(json.dumps({"passed": report.passed, "failed": report.failed}))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
