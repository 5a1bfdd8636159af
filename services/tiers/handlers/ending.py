"""Standings come to their ends."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.tiers import ending
from services.tiers.handlers.counting import SETTLE_AT_ONCE, job_item, judge_again, programme_of
from shared.messaging import Done, Item, Outcome, Tx


class EndStandings(msgspec.Struct, frozen=True):
    """End some standings of a programme that are over. Sent by the job until none is."""

    programme: str
    version: int


async def end_standings(tx: Tx, items: Sequence[Item[EndStandings]]) -> list[Outcome]:
    """Moves some wallets whose standing is over to what their years still earn. Done twice, it finds nothing to move."""
    for item in items:
        known = await programme_of(tx, item.command.programme, item.command.version)
        wallet_ids = await ending.ended(tx.db, known.programme.code, tx.now(), SETTLE_AT_ONCE)
        if wallet_ids:
            cause = job_item(cause=known.event_id, request_id=item.request_id)
            await judge_again(tx, known.programme, dict.fromkeys(wallet_ids, cause), at=tx.now())
    return [Done()] * len(items)
