"""Closing a month of the ledger: what past balances begin from, written once its lines can't grow any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from services.redeem.domain.months import month_of
from services.redeem.store import closing
from shared.messaging import Done, Item, Outcome, Tx

WALLETS = 200
"""Closed in one transaction."""

OPEN, CLOSED = b"false", b"true"


class CloseMonth(msgspec.Struct, frozen=True):
    """Go on with the month that ended at `as_of`, or with what another process left of it."""

    as_of: datetime


async def close_month(tx: Tx, items: Sequence[Item[CloseMonth]]) -> list[Outcome]:
    """Closes the month for the next wallets. The answer's body says whether that was all: `true` or `false`."""
    outcomes: list[Outcome] = []
    for item in items:
        as_of = item.command.as_of
        so_far = await closing.lock(tx.db, as_of)
        if not so_far.closed:
            so_far = await closing.close_wallets(
                tx.db, month_of(as_of - datetime.resolution), so_far, most=WALLETS
            )
            if so_far.closed:
                after = {"wallets": so_far.wallets}
                tx.audit("ledger.close", f"month/{as_of:%Y-%m-%d}", item=item, after=after)
        outcomes.append(Done(200, CLOSED if so_far.closed else OPEN))
    return outcomes
