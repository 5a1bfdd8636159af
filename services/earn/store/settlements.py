"""Settlement lines and variances as they are written and read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.earn.domain.settlement import Compared, Foreign, Import, Sold, Variance
from shared.db import Connection
from shared.ids import uuid7
from shared.sql import load

queries = load("services.earn.store", "settlements.sql")

Key = tuple[str, date, str, str]


async def import_lines(db: Connection, imports: Sequence[Import]) -> set[Key]:
    """Writes lines whose keys were not used before, each once; gives these."""
    first = {line.key: (line, one.file_hash) for one in reversed(imports) for line in reversed(one.lines)}
    lines = [line for line, _ in first.values()]
    rows = await queries.import_lines(
        db,
        **_keys(lines),
        currencies=[line.currency for line in lines],
        amounts=[line.amount_minor for line in lines],
        zones=[line.zone for line in lines],
        file_hashes=[file_hash for _, file_hash in first.values()],
        programmes=[line.programme for line in lines],
    )
    return {tuple(row) for row in rows}


async def known_lines(db: Connection, imports: Sequence[Import]) -> dict[Key, tuple[str, Decimal]]:
    """Currency and amount that were imported under the keys of these lines."""
    rows = await queries.known_lines(db, **_keys([line for one in imports for line in one.lines]))
    return {tuple(row)[:4]: (row["currency"], row["amount_minor"]) for row in rows}


def _keys(lines: Sequence[Any]) -> dict[str, Any]:
    return {
        "merchants": [line.merchant for line in lines],
        "days": [line.day for line in lines],
        "kinds": [line.kind for line in lines],
        "references": [line.reference for line in lines],
    }


async def compared(db: Connection, first: date, last: date) -> list[Compared]:
    """Every merchant's day in this time of which something was said, against the bills in that currency."""
    rows = await queries.compared(db, first=first, last=last)
    return [Compared(*row) for row in rows]


async def foreign(db: Connection, totals: Sequence[Compared]) -> list[Foreign]:
    """The bills and refunds of these days in other currencies than that of the total."""
    rows = await queries.foreign(
        db,
        merchants=[one.merchant for one in totals],
        days=[one.day for one in totals],
        programmes=[one.programme for one in totals],
        currencies=[one.currency for one in totals],
        zones=[one.zone for one in totals],
    )
    return [Foreign(*row) for row in rows]


async def sold(db: Connection, first: date, last: date) -> list[Sold]:
    """What merchants sold on each day of this time, since anybody has said totals."""
    return [Sold(*row) for row in await queries.sold(db, first=first, last=last)]


async def keep(db: Connection, found: Sequence[Compared], seen: datetime) -> tuple[int, int]:
    """Keeps what varies, closes what agrees by now: how many of each."""
    varies = [one for one in found if one.varies]
    agrees = [one for one in found if not one.varies]
    kept = closed = 0
    if varies:
        rows = await queries.keep_variances(
            db,
            variance_ids=[uuid7() for _ in varies],
            merchants=[one.merchant for one in varies],
            days=[one.day for one in varies],
            kinds=[one.kind for one in varies],
            currencies=[one.currency for one in varies],
            zones=[one.zone for one in varies],
            expected_minors=[one.expected_minor for one in varies],
            found_minors=[one.found_minor for one in varies],
            programmes=[one.programme for one in varies],
            missings=[one.missing for one in varies],
            seen=seen,
        )
        kept = len(rows)
    if agrees:
        rows = await queries.agree(
            db,
            merchants=[one.merchant for one in agrees],
            days=[one.day for one in agrees],
            kinds=[one.kind for one in agrees],
            currencies=[one.currency for one in agrees],
            seen=seen,
        )
        closed = len(rows)
    return kept, closed


async def page(
    db: Connection, *, states: Sequence[str], merchant: str | None, before: UUID, most: int
) -> list[Variance]:
    """Variances before that one, the newest first."""
    rows = await queries.variance_page(db, states=list(states), merchant=merchant, before=before, most=most)
    return [Variance(**row) for row in rows]


async def lock(db: Connection, variance_id: UUID) -> Variance | None:
    """One variance, locked."""
    row = await queries.lock_variance(db, variance_id=variance_id)
    return None if row is None else Variance(**row)


async def standing_beside(db: Connection, variance_id: UUID) -> UUID | None:
    """The other variance of the same merchant, day, kind and currency that is not closed: there is one at most."""
    return await queries.standing_variance(db, variance_id=variance_id)  # type: ignore[no-any-return]


async def decide(db: Connection, one: Variance) -> None:
    """Keeps who has it, and what became of it."""
    await queries.decide_variance(
        db, variance_id=one.variance_id, owner=one.owner, state=one.state, reason=one.reason
    )
