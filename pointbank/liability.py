"""What is owed to members: points, gift cards and benefits of each programme, from the lines that were written before a moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pointbank.logins import log_in
from shared.config import Settings
from shared.db import Connection
from shared.money import money_of
from shared.sql import load

queries = load("pointbank", "liability.sql")

PAGE = 5_000
"""Wallets in memory at a time."""
SETTLED_AFTER = timedelta(minutes=5)
"""No transaction outlives it: from then on nothing is written any more that counts before a moment."""

WALLET = ("programme", "wallet_id", "member_id", "available", "held", "reserved", "debt", "owed")
"""The columns of what is owed to one wallet."""


class CanNotTell(Exception):
    """What was asked for has no answer; the message says why."""


class Owed(NamedTuple):
    """Of one programme, before `before` (None: all that is written). Points by bucket; money in minor units of its currency, points
    at what one was worth then, a part of a minor unit left out. `debt`, what members owe, is 0 or less and taken off nothing."""

    programme: str
    before: datetime | None
    settled: bool
    version: int
    currency: str
    point_value: str
    points: dict[str, int]
    minor: dict[str, int]

    @property
    def owed_points(self) -> int:
        """Those that members have: available, held, or set aside."""
        return sum(self.points[bucket] for bucket in ("available", "held", "reserved"))

    @property
    def owed_minor(self) -> int:
        """All that is owed."""
        return sum(self.minor[kind] for kind in ("points", "gift_cards", "benefits"))

    def shown(self) -> dict[str, Any]:
        """Flat, for machines and for a row of CSV."""
        return {
            "programme": self.programme,
            "before": None if self.before is None else self.before.isoformat(),
            "settled": self.settled,
            "version": self.version,
            "currency": self.currency,
            "point_value": self.point_value,
            **self.points,
            "owed": self.owed_points,
            **{f"{kind}_minor": amount for kind, amount in self.minor.items()},
            "owed_minor": self.owed_minor,
        }


async def read_liability(
    settings: Settings,
    tenant: str,
    *,
    programme: str | None,
    at: datetime | date | None,
    each: Callable[[Sequence[tuple[Any, ...]]], None] | None = None,
) -> list[Owed]:
    """Each programme, all in one snapshot; `at` a day: its beginning in the programme's zone. `each` is given wallets (WALLET), by
    pages, which add up to it. Raises UnknownTenant and CanNotTell."""
    db = await log_in(settings, tenant, "auditor")
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            now = await queries.clock(db)
            befores = await _moments(db, programme, at, now)
            asked = {"programmes": list(befores), "befores": list(befores.values())}
            found = [_owed(row, now) for row in await queries.owed(db, **asked)]
            if each is not None:
                cursor = await db.cursor(queries.texts()["wallets"], *asked.values())
                while page := await cursor.fetch(PAGE):
                    each([(*row, row["available"] + row["held"] + row["reserved"]) for row in page])
            return found
    finally:
        await db.close()


async def _moments(
    db: Connection, programme: str | None, at: datetime | date | None, now: datetime
) -> dict[str, datetime | None]:
    rows = await queries.programmes(db, programme=programme)
    if not rows and programme is not None:
        raise CanNotTell(f"there is no programme {programme} that was ever active")
    befores = {row["programme"]: _moment(at, row["time_zone"]) for row in rows}
    if any(before is not None and before > now for before in befores.values()):
        raise CanNotTell(f"{at} is not over yet")
    return befores


def _moment(at: datetime | date | None, time_zone: str) -> datetime | None:
    return (
        at
        if at is None or isinstance(at, datetime)
        else datetime.combine(at, time.min, tzinfo=ZoneInfo(time_zone))
    )


def _owed(row: Any, now: datetime) -> Owed:
    points = {bucket: row[bucket] for bucket in ("available", "held", "reserved", "debt")}
    worth = (row["point_value"], row["currency"])
    return Owed(
        row["programme"],
        row["before"],
        row["before"] is not None and now - row["before"] > SETTLED_AFTER,
        row["version"],
        row["currency"],
        row["point_value"],
        points,
        {
            "points": money_of(points["available"] + points["held"] + points["reserved"], *worth),
            "gift_cards": row["gift_cards_minor"],
            "benefits": row["benefits_minor"],
            "debt": money_of(points["debt"], *worth),
        },
    )
