"""What campaigns and stamp cards give besides points (`pointbank verify` computes the same a second time):

- A campaign that gives something at the checkout is for the same bills as one that gives points, and counts the lines that
  earn by a rule, match, and are not excluded, however they were paid. It looks at the bill as it was before the till took off
  the discounts that it claims: at its total, and what its lines come to, and what was taken off these besides. A discount
  was taken off the lines that its campaign counts; of one whose campaign is not for the bill nobody knows which: off any.
  A line that would earn but for its discount counts too where that is no more than all that the till took off.
- A discount is its amount, or its part of what the lines come to, floored; never more than that, nor than its `most_minor`.
- A till claims discounts and free items that it gave; a reward is given without a claim. On a bill those compete that are
  claimed or are rewards (the others are `unclaimed`), in a quote all. Of these the first `exclusive` one alone; else every
  `all`, and of the `best_only` the one that gives most. Points compete with points, these with these.
- It grants at most what is claimed, what it is worth, and what is left of its budget: of a discount a part, of an item or a
  reward all or nothing. Member's caps count how often. What is claimed beyond is a variance, and the bill is taken all the same.
- A discount that is claimed at 0 took nothing off, and is `unclaimed`. A free item that is was given all the same: it is granted
  as what it is worth. (Before form 4 of a decision both competed, and were `used_up`.)
- A stamp card gives one stamp for each whole item of the lines that it counts, or one a bill, at most `most_per_bill`. When
  there are as many as it needs they are taken off it and its reward is issued.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from shared.programme.campaigns import (
    BudgetKey,
    CapKey,
    CompiledCampaign,
    CompiledEffect,
    Entry,
    Limits,
    Offer,
    Room,
    Spent,
    Tried,
    chosen_of,
)
from shared.programme.conditions import MILLION, compile_condition
from shared.programme.days import day_of, since
from shared.programme.earning import StampCard, instant
from shared.programme.matching import matcher_of
from shared.programme.subject import FIELDS, Line, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

MONEY, TIMES = "/money", "/times"
"""What a counter's campaign ends in where it counts no points: minor units, or how often. No code has a slash."""


