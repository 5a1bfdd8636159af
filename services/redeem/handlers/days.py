"""What earn tells of a day's accruals, and what came of holding the ledger against it."""

from __future__ import annotations

from collections.abc import Sequence

from services.redeem.domain.accruals import DayCompared
from services.redeem.store import accruals, reconciliation
from shared.events import AccrualsDayTold, decode_envelope
from shared.messaging import Done, FromDeadLetter, FromStream, Item, Outcome, Tx


async def hear_days(tx: Tx, items: Sequence[Item[AccrualsDayTold]]) -> list[Outcome]:
    """Keeps what earn told of days; the place of a word about a day stands in the envelope alone."""
    for item in sorted(items, key=lambda item: item.command.day):
        sequence = int(decode_envelope(item.payload).sequence)
        await accruals.hear(tx.db, item.command, sequence=sequence, n=_place(item))
    return [Done()] * len(items)


async def keep_days(tx: Tx, items: Sequence[Item[DayCompared]]) -> list[Outcome]:
    """Keeps what does not agree as differences. A telling that is no longer the newest is compared again."""
    for item in sorted(items, key=lambda item: item.command.day):
        done = item.command
        if await accruals.newest_telling(tx.db, done.day) != done.sequence:
            continue
        if done.apart:
            await reconciliation.keep_found(
                tx.db, [accruals.found(done, one) for one in done.apart], tx.now()
            )
        await accruals.mark_compared(tx.db, done.day, done.sequence)
        tx.audit("accruals.reconcile", f"day/{done.day}", item=item, after=done)
    return [Done()] * len(items)


def _place(item: Item[AccrualsDayTold]) -> int:
    origin = item.origin.of if isinstance(item.origin, FromDeadLetter) else item.origin
    return origin.n if isinstance(origin, FromStream) else 0
