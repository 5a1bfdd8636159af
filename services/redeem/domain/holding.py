"""A reward that an authorisation set aside: what becomes of it when the authorisation ends."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from services.redeem.domain.codes import benefit_code, benefit_hash
from services.redeem.domain.redemption import Capture
from services.redeem.domain.rewards import Benefit, Reward
from shared.errors import AmountOutOfRange
from shared.programme.validation import UnreadVersion

State = Literal["held", "issued", "given_back"]


class Hold(msgspec.Struct):
    """One of a reward, held for a redemption at the version and tier that it was sold for. `reward`: that version, or why this
    release can't read it: then it goes back, and is issued by another process."""

    redemption_id: UUID
    programme: str
    code: str
    version: int
    tier: str | None
    state: State
    reward: Reward | UnreadVersion

    def known(self) -> Reward:
        """What is issued. Refuses tenant_migrating."""
        if isinstance(self.reward, UnreadVersion):
            raise self.reward
        return self.reward

    def issue(
        self,
        *,
        wallet_id: UUID,
        member_id: UUID,
        points: int,
        key: bytes,
        zone: ZoneInfo,
        benefit_id: UUID,
        now: datetime,
    ) -> Benefit:
        """The benefit that the capture gives; what was held is issued."""
        self.state = "issued"
        return Benefit(
            benefit_id,
            self.redemption_id,
            wallet_id,
            member_id,
            self.programme,
            self.code,
            self.version,
            self.tier,
            points,
            self.known().unit_cost_minor,
            benefit_hash(key, benefit_code(key, benefit_id)),
            now,
            self.known().expires_at(now, zone),
        )


def check_whole(command: Capture, points: int, money_minor: int) -> None:
    """Refuses the capture of a part of a reward."""
    if command.points is not None and command.points != points:
        raise AmountOutOfRange(f"A reward is captured whole: {points} points.", pointer="/points")
    if command.money is not None and command.money.amount_minor != money_minor:
        raise AmountOutOfRange(f"A reward is captured whole: {money_minor}.", pointer="/money/amount_minor")
