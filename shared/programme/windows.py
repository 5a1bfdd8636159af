"""Windows that come again, on the programme's clocks.

A window begins on each day of an RFC 5545 rule at a local time and is open for so many minutes of those clocks, its last
minute not included. A bill is in it by what the clocks showed: an hour that is put back is open twice.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

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
    if (ends_on - starts_on).days > 366 * MOST_YEARS:
        return f"A campaign with windows lasts at most {MOST_YEARS} years."
    try:
        days = _days(rrule, starts_on)
        first = next(iter(days.between(_midnight(starts_on), _midnight(ends_on), inc=True)), None)
    except (ValueError, OverflowError) as error:
        return f"It can't be read: {error}."
    return "No day of this rule lies within the campaign." if first is None else None


Span = tuple[datetime, datetime]
"""A window by the clocks: its first minute, and the first that is not in it."""


class Window:
    """The windows of one rule."""

    def __init__(self, days: Any, at: time, lasts: timedelta) -> None:
        self._days, self._at, self._lasts = days, at, lasts
        # Bills come as they happen: the rule is read once a day.
        self.of_day: Callable[[date], tuple[Span, ...]] = lru_cache(maxsize=64)(self._of_day)
        """Those that are open at some time of that day, and perhaps some of the day before and after."""

    def is_open(self, local: datetime) -> bool:
        """Whether a local time lies in one of them."""
        shown = local.replace(tzinfo=None)
        return any([start <= shown < ends for start, ends in self.of_day(shown.date())])  # noqa: C419

    def spans(self) -> Iterator[Span]:
        """All of them, in their order; it may be without end."""
        for one in self._days:
            start = datetime.combine(one.date(), self._at)
            yield start, start + self._lasts

    def _of_day(self, day: date) -> tuple[Span, ...]:
        midnight = _midnight(day)
        found = self._days.between(midnight - self._lasts - timedelta(days=1), midnight, inc=True)
        starts = [datetime.combine(one.date(), self._at) for one in found]
        return tuple([(start, start + self._lasts) for start in starts])


def compile_window(rrule: str, at: str, minutes: int, starts_on: date) -> Window:
    """The windows of a rule without mistakes, whose first day may be that."""
    return Window(_days(rrule, starts_on), time.fromisoformat(at), timedelta(minutes=minutes))


class Calendar:
    """Which of several rules' windows are open, read once a day."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = tuple(windows)
        self._of_day: Callable[[date], tuple[list[int], list[int]]] = lru_cache(maxsize=64)(self._read)

    def open_at(self, local: datetime) -> int:
        """The first of them as 1, the second as 2, the third as 4, and so on; those that are open together."""
        minutes, masks = self._of_day(local.date())
        return masks[bisect_right(minutes, local.hour * 60 + local.minute) - 1]

    def _read(self, day: date) -> tuple[list[int], list[int]]:
        midnight, minute = _midnight(day), timedelta(minutes=1)
        spans = [
            [((first - midnight) // minute, (end - midnight) // minute) for first, end in window.of_day(day)]
            for window in self._windows
        ]
        minutes = sorted({0, *[at for own in spans for span in own for at in span if 0 < at < 24 * 60]})
        masks = [
            sum([1 << place for place, own in enumerate(spans) if any(a <= at < b for a, b in own)])
            for at in minutes
        ]
        return minutes, masks


def _days(rrule: str, starts_on: date):  # type: ignore[no-untyped-def]  # of dateutil, which has no types
    return rrulestr(rrule, dtstart=_midnight(starts_on))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min)
