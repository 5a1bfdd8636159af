"""When two campaigns could be for the same bill, as far as that can be seen before there are bills.

They never are when they do not last at the same time, when a bill can't be at the merchants, brands and channels of both (it has
one of each; it may have several tenders and lines, so what these are never keeps two apart), when their conditions on the bill
leave no value of a field to both, or when no windows of theirs are open together. All windows of the common time are looked at,
which is at most 20 years of them; what a document takes beyond `MOST_LOOKED_AT` is not looked at, and taken for meeting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from shared.programme.conditions import contradiction
from shared.programme.days import day_of
from shared.programme.earning import Campaign, instant
from shared.programme.subject import FIELDS
from shared.programme.windows import Span, compile_window

MOST_LOOKED_AT = 100_000
"""Windows of one document, and pairs of campaigns ten times: a second or two."""
DAY = timedelta(days=1)


class Meetings:
    """When campaigns of one document meet."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._left = MOST_LOOKED_AT
        self._spans: dict[str, Sequence[Span]] = {}

    @property
    def all_seen(self) -> bool:
        """Whether all that was asked for so far could be looked at."""
        return self._left > 0

    def first(self, one: Campaign, other: Campaign) -> datetime | None:
        """The first moment at which both could be for a bill, in UTC; where it is not known, the first of their common time. None:
        there is none."""
        since = max(instant(one.starts_at), instant(other.starts_at))
        until = min(instant(one.ends_at), instant(other.ends_at))
        if since >= until:
            return None
        self._left -= 10
        if self._left > 0 and _apart(one, other):
            return None
        if one.recurring is None and other.recurring is None:
            return since
        spans = self._of(one), self._of(other)
        if self._left <= 0:
            return since
        return next(self._together(*spans, since, until), None)

    def _together(
        self, some: Sequence[Span], others: Sequence[Span], since: datetime, until: datetime
    ) -> Iterator[datetime]:
        a = b = 0
        while a < len(some) and b < len(others):
            self._left -= 1
            if self._left <= 0:
                yield since
                return
            begins, ends = max(some[a][0], others[b][0]), min(some[a][1], others[b][1])
            if begins < ends:
                first, last = self._instants(begins)[0], self._instants(ends)[1]
                if first < until and since < last:
                    yield max(first, since)
            if some[a][1] <= others[b][1]:
                a += 1
            else:
                b += 1

    def _of(self, campaign: Campaign) -> Sequence[Span]:
        """Its windows by the clocks, in order; without a rule one that is always open."""
        found = self._spans.get(campaign.code)
        if found is None:
            first, last = (day_of(instant(at), self._zone) for at in (campaign.starts_at, campaign.ends_at))
            found = self._spans[campaign.code] = self._windows(campaign, first, last)
            self._left -= len(found)
        return found

    def _windows(self, campaign: Campaign, first: date, last: date) -> Sequence[Span]:
        recurring = campaign.recurring
        if recurring is None:
            return [(datetime.min, datetime.max)]  # noqa: DTZ901  # as clocks show them
        window = compile_window(recurring.rrule, recurring.at, recurring.minutes, first)
        read = takewhile(lambda span: span[0].date() <= last, window.spans())
        return [span for span, _ in zip(read, range(max(self._left, 0)), strict=False)]

    def _instants(self, shown: datetime) -> tuple[datetime, datetime]:
        """The first and the last at which the clocks show this; where they never do, what lies around it."""
        if not date.min + DAY < shown.date() < date.max - DAY:
            at = shown.replace(tzinfo=UTC)
            return at, at
        ways = sorted([shown.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)])
        return ways[0], ways[1]


def _apart(one: Campaign, other: Campaign) -> bool:
    """Whether no bill can be for both, whenever it happens."""
    for name in ("merchants", "brands", "channels"):
        named, too = getattr(one.match, name), getattr(other.match, name)
        if named is not None and too is not None and set(named).isdisjoint(too):
            return True
    return contradiction({"all": [*_asked(one), *_asked(other)]}, FIELDS) is not None


def _asked(campaign: Campaign) -> Iterator[dict[str, object]]:
    """What it asks of the whole bill, as one condition. What is asked of lines may be true of two different ones."""
    for field, named in (
        ("bill.merchant", campaign.match.merchants),
        ("bill.brand", campaign.match.brands),
        ("bill.channel", campaign.match.channels),
    ):
        if named is not None:
            yield {field: {"in": list(named)}}
    if campaign.when is not None and not any(_names(campaign.when)):
        yield dict(campaign.when)


def _names(tree: object) -> Iterator[bool]:
    """Of each field in a condition, whether it is one of lines."""
    if isinstance(tree, dict):
        for name, inner in tree.items():
            yield name.startswith("line.")
            yield from _names(inner)
    elif isinstance(tree, list):
        for part in tree:
            yield from _names(part)
