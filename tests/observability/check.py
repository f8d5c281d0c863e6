"""Static checks of dashboards and rules. Prints a line for each and, last, {"passed": N, "failed": N} as JSON.

    check.py [--promtool PATH]

tests/run installs what this needs and starts it as `tests/run observability`.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

import files
from labels import Contract, Reader

# Stand-ins for Grafana's variables: what matters is that the expression can be parsed.
VALUES = {"__rate_interval": "1m", "__range": "1h", "__range_s": "3600"}


def said(command: list) -> list[str]:
    """What a command that failed said; nothing if it did not fail."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return [] if ended.returncode == 0 else [(ended.stdout + ended.stderr).strip()]


def check_promtool(report: files.Report, promtool: pathlib.Path) -> None:
    rules, tests = (sorted((files.PROMETHEUS / folder).glob("*.yml")) for folder in ("rules", "tests"))
    report.check("promtool check rules", *said([promtool, "check", "rules", "--lint=all", "--lint-fatal", *rules]))
    report.check("promtool check config", *said([promtool, "check", "config", files.PROMETHEUS / "prometheus.yml"]))
    for path in tests:
        report.check(f"promtool test rules {path.name}", *said([promtool, "test", "rules", path]))


def tested_alerts() -> dict[str, set[bool]]:
    """For each alert whether it is expected to fire, and to be silent."""
    expected: dict[str, set[bool]] = {}
    for path in (files.PROMETHEUS / "tests").glob("*.yml"):
        for case in yaml.safe_load(path.read_text("utf-8"))["tests"]:
            for test in case.get("alert_rule_test", []):
                expected.setdefault(test["alertname"], set()).add(bool(test["exp_alerts"]))
    return expected


def check_alerts(report: files.Report) -> None:
    tested = tested_alerts()
    runbook = (files.ROOT / "docs/operations.md").read_text("utf-8")
    sections = set(re.findall(r"^### (\w+)$", runbook, re.MULTILINE))
    alerts = files.rules("alerts.yml")
    for rule in alerts:
        name, notes = rule["alert"], rule["annotations"]
        problems = []
        if not name.startswith("LlmRouter"):
            problems.append("its name does not begin with LlmRouter")
        if rule["labels"].get("severity") not in ("page", "ticket"):
            problems.append("its severity is neither page nor ticket")
        problems += [f"it has no {key}" for key in ("summary", "description", "runbook_url") if not notes.get(key)]
        if notes.get("runbook_url") != f"docs/operations.md#{name.lower()}" or name not in sections:
            problems.append("docs/operations.md has no section of its name, or runbook_url leads elsewhere")
        cases = {"fires": True, "is silent": False}
        problems += [f"no case in which it {what}" for what, value in cases.items() if value not in tested.get(name, ())]
        report.check(f"alert {name}", *problems)
    names = {rule["alert"] for rule in alerts}
    orphans = sorted(name for name in (sections | tested.keys()) - names if name.startswith("LlmRouter"))
    report.check("sections and cases are of alerts that exist", *orphans)


