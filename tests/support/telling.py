"""What a test counted is shown at the end of a run that passes, too: a proof that met nothing would be seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

COUNTED = "counted"

Tell = Callable[[str], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Says a line now, and once more in the summary of the run."""

    def say(line: str) -> None:
        print(line)  # noqa: T201
        record_property(COUNTED, line)

    return say


def show(terminalreporter: Any, title: str, folder: str) -> None:
    """The lines of a folder's tests, for its pytest_terminal_summary."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.nodeid.startswith(folder) and report.when == "call"
    ]
    lines = [
        (report.nodeid.partition("::")[2], value)
        for report in reports
        for name, value in report.user_properties
        if name == COUNTED
    ]
    if lines:
        terminalreporter.section(title)
        for test, value in lines:
            terminalreporter.write_line(f"{test}: {value}")
