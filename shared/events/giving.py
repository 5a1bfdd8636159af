"""Benefits that nobody bought: earn asks the bank for one, for a campaign or a full stamp card, and asks it back with a refund.

The bank answers each `effect_id` once, by `BenefitAnswered`; a repeat is answered no second time. A withdrawal that comes before
what it withdraws is answered `nothing`, and the request that it names is refused when it comes (`benefit_withdrawn`).
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

import msgspec

from shared.events.envelope import EventData


class BenefitSource(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a benefit is for: the campaign or stamp card, and the bill that brought it."""

    kind: Literal["campaign", "stamp_card"]
    code: str
    bill_id: UUID | None = None


class BenefitAsked(EventData, frozen=True, kw_only=True):
    """Subject: the bill_id, or whatever earn counts its events by. A benefit of this reward is to be issued, once."""

    TYPE: ClassVar[str] = "benefit.asked.v1"
    SOURCE: ClassVar[str] = "/earn"
    effect_id: UUID
    wallet_id: UUID
    member_id: UUID
    programme: str
    reward: str
    source: BenefitSource
    effective_at: datetime


class BenefitWithdrawalAsked(EventData, frozen=True, kw_only=True):
    """Subject as above. What was issued for `issued_by` (the effect_id of a BenefitAsked) is to be taken back, if unused."""

    TYPE: ClassVar[str] = "benefit.withdrawal_asked.v1"
    SOURCE: ClassVar[str] = "/earn"
    effect_id: UUID
    issued_by: UUID


class BenefitAnswered(EventData, frozen=True, kw_only=True):
    """Subject: the effect_id. `issued` or `refused` (`code` says why: `reward_unknown`, `reward_unavailable`, `reward_sold_out`,
    `benefit_withdrawn`) answer a BenefitAsked; `withdrawn`, `used_already` or `nothing` (never issued, withdrawn before, or
    expired) a BenefitWithdrawalAsked."""

    TYPE: ClassVar[str] = "benefit.answered.v1"
    SOURCE: ClassVar[str] = "/redeem"
    effect_id: UUID
    outcome: Literal["issued", "refused", "withdrawn", "used_already", "nothing"]
    benefit_id: UUID | None
    code: str | None
