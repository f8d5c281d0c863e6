"""Coding agents edit a file through the router, by the recipes of docs/clients/agents.md as they stand there: once undisturbed,
which docs/generated/agents.md shows, and once while RunPod breaks off a stream, after which they must ask again."""

import json
import os
import pathlib
import re
import subprocess

import lab
from lab import Lab, expect

PAGE = lab.HERE.parents[1] / "docs/clients/agents.md"
TRANSCRIPTS = PAGE.parents[1] / "generated/agents.md"
TIMEOUT_S = 120
# Where the programs are below node_modules, and where the recipe's settings go below the home or the project.
PROGRAMS = {"codex": "@openai/codex/bin/codex.js", "opencode": "opencode-linux-x64/bin/opencode"}
SETTINGS = {"codex": ("home", ".codex/config.toml"), "opencode": ("project", "opencode.json")}
# In what the agent says of its edit to the model.
EDITED = {"codex": "Success. Updated", "opencode": "Edit applied"}
BEFORE, AFTER = "Hello, world\n", "Goodbye, world\n"


def recipe(heading: str) -> tuple[str, str]:
    """The settings and the commands of a section."""
    text = PAGE.read_text("utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL | re.IGNORECASE)[1]
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (settings,) = [text for language, text in blocks if language != "sh"]
    (commands,) = [text for language, text in blocks if language == "sh"]
    return settings, commands


def run(at: Lab, agent: str, node: pathlib.Path, breaks: bool) -> str:
    """What the agent printed, after what was typed."""
    program = lab.HERE / "node_modules" / PROGRAMS[agent]
    expect(program.is_file(), f"{program.relative_to(lab.HERE)} is not installed: it is built for x86-64 alone")
    folder = at.folder / f"{agent}-{'broken' if breaks else 'whole'}"
    places = {name: folder / name for name in ("home", "project", "bin")}
    for place in places.values():
        place.mkdir(parents=True)
    settings, commands = recipe(agent)

    def here(text: str) -> str:
        return text.replace("http://127.0.0.1:8080", at.origin).replace("sk-demo", at.keys["main"])

    where, name = SETTINGS[agent]
    (places[where] / name).parent.mkdir(exist_ok=True)
    (places[where] / name).write_text(here(settings), "utf-8")
    (places["bin"] / agent).symlink_to(program)
    greeting = places["project"] / "greeting.txt"
    greeting.write_text(BEFORE, "utf-8")
    env = {
        "HOME": str(places["home"]), "NO_PROXY": "127.0.0.1", "TERM": "dumb",
        "PATH": f"{places['bin']}:{node.parent}:{os.environ['PATH']}",
    }
    try:
        done = subprocess.run(
            ["sh", "-c", here(commands)], cwd=places["project"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace")
        raise lab.CheckFailed(f"still running after {TIMEOUT_S} s\n{said[-2000:]}") from None
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).replace(str(places["project"]), "~/project")
    expect(done.returncode == 0, f"ended with {done.returncode}\n{said[-2000:]}")
    expect(greeting.read_text("utf-8") == AFTER, f"the file says {greeting.read_text('utf-8')!r}\n{said[-2000:]}")
    return f"{commands}\n{said}"


def edits_a_file(at: Lab, agent: str, node: pathlib.Path, transcripts: dict[str, str]) -> None:
    transcripts[agent] = run(at, agent, node, breaks=False)


def edits_a_file_in_spite_of_a_break(at: Lab, agent: str, node: pathlib.Path) -> None:
    # Amid the last answer, which follows the edit's result: a call of a tool that broke off would count as made.
    cut = {"fault": {"kind": "reset_amid", "after_events": 3}, "times": 1, "containing": EDITED[agent]}
    faces = ((at.runpod, "runpod_lb"), (at.cerebras, "cerebras"))
    broken = [emulator.calls(face)["broken"] for emulator, face in faces]
    for emulator, face in faces:
        emulator.set(face, cut)
    try:
        run(at, agent, node, breaks=True)
    finally:
        for emulator, face in faces:
            emulator.set(face)
    expect([emulator.calls(face)["broken"] for emulator, face in faces] != broken, "no stream broke")


def the_page_names_what_is_tested() -> None:
    packages = json.loads((lab.HERE / "package.json").read_text("utf-8"))
    versions = {**packages["dependencies"], **packages["optionalDependencies"]}
    text = PAGE.read_text("utf-8")
    for name, package in {"@openai/codex": "@openai/codex", "opencode-ai": "opencode-linux-x64"}.items():
        expect(f"`{name}` {versions[package]}" in text, f"{PAGE.name} says nothing of {name} {versions[package]}")


def page(transcripts: dict[str, str]) -> str:
    """The transcripts without what differs from run to run and from machine to machine."""
    text = (
        "# Transcripts of coding agents\n\nWhat Codex and opencode print when they edit a file through the router, by "
        "[the recipes](../clients/agents.md).\n`tests/agents/run.py --write` makes this page.\n"
    )
    for agent, said in transcripts.items():
        kept = [line.rstrip() for line in said.splitlines() if not re.match(r"(?i)warning|session id|index [0-9a-f]", line)]
        text += f"\n## {agent}\n\n```text\n{chr(10).join(kept).strip()}\n```\n"
    return text


def check(report: lab.Report, at: Lab, node: pathlib.Path) -> dict[str, str]:
    """By agent, what it printed."""
    report.attempt("the page names the agents' versions", the_page_names_what_is_tested)
    transcripts: dict[str, str] = {}
    for agent in PROGRAMS:
        report.attempt(f"{agent} edits a file", edits_a_file, at, agent, node, transcripts)
        report.attempt(f"{agent} edits a file although a stream breaks", edits_a_file_in_spite_of_a_break, at, agent, node)
    return transcripts
