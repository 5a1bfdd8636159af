"""What a test counted is shown at the end of a run that passes, too: a proof that met nothing would be seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

COUNTED = "counted"
TITLES = {
    "tests/faults/": "at the moment of the fault",
    "tests/flows/": "counted in the flows",
    "tests/gate/": "measured at the gate",
    "tests/soak/": "what was measured",
}
"""What a folder's lines are called in the summary."""

Tell = Callable[[str], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Says a line now, and once more in the summary of the run."""

    def say(line: str) -> None:
        print(line)  # noqa: T201
        record_property(COUNTED, line)

    return say


def show(terminalreporter: Any) -> None:
    """Each folder's lines under its title, for pytest_terminal_summary."""
    for folder, title in TITLES.items():
        if lines := _told(terminalreporter, folder):
            terminalreporter.section(title)
            for test, line in lines:
                terminalreporter.write_line(f"{test}: {line}")


def _told(terminalreporter: Any, folder: str) -> list[tuple[str, object]]:
    return [
        (report.nodeid.partition("::")[2], value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.nodeid.startswith(folder) and report.when == "call"
        for name, value in report.user_properties
        if name == COUNTED
    ]
