"""Stock: what was supplied, as it stands and by its history; what was counted, held against the books here a second time.

A count is judged on the last day on which every location was counted that had some before; docs/decisions/0160 has the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from pointbank.verify.books import Books


class Stock:
    """The side of the tables; nothing is told of counts."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def walk(self) -> None:
        """Every reward, then every one that was counted."""
        books = self._books
        if books.closed:
            return
        supplied = books.check(
            "stock:supplied",
            2,
            "what was ever supplied of a reward is what its history says, from 1 without a gap",
        )
        for row in await books.snapshot.rows("spending/stock.sql", "supplies"):
            supplied.compared += 1
            if row["last"] != row["supplied"] or row["nos"] != list(range(1, len(row["nos"]) + 1)):
                supplied.wrong(
                    f"{row['programme']}/{row['reward']}: {row['supplied']} supplied, its history says {row['last']}"
                )
        judged = books.check(
            "stock:judged",
            2,
            "a count that is not what the books say is a difference, and one that is, is none",
        )
        kept = {
            row["subject"]: row["undecided"]
            for row in await books.snapshot.rows("spending/stock.sql", "differences")
        }
        counts = await books.snapshot.rows("spending/stock.sql", "counts")
        for name, rows in groupby(counts, key=lambda row: (row["programme"], row["reward"])):
            of_reward = list(rows)
            for problem in _twice(of_reward):
                judged.wrong(f"stock/{'/'.join(name)}: {problem}")
            async with books.part(f"counts of {'/'.join(name)}"):
                async for subject, counted, expected in self._numbers(*name, of_reward):
                    judged.compared += 1
                    if counted != expected and subject not in kept:
                        judged.wrong(
                            f"{subject}: {counted} counted, {expected} by the books, and no difference"
                        )
                    elif counted == expected and kept.get(subject):
                        judged.wrong(
                            f"{subject}: {counted} counted, as by the books, and a difference stands"
                        )

    async def _numbers(self, programme: str, reward: str, counts: Sequence[Any]) -> Any:
        """What was counted on the day that is judged, beside what the books come to: (subject, counted, expected)."""
        versions = self._books.versions_of(programme)
        day = _whole_day(counts)
        if day is None or not versions:
            return
        ends = datetime.combine(day + timedelta(days=1), time(), versions[-1].zone)
        snapshot, subject = self._books.snapshot, f"stock/{programme}/{reward}"
        benefits = await snapshot.rows("spending/stock.sql", "benefits", programme, reward)
        of_day = [row for row in counts if row["day"] == day]
        for row in of_day:
            if row["used"] is not None:
                there = [
                    one
                    for one in benefits
                    if row["location"] in {one["merchant"], f"{one['merchant']}/{one['terminal']}"}
                ]
                used = sum(_before(one["consumed_at"], ends) for one in there)
                yield f"{subject}/{row['location']}", row["used"], used
        supplied = await snapshot.rows("spending/stock.sql", "supplied_at", programme, reward, ends)
        if supplied and supplied[0]["supplied"] is not None:
            gone = sum(_gone(one, ends) for one in benefits)
            yield subject, sum(row["on_hand"] for row in of_day), supplied[0]["supplied"] - gone


def _whole_day(counts: Sequence[Any]) -> date | None:
    """The last day on which no location is missing that had some when it was counted last."""
    last: dict[str, tuple[date, int]] = {}
    found = None
    for day, of_day in groupby(counts, key=lambda row: row["day"]):
        last.update({row["location"]: (day, row["on_hand"]) for row in of_day})
        if all(when == day or on_hand == 0 for when, on_hand in last.values()):
            found = day
    return found


def _twice(counts: Sequence[Any]) -> Iterator[str]:
    """What was counted at a merchant and at a terminal of it too, on the day that is judged."""
    day = _whole_day(counts)
    some = {row["location"]: row["on_hand"] for row in counts if row["day"] == day and row["on_hand"]}
    for location, on_hand in some.items():
        merchant, terminal = location.split("/")[0], "/" in location
        if terminal and merchant in some:
            yield f"{some[merchant]} counted at {merchant} and {on_hand} at {location} on {day}"


def _gone(benefit: Any, ends: datetime) -> bool:
    """Whether what it stands for lay nowhere any more at that instant, or could not be sold again."""
    return any(_ends(benefit, ends))


def _ends(benefit: Any, ends: datetime) -> Iterator[bool]:
    used, withdrawn = _before(benefit["consumed_at"], ends), _before(benefit["withdrawn_at"], ends)
    yield used
    yield withdrawn and not benefit["restocked"]
    expires_at = benefit["expires_at"]
    issued = benefit["issued_at"] < ends
    yield issued and not used and not withdrawn and expires_at is not None and expires_at <= ends


def _before(moment: datetime | None, ends: datetime) -> bool:
    return moment is not None and moment < ends
