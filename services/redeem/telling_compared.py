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


async def compare_seals(reading: Reading, keep: Keep | None = None) -> tuple[int, list[Found]]:
    """Compares every seal that was not compared yet; gives how many postings that were, and what does not agree.

    `keep` writes what came of a seal; without it nothing is written. May run beside others, and be killed: a seal that was not
    kept is compared again.
    """
    postings, at = 0, 0
    apart: list[Found] = []
    while True:
        async with reading() as db:
            done = await told_events.compare_next(db, at)
        if done is None:
            return postings, apart
        at = done.no
        postings += done.postings
        apart += [Found("events", *one) for one in done.apart]
        if keep is not None:
            outcome = await keep(done)
            assert isinstance(outcome, Done), outcome
