"""A process whose clock is wrong: its present and its ids are of another time. PostgreSQL's are not."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, tzinfo
from typing import Self

import pytest
import uuid_utils

from shared import clock, ids


def clock_off(patch: pytest.MonkeyPatch, by: timedelta) -> None:
    """From here on this process' clock is ahead of the machine's by so much, or behind it."""
    nanoseconds = by // timedelta(microseconds=1) * 1000

    class Off(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + by

    patch.setattr(clock, "datetime", Off)
    patch.setattr(ids, "_version_7", lambda: uuid_utils.uuid7(nanoseconds=time.time_ns() + nanoseconds))
