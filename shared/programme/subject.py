"""What rules and campaigns look at: a bill, its lines, and what is known of its member at that moment."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar, overload
from zoneinfo import ZoneInfo

from shared.programme.conditions import Field, Fields, millionths
from shared.programme.days import day_of
from shared.shapes import CHANNELS

POINTS_TENDER = "points"
"""The tender of what was paid with points."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Line(Protocol):
    """What a rule looks at in a bill's line."""

    @property
    def categories(self) -> tuple[str, ...]: ...
    @property
    def amount_minor(self) -> int: ...
    @property
    def discount_minor(self) -> int: ...
    @property
    def tax_minor(self) -> int: ...
    @property
    def sku(self) -> str | None: ...
    @property
    def quantity(self) -> str | None: ...


T = TypeVar("T")


class _kept(Generic[T]):  # noqa: N801  # a decorator
    """An attribute that is worked out when it is first asked for; functools' own takes a lock."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make, self._name = make, make.__name__

    @overload
    def __get__(self, owner: None, kind: type) -> "_kept[T]": ...
    @overload
    def __get__(self, owner: object, kind: type) -> T: ...
    def __get__(self, owner: object | None, kind: type) -> "T | _kept[T]":
        if owner is None:
            return self
        value = self._make(owner)
        owner.__dict__[self._name] = value
        return value


class Activity:
    """What a member did in a programme before: bills that were judged, when the last of them happened, and since when the
    member is enrolled."""

    __slots__ = ("bills", "enrolled_at", "last_bill_at")

    def __init__(
        self, bills: int = 0, last_bill_at: datetime | None = None, enrolled_at: datetime | None = None
    ) -> None:
        self.bills, self.last_bill_at, self.enrolled_at = bills, last_bill_at, enrolled_at

    def goes_on(self, occurred_at: datetime) -> None:
        """Another bill was judged."""
        self.bills += 1
        self.last_bill_at = occurred_at


class Subject:
    """A bill as conditions ask about it. `tenders` is what was paid with each, empty where the till did not say."""

    def __init__(
        self,
        *,
        occurred_at: datetime,
        zone: ZoneInfo,
        total_minor: int,
        lines: Sequence[Line],
        merchant: str,
        brand: str | None = None,
        terminal: str | None = None,
        channel: str | None = None,
        tenders: Mapping[str, int] | None = None,
        tier: str | None = None,
        activity: Activity | None = None,
        member_id: object = None,
        segments: frozenset[str] = frozenset(),
        claims: Mapping[str, int] | None = None,
    ) -> None:
        self.occurred_at, self.zone = occurred_at, zone
        self.total_minor, self.lines = total_minor, lines
        self.merchant, self.brand, self.terminal, self.channel = merchant, brand, terminal, channel
        self.tenders: Mapping[str, int] = tenders or {}
        self.tier = tier
        self.activity = activity
        self.member_id = member_id
        self.segments = segments
        self.claims: Mapping[str, int] = claims or {}
        """By campaign of this programme, what the till says that it took off."""

    def before_claims(self) -> "Subject":
        """The same as it was before the till took something off."""
        if not self.claims:
            return self
        made = copy(self)
        made.total_minor += sum(self.claims.values())
        return made

    @_kept
    def local(self) -> datetime:
        """When it happened on the programme's clocks."""
        return self.occurred_at.astimezone(self.zone)

    @_kept
    def categories(self) -> frozenset[str]:
        """Those of all lines."""
        return frozenset([category for line in self.lines for category in line.categories])

    @_kept
    def skus(self) -> frozenset[str]:
        """Those of all lines."""
        return frozenset([line.sku for line in self.lines if line.sku is not None])

    @_kept
    def items(self) -> int:
        """The quantity of all lines, in millionths; a line without one counts as one."""
        return sum([items_of(line) for line in self.lines])

    @_kept
    def days_since_last_bill(self) -> int | None:
        """Calendar days of the programme; None: there was no bill before. A bill that is told late may be before it."""
        before = self.activity.last_bill_at if self.activity is not None else None
        return None if before is None else (self.local.date() - self._day(before)).days

    @_kept
    def enrolled_days(self) -> int | None:
        """Calendar days of the programme since the member joined."""
        since = self.activity.enrolled_at if self.activity is not None else None
        return None if since is None else (self.local.date() - self._day(since)).days

    def _day(self, at: datetime) -> date:
        return day_of(at, self.zone)


@lru_cache(maxsize=4096)
def _millionths(quantity: str) -> int:
    return millionths(quantity)


def items_of(line: Line) -> int:
    """A line's quantity in millionths; one where it says none."""
    quantity = line.quantity
    return 1_000_000 if quantity is None else _millionths(quantity)


FIELDS: Fields = {
    "bill.total_minor": Field("number", lambda bill, line: bill.total_minor),
    "bill.lines": Field("number", lambda bill, line: len(bill.lines)),
    "bill.items": Field("decimal", lambda bill, line: bill.items),
    "bill.channel": Field("text", lambda bill, line: bill.channel, choices=frozenset(CHANNELS)),
    "bill.merchant": Field("text", lambda bill, line: bill.merchant),
    "bill.brand": Field("text", lambda bill, line: bill.brand),
    "bill.terminal": Field("text", lambda bill, line: bill.terminal),
    "bill.tenders": Field("set", lambda bill, line: bill.tenders.keys()),
    "bill.categories": Field("set", lambda bill, line: bill.categories),
    "bill.skus": Field("set", lambda bill, line: bill.skus),
    "line.amount_minor": Field("number", lambda bill, line: line.amount_minor, by_line=True),
    "line.discount_minor": Field("number", lambda bill, line: line.discount_minor, by_line=True),
    "line.tax_minor": Field("number", lambda bill, line: line.tax_minor, by_line=True),
    "line.items": Field("decimal", lambda bill, line: items_of(line), by_line=True),
    "line.sku": Field("text", lambda bill, line: line.sku, by_line=True),
    "line.categories": Field("set", lambda bill, line: line.categories, by_line=True),
    "tier": Field("text", lambda bill, line: bill.tier),
    "member.bills": Field("number", lambda bill, line: bill.activity.bills),
    "member.days_since_last_bill": Field("number", lambda bill, line: bill.days_since_last_bill),
    "member.enrolled_days": Field("number", lambda bill, line: bill.enrolled_days),
    "member.segments": Field("set", lambda bill, line: bill.segments),
    "time.date": Field("date", lambda bill, line: bill.local.date().isoformat()),
    "time.time": Field("time", lambda bill, line: bill.local.hour * 60 + bill.local.minute),
    "time.weekday": Field(
        "text", lambda bill, line: WEEKDAYS[bill.local.weekday()], choices=frozenset(WEEKDAYS)
    ),
    "time.month": Field("number", lambda bill, line: bill.local.month),
    "time.day": Field("number", lambda bill, line: bill.local.day),
}
"""What a condition of a rule or campaign may ask for."""

NOT_YET = ("member.birthday",)
"""A birthday is personal data that does not leave members: a segment says when it is (docs/decisions/0124)."""

__all__ = [
    "FIELDS",
    "NOT_YET",
    "POINTS_TENDER",
    "Activity",
    "Line",
    "Subject",
    "items_of",
]
