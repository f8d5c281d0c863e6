"""Every TOML file is a configuration that the router takes, but for the endpoint in runpod/, which the Rust tests read."""

import pathlib
import re

from report import Report, expect, run


def is_valid(file: pathlib.Path, binary: pathlib.Path) -> None:
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", file.read_text(encoding="utf-8")), "example")
    run(binary, "check", "--without-secrets", "--config", file, env=variables)


def check(report: Report, deploy: pathlib.Path, binary: pathlib.Path) -> None:
    files = sorted(file for file in deploy.rglob("*.toml") if not {"node_modules", "runpod"} & set(file.parts))
    report.attempt("there are configurations", expect, len(files) > 1, f"only {files}")
    for file in files:
        report.attempt(f"llm-router check {file.relative_to(deploy)}", is_valid, file, binary)
