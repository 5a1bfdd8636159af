"""A process whose clock is wrong: its present and its ids are of another time. PostgreSQL's are not."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest
import uuid_utils

from shared import clock, ids

FAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
)


def machine_off(by: timedelta) -> dict[str, str] | None:
    """The environment of a process whose machine's clock is ahead by so much; None where libfaketime is not installed."""
    library = next((one for one in FAKETIME if Path(one).exists()), None)
    if library is None:
        return None
    return {
        "LD_PRELOAD": library,
        "FAKETIME": f"{by.total_seconds():+.0f}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def clock_off(patch: pytest.MonkeyPatch, by: timedelta) -> None:
    """From here on this process' clock is ahead of the machine's by so much, or behind it."""
    nanoseconds = by // timedelta(microseconds=1) * 1000

    class Off(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + by

    patch.setattr(clock, "datetime", Off)
    patch.setattr(ids, "_version_7", lambda: uuid_utils.uuid7(nanoseconds=time.time_ns() + nanoseconds))
