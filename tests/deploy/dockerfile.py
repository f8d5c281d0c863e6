"""The Dockerfile."""

import json
import pathlib
import re

from report import Report, expect, packaged, run


def lint(file: pathlib.Path) -> None:
    run(packaged("hadolint"), "--no-color", "--failure-threshold", "style", file)


def runs_as_number(file: pathlib.Path) -> None:
    """Kubernetes cannot tell whether a name is root's."""
    users = re.findall(r"^USER (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    expect(users and re.fullmatch(r"[1-9]\d*", users[-1]), f"the last USER of {users} is no number above zero")


def health_check(file: pathlib.Path, port: int) -> list[str]:
    """The image's health check, against another port."""
    text = file.read_text(encoding="utf-8").replace("\\\n", "")
    found = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", text, re.MULTILINE)
    expect(found, "no HEALTHCHECK with a list as its command")
    command = json.loads(found[1])
    expect("/8080" in " ".join(command), "the health check does not ask port 8080")
    return [word.replace("/8080", f"/{port}") for word in command]


def check(report: Report, deploy: pathlib.Path) -> None:
    report.attempt("hadolint Dockerfile", lint, deploy / "Dockerfile")
    report.attempt("the image runs as a number", runs_as_number, deploy / "Dockerfile")
