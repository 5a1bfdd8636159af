"""When points expire: what people write, and the instants that it comes to.

A policy names a last usable day in the programme's time zone; points expire at the first instant after it. `inactivity` is the
wallet's and not the lot's: its lots carry no expiry, and the whole balance expires that long after the member's last act.
"""

from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Literal, assert_never
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from shared.programme.days import day_of, end_of_day, start_of_day

Instant = Callable[[datetime], datetime]

UNKNOWN_BIRTH_MONTH = 12
"""The month of who never said a birthday: December."""


def _day_of_a_year(text: str) -> str:
    month, day = int(text[:2]), int(text[3:])
    if not (1 <= month <= 12 and 1 <= day <= monthrange(2024, month)[1]):
        raise ValueError("it is no day of a year; written as 12-31")
    return text


def _distinct(days: list[int]) -> list[int]:
    if len(set(days)) < len(days):
        raise ValueError("a day stands in it twice")
    return days


class _Policy(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)


class Never(_Policy):
    policy: Literal["never"]


class _Expiring(_Policy):
    holds: Literal["kept", "expire"] = "kept"
    """What becomes of points that are held when they expire: kept until they are released or cancelled, or expired too."""
    counts_from: Literal["earning", "release"] = "earning"
    """From when the time of points runs that were held."""
    notice_days: Annotated[
        list[Annotated[int, Field(ge=1, le=366)]], Field(max_length=10), AfterValidator(_distinct)
    ] = []
    """How many days before their expiry members are told of it."""


class MonthsAfterEarning(_Expiring):
    """Usable up to and including the same day `months` later, or the end of that month."""

    policy: Literal["months_after_earning"]
    months: Annotated[int, Field(ge=0, le=1200)]
    round_to: Literal["day", "month_end"] = "day"


class FixedDate(_Expiring):
    """Usable up to and including the first such day of a year that is at least `months` after earning. 02-29 is the last of
    February in other years."""

    policy: Literal["fixed_date"]
    date: Annotated[str, StringConstraints(pattern=r"^[0-9]{2}-[0-9]{2}$"), AfterValidator(_day_of_a_year)]
    months: Annotated[int, Field(ge=0, le=1200)] = 0


class Inactivity(_Expiring):
    """The whole balance is usable up to and including the same day `months` after the last activity."""

    policy: Literal["inactivity"]
    months: Annotated[int, Field(ge=1, le=1200)]


class BirthMonthEnd(_Expiring):
    """Usable up to and including the first end of the member's birth month that is at least `years` after earning."""

    policy: Literal["birth_month_end"]
    years: Annotated[int, Field(ge=0, le=100)]


Expiry = Annotated[
    Never | MonthsAfterEarning | FixedDate | Inactivity | BirthMonthEnd, Field(discriminator="policy")
]


@dataclass(frozen=True, slots=True, eq=False)
class CompiledExpiry:
    """A policy as it is applied. `expires`: when points earned at an instant expire; `by_birth_month`: that of members born in
    each month, January first; `idles`: when the balance of a wallet expires whose last activity was at an instant. None: not by
    this."""

    expires: Instant | None = None
    by_birth_month: tuple[Instant, ...] | None = None
    idles: Instant | None = None
    holds_expire: bool = False
    from_release: bool = False
    notice_days: tuple[int, ...] = ()
    """Ascending: the nearest first."""


def compile_expiry(expiry: Expiry, zone: ZoneInfo) -> CompiledExpiry:
    """The policy in the programme's time zone."""
    if isinstance(expiry, Never):
        return CompiledExpiry()
    expires = idles = by_birth_month = None
    match expiry:
        case BirthMonthEnd():
            by_birth_month = tuple(_end_of_month(month, expiry.years, zone) for month in range(1, 13))
        case Inactivity():
            idles = _first_instant_after(_last_usable_day(expiry), zone)
        case MonthsAfterEarning() | FixedDate():
            expires = _first_instant_after(_last_usable_day(expiry), zone)
        case _ as never:
            assert_never(never)
    return CompiledExpiry(
        expires=expires,
        by_birth_month=by_birth_month,
        idles=idles,
        holds_expire=expiry.holds == "expire",
        from_release=expiry.counts_from == "release",
        notice_days=tuple(sorted(expiry.notice_days)),
    )


def instant_after_months(months: int, zone: ZoneInfo) -> Instant:
    """What is good up to and including the same day so many months later: when it has ended."""
    later = relativedelta(months=months)
    return _first_instant_after(lambda day: day + later, zone)


def horizon(now: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The last instant that lies at most so many calendar days ahead: what expires by then is told of so many days before."""
    return end_of_day(day_of(now, zone) + timedelta(days=days), zone) - timedelta(microseconds=1)


def _last_usable_day(expiry: MonthsAfterEarning | FixedDate | Inactivity) -> Callable[[date], date]:
    if isinstance(expiry, FixedDate):
        return _next_date(int(expiry.date[:2]), int(expiry.date[3:]), relativedelta(months=expiry.months))
    # relativedelta clamps to the month's length; day=31 is any month's last day.
    if isinstance(expiry, MonthsAfterEarning) and expiry.round_to == "month_end":
        later = relativedelta(months=expiry.months, day=31)
    else:
        later = relativedelta(months=expiry.months)
    return lambda day: day + later


def _end_of_month(month: int, years: int, zone: ZoneInfo) -> Instant:
    return _first_instant_after(_next_date(month, 31, relativedelta(years=years)), zone)


def _next_date(month: int, day: int, least: relativedelta) -> Callable[[date], date]:
    def on_or_after(earned_on: date) -> date:
        first = earned_on + least
        this_year = date(first.year, month, min(day, monthrange(first.year, month)[1]))
        if this_year >= first:
            return this_year
        return date(first.year + 1, month, min(day, monthrange(first.year + 1, month)[1]))

    return on_or_after


def _first_instant_after(last_usable: Callable[[date], date], zone: ZoneInfo) -> Instant:
    @lru_cache(maxsize=4096)
    def day(earned_on: date) -> tuple[datetime, datetime, datetime]:
        since, until = start_of_day(earned_on, zone), end_of_day(earned_on, zone)
        if until - since != timedelta(days=1):
            until = since  # clocks that are put back at midnight may come to the day before a second time
        return since, until, end_of_day(last_usable(earned_on), zone)

    # Bills come as they happen, most on one day; to find the day of an instant costs more than the rest.
    since, until, expires = day(date(1970, 1, 1))

    def instant(at: datetime) -> datetime:
        nonlocal since, until, expires
        if not since <= at < until:
            since, until, expires = day(day_of(at, zone))
        return expires

    return instant
