"""A world whose wires, points and processes may be hurt; and the summary of what each fault cost."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

from tests.support.telling import show, tell

__all__ = ["tell"]  # a fixture for this folder

AWAY = "seconds away"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Each run's faults; then, by fault, for how long a caller was not answered and a point not booked."""
    show(terminalreporter, "what was done", "tests/soak")
    seconds: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", ()):
                if name == AWAY:
                    fault, answered, booked = value
                    seconds[fault].append((answered, booked))
    if not seconds:
        return
    terminalreporter.section(
        "seconds until a call was answered, and until its points were booked: median, most"
    )
    for fault, all_of_it in sorted(seconds.items()):
        answered, booked = zip(*all_of_it, strict=True)
        terminalreporter.write_line(
            f"{fault:40} {len(all_of_it):4} times   answered {statistics.median(answered):5.1f} {max(answered):5.1f}"
            f"   booked {statistics.median(booked):5.1f} {max(booked):5.1f}"
        )
