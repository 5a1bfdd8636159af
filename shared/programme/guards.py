"""Fraud guards: what a programme finds odd about a bill. What a bill with such a pattern earns is held until somebody looked at it.

Bills are counted by when they happened, whatever the order in which they come: with this one, in any stretch of so many minutes
that has it. So of a burst the one that comes last is seen, however late it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from shared.programme.base import Section

Pattern = Literal["member_rate", "terminal_rate", "duplicate", "own_card", "many_cards", "refund_loop"]
PATTERNS: tuple[Pattern, ...] = (
    "member_rate",
    "terminal_rate",
    "duplicate",
    "own_card",
    "many_cards",
    "refund_loop",
)

Count = Annotated[int, Field(ge=1, le=10_000)]
Minutes = Annotated[int, Field(ge=1, le=44_640)]


class BillRate(Section):
    """At most so many bills within so many minutes."""

    bills: Count
    minutes: Minutes


class Duplicates(Section):
    """Bills of one member over the same amount at one terminal within so many minutes are one sale rung up twice."""

    minutes: Minutes


class ManyCards(Section):
    """At most so many members at one terminal within so many minutes."""

    cards: Count
    minutes: Minutes


class RefundLoop(Section):
    """At most so many refunds of a member's bills in the days before a bill."""

    refunds: Count
    days: Annotated[int, Field(ge=1, le=366)]


class Guards(Section):
    """Patterns that a bill is flagged for; what is left out is not looked for."""

    member_rate: Annotated[list[BillRate], Field(max_length=5)] = Field(default=[])
    """Of one member, whatever identity the bills name."""
    terminal_rate: Annotated[list[BillRate], Field(max_length=5)] = Field(default=[])
    """Of members, at one terminal."""
    duplicates: Duplicates | None = None
    own_card: bool = False
    """A cashier who rings up the own card: the merchant says who its cashiers are as members."""
    many_cards: ManyCards | None = None
    refund_loop: RefundLoop | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """A pattern: more than `most` of what it counts within `within` flag a bill."""

    pattern: Pattern
    most: int
    within: timedelta


def compile_guards(guards: Guards | None) -> tuple[Guard, ...]:
    """The patterns that are looked for, in the order of `PATTERNS`."""
    return tuple(_compiled(guards)) if guards is not None else ()


def _compiled(guards: Guards) -> Iterable[Guard]:
    for one in guards.member_rate:
        yield Guard("member_rate", one.bills, timedelta(minutes=one.minutes))
    for one in guards.terminal_rate:
        yield Guard("terminal_rate", one.bills, timedelta(minutes=one.minutes))
    if guards.duplicates is not None:
        yield Guard("duplicate", 1, timedelta(minutes=guards.duplicates.minutes))
    if guards.own_card:
        yield Guard("own_card", 0, timedelta())
    if guards.many_cards is not None:
        yield Guard("many_cards", guards.many_cards.cards, timedelta(minutes=guards.many_cards.minutes))
    if guards.refund_loop is not None:
        yield Guard("refund_loop", guards.refund_loop.refunds, timedelta(days=guards.refund_loop.days))
