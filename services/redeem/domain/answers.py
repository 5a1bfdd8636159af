"""What people put right, as it is answered: ready for JSON, points with their money."""

from __future__ import annotations

from typing import Any

from services.redeem.domain.acts import Adjustment, Evidence
from services.redeem.domain.disputes import Dispute
from services.redeem.domain.posting import Value
from shared.money import worth


def adjustment_out(one: Adjustment, value: Value, *, whole: bool = True) -> dict[str, Any]:
    """An adjustment; without `whole`, as it stands in a list. Points below zero are taken."""

    def valued(points: int) -> Any:
        return worth(points, value.point_value, value.currency)

    shown = {
        "adjustment_id": one.adjustment_id,
        "programme": one.programme,
        "status": one.state,
        "reason": one.reason,
        "evidence": evidence_out(one.evidence),
        "second_person_above": valued(one.second_person_above),
        "requested_by": one.requested_by,
        "requested_at": one.requested_at,
        "decided_by": one.decided_by,
        "decided_at": one.decided_at,
        "note": one.note,
        "wallets": len(one.parts),
        "given": valued(sum(part.points for part in one.parts if part.points > 0)),
        "taken": valued(-sum(part.points for part in one.parts if part.points < 0)),
    }
    if whole:
        shown["items"] = [
            {
                "posting_id": part.posting_id if one.state == "posted" else None,
                "wallet_id": part.wallet_id,
                "adjusted": valued(part.points),
                "expires_at": part.expires_at,
            }
            for part in one.parts
        ]
    return shown


def dispute_out(one: Dispute, value: Value) -> dict[str, Any]:
    """A dispute; `correction` is what its wallet gets (or loses, below zero) if it is upheld."""
    return {
        "dispute_id": one.dispute_id,
        "posting_id": one.posting_id,
        "wallet_id": one.wallet_id,
        "programme": one.programme,
        "status": one.state,
        "correction": worth(one.points, value.point_value, value.currency),
        "reason": one.reason,
        "evidence": None if one.evidence is None else evidence_out(one.evidence),
        "opened_by": one.opened_by,
        "opened_at": one.opened_at,
        "decided_by": one.decided_by,
        "decided_at": one.decided_at,
        "note": one.note,
        "adjustment_id": one.adjustment_id,
    }


def evidence_out(evidence: Evidence) -> dict[str, Any]:
    """A reference, with the SHA-256 in hex where it is known."""
    return {
        "reference": evidence.reference,
        "sha256": None if evidence.sha256 is None else evidence.sha256.hex(),
    }
