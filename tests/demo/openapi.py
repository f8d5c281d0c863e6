"""Schemathesis, from the OpenAPI documents, against a running demo: no 5xx, and nothing that the documents do not say.

Each call has a run of its own, several at a time, because most of a run is waiting for the emulated providers. The cases are
made from a fixed seed. Prints one line per call and, last, {"passed": N, "failed": N} as JSON. The exit code is 1 when a
check failed.

tests/run installs what this needs (requirements-openapi.txt) and starts it as `tests/run openapi`.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

from demo import KEY, CheckFailed, Demo, Report, expect

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SEED = 7
AT_A_TIME = 6
RUN_TIMEOUT_S = 170
NO_SUCCESS_IN_THE_DEMO = {"reload", "transcribe"}  # it has no file, and no model for recordings


def operations(url: str) -> dict[str, str]:
    """The calls of a document, by their ids."""
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as answer:
        paths = json.load(answer)["paths"]
    return {
        call["operationId"]: f"{method.upper()} {path}" for path, item in paths.items() for method, call in item.items()
    }


def run(url: str, key: str, operation: str, folder: pathlib.Path) -> collections.Counter:
    """Tries one call; how often each status came."""
    folder.mkdir()
    report, statuses = folder / "report.json", folder / "statuses"
    command = [
        pathlib.Path(sys.executable).parent / "schemathesis", "--config-file", HERE / "schemathesis.toml",
        "run", f"{url}/openapi.json", "--include-operation-id", operation, "--header", f"Authorization: Bearer {key}",
        "--seed", str(SEED), "--workers", "1", "--no-color", "--report", "json", "--report-json-path", report,
        "--generation-database", "none",
    ]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "STATUSES": str(statuses)}
    done = subprocess.run(
        command, env=env, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_TIMEOUT_S
    )
    said = done.stdout[-6000:]
    expect(done.returncode == 0, f"{said}\n{done.stderr[-2000:]}")
    found = json.loads(report.read_text("utf-8"))
    expect(found["complete"] and found["operations"]["tested"] == 1, f"it was not tried to the end\n{said}")
    counted = collections.Counter(statuses.read_text("ascii").split())
    expect(operation in NO_SUCCESS_IN_THE_DEMO or counted["200"], f"not one success: {dict(counted)}")
    counted["cases"] = found["test_cases"]["generated"]
    return counted


def show(counted: collections.Counter) -> str:
    statuses = sorted((status, count) for status, count in counted.items() if status != "cases")
    return f"{counted['cases']} cases, answered with " + ", ".join(f"{status} ({count})" for status, count in statuses)


def make_key(demo: Demo) -> None:
    """The key that the document's examples name."""
    headers = {"Authorization": f"Bearer {demo.token}", "Content-Type": "application/json"}
    body = json.dumps({"id": "search-web", "team": "search"}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{demo.admin_url}/admin/keys/create", body, headers), timeout=10):
        pass


def check(report: Report, demo: Demo, folder: pathlib.Path) -> None:
    make_key(demo)
    total = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        runs = {
            f"{listener} {name}": pool.submit(run, url, key, operation, folder / f"{listener}-{operation}")
            for listener, url, key in (("public", demo.url, KEY), ("admin", demo.admin_url, demo.token))
            for operation, name in operations(url).items()
        }

        def ended(future: concurrent.futures.Future) -> str:
            counted = future.result()
            total.update(counted)
            return show(counted)

        for name, future in runs.items():
            report.attempt(name, ended, future)

    def all_of_them() -> str:
        wrong = [status for status in total if status.startswith("5")]
        if wrong or report.failed:
            raise CheckFailed(show(total))
        return show(total)

    report.attempt("all calls, no 5xx", all_of_them)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/debug/llm-router", help="the router to test")
    binary = parser.parse_args().binary.resolve()
    if not shutil.which(binary):
        parser.error(f"{binary} is not there or cannot be run")
    report = Report()
    with tempfile.TemporaryDirectory(prefix="llm-router-openapi-") as name, Demo(binary, pathlib.Path(name)) as demo:
        check(report, demo, pathlib.Path(name))
    print(json.dumps({"passed": report.passed, "failed": report.failed}))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
