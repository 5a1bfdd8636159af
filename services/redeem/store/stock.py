"""Stock counts, what the books say beside them, and the differences that they close."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.stock import Books, Count, OfLocation
from services.redeem.store.rewards import Name
from services.redeem.store.sql import columns, stock
from shared.db import Connection

_KEY = ("programmes", "rewards", "locations", "days")


async def keep_supply(db: Connection, name: Name, supplied: int | None, now: datetime) -> None:
    """Notes how many of a reward, whose row is locked, were ever supplied from now on."""
    await stock.keep_supply(db, programme=name[0], reward=name[1], supplied=supplied, since=now)


async def in_books_since(db: Connection, names: Iterable[Name]) -> dict[Name, datetime | None]:
    """Since when the books know anything of the stock of these rewards, None: always; those that were never put are missing."""
    rows = await stock.in_books_since(db, **columns(("programmes", "rewards"), list(names)))
    return {(row[0], row[1]): row[2] for row in rows}


async def known(db: Connection, counts: Iterable[Count]) -> dict[tuple[str, str, str, date], Count]:
    """What was counted before under the keys of these, and on their days at the merchants and terminals of their locations."""
    rows = await stock.known_counts(db, **columns(_KEY, [one.key for one in counts]))
    return {one.key: one for one in (Count(*row) for row in rows)}


async def keep(db: Connection, counts: Sequence[Count], now: datetime) -> None:
    """Writes counts of locked rewards that were not known."""
    rows = [(*one.key, one.on_hand, one.used) for one in counts]
    await stock.keep_counts(db, now=now, **columns((*_KEY, "on_hands", "useds"), rows))


async def newest_whole_day(db: Connection, name: Name) -> date | None:
    """The last day on which a reward was counted at every location that had some of it before; None: there is none."""
    found: date | None = await stock.newest_whole_day(db, programme=name[0], reward=name[1])
    return found


async def counts_of(db: Connection, name: Name, day: date, ends: datetime) -> list[OfLocation]:
    """What was counted of a reward on a day, beside what was used at each location until it ended."""
    rows = await stock.counts_of_day(db, programme=name[0], reward=name[1], day=day, ends=ends)
    return [OfLocation(*row) for row in rows]


async def books_at(db: Connection, name: Name, ends: datetime) -> Books:
    """A reward's stock at an instant, by the books."""
    return Books(*await stock.books_at(db, programme=name[0], reward=name[1], ends=ends))


async def close(db: Connection, subjects: Sequence[str], note: str) -> list[UUID]:
    """Closes by a note the differences of these subjects that are not closed; gives them."""
    return [row[0] for row in await stock.close_equal(db, subjects=subjects, note=note)]


async def page(
    db: Connection,
    programme: str,
    reward: str | None,
    *,
    merchant: str | None,
    before: tuple[date, str, str],
    most: int,
) -> list[Any]:
    """Counts (of a merchant's locations, if one is given), the newest first, from before a place (day, reward, location)."""
    day, code, location = before
    return list(
        await stock.counts_page(
            db,
            programme=programme,
            reward=reward,
            merchant=merchant,
            before_day=day,
            before_reward=code,
            before_location=location,
            most=most,
        )
    )
