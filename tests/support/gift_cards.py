"""Gift cards for tests: a programme that has them, and cards as they are kept."""

from __future__ import annotations

from typing import Any

GIFTS: dict[str, Any] = {
    "serial_prefix": "987012",
    "amounts": {"least_minor": 100, "most_minor": 100_000, "step_minor": 100},
    "valid_months": 24,
    "pin_attempts": 3,
    "lock_minutes": 30,
    "reloadable": True,
}
"""A gift card section in which everything can be done."""


def sar(amount_minor: int) -> dict[str, Any]:
    """That many halalas."""
    return {"amount_minor": amount_minor, "currency": "SAR"}
