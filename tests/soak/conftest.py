"""What the tests of this folder say, in the summary of their run."""

from __future__ import annotations

from typing import Any

from tests.support.telling import show, tell

__all__ = ["tell"]  # a fixture for this folder


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was measured."""
    show(terminalreporter, "what was measured", "tests/soak")
