"""What is owed to members of a programme: in points, and in money of what a point was worth then."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from shared.money import Money, Worth, money_of
from shared.programme.days import start_of_day

SETTLED_AFTER = timedelta(minutes=5)
"""No transaction outlives it: from then on nothing is written any more that counts before a moment."""


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

    def answered(self) -> dict[str, Any]:
        """As it stands on the wire: points with their money, each amount rounded by itself."""
        return {
            "programme": self.programme,
            "at": self.before,
            "settled": self.settled,
            "version": self.version,
            "point_value": self.point_value,
            **{bucket: self._worth(points) for bucket, points in self.points.items()},
            "points": self._worth(self.owed_points),
            **{kind: Money(self.minor[kind], self.currency) for kind in ("gift_cards", "benefits")},
            "owed": Money(self.owed_minor, self.currency),
        }

    def _worth(self, points: int) -> Worth:
        return Worth(points, Money(money_of(points, self.point_value, self.currency), self.currency))


FLAT = (
    "programme", "before", "settled", "version", "currency", "point_value", "available", "held", "reserved", "debt", "owed",
    "points_minor", "gift_cards_minor", "benefits_minor", "debt_minor", "owed_minor",
)  # fmt: skip
"""The names of `shown`, in their order."""


def moment_of(at: datetime | date | None, time_zone: str) -> datetime | None:
    """A day is its beginning where the programme lives."""
    return at if at is None or isinstance(at, datetime) else start_of_day(at, ZoneInfo(time_zone))


def owed(row: Any, now: datetime) -> Owed:
    """One row of what the lines come to."""
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
            "points": money_of(sum(points[bucket] for bucket in ("available", "held", "reserved")), *worth),
            "gift_cards": row["gift_cards_minor"],
            "benefits": row["benefits_minor"],
            "debt": money_of(points["debt"], *worth),
        },
    )