class Offered(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A campaign that gives something at the checkout, as a decision keeps it. `worth_minor` is what it could give but for
    claims, caps, budget and the others; `granted_minor` what it gave."""

    campaign: str
    result: str
    condition: str = ""
    arm: str | None = None
    kind: str | None = None
    """discount, free_item or reward."""
    what: str | None = None
    """The sku, or the reward."""
    amount_minor: int | None = None
    """What a discount was counted of."""
    worth_minor: int = 0
    claimed_minor: int | None = None
    budget: tuple[int, int] | None = None
    """What of the limit had been given, and the limit, in minor units."""
    caps: tuple[Room, ...] = ()
    """How often it was given to the member before, and how often it is at most."""
    granted_minor: int = 0
    effect_id: UUID | None = None
    """Under which the bank is asked for the reward."""


class Stamped(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A stamp card that lasts at that time, as a decision keeps it."""

    card: str
    result: str
    """stamped, nothing, or where it ended."""
    condition: str = ""
    lines: tuple[int, ...] = ()
    """The places of those that it counted."""
    stamps: int = 0
    before: int = 0
    """Stamps on the card before; below zero where a used reward's stamps were taken back."""
    needed: int = 0
    reward: str | None = None
    effects: tuple[UUID, ...] = ()
    """Under which the bank is asked for rewards."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledCard:
    """A stamp card of a version."""

    code: str
    name: Mapping[str, str]
    counts: CompiledCampaign
    """Which lines of which bills it counts; it gives nothing by itself."""
    by_item: bool
    needed: int
    most: int
    reward: str

    def stamp(self, subject: Subject, lines: Sequence[Line], entries: Sequence[Entry]) -> Stamped | None:
        """The stamps that a bill gives, whatever is on the card. None: the card does not last at that time."""
        reached = self.counts.reach(subject, lines, entries)
        if reached is None:
            return None
        if isinstance(reached, Tried):
            return Stamped(self.code, reached.result, reached.condition)
        counted, trace = reached
        stamps = min(sum([entry[3] for entry in counted]) // MILLION if self.by_item else 1, self.most)
        places = tuple([entry[0] for entry in counted])
        result = "stamped" if stamps else "nothing"
        return Stamped(self.code, result, trace, places, stamps, 0, self.needed, self.reward)


def punch(one: Stamped, before: int, new_id: Callable[[], UUID]) -> tuple[Stamped, int]:
    """The stamps on a card that has so many, and how many are on it then."""
    after = before + one.stamps
    due = max(after // one.needed, 0)
    effects = tuple([new_id() for _ in range(due)])
    return msgspec.structs.replace(one, before=before, effects=effects), after - due * one.needed


Reached = tuple[Sequence[Entry], str] | Tried | None
"""The lines that a campaign counts, and the results of its condition; where it ended; None: it does not last."""


def offered(
    tried: Sequence[tuple[CompiledCampaign, Reached]], subject: Subject, lines: Sequence[Line]
) -> tuple[Offered, ...]:
    """How far campaigns come with a bill, whatever was given before."""
    places = {
        campaign.code: frozenset([entry[0] for entry in reached[0]])
        for campaign, reached in tried
        if isinstance(reached, tuple)
    }
    return tuple(
        [
            _offered(campaign, reached, subject, lines, places)
            for campaign, reached in tried
            if reached is not None
        ]
    )


def _offered(
    campaign: CompiledCampaign,
    reached: tuple[Sequence[Entry], str] | Tried,
    subject: Subject,
    lines: Sequence[Line],
    places: Mapping[str, frozenset[int]],
) -> Offered:
    if isinstance(reached, Tried):
        return Offered(campaign.code, reached.result, reached.condition)
    effect, arm = campaign.effect, None
    if campaign.arms:
        arm = campaign.arm(str(subject.member_id))
        effect = arm.effect
    gift = effect.checkout
    assert gift is not None, "points are tried elsewhere"
    amount = None
    if gift.kind == "discount":
        own = places[campaign.code]
        amount = sum([lines[place].amount_minor for place in own]) + sum(
            [
                taken_off
                for code, taken_off in subject.claims.items()
                if code not in places or not own.isdisjoint(places[code])
            ]
        )
    worth = gift.worth(amount or 0, subject.tier)
    result = "nothing" if not worth else "control" if arm is not None and arm.control else "able"
    code = None if arm is None else arm.code
    return Offered(campaign.code, result, reached[1], code, gift.kind, gift.what, amount, worth)


# ---- among others, and within what is left -----------------------------------------------------


def _competing(offers: Sequence[Offered], claims: Mapping[str, int] | None) -> Iterator[tuple[int, Offered]]:
    for place, one in enumerate(offers):
        if one.result == "able" and (claims is None or one.kind == "reward" or _claimed(one, claims)):
            yield place, one


def _claimed(one: Offered, claims: Mapping[str, int]) -> bool:
    claimed = claims.get(one.campaign)
    return claimed is not None and (claimed > 0 or one.kind == "free_item")


def counters(
    limits: Limits,
    offers: Sequence[Offered],
    claims: Mapping[str, int] | None,
    wallet_id: UUID,
    occurred_at: datetime,
) -> Iterator[CapKey | BudgetKey]:
    """The counters that have to be known, and held, before this is granted."""
    for _, one in _competing(offers, claims):
        campaign = limits.campaigns[one.campaign]
        if campaign.budget is not None:
            yield limits.programme, one.campaign + MONEY
        if campaign.caps:
            today = day_of(occurred_at, limits.zone)
            for period, _ in campaign.caps:
                yield wallet_id, one.campaign + TIMES, period, since(period, today)


def grant(
    limits: Limits,
    offers: Sequence[Offered],
    claims: Mapping[str, int] | None,
    *,
    wallet_id: UUID,
    occurred_at: datetime,
    spent: Spent,
    new_id: Callable[[], UUID],
) -> tuple[tuple[Offered, ...], dict[CapKey | BudgetKey, int]]:
    """(what of these is given after what was given before, what has to be added by counter). `claims` None: a quote, in
    which all compete."""
    today = day_of(occurred_at, limits.zone)
    options = [
        _option(limits, place, one, claims, wallet_id, today, spent)
        for place, one in _competing(offers, claims)
    ]
    applied = {option.place for option in chosen_of(options)}
    left_out = (
        "excluded" if any(option.exclusive for option in options if option.place in applied) else "not_best"
    )
    decided = [
        msgspec.structs.replace(
            one,
            result="unclaimed" if one.result == "able" else one.result,
            claimed_minor=None if claims is None else claims.get(one.campaign),
        )
        for one in offers
    ]
    given: dict[CapKey | BudgetKey, int] = {}
    for option in options:
        one = msgspec.structs.replace(decided[option.place], budget=option.budget, caps=option.caps)
        if option.place not in applied:
            result = left_out if option.granted else "used_up"
            decided[option.place] = msgspec.structs.replace(one, result=result)
            continue
        asks = one.kind == "reward" and claims is not None
        decided[option.place] = msgspec.structs.replace(
            one,
            result="offered" if claims is None else "applied",
            granted_minor=option.granted,
            effect_id=new_id() if asks else None,
        )
        if option.budget is not None:
            given[limits.programme, one.campaign + MONEY] = option.granted
        for room in option.caps:
            given[wallet_id, one.campaign + TIMES, room.period, room.since] = 1
    known = {one.campaign for one in offers}
    decided += [
        Offered(code, "unknown", claimed_minor=amount)
        for code, amount in (claims or {}).items()
        if code not in known
    ]
    return tuple(decided), given


def _option(
    limits: Limits,
    place: int,
    one: Offered,
    claims: Mapping[str, int] | None,
    wallet_id: UUID,
    today: date,
    spent: Spent,
) -> Offer:
    campaign = limits.campaigns[one.campaign]
    claimed = None if claims is None else claims.get(one.campaign)
    granted = one.worth_minor
    if claimed and one.kind != "reward":
        granted = min(claimed, granted)
    rooms = []
    for period, limit in campaign.caps:
        begins = since(period, today)
        had = spent.get((wallet_id, one.campaign + TIMES, period, begins), 0)
        rooms.append(Room(period, begins, had, limit))
        if had >= limit:
            granted = 0
    budget = None
    if campaign.budget is not None:
        budget = spent.get((limits.programme, one.campaign + MONEY), 0), campaign.budget
        left = max(budget[1] - budget[0], 0)
        granted = min(granted, left) if one.kind == "discount" else granted if granted <= left else 0
    return Offer(place, granted, campaign.stacking, budget, tuple(rooms))


# ---- compiling ---------------------------------------------------------------------------------


def compile_card(card: StampCard) -> CompiledCard:
    """A valid stamp card."""
    when = None if card.when is None else compile_condition(card.when, FIELDS)
    match = matcher_of(card.match)
    by_line = when is not None and when.by_line
    counts = CompiledCampaign(
        code=card.code,
        starts_at=datetime.min.replace(tzinfo=UTC) if card.starts_at is None else instant(card.starts_at),
        ends_at=datetime.max.replace(tzinfo=UTC) if card.ends_at is None else instant(card.ends_at),
        window=None,
        match=match,
        exclude=None if card.exclude is None else matcher_of(card.exclude),
        when=None if by_line else when,
        line_when=when if by_line else None,
        effect=CompiledEffect(None, None, None),
        with_tier=False,
        arms=(),
        stacking="all",
        caps=(),
        budget=None,
        by_bill=match.by_bill,
        all_lines=match.categories is None and match.skus is None and card.exclude is None and not by_line,
        by_match=card.exclude is None and not by_line,
        bounded=False,
    )
    return CompiledCard(
        card.code, card.name or {}, counts, card.count == "item", card.stamps, card.most_per_bill, card.reward
    )
