"""Stock that was counted where it lies, against what the books say there should be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import msgspec

from shared.errors import FieldError, Refusal

SETTLED = timedelta(minutes=5)
"""After the end of a day its last uses are written."""


class StockCountsInvalid(Refusal):
    """Several mistakes; nothing of what was sent is kept. `errors` has each with its place."""

    code = "stock_counts_invalid"


class StockUnlimited(Refusal):
    code = "stock_unlimited"


class StockCountConflict(Refusal):
    code = "stock_count_conflict"


class StockCountTooEarly(Refusal):
    code = "stock_count_too_early"


class Count(msgspec.Struct, frozen=True, order=True):
    """What lay at a location at the end of a day where the programme lives. `location`: a merchant, `merchant/terminal`, or a
    code of one's own. `used`: handed out there in all, where that was counted too; it wants a merchant."""

    programme: str
    reward: str
    location: str
    day: date
    on_hand: int
    used: int | None = None

    @property
    def key(self) -> tuple[str, str, str, date]:
        """Under which it is kept once."""
        return self.programme, self.reward, self.location, self.day

    @property
    def name(self) -> tuple[str, str]:
        """The reward's."""
        return self.programme, self.reward

    def overlaps(self, other: Count) -> bool:
        """Whether what lies here may be in the other count too: a merchant's and one of its terminals', of one day, where both
        have some."""
        if (*self.name, self.day) != (*other.name, other.day) or not (self.on_hand and other.on_hand):
            return False
        one, another = sorted((self.location, other.location), key=len)
        return another.startswith(f"{one}/")


class ImportCounts(msgspec.Struct, frozen=True):
    """Keep these counts, all or none of them."""

    counts: tuple[Count, ...]


class Mistake(msgspec.Struct, frozen=True):
    """What is wrong with one of the counts, by its place in the command; the refusal points into the count."""

    place: int
    refusal: Refusal


class OfLocation(msgspec.Struct, frozen=True):
    """A count, beside how many were used there by the books."""

    location: str
    on_hand: int
    used: int | None
    consumed: int


class Books(msgspec.Struct, frozen=True):
    """A reward's stock at an instant, by the books. `supplied` None: as many as were asked."""

    supplied: int | None
    used: int
    expired: int
    withdrawn: int

    @property
    def on_hand(self) -> int | None:
        """What should lie somewhere: sold and not yet handed out, too."""
        if self.supplied is None:
            return None
        return self.supplied - self.used - self.expired - self.withdrawn


class Judged(msgspec.Struct, frozen=True):
    """A number that was counted, beside the books': of all locations together, or what one of them handed out."""

    subject: str
    expected: str
    found: str
    agrees: bool


def judge(name: tuple[str, str], day: date, counts: Sequence[OfLocation], books: Books) -> list[Judged]:
    """Everything that a day on which every location was counted says of a reward."""
    subject = "stock/" + "/".join(name)
    judged = [
        Judged(
            f"{subject}/{one.location}",
            f"used {one.consumed} by the end of {day}",
            f"used {one.used} by the end of {day}",
            one.used == one.consumed,
        )
        for one in counts
        if one.used is not None
    ]
    if books.on_hand is not None:
        there = sum(one.on_hand for one in counts)
        expected = (
            f"on hand {books.on_hand} at the end of {day}: supplied {books.supplied}, used {books.used}, "
            f"expired {books.expired}, taken back {books.withdrawn}"
        )
        found = f"on hand {there} at the end of {day} at {len(counts)} locations"
        judged.append(Judged(subject, expected, found, there == books.on_hand))
    return judged


def refused(mistakes: Sequence[Mistake]) -> Refusal:
    """All mistakes in one refusal, each with its place; where there is one alone, it is that."""
    errors = tuple(
        FieldError(f"/counts/{one.place}{error.pointer}", error.code, error.detail)
        for one in mistakes
        for error in one.refusal.errors
    )
    if len(mistakes) > 1:
        return StockCountsInvalid(f"{len(mistakes)} of the counts are refused; none is kept.", errors=errors)
    [alone] = mistakes
    alone.refusal.errors = errors
    return alone.refusal
