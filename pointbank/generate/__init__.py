"""Bills and members made from a seed, and the points they should earn by arithmetic of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction

import msgspec

from pointbank.generate.bills import Bill, generate
from pointbank.generate.people import Person, people
from pointbank.generate.points import expected_points

__all__ = ["Bill", "Person", "expected_points", "generate", "json_lines", "people"]

NOW = datetime.fromisoformat("2026-11-22T12:00:00+03:00")
"""The end of the days that `json_lines` tells of: a fixed one, for equal arguments give equal lines."""


def json_lines(
    bills: int,
    members: int,
    seed: int,
    *,
    now: datetime = NOW,
    days: float = 2,
    anonymous: Fraction = Fraction(1, 100),
    repeated: Fraction = Fraction(0),
) -> Iterator[str]:
    """The lines of `pointbank generate`, without their ends: `{"member": ...}` each, then `{"bill": ...}` each.

    No card is known yet: who would show one is named by the external id.
    """
    encode = msgspec.json.Encoder().encode
    known = people(members, seed)
    for person in known:
        yield encode({"member": person}).decode()
    for bill in generate(bills, members, seed, now=now, days=days, anonymous=anonymous, repeated=repeated):
        who = known[bill.member] if bill.member is not None else None
        yield encode({"bill": bill.body(who)}).decode()
