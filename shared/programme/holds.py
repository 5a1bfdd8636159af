"""Until when points are held that a rule with `timing: hold` earned: what people write, and what of them is released by when.

`activation`: until somebody says that what was bought is activated or delivered. `date`: until the beginning of a day, of the
calendar (`on`) or so many days after the bill's own. `day_by_day`: in `days` steps, one at the beginning of each day after the
bill's: whole points, the rest on the last day. Days are those of the programme's time zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.programme.days import day_of, start_of_day

Until = Literal["activation", "date", "day_by_day"]

MOST_DAYS = 3_660


def _calendar_day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("it is no day of the calendar; written as 2026-12-31") from None
    return text


class _Hold(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)


class UntilActivation(_Hold):
    until: Literal["activation"]


class UntilDate(_Hold):
    """Exactly one of `on` and `days` (`validation` says so)."""

    until: Literal["date"]
    on: Annotated[str, AfterValidator(_calendar_day)] | None = None
    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] | None = None


class DayByDay(_Hold):
    until: Literal["day_by_day"]
    days: Annotated[int, Field(ge=1, le=MOST_DAYS)]


Hold = Annotated[UntilActivation | UntilDate | DayByDay, Field(discriminator="until")]


@dataclass(frozen=True, slots=True)
class CompiledHold:
    """A rule's hold. `days` is 0 for one that no day ends."""

    until: Until
    days: int = 0
    on: date | None = None


UNTIL_ACTIVATION = CompiledHold("activation")


def compile_hold(hold: UntilActivation | UntilDate | DayByDay | None) -> CompiledHold:
    """As plans are made of it; a rule that holds and does not say until when holds until activation."""
    match hold:
        case UntilDate(on=on, days=days):
            return CompiledHold("date", days or 0, None if on is None else date.fromisoformat(on))
        case DayByDay(days=days):
            return CompiledHold("day_by_day", days)
        case _:
            return UNTIL_ACTIVATION


def last_day(hold: CompiledHold, billed_on: date) -> date | None:
    """The day at whose beginning the last points are released; None: no day releases them."""
    if hold.until == "activation":
        return None
    return hold.on or billed_on + timedelta(days=hold.days)


def released_by(
    until: Until,
    points: int,
    *,
    billed_on: date,
    days: int,
    last_on: date | None,
    zone: ZoneInfo,
    now: datetime,
) -> tuple[int, datetime | None]:
    """How many of so many held points are to be released in all by now, and when there will be more; None: by no day."""
    if last_on is None:
        return 0, None
    today = day_of(now, zone)
    if today >= last_on:
        return points, None
    each = points // days if until == "day_by_day" else 0
    if not each:
        return 0, start_of_day(last_on, zone)
    passed = max((today - billed_on).days, 0)
    return each * passed, start_of_day(billed_on + timedelta(days=passed + 1), zone)
