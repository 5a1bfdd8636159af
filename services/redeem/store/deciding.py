"""What decided redemptions: kept in the transaction that makes them, and read again when somebody asks why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain.deciding import BillFacts, Counted, Inputs, Standing
from services.redeem.store.sql import columns, deciding
from shared.db import Connection

_encode = msgspec.json.Encoder().encode
_counted = msgspec.json.Decoder(tuple[Counted, ...]).decode
_categories = msgspec.json.Decoder(dict[str, int]).decode

_COLUMNS = (
    "subject_ids",
    "steps",
    "tiers",
    "told_tiers",
    "told_untils",
    "told_sequences",
    "bill_refs",
    "bill_totals",
    "bill_categories",
    "mosts",
    "paids",
    "counteds",
    "hads",
)


async def keep(db: Connection, decided: Sequence[Inputs]) -> None:
    """Keeps what decided these; asks nothing where all that decided stands on the redemptions themselves."""
    rows = [_row(one) for one in decided if one.any]
    if rows:
        await deciding.keep_inputs(db, **columns(_COLUMNS, rows))


async def explained(db: Connection, redemption_id: UUID) -> tuple[Any, list[Inputs]] | None:
    """A redemption as it was asked, and what decided it; None where there is none."""
    row = await deciding.explained(db, redemption_id=redemption_id)
    if row is None:
        return None
    subjects = [one for one in (redemption_id, row["allowance_id"]) if one is not None]
    return row, [_inputs(one) for one in await deciding.inputs_of(db, subject_ids=subjects)]


def _row(one: Inputs) -> tuple[Any, ...]:
    bill = one.bill
    categories = None if bill.categories is None else _encode(dict(bill.categories)).decode()
    return (
        one.subject_id,
        one.step,
        *one.standing,
        bill.bill_ref,
        bill.total_minor,
        categories,
        bill.most_minor,
        bill.paid_minor,
        _encode(one.counted).decode(),
        one.had,
    )


def _inputs(row: Any) -> Inputs:
    subject_id, step, *standing = row[:6]
    bill_ref, total_minor, categories, most_minor, paid_minor, counted, had = row[6:]
    of_each = None if categories is None else tuple(_categories(categories).items())
    bill = BillFacts(bill_ref, total_minor, of_each, most_minor, paid_minor)
    return Inputs(subject_id, step, Standing(*standing), bill, _counted(counted), had)
