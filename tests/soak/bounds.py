"""What a fault may cost: seconds until work is taken over, until the full rate is back, until a caller is answered at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

FELT_S = 90.0
"""No fault is felt for longer by a bill that is posted while it lasts."""
TAKE_OVER_S = 10.0
"""What one relay, consumer, sender or job leaves, another has done by then."""
FULL_RATE_S = 30.0
"""After a restart calls are answered at the rate of before by then: at FULL of it, over WINDOW_S."""
FULL, WINDOW_S = 0.8, 1.0
LEAST_CALLS = 5

TAKEN_OVER = frozenset(
    {
        "a process is killed",
        "a process is paused",
        "a process is told to stop",
        "a process dies at a point",
        "a clock is an hour ahead",
        "a relay's turn is stolen",
        "a group's entries are stolen",
        "a sender's messages are stolen",
        "the sealing job's turn is stolen",
        "one of two relays is frozen with its cut",
        "a process is frozen at a point",
    }
)
"""Faults of one of two: a bill that is posted meanwhile is booked within TAKE_OVER_S."""
RESTARTS = frozenset(
    {
        "PostgreSQL is killed",
        "PostgreSQL is restarted",
        "Redis is killed",
        "Redis is emptied",
        "Redis comes from an older file",
        "all processes of a service are killed",
        "a process is killed",
        "the disk is full",
        "the disk is full, the log too",
        "a clock is an hour ahead",
    }
)


def rate(answered_at: Sequence[float], until: float) -> float:
    """Calls answered within the second before a moment."""
    return sum(until - WINDOW_S < at <= until for at in answered_at) / WINDOW_S


def usual_rate(answered_at: Sequence[float]) -> float:
    """The lesser of the rates of the last second and of the one that ended half a second ago."""
    now = time.monotonic()
    return min(rate(answered_at, now), rate(answered_at, now - 0.5))


async def full_rate_again(answered_at: Sequence[float], before: float) -> float | None:
    """Seconds from now until the rate is back; None where it is not within FULL_RATE_S."""
    began = time.monotonic()
    while (now := time.monotonic()) - began < FULL_RATE_S:
        if rate(answered_at, now) >= FULL * before:
            return max(0.0, now - began - WINDOW_S)
        await asyncio.sleep(0.05)
    return None


def crossed(name: str, *, booked_s: float, took_over_s: float | None) -> list[str]:
    """Which bounds a fault has crossed, in words."""
    told = []
    if booked_s > FELT_S:
        told.append(f"{name}: a bill was not booked within {FELT_S:.0f} s")
    elif name in TAKEN_OVER and booked_s > TAKE_OVER_S:
        told.append(f"{name}: a bill was booked after {booked_s:.1f} s; the bound is {TAKE_OVER_S:.0f} s")
    if took_over_s is not None and took_over_s > TAKE_OVER_S:
        told.append(f"{name}: taken over after {took_over_s:.1f} s; the bound is {TAKE_OVER_S:.0f} s")
    return told
