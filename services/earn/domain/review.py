"""A bill that guards flagged, on somebody's desk: what may be decided about it, and how it is told."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from shared.errors import Refusal
from shared.money import Worth, worth

State = Literal["open", "released", "cancelled"]
Verdict = Literal["released", "cancelled"]


class ReviewDecided(Refusal):
    code = "review_decided"


class Review(msgspec.Struct, kw_only=True):
    """What is held of a bill in a wallet for a review. `request_id`, `sequence`: what the bank is asked for a cancelled one, and
    the place of that among the events about the bill; `taken`: what it took."""

    review_id: UUID
    bill_id: UUID
    merchant: str
    bill_ref: str
    terminal: str | None
    cashier: str | None
    occurred_at: datetime
    total_minor: int
    member_id: UUID
    wallet_id: UUID
    programme: str
    accrual_id: UUID
    points: int
    currency: str
    point_value: str
    patterns: tuple[str, ...]
    flagged_at: datetime
    state: State = "open"
    decided_at: datetime | None = None
    decided_by: str | None = None
    reason: str | None = None
    request_id: UUID | None = None
    sequence: int | None = None
    answer_event_id: UUID | None = None
    taken: int | None = None


class Decide(msgspec.Struct, frozen=True):
    """Somebody looked at it. `merchant` None: whoever's bill it is."""

    review_id: UUID
    verdict: Verdict
    reason: str
    merchant: str | None


class ReviewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A review as it is told."""

    review_id: UUID
    state: State
    patterns: tuple[str, ...]
    bill_id: UUID
    merchant: str
    bill_ref: str
    terminal: str | None
    cashier: str | None
    occurred_at: datetime
    total_minor: int
    currency: str
    member_id: UUID
    wallet_id: UUID
    programme: str
    held: Worth
    flagged_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


def told(review: Review) -> ReviewAnswer:
    """The review as everybody is told of it."""
    return ReviewAnswer(
        review_id=review.review_id,
        state=review.state,
        patterns=review.patterns,
        bill_id=review.bill_id,
        merchant=review.merchant,
        bill_ref=review.bill_ref,
        terminal=review.terminal,
        cashier=review.cashier,
        occurred_at=review.occurred_at,
        total_minor=review.total_minor,
        currency=review.currency,
        member_id=review.member_id,
        wallet_id=review.wallet_id,
        programme=review.programme,
        held=worth(review.points, review.point_value, review.currency),
        flagged_at=review.flagged_at,
        decided_at=review.decided_at,
        decided_by=review.decided_by,
        reason=review.reason,
    )
