"""Which lines of which bills a rule or campaign is for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shared.programme.earning import Match
from shared.programme.subject import Subject

NotFor = Literal["merchants", "brands", "channels", "tenders", "when"]


@dataclass(frozen=True, slots=True, eq=False)
class Matcher:
    """Which lines of which bills; None: any."""

    categories: frozenset[str] | None = None
    skus: frozenset[str] | None = None
    merchants: frozenset[str] | None = None
    brands: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    tenders: frozenset[str] | None = None

    @property
    def by_bill(self) -> bool:
        """Whether it asks for more than lines."""
        return not (self.merchants is self.brands is self.channels is self.tenders is None)

    def not_for(self, subject: Subject) -> NotFor | None:
        """What of the bill it is not for."""
        if self.merchants is not None and subject.merchant not in self.merchants:
            return "merchants"
        if self.brands is not None and subject.brand not in self.brands:
            return "brands"
        if self.channels is not None and subject.channel not in self.channels:
            return "channels"
        if self.tenders is not None and self.tenders.isdisjoint(subject.tenders):
            return "tenders"
        return None

    def is_for(self, categories: Sequence[str], sku: str | None) -> bool:
        """Whether it is for such a line."""
        if self.categories is not None and self.categories.isdisjoint(categories):
            return False
        return self.skus is None or sku in self.skus

    def covers(self, other: "Matcher") -> bool:
        """Whether it is for whatever the other is for."""
        pairs = (
            (self.categories, other.categories),
            (self.skus, other.skus),
            (self.merchants, other.merchants),
            (self.brands, other.brands),
            (self.channels, other.channels),
            (self.tenders, other.tenders),
        )
        return all(mine is None or (theirs is not None and theirs <= mine) for mine, theirs in pairs)


def matcher_of(match: Match) -> Matcher:
    """What is written in a `match`, as it is asked."""
    return Matcher(
        **{
            name: None if named is None else frozenset(named)
            for name in Matcher.__slots__
            for named in (getattr(match, name),)
        }
    )
