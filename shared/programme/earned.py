"""What a bill earned, with all that was tried of it: what a decision keeps, and `why` answers from."""

from datetime import datetime
from typing import Literal

import msgspec

from shared.money import Ratio
from shared.programme.campaigns import Ended, LeftOut, Room, Tried
from shared.programme.checkout import Offered, Stamped
from shared.programme.earning import Base
from shared.programme.matching import NotFor

Outcome = Literal["earned", "skipped", "discounted", "unmatched"]
Timing = Literal["now", "hold"]

JudgedLine = tuple[str | None, Outcome, int, int | None]
"""What became of a line: its rule (None: none was for it), outcome, amount_minor, and its own points where rounding is by
line. Plain tuples: a bill has several, and a decision keeps them as they are."""

EarnedByRule = tuple[str, Timing, int, int, int]
"""What a rule's lines come to: rule, timing, the amount_minor that counted, what of it was counted (units: minor units,
millionths of an item, or times, after whole steps), and the exact points before the multiplier, a numerator over the
programme's denominator."""

TriedCondition = tuple[str, bool, str]
"""Of a rule or campaign: whether its condition held, and the result of each comparison."""


class Inputs(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What was known of merchant and member where a rule asked for it. `bills`: how many were judged before, and when that
    happened which was judged last."""

    brand: str | None = None
    bills: int | None = None
    last_bill_at: datetime | None = None
    enrolled_at: datetime | None = None
    segments: tuple[str, ...] | None = None
    """Those that the member was in when the bill happened."""


class Details(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What was tried of rules that ask for more than categories and amounts, as a decision keeps it."""

    inputs: Inputs | None = None
    not_for: tuple[tuple[str, NotFor], ...] = ()
    """Rules that were not for this bill, and by what."""
    conditions: tuple[TriedCondition, ...] = ()
    line_conditions: tuple[tuple[str, str], ...] = ()
    """By rule whose condition asks for lines: the results for each line, `-` where the line did not try it."""
    multipliers: tuple[tuple[str, Ratio], ...] = ()
    """Rules that had a rate of their own in this tier."""
    bases: tuple[tuple[str, Base], ...] = ()
    """Rules that counted something else than money."""
    campaigns: tuple[Tried, ...] = ()
    """Those that last at that time and are told in full; see `campaigns`."""
    base: tuple[int, int] | None = None
    """What the rules give by themselves, points and those of them that are available, where something bounds or adds to it."""
    caps: tuple[Room, ...] = ()
    """The member's caps of the whole programme."""
    cut: int = 0
    """Points beyond the maximum of a bill, or the member's caps; they are in none of the other numbers."""
    left_out: tuple[LeftOut, ...] = ()
    """Campaigns that give nothing, in short."""
    ended: tuple[Ended, ...] = ()
    """Where the rest of the campaigns ended."""
    form: int = 1
    """How campaigns are told, and what they count. 1: all of them in full, as long as there was no other."""


class Earned(msgspec.Struct, frozen=True, gc=False):
    """The worth of a bill with every number on the way. `tried` are the rules in the order in which lines tried them: a
    line tried all up to its own, and all where none was for it."""

    points: int
    available: int
    held: int
    multiplier: Ratio
    tried: tuple[str, ...]
    lines: tuple[JudgedLine, ...]
    rules: tuple[EarnedByRule, ...]
    details: Details | None = None
    """Where rules ask for more than categories and amounts."""
    offers: tuple[Offered, ...] = ()
    """Campaigns that give something at the checkout, and last at that time."""
    stamps: tuple[Stamped, ...] = ()
    """Stamp cards that last at that time."""
