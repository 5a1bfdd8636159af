"""Clocks. Domain time comes from the tenant's clock; partitions, leases, tokens and event ids use the real one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the present as an aware datetime in UTC."""


def real_clock() -> datetime:
    """The machine's clock, UTC."""
    return datetime.now(UTC)
