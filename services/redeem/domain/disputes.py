"""Disputes: somebody says that a posting is wrong; somebody else looks at the evidence, and corrects it or not."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

import msgspec

from services.redeem.domain.acts import Adjustment, Evidence, Part
from services.redeem.domain.approving import OwnRequest
from services.redeem.domain.posting import check_worth
from shared.errors import Refusal
from shared.programme.adjusting import BY_DISPUTE
from shared.programme.compiled import CompiledProgramme

DisputeState = Literal["open", "upheld", "rejected"]


class DisputeExists(Refusal):
    code: ClassVar[str] = "dispute_exists"


class DisputeNotOpen(Refusal):
    code: ClassVar[str] = "dispute_not_open"


class EvidenceMissing(Refusal):
    code: ClassVar[str] = "evidence_missing"


class OpenDispute(msgspec.Struct, frozen=True, kw_only=True):
    """A posting is wrong: its wallet should get so many points (above zero), or lose them (below zero)."""

    dispute_id: UUID
    posting_id: UUID
    points: int
    reason: str
    evidence: Evidence | None


class DecideDispute(msgspec.Struct, frozen=True, kw_only=True):
    """Uphold an open dispute, or reject it. Evidence takes the place of what it was opened with."""

    dispute_id: UUID
    uphold: bool
    evidence: Evidence | None = None
    note: str | None = None


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """A dispute as it stands; `adjustment_id` is the correction of an upheld one."""

    dispute_id: UUID
    posting_id: UUID
    wallet_id: UUID
    programme: str
    points: int
    reason: str
    evidence: Evidence | None
    state: DisputeState
    opened_by: str
    opened_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    note: str | None = None
    adjustment_id: UUID | None = None


def settled(asked: DecideDispute, before: Dispute, *, by: str, now: datetime, adjustment_id: UUID) -> Dispute:
    """The dispute as somebody else decided about it. Refuses dispute_not_open, own_request, and evidence_missing where it would be
    upheld without a reference and the SHA-256 of what that refers to."""
    if before.state != "open":
        raise DisputeNotOpen(f"The dispute is {before.state}; nothing is left to decide.")
    if by == before.opened_by:
        raise OwnRequest("Nobody decides about a dispute of their own. Ask somebody else to.")
    evidence = asked.evidence or before.evidence
    if asked.uphold and (evidence is None or evidence.sha256 is None):
        raise EvidenceMissing(
            "Nothing is upheld without evidence: give its reference and SHA-256.", pointer="/evidence"
        )
    return msgspec.structs.replace(
        before,
        state="upheld" if asked.uphold else "rejected",
        evidence=evidence,
        decided_by=by,
        decided_at=now,
        note=asked.note,
        adjustment_id=adjustment_id if asked.uphold else None,
    )


def correction(upheld: Dispute, terms: CompiledProgramme, *, posting_id: UUID) -> Adjustment:
    """The adjustment that an upheld dispute posts: asked for by who opened it, approved by who upheld it. Refuses
    amount_out_of_range, for points may be worth more than when it was opened."""
    check_worth(abs(upheld.points), terms, "/points")
    assert upheld.adjustment_id is not None
    assert upheld.evidence is not None
    return Adjustment(
        adjustment_id=upheld.adjustment_id,
        programme=upheld.programme,
        programme_version=terms.version,
        second_person_above=terms.adjusting.second_person_above,
        state="posted",
        reason=BY_DISPUTE,
        evidence=upheld.evidence,
        requested_by=upheld.opened_by,
        requested_at=upheld.opened_at,
        decided_by=upheld.decided_by,
        decided_at=upheld.decided_at,
        note=upheld.note,
        parts=(Part(posting_id=posting_id, wallet_id=upheld.wallet_id, points=upheld.points),),
    )
