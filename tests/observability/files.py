"""What is checked: the dashboards, the rules and the document of metrics, as data."""

import json
import pathlib
import re
from dataclasses import dataclass

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
GENERATOR = ROOT / "deploy/grafana/generate"
DASHBOARDS = ROOT / "deploy/grafana/dashboards"
PROMETHEUS = ROOT / "deploy/prometheus"
PROMTOOL = ROOT / ".cache/observability/prometheus/usr/bin/promtool"


class Report:
    """Prints the checks as they end and counts them."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name: str, *problems: str) -> None:
        if problems:
            self.failed += 1
            print(f"FAIL  {name}: " + "\n      ".join(problems), flush=True)
        else:
            self.passed += 1
            print(f"ok    {name}", flush=True)

    def close(self) -> int:
        print(json.dumps({"passed": self.passed, "failed": self.failed}))
        return 1 if self.failed else 0


@dataclass(frozen=True)
class Target:
    """One query of one panel."""

    dashboard: str
    panel: str
    kind: str
    unit: str
    ref: str
    expr: str
    legend: str
    is_instant: bool

    def __str__(self):
        return f"{self.dashboard} / {self.panel} / {self.ref}"


def dashboards() -> dict[str, dict]:
    return {path.name: json.loads(path.read_text("utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(board: dict):
    """Panels of a dashboard, rows aside."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def targets() -> list[Target]:
    return [
        Target(name, panel["title"], panel["type"], panel["fieldConfig"]["defaults"].get("unit", ""), target["refId"],
               target["expr"], target["legendFormat"], target["instant"])
        for name, board in dashboards().items() for panel in panels(board) for target in panel.get("targets", [])
    ]


def fill(expr: str, values: dict[str, str]) -> str:
    """Puts values in place of variables, as Grafana does."""
    return re.sub(r"\$(\w+)", lambda found: values.get(found[1], found[0]), expr)


def rules(name: str) -> list[dict]:
    groups = yaml.safe_load((PROMETHEUS / "rules" / name).read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of every metric in docs/metrics.md."""
    text = (ROOT / "docs/metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(llmrouter_\w+)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
