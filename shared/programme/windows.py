"""Windows that come again, on the programme's clocks.

A window begins on each day of an RFC 5545 rule at a local time and is open for so many minutes of those clocks, its last
minute not included. A bill is in it by what the clocks showed: an hour that is put back is open twice.
"""

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from dateutil.rrule import rrulestr

_DAY = "(MO|TU|WE|TH|FR|SA|SU)"
_MONTHDAY = "-?([1-9]|[12][0-9]|3[01])"
_MONTH = "([1-9]|1[0-2])"
_PARTS = {
    "FREQ": re.compile(r"DAILY|WEEKLY|MONTHLY|YEARLY"),
    "INTERVAL": re.compile(r"[1-9][0-9]?"),
    "UNTIL": re.compile(r"[0-9]{8}"),
    "BYDAY": re.compile(f"[+-]?[1-5]?{_DAY}(,[+-]?[1-5]?{_DAY}){{0,20}}"),
    "BYMONTHDAY": re.compile(f"{_MONTHDAY}(,{_MONTHDAY}){{0,30}}"),
    "BYMONTH": re.compile(f"{_MONTH}(,{_MONTH}){{0,11}}"),
    "BYSETPOS": re.compile(r"-?[1-5]"),
    "WKST": re.compile(_DAY),
}
_OF_MONTHS = frozenset({"BYMONTHDAY", "BYSETPOS"})
# dateutil reads a rule that has no day up to the year 9999: by months in a second, by days in ten. What could come to that by
# days is said by months, too.
MOST_YEARS = 20
"""A rule is read day by day from its first: none is read further than this."""


def rule_mistake(rrule: str, starts_on: date, ends_on: date) -> str | None:
    """What is wrong with a rule, in a sentence."""
    seen: set[str] = set()
    for part in rrule.split(";"):
        name, _, value = part.partition("=")
        if name not in _PARTS:
            return f"Of RFC 5545 there are {', '.join(_PARTS)}; the time of day stands in `at`."
        if name in seen or _PARTS[name].fullmatch(value) is None:
            return f"{part} can't be read, or stands there twice."
        seen.add(name)
    if "FREQ" not in seen:
        return "A rule has FREQ."
    if ("FREQ=DAILY" in rrule or "FREQ=WEEKLY" in rrule) and (
        seen & _OF_MONTHS or re.search("[1-5](MO|TU|WE|TH|FR|SA|SU)", rrule)
    ):
        return "Days of a month, and their order, stand in a rule that is MONTHLY or YEARLY."
    if "FREQ=DAILY" in rrule and "INTERVAL" in seen and "BYDAY" in seen:
        return "Every so many days, and days of the week, do not go together."
    if ends_on > _years_later(starts_on):
        return f"A campaign with windows lasts at most {MOST_YEARS} years."
    try:
        days = _days(rrule, starts_on)
        first = next(iter(days.between(_midnight(starts_on), _midnight(ends_on), inc=True)), None)
    except (ValueError, OverflowError) as error:
        return f"It can't be read: {error}."
    return "No day of this rule lies within the campaign." if first is None else None


def compile_window(rrule: str, at: str, minutes: int, starts_on: date) -> Callable[[datetime], bool]:
    """Whether a local time lies in one of the windows."""
    days = _days(rrule, starts_on)
    begins, lasts = time.fromisoformat(at), timedelta(minutes=minutes)

    @lru_cache(maxsize=64)  # bills come as they happen: the rule is read once a day
    def of_day(day: date) -> tuple[tuple[datetime, datetime], ...]:
        midnight = _midnight(day)
        found = days.between(midnight - lasts - timedelta(days=1), midnight, inc=True)
        starts = [datetime.combine(one.date(), begins) for one in found]
        return tuple([(start, start + lasts) for start in starts])

    def is_open(local: datetime) -> bool:
        shown = local.replace(tzinfo=None)
        return any([start <= shown < ends for start, ends in of_day(shown.date())])  # noqa: C419

    return is_open


def _days(rrule: str, starts_on: date):  # type: ignore[no-untyped-def]  # of dateutil, which has no types
    return rrulestr(rrule, dtstart=_midnight(starts_on))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min)


def _years_later(day: date) -> date:
    return day + timedelta(days=366 * MOST_YEARS)
