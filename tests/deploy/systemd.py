"""The systemd unit."""

import pathlib
import re
import shutil
import tempfile

from report import Report, expect, run

MOST_EXPOSED = "12"  # tenths of systemd's points, of which 100 are no protection at all


def has_time_to_drain(unit: pathlib.Path) -> None:
    found = re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    expect(found and int(found[1]) > 30, "TimeoutStopSec is not above server.drain_s")


def verifies(unit: pathlib.Path, binary: pathlib.Path) -> None:
    """systemd wants the programs of a unit to exist, so the binary stands in for the installed one."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / unit.name
        text = unit.read_text(encoding="utf-8")
        expect("/usr/local/bin/llm-router " in text, "the unit starts something else")
        copy.write_text(text.replace("/usr/local/bin/llm-router ", f"{binary} "), encoding="utf-8")
        run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy)


def is_locked_up(unit: pathlib.Path) -> None:
    run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)


def check(report: Report, unit: pathlib.Path, binary: pathlib.Path) -> None:
    report.attempt("systemd: the stop covers the drain", has_time_to_drain, unit)
    if not shutil.which("systemd-analyze"):
        report.skip("systemd: verify and security", "there is no systemd-analyze")
        return
    report.attempt("systemd-analyze verify", verifies, unit, binary)
    report.attempt("systemd-analyze security", is_locked_up, unit)
