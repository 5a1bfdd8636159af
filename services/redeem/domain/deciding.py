"""What decided a redemption beside the version of its programme: kept with it, so that it is explained whatever is told later."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from services.redeem.domain.limits import Facts, LimitedTerms, moments, tier_of
from services.redeem.domain.redemption import Redeem
from services.redeem.domain.rewards import Reward

Step: TypeAlias = Literal["redeem", "capture", "allowance"]
"""What was decided: a redemption, now or for later; a capture that was the first to name its bill; a till's allowance."""


class Counted(msgspec.Struct, frozen=True):
    """What a wallet had spent, and how often, since a moment that a limit counts from."""

    since: datetime
    points: int
    redemptions: int


class Standing(NamedTuple):
    """The tier that counted, and what tiers had told last: tier, end, and place among the events about the wallet."""

    tier: str | None = None
    told_tier: str | None = None
    told_until: datetime | None = None
    told_sequence: int | None = None


class BillFacts(NamedTuple):
    """What was said of a bill, what points may pay of it at most, and what they had paid of it before (None: it is not named),
    in minor units."""

    bill_ref: str | None = None
    total_minor: int | None = None
    categories: tuple[tuple[str, int], ...] | None = None
    most_minor: int | None = None
    paid_minor: int | None = None


NOWHERE, NO_BILL = Standing(), BillFacts()


class Inputs(NamedTuple):
    """The inputs of one decision. `counted`: for each limit by period, then for each cap on velocity. `had`: of the reward, within
    its limit's period."""

    subject_id: UUID
    step: Step
    standing: Standing = NOWHERE
    bill: BillFacts = NO_BILL
    counted: tuple[Counted, ...] = ()
    had: int | None = None

    @property
    def any(self) -> bool:
        """Whether something decided that is not on the redemption itself."""
        return self[2:] != (NOWHERE, NO_BILL, (), None)


def of_redemption(
    redemption_id: UUID,
    terms: LimitedTerms,
    command: Redeem,
    facts: Facts | None,
    *,
    most_minor: int | None,
    paid_minor: int | None,
    now: datetime,
) -> Inputs:
    """Those of points that are spent, or set aside."""
    bill = NO_BILL
    if most_minor is not None:
        bill = BillFacts(
            command.bill_ref, command.bill_total_minor, command.bill_categories, most_minor, paid_minor
        )
    tiered = terms.redeeming.tiers is not None
    return Inputs(
        redemption_id,
        "redeem",
        standing_in(terms, facts, now) if tiered else NOWHERE,
        bill,
        counted_of(terms, facts, now),
    )


def of_reward(
    redemption_id: UUID, terms: LimitedTerms, reward: Reward, facts: Facts, *, had: int, now: datetime
) -> Inputs:
    """Those of points that buy a reward: its price and its windows may be a tier's."""
    tiered = (
        terms.redeeming.tiers is not None
        or bool(reward.tier_prices)
        or any(one.tiers is not None for one in reward.windows)
    )
    return Inputs(
        redemption_id,
        "redeem",
        standing_in(terms, facts, now) if tiered else NOWHERE,
        NO_BILL,
        counted_of(terms, facts, now),
        had if reward.limit is not None else None,
    )


def standing_in(terms: LimitedTerms, facts: Facts | None, now: datetime) -> Standing:
    """Where a member stands, by what was told of them."""
    told = facts or Facts()
    return Standing(tier_of(terms, told, now), told.tier, told.until, told.sequence)


def counted_of(terms: LimitedTerms, facts: Facts | None, now: datetime) -> tuple[Counted, ...]:
    """What limits were counted from, before this one is counted."""
    if facts is None or not terms.redeeming.counts:
        return ()
    return tuple(
        Counted(since, spent.points, spent.redemptions)
        for since, spent in zip(moments(terms, now), facts.spent, strict=True)
    )
