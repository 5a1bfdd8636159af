"""What a simulation comes to: what was given, beside what the draft would have given, of the same bills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from services.earn.domain.decision import Judged
from shared.programme.checkout import Offered, Stamped


@dataclass(slots=True)
class Effects:
    """What is given besides points. Discounts in minor units; free items, rewards of campaigns and cards, and stamps by number;
    `given_minor`: what discounts, free items and rewards of campaigns are worth (a card's reward has no price in a document)."""

    discounts_minor: int = 0
    free_items: int = 0
    benefits: int = 0
    given_minor: int = 0
    stamps: int = 0

    def offer(self, one: Offered) -> None:
        """A campaign gave something at the checkout."""
        self.discounts_minor += one.granted_minor if one.kind == "discount" else 0
        self.free_items += one.kind == "free_item"
        self.benefits += one.kind == "reward"
        self.given_minor += one.granted_minor

    def stamp(self, one: Stamped) -> None:
        """A card got its stamps, and issued what was due."""
        self.stamps += one.stamps
        self.benefits += len(one.effects)


@dataclass(slots=True)
class Side:
    """What one version gives: points, those of them that are available at once, what all are worth in minor units, and what comes
    besides. `campaigns`, `tiers`: points by code; the effects by campaign, stamp card and tier."""

    points: int = 0
    available: int = 0
    cost_minor: int = 0
    campaigns: dict[str, int] = field(default_factory=dict)
    tiers: dict[str, int] = field(default_factory=dict)
    effects: Effects = field(default_factory=Effects)
    effects_of_campaigns: dict[str, Effects] = field(default_factory=dict)
    effects_of_cards: dict[str, Effects] = field(default_factory=dict)
    effects_of_tiers: dict[str, Effects] = field(default_factory=dict)

    def add(self, judged: Judged) -> None:
        """One more bill in a wallet."""
        told, tier = judged.told(), judged.tier or ""
        self.points += judged.points
        self.available += judged.available + judged.reviewed
        self.cost_minor += told.available.money.amount_minor + told.held.money.amount_minor
        self.tiers[tier] = self.tiers.get(tier, 0) + judged.points
        for one in () if judged.details is None else judged.details.campaigns:
            if one.points:
                self.campaigns[one.campaign] = self.campaigns.get(one.campaign, 0) + one.points
        for offer in judged.offers:
            if offer.result == "applied":
                for mine in self._effects(self.effects_of_campaigns, offer.campaign, tier):
                    mine.offer(offer)
        for card in judged.stamps:
            if card.stamps:
                for mine in self._effects(self.effects_of_cards, card.card, tier):
                    mine.stamp(card)

    def _effects(self, by: dict[str, Effects], code: str, tier: str) -> tuple[Effects, Effects, Effects]:
        return (
            self.effects,
            by.setdefault(code, Effects()),
            self.effects_of_tiers.setdefault(tier, Effects()),
        )


@dataclass(slots=True)
class Simulated:
    """What happened, beside what the draft would have made of it, both of the bills that the draft judges. `more`, `less`, `same`:
    bills in a wallet, by their points. `passed_over`: those that the draft does not take, and the points that they got."""

    programme: str
    currency: str
    from_at: datetime
    to_at: datetime
    bills: int = 0
    judged: int = 0
    passed_over: int = 0
    passed_over_points: int = 0
    more: int = 0
    less: int = 0
    same: int = 0
    happened: Side = field(default_factory=Side)
    draft: Side = field(default_factory=Side)

    def add(self, was: Judged, would: Judged) -> None:
        """One more bill in a wallet, on both sides."""
        self.judged += 1
        self.happened.add(was)
        self.draft.add(would)
        self.more += would.points > was.points
        self.less += would.points < was.points
        self.same += would.points == was.points

    def shown(self) -> dict[str, Any]:
        """As one JSON object: each number as it was, as it would be, and the difference."""
        was, would = self.happened, self.draft
        return {
            "programme": self.programme,
            "currency": self.currency,
            "from": self.from_at.isoformat(),
            "to": self.to_at.isoformat(),
            "bills": self.bills,
            "judged": self.judged,
            "passed_over": self.passed_over,
            "passed_over_points": self.passed_over_points,
            "more": self.more,
            "less": self.less,
            "same": self.same,
            "points": _both(was.points, would.points),
            "available": _both(was.available, would.available),
            "held": _both(was.points - was.available, would.points - would.available),
            "cost_minor": _both(was.cost_minor, would.cost_minor),
            "campaigns": _each(was.campaigns, would.campaigns),
            "tiers": _each(was.tiers, would.tiers),
            "effects": {
                "all": _effects(was.effects, would.effects),
                "campaigns": _each_effects(was.effects_of_campaigns, would.effects_of_campaigns),
                "stamp_cards": _each_effects(was.effects_of_cards, would.effects_of_cards),
                "tiers": _each_effects(was.effects_of_tiers, would.effects_of_tiers),
            },
        }


def _both(was: int, would: int) -> dict[str, int]:
    return {"happened": was, "draft": would, "difference": would - was}


def _each(was: Mapping[str, int], would: Mapping[str, int]) -> dict[str, dict[str, int]]:
    return {name: _both(was.get(name, 0), would.get(name, 0)) for name in sorted({*was, *would})}


def _effects(was: Effects, would: Effects) -> dict[str, dict[str, int]]:
    return _each(asdict(was), asdict(would))


def _each_effects(was: Mapping[str, Effects], would: Mapping[str, Effects]) -> dict[str, Any]:
    none = Effects()
    return {name: _effects(was.get(name, none), would.get(name, none)) for name in sorted({*was, *would})}
