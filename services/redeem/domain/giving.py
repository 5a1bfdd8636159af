"""Benefits that nobody bought: what is issued of a reward, and what becomes of one that is asked back."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from services.redeem.domain.codes import benefit_code, benefit_hash
from services.redeem.domain.rewards import Benefit, Origin, Stock

Withdrawn = Literal["withdrawn", "used_already", "nothing"]


class LapseBenefits(msgspec.Struct, frozen=True):
    """Write off benefits that expired unused: so many at most, the longest ago first."""

    most: int


class LapsedOf(msgspec.Struct):
    """How many of a reward were written off, and what they would have cost."""

    programme: str
    reward: str
    benefits: int = 0
    cost_minor: int = 0


class Lapsed(msgspec.Struct, frozen=True):
    """What a step wrote off, by reward, and whether more may be due."""

    rewards: tuple[LapsedOf, ...]
    more: bool


def give(
    stock: Stock,
    *,
    benefit_id: UUID,
    wallet_id: UUID,
    member_id: UUID,
    origin: Origin,
    asked_by: UUID | None,
    key: bytes,
    zone: ZoneInfo,
    programme_version: int,
    now: datetime,
) -> Benefit:
    """Takes one of the stock, which is locked, and gives the benefit; refuses as `Stock.give` does. `key`: the tenant's."""
    stock.give()
    stock.taken += 1
    return Benefit(
        benefit_id,
        None,
        wallet_id,
        member_id,
        stock.programme,
        stock.code,
        stock.version,
        None,
        0,
        stock.reward.unit_cost_minor,
        benefit_hash(key, benefit_code(key, benefit_id)),
        now,
        stock.reward.expires_at(now, zone),
        origin,
        asked_by,
        programme_version,
    )


def withdrawal(
    *,
    expires_at: datetime | None,
    consumed_at: datetime | None,
    withdrawn_at: datetime | None,
    lapsed_at: datetime | None,
    now: datetime,
) -> Withdrawn:
    """What becomes of a benefit that is asked back: it is taken unless it was used; one that is over has nothing to take."""
    if consumed_at is not None:
        return "used_already"
    if withdrawn_at is not None or lapsed_at is not None or (expires_at is not None and expires_at <= now):
        return "nothing"
    return "withdrawn"
