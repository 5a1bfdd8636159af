"""Holding the events as published against what was posted, seal by seal: docs/decisions/0179 argues it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from services.redeem.domain.reconciliation import SealCompared
from services.redeem.store import told_events
from services.redeem.store.reconciliation import Found
from shared.db import Connection
from shared.messaging import Done, Outcome

Reading = Callable[[], AbstractAsyncContextManager[Connection]]
"""Gives a connection for one seal."""
Keep = Callable[[SealCompared], Awaitable[Outcome]]


async def compare_seal(
    reading: Reading, after: int, keep: Keep | None = None
) -> tuple[SealCompared, list[Found]] | None:
    """Compares the first seal after this one that was not compared yet; gives what came of it, and what does not agree; None where
    there is none.

    `keep` writes what came of it; without it nothing is written. May run beside others, and be killed: a seal that was not
    kept is compared again.
    """
    async with reading() as db:
        done = await told_events.compare_next(db, after)
    if done is None:
        return None
    if keep is not None:
        outcome = await keep(done)
        assert isinstance(outcome, Done), outcome
    return done, [Found("events", *one) for one in done.apart]
