"""Answers of jobs that did their work beside the lane, kept under the key of the call that asked."""

from __future__ import annotations

from collections.abc import Sequence

from services.redeem.domain.jobs import JobDone
from shared.messaging import Done, Item, Outcome, Tx


async def answer(tx: Tx, items: Sequence[Item[JobDone]]) -> list[Outcome]:
    """What each call came to."""
    return [Done(item.command.status, item.command.body) for item in items]
