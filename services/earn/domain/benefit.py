"""Rewards that the bank is asked to issue, for campaigns and full stamp cards, and what a refund takes back of them: pure.

A card's `progress` is all stamps given, less those that refunds took back, less those that rewards took: of every reward that
was asked for and is not refused, withdrawn or being withdrawn. Where a refund brings it below zero, the latest rewards are
asked back, one after the other, and their stamps lie on the card again. One that was used already takes them for good: then the
card is below zero, and what comes next fills it up first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from services.earn.domain.decision import Decision, Judged
from services.earn.domain.refund import RefundedBill

Status = Literal["asked", "issued", "refused", "withdrawing", "withdrawn", "kept"]


@dataclass(slots=True, eq=False)
class Effect:
    """A reward that the bank was asked for. `stamps`: what it took off its card, 0 for a campaign's."""

    effect_id: UUID
    kind: Literal["campaign", "stamp_card"]
    code: str
    bill_id: UUID
    wallet_id: UUID
    member_id: UUID
    programme: str
    reward: str
    stamps: int
    effective_at: datetime
    status: Status
    benefit_id: UUID | None
    answer_code: str | None
    withdrawal_id: UUID | None
    sequence: int
    request_id: str
    traceparent: str | None

    def refused_by(self, outcome: str) -> bool:
        """Whether this answer is the first that says that a campaign's reward is refused, be it asked back by then or not."""
        return (
            self.kind == "campaign"
            and outcome == "refused"
            and self.answer_code is None
            and self.status in ("asked", "withdrawing", "withdrawn")
        )

    def answered(self, outcome: str, benefit_id: UUID | None, code: str | None) -> int:
        """Takes an answer in; gives how many stamps come back to its card (negative: are taken again)."""
        match outcome, self.status:
            case "issued", "asked":
                self.status = "issued"
            case "refused", "asked":
                self.status, self.answer_code = "refused", code or "refused"
                return self.stamps
            case "refused", "withdrawing" | "withdrawn" if self.kind == "campaign":
                self.answer_code = code or "refused"
            case "withdrawn" | "nothing", "withdrawing":
                self.status = "withdrawn"
            case "used_already", "withdrawing":
                self.status = "kept"
                return -self.stamps
        if outcome == "issued":
            self.benefit_id = benefit_id
        return 0

    def withdraw(self, new_id: Callable[[], UUID]) -> int:
        """It is asked back; gives how many stamps lie on its card again."""
        assert self.status in ("asked", "issued"), self.status
        self.status, self.withdrawal_id = "withdrawing", new_id()
        return self.stamps


def asked_of(
    bill_id: UUID,
    occurred_at: datetime,
    decision: Decision,
    *,
    request_id: str,
    traceparent: str | None,
) -> Iterator[Effect]:
    """The rewards that a decision asks for."""
    for judged in decision.programmes:
        wanted = [
            (one.effect_id, "campaign", one.campaign, one.what, 0)
            for one in judged.offers
            if one.effect_id is not None
        ]
        wanted += [
            (effect_id, "stamp_card", one.card, one.reward, one.needed)
            for one in judged.stamps
            for effect_id in one.effects
        ]
        for effect_id, kind, code, reward, stamps in wanted:
            assert decision.member_id is not None
            assert reward is not None
            yield Effect(
                effect_id,
                kind,  # type: ignore[arg-type]  # one of the two
                code,
                bill_id,
                judged.wallet_id,
                decision.member_id,
                judged.programme,
                reward,
                stamps,
                occurred_at,
                "asked",
                None,
                None,
                None,
                1,
                request_id,
                traceparent,
            )


@dataclass(frozen=True, slots=True)
class TakenStamps:
    """So many stamps of a bill on a card are taken back in all."""

    bill_id: UUID
    wallet_id: UUID
    card: str
    through: int


def all_stamps(bill_id: UUID, judged: Judged) -> list[TakenStamps]:
    """What a bill that was cancelled as fraud takes back of the stamps that it gave in this wallet: all of them."""
    return [
        TakenStamps(bill_id, judged.wallet_id, one.card, one.stamps) for one in judged.stamps if one.stamps
    ]


def taken_stamps(bill: RefundedBill, refunded: Mapping[str, Sequence[int]]) -> Iterator[TakenStamps]:
    """What a bill's refunds take back of its stamps, when within a programme's window they come to so much of each line: of each
    card floor(stamps x refunded of the lines that it counted / what these lines came to). Where they came to nothing, all lines
    are looked at; where these did, too, any refund takes all."""
    for judged in bill.decision.programmes:
        if judged.programme not in refunded:
            continue
        for one in judged.stamps:
            if not one.stamps:
                continue
            places: Sequence[int] = one.lines
            if not sum([bill.amounts[place] for place in places]):
                places = range(len(bill.amounts))
            whole = sum([bill.amounts[place] for place in places])
            part = sum([refunded[judged.programme][place] for place in places])
            through = one.stamps * part // whole if whole else one.stamps
            yield TakenStamps(bill.bill_id, judged.wallet_id, one.card, through)
