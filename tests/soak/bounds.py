"""What a fault may cost: seconds until work is taken over, until the full rate is back, until a caller is answered at all."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Sequence

FELT_S = 90.0
"""No fault is felt for longer by a bill that is posted while it lasts."""
RESTORED_S = 300.0
"""But one: a cluster is restored by hand, by twenty commands, and all processes are started again."""
LOST_COMMITS = "PostgreSQL comes from an older copy"
TAKE_OVER_S = 10.0
"""What one relay, consumer, sender or job leaves, another has done by then."""
FULL_RATE_S = 30.0
"""After a restart calls, and bills by stream, are answered at the rate of before by then: at FULL of it, over WINDOW_S, twice."""
LOOKED_S = 10.0
"""After other faults the rate is looked at for so long, and told."""
FULL, WINDOW_S = 0.8, 1.0
STEP_S = 0.05
HELD = 2
"""So many windows in a row have it."""
CELLS, MOST_IN_A_CELL = 4, 2.0
"""Of a quarter of a window no more counts than twice what is usual: what had piled up and is answered at once is no rate."""
LEAST_CALLS = 5
STREAM_WINDOW_S = 2.0
"""The till offers ten to forty bills at once, and reads answers before it offers: its rate is one of two seconds."""

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
        LOST_COMMITS,
        "PostgreSQL stands still",
        "Redis stands still",
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

MEETS = frozenset(
    {
        "PostgreSQL is killed",
        "PostgreSQL is restarted",
        "PostgreSQL stands still",
        LOST_COMMITS,
        "backends are terminated",
        "connections are exhausted",
        "an idle transaction",
        "wallets are locked",
        "Redis is killed",
        "Redis is emptied",
        "Redis is flushed",
        "Redis comes from an older file",
        "Redis is read-only",
        "Redis is full",
        "Redis stands still",
        "the disk is full",
        "the disk is full, the log too",
        "a process is killed",
        "all processes of a service are killed",
        "a process is paused",
        "a process is told to stop",
        "a clock is an hour ahead",
        "a relay's turn is stolen",
        "a group's entries are stolen",
        "a sender's messages are stolen",
        "the sealing job's turn is stolen",
        "input repeated and shuffled",
        "poison",
        "delayed past retention",
        "entries are deleted by hand",
        "the network is slow",
        "a black hole",
        "half-open connections",
        "connections fall silent for good",
        "connections are reset",
        *(
            f"{what} between {who}"
            for what in ("a slow network", "a black hole", "half-open connections", "resets")
            for who in ("tills and Redis", "callers and services")
        ),
    }
)
"""Faults that tell what they met: entries in hand, calls that were open, answers that were lost or refused, connections that
broke. With nothing met they came to nothing."""


def rate(answered_at: Sequence[float], until: float, window_s: float = WINDOW_S) -> float:
    """How many were answered a second within the window before a moment; the times ascend."""
    return (bisect_right(answered_at, until) - bisect_right(answered_at, until - window_s)) / window_s


def usual_rate(answered_at: Sequence[float], window_s: float = WINDOW_S) -> float:
    """The lesser of the rates of the window that ends now and of the one that ended half a second ago."""
    now, answers = time.monotonic(), list(answered_at)
    return min(rate(answers, now, window_s), rate(answers, now - 0.5, window_s))


def _even_rate(answers: Sequence[float], since: float, window_s: float, usual: float) -> float:
    """The rate of the window that begins at `since`, where no quarter of it counts for more than it may."""
    cell = window_s / CELLS
    most = MOST_IN_A_CELL * usual * cell
    ends = (since + (k + 1) * cell for k in range(CELLS))
    return sum(min(most, rate(answers, end, cell) * cell) for end in ends) / window_s


def full_after(
    answered_at: Sequence[float], before: float, *, since: float, until: float, window_s: float = WINDOW_S
) -> float | None:
    """Seconds from `since` until the rate was back, as far as `until`: to the beginning of the first of HELD windows in a row
    that have it, all of them after `since`. None where there are none."""
    answers = list(answered_at)
    for step in range(int((until - since - HELD * window_s) / STEP_S + 1e-6) + 1):
        begin = since + step * STEP_S
        windows = (begin + k * window_s for k in range(HELD))
        if all(_even_rate(answers, at, window_s, before) >= FULL * before for at in windows):
            return step * STEP_S
    return None


async def full_rate_again(
    answered_at: Sequence[float],
    before: float,
    *,
    since: float,
    window_s: float = WINDOW_S,
    within_s: float = FULL_RATE_S,
) -> float | None:
    """Seconds from `since`, when a fault was taken back, until the rate is back; None where it is not `within_s`."""
    last = since + within_s + HELD * window_s
    while True:
        now = min(time.monotonic(), last)
        found = full_after(answered_at, before, since=since, until=now, window_s=window_s)
        if found is not None or now >= last:
            return found
        await asyncio.sleep(STEP_S)


def felt_s(name: str) -> float:
    """For how long a bill may feel a fault."""
    return RESTORED_S if name == LOST_COMMITS else FELT_S


def crossed(name: str, *, booked_s: float, took_over_s: float | None) -> list[str]:
    """Which bounds a fault has crossed, in words."""
    told = []
    if booked_s > felt_s(name):
        told.append(f"{name}: a bill was not booked within {felt_s(name):.0f} s")
    elif name in TAKEN_OVER and booked_s > TAKE_OVER_S:
        told.append(f"{name}: a bill was booked after {booked_s:.1f} s; the bound is {TAKE_OVER_S:.0f} s")
    if took_over_s is not None and took_over_s > TAKE_OVER_S:
        told.append(f"{name}: taken over after {took_over_s:.1f} s; the bound is {TAKE_OVER_S:.0f} s")
    return told
