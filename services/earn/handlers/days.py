"""Telling what a day's accruals came to, for the bank to hold its ledger against."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from services.earn.store import days
from shared.events import AccrualsDayTold, AccrualsOfProgramme
from shared.messaging import Done, Item, Outcome, Tx


class TellDay(msgspec.Struct, frozen=True):
    """Tell this of a day that is over, unless it was told last."""

    day: date
    programmes: tuple[AccrualsOfProgramme, ...]


async def tell_days(tx: Tx, items: Sequence[Item[TellDay]]) -> list[Outcome]:
    """Tells what is new of these days; the first word about a day is its sequence 1."""
    for item in sorted(items, key=lambda item: item.command.day):
        day, programmes = item.command.day, item.command.programmes
        sequence = await days.keep(tx.db, day, programmes)
        if sequence is not None:
            said = AccrualsDayTold(day=day, programmes=programmes)
            tx.emit(said, subject=day.isoformat(), sequence=sequence, item=item)
            tx.audit("accruals.tell_day", f"day/{day}", item=item, after=said)
    return [Done()] * len(items)
