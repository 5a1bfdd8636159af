"""Runs of jobs over HTTP, a portion a call: each call ends well before a gateway gives it up, and says where the next goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import msgspec
from pydantic import Field, StringConstraints

from shared.http.bodies import Body
from shared.http.cursors import encode_cursor

WITHIN_S = 20


class PortionBody(Body):
    """A portion of a run. The first has no `cursor`; the next goes on where the last one's answer says."""

    dry_run: bool = False
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    within_s: Annotated[
        int,
        Field(
            ge=0,
            le=40,
            description="Seconds after which no further step is begun; one step is always made.",
        ),
    ] = WITHIN_S


def time_is_up(within_s: float) -> Callable[[], bool]:
    """Tells whether so many seconds have passed since now."""
    until = time.monotonic() + within_s
    return lambda: time.monotonic() >= until


def told(place: msgspec.Struct | None) -> str | None:
    """Where the next call goes on, as it is told; None: the run is over."""
    return encode_cursor(place) if place is not None else None
