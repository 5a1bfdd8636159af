"""Conditions of a ladder: the same tree as everywhere, over what the tiers service knows of a member.

That is the qualifying points of the window that is judged, the segments that members told, and the day. Bills, lines, visits and
spend are not told to tiers: a tree that asks for them is refused in so many words. More points never break a condition, so that a
standing does not depend on the order in which points are heard of: `points` are compared by `gte` or `gt`, and not within `not`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from shared.errors import FieldError, pointer_to
from shared.programme.conditions import Field, Fields, Path, mistakes
from shared.programme.subject import FIELDS as OF_BILLS
from shared.programme.subject import WEEKDAYS

HERE = "to a ladder: tiers knows a member's qualifying points, segments, and the day"
UNKNOWN_HERE = tuple({*OF_BILLS, "visits", "spend", "member.birthday"} - {"member.segments"})


class Climber(NamedTuple):
    """A wallet as a ladder's conditions ask about it, at a moment on the programme's clocks."""

    points: int
    segments: frozenset[str]
    local: datetime


LADDER_FIELDS: Fields = {
    "points": Field("number", lambda one, _: one.points),
    "member.segments": Field("set", lambda one, _: one.segments),
    "time.date": Field("date", lambda one, _: one.local.date().isoformat()),
    "time.weekday": Field("text", lambda one, _: WEEKDAYS[one.local.weekday()], choices=frozenset(WEEKDAYS)),
    "time.month": Field("number", lambda one, _: one.local.month),
    "time.day": Field("number", lambda one, _: one.local.day),
}
"""What a condition of a tier may ask for. No time of day: what days bring is judged once a day."""


def ladder_mistakes(tree: Any, path: Path) -> Iterator[FieldError]:
    """Every mistake of a tier's condition."""
    not_here = [name for name in UNKNOWN_HERE if name not in LADDER_FIELDS]
    yield from mistakes(tree, LADDER_FIELDS, path, not_yet=not_here, where=HERE)
    yield from _falling(tree, path, turned=False)


def _falling(tree: Any, path: Path, *, turned: bool) -> Iterator[FieldError]:
    for name, asked in tree.items() if isinstance(tree, Mapping) else ():
        at = (*path, name)
        if name in {"all", "any"}:
            for number, part in enumerate(asked if isinstance(asked, list) else ()):
                yield from _falling(part, (*at, number), turned=turned)
        elif name == "not":
            yield from _falling(asked, at, turned=True)
        elif name == "points" and isinstance(asked, Mapping):
            for operator in asked if turned else asked.keys() - {"gte", "gt"}:
                detail = "More points never break a condition: here are gte and gt, and none within `not`."
                yield FieldError(pointer_to((*at, operator)), "programme_invalid", detail)
