"""openai-python's own suite, against its mock directly and through llm-router.

Runs the suite's tests of chat, completions, embeddings and models twice: against the mock, and against the router
whose only upstream is the mock. A test that passes directly has to pass through the router, but for the endpoints in
offer.py, whose tests have to fail with the answer of an endpoint that is not offered. Prints a table and, last,
{"passed": N, "failed": N} as JSON. The exit code is 1 when a check failed.

tests/run installs what this needs (requirements.txt, source.txt, package-lock.json) and starts it as
`tests/run sdk-suite`.
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile

import servers
import suite
from offer import NOT_OFFERED, NotOffered

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Report:
    """Counts checks, and prints those that failed: the hundreds that pass are in the table."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name: str, problem: str | None) -> bool:
        if problem is None:
            self.passed += 1
            return True
        self.failed += 1
        print(f"FAIL  {name}: {problem.strip()}", flush=True)
        return False


class Row:
    """One line of the table: the tests of a file."""

    def __init__(self):
        self.tests = self.directly = self.through_router = self.not_offered = 0


def is_not_offered(entry: NotOffered, failure: str | None) -> str | None:
    if failure is None:
        return f"passes: remove {entry.endpoint} from offer.py"
    if not entry.is_told_by(failure):
        return f"{entry.endpoint} is not offered and has to be answered {entry.status} as such, not: {failure}"
    return None


def compare(report: Report, directly: dict[str, str | None], through: dict[str, str | None]) -> dict[str, Row]:
    """Checks each test of the direct run, and each entry of offer.py; the table."""
    rows = {file: Row() for file in suite.FILES}
    used = set()
    for test, failure in directly.items():
        row = rows[test.split("::")[0]]
        row.tests += 1
        if failure is not None:
            report.check(test, f"fails without the router too: {failure}")
            continue
        row.directly += 1
        answer = through.get(test, "did not run")
        entry = next((entry for entry in NOT_OFFERED if entry.covers(test)), None)
        if entry is None:
            problem = None if answer is None else f"passes directly, but not through the router: {answer}"
            row.through_router += report.check(test, problem)
            continue
        used.add(entry)
        row.not_offered += report.check(test, is_not_offered(entry, answer))
    for entry in NOT_OFFERED:
        if entry not in used:
            report.check(entry.endpoint, "no test of the suite calls it: remove it from offer.py")
    for file, row in rows.items():
        if not row.directly:
            report.check(file, "has no test that passes directly")
    return rows


def table(rows: dict[str, Row]) -> str:
    lines = [("tests/api_resources/", "tests", "pass directly", "pass through the router", "not offered")]
    lines += [
        (file, *map(str, (row.tests, row.directly, row.through_router, row.not_offered))) for file, row in rows.items()
    ]
    total = [sum(column) for column in zip(*(vars(row).values() for row in rows.values()), strict=True)]
    lines.append(("together", *map(str, total)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
    )


def mock_checks_requests(mock_url: str) -> str | None:
    """A mock that takes everything would prove nothing about what the router sends."""
    body = {"model": "gpt-6-astra", "messages": [{"role": "user", "content": "Hello"}], "temperature": "warm"}
    status = servers.status_of(f"{mock_url}/chat/completions", body)
    return None if status == 400 else f"answers {status} to a temperature that is a text"


def run(report: Report, source: pathlib.Path, binary: pathlib.Path, folder: pathlib.Path) -> None:
    with servers.mock(folder) as mock_url:
        report.check("the mock checks requests", mock_checks_requests(mock_url))
        directly = suite.run(source, mock_url, folder / "directly.xml")
        with servers.router(binary, mock_url, folder) as router_url:
            through = suite.run(source, router_url, folder / "through.xml")
    rows = compare(report, directly, through)
    print(f"\n{table(rows)}\n\nnot offered:")
    for entry in NOT_OFFERED:
        print(f"  {entry.endpoint}: {entry.reason}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--binary", type=pathlib.Path, default=ROOT / "target/debug/llm-router", help="the router to test"
    )
    parser.add_argument(
        "--source", type=pathlib.Path, required=True, help="the unpacked source distribution of openai-python"
    )
    args = parser.parse_args()
    binary, source = args.binary.resolve(), args.source.resolve()
    if not shutil.which(binary):
        parser.error(f"{binary} is not there or cannot be run")

    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(report, source, binary, pathlib.Path(folder))
        except (servers.CannotStart, suite.DidNotRun, OSError) as problem:
            report.check("both runs", str(problem))
    print(json.dumps({"passed": report.passed, "failed": report.failed}))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