def check_generated(report: files.Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        failed = said([sys.executable, files.GENERATOR, folder])
        made = {path.name: path.read_text("utf-8") for path in pathlib.Path(folder).glob("*.json")}
    committed = {path.name: path.read_text("utf-8") for path in files.DASHBOARDS.glob("*.json")}
    stale = sorted(name for name in made.keys() | committed.keys() if made.get(name) != committed.get(name))
    report.check("the dashboards are what the generator writes",
                 *failed, *(f"{name}: run python deploy/grafana/generate" for name in stale))


def check_board(report: files.Report, name: str, board: dict) -> None:
    problems = []
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    if board["editable"] or "llm-router" not in board["tags"] or not board["uid"].startswith("llm-router-"):
        problems.append("it is editable, not tagged llm-router, or its uid is not ours")
    if not {"datasource", "job"} <= variables.keys():
        problems.append("it has no variable for the data source or the job")
    if not any(link["type"] == "dashboards" and link["tags"] == ["llm-router"] for link in board["links"]):
        problems.append("it has no links to the others")
    ids = [panel["id"] for panel in board["panels"]]
    if len(set(ids)) < len(ids):
        problems.append("panels share an id")
    used = set(re.findall(r"\$(?!__)([a-z]\w*)", " ".join(str(panel) for panel in board["panels"])))
    if unknown := used - variables.keys():
        problems.append(f"variables that it does not have: {', '.join(sorted(unknown))}")
    if idle := variables.keys() - used - {"datasource"}:
        problems.append(f"variables that no panel uses: {', '.join(sorted(idle))}")
    for mark in board["annotations"]["list"]:
        if mark["datasource"]["uid"] != "${datasource}":
            problems.append("a mark's data source is fixed")
    report.check(f"{name}: variables, links, ids", *problems)
    for panel in files.panels(board):
        report.check(f"{name}: {panel['title'] or panel['id']}", *panel_problems(panel))


def panel_problems(panel: dict) -> list[str]:
    problems = [f"it has no {key}" for key in ("title", "description") if not panel.get(key)]
    if panel["type"] == "text":
        return problems
    if not panel["fieldConfig"]["defaults"].get("unit"):
        problems.append("it has no unit")
    queries = panel.get("targets", [])
    if not queries:
        problems.append("it asks for nothing")
    for target in queries:
        if target["datasource"].get("uid") != "${datasource}" or panel["datasource"].get("uid") != "${datasource}":
            problems.append(f"{target['refId']}: its data source is fixed")
        wanted = "$__range" if target["instant"] else "$__rate_interval"
        for window in re.findall(r"\[([^\]]+)\]", target["expr"]):
            # After the colon stands a subquery's step.
            if window.split(":")[0] != wanted:
                problems.append(f"{target['refId']}: a window of {window} where {wanted} is due")
    return problems


def check_queries(report: files.Report, contract: Contract) -> None:
    for target in files.targets():
        read = Reader(files.fill(target.expr, VALUES), contract)
        problems = list(read.problems)
        problems += [f"{name} outside rate and increase" for name in read.counters_as_they_are]
        problems += [f"{name} without the job" for name, matched in read.selectors if "job" not in matched]
        named = set(re.findall(r"{{\s*(\w+)\s*}}", target.legend))
        if missing := sorted(named - read.labels):
            problems.append(f"its legend names {', '.join(missing)}, which the result has not")
        report.check(f"query {target}", *problems)
    for name, board in files.dashboards().items():
        exprs = [mark["expr"] for mark in board["annotations"]["list"]]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()
                exprs.append(f"count by ({label}) ({selector})")
        problems = [problem for expr in exprs for problem in Reader(files.fill(expr, VALUES), contract).problems]
        report.check(f"{name}: queries of variables and marks", *problems)


def check_rules(report: files.Report, contract: Contract) -> None:
    for rule in files.rules("recording.yml"):
        read = Reader(rule["expr"], contract)
        contract.record(rule["record"], read.labels)
        report.check(f"rule {rule['record']}", *read.problems)
    for rule in files.rules("alerts.yml"):
        read = Reader(rule["expr"], contract)
        text = " ".join(rule["annotations"].values())
        missing = sorted(set(re.findall(r"\$labels\.(\w+)", text)) - read.labels)
        report.check(f"rule {rule['alert']}", *read.problems, *(f"its annotations name {label}" for label in missing))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--promtool", type=pathlib.Path, default=files.PROMTOOL)
    promtool = parser.parse_args().promtool
    report = files.Report()
    check_promtool(report, promtool)
    check_alerts(report)
    check_generated(report)
    for name, board in files.dashboards().items():
        check_board(report, name, board)
    metrics = files.documented()
    report.check("docs/metrics.md lists the metrics", *([] if metrics else ["it has no table"]))
    contract = Contract(metrics)
    check_rules(report, contract)
    check_queries(report, contract)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
