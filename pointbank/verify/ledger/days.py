"""Days of accruals: what earn told of each, against its own accruals and the bank's ledger, counted here a second time.

Written from docs/ledger.md ("Accruals by day").
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.events import AccrualsDayTold, Envelope

Count = tuple[int, int, int]
"""Accruals, points, digest."""
Counts = dict[str, dict[str, Count]]
"""Day -> programme -> its count."""
_NONE: Count = (0, 0, 0)


class Days:
    """The side of the tables, and the events about them."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._told = books.match(
            "days:told", 5, "each word about a day's accruals has its event", ("programmes",),
            ours="what earn keeps", theirs="the events",
        )  # fmt: skip

    def on_told(self, n: int | None, envelope: Envelope, event: AccrualsDayTold) -> None:
        """accruals.day_told."""
        programmes = [msgspec.to_builtins(one) for one in event.programmes]
        self._told.theirs(((event.day, int(envelope.sequence)), _content(programmes)))

    async def walk(self) -> None:
        """Every day that was told."""
        books = self._books
        newest: dict[str, tuple[int, dict[str, Count]]] = {}
        for row in await books.snapshot.rows("ledger/days.sql", "told"):
            with books.reading("what was told of", row["day"]):
                programmes = msgspec.json.decode(row["programmes"])
                self._told.ours(((row["day"], row["sequence"]), _content(programmes)))
                newest[row["day"]] = row["sequence"], _counts(programmes)
        if books.closed:
            return
        books.progress("days of accruals")
        counted = books.check("days:counted", 5, "what was told of a day is what its accruals come to")
        heard = books.check("days:heard", 5, "what the bank heard of a day is what earn told")
        compared = books.check(
            "days:compared", 2, "the ledger has each day's accruals as told, or says what is different"
        )
        last = max(newest, default="")
        sums = await self._sums("accruals", set(newest))
        for day, (_, said) in newest.items():
            counted.compared += 1
            if said != sums[day]:
                if day == last:  # it is looked at once more when the next is told
                    counted.note("the last day has other accruals by now")
                else:
                    counted.wrong(f"{day}: told {_text(said)}, counted {_text(sums[day])}")
        known: dict[str, tuple[int, dict[str, Count]]] = {}
        for row in await books.snapshot.rows("ledger/days.sql", "heard"):
            heard.compared += 1
            with books.reading("what the bank heard of", row["day"]):
                day, sequence = row["day"], row["sequence"]
                said = _counts(msgspec.json.decode(row["programmes"]))
                there = newest.get(day)
                if there is None or sequence > there[0] or (sequence == there[0] and said != there[1]):
                    heard.wrong(f"{day}: {sequence} as heard is {_text(said)}, told was {there}")
                if row["compared"] == sequence:
                    known[day] = sequence, said
        rows = {row["subject"] for row in await books.snapshot.rows("ledger/days.sql", "differences")}
        sums = await self._sums("posted", set(known))
        for day, (_, said) in known.items():
            compared.compared += 1
            for code in said.keys() | sums[day].keys():
                pair = said.get(code, _NONE), sums[day].get(code, _NONE)
                if pair[0] == pair[1]:
                    continue
                if f"accruals/{day}/{code}" in rows:
                    compared.note("programmes of days that differ, and stand as differences")
                else:
                    compared.wrong(f"{day}, {code}: told {pair[0]}, the ledger has {pair[1]}")

    async def _sums(self, query: str, days: set[str]) -> Counts:
        sums: Counts = defaultdict(dict)
        if not days:
            return sums
        async for page in self._books.snapshot.pages("ledger/days.sql", query):
            for accrual_id, programme, points in page:
                day = _day(accrual_id)
                if day in days:
                    one = sums[day].get(programme or "", _NONE)
                    digest = sha256(accrual_id.bytes + points.to_bytes(8, "big")).digest()[:16]
                    sums[day][programme or ""] = (
                        one[0] + 1,
                        one[1] + points,
                        (one[2] + int.from_bytes(digest, "big")) & (1 << 128) - 1,
                    )
        return sums


def _day(accrual_id: UUID) -> str:
    return str(datetime.fromtimestamp(int.from_bytes(accrual_id.bytes[:6], "big") / 1000, UTC).date())


def _content(programmes: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{one['programme']}: {one['accruals']} {one['points']} {one['digest']}" for one in programmes
    )


def _counts(programmes: list[dict[str, Any]]) -> dict[str, Count]:
    return {one["programme"]: (one["accruals"], one["points"], int(one["digest"], 16)) for one in programmes}


def _text(counts: dict[str, Count]) -> str:
    return (
        ", ".join(
            f"{code}: {n} of {points}, {digest:x}" for code, (n, points, digest) in sorted(counts.items())
        )
        or "nothing"
    )
