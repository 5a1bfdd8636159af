"""Disputes of postings, said as simply as they can be: open, then upheld with evidence and by another person, or rejected."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from tests.support.models.desk import ModelDesk
from tests.support.models.replies import Reply, Said, refuse


@dataclass
class ModelDispute:
    posting: str
    points: int
    evidence: Said | None
    opener: str
    status: str = "open"


@dataclass
class ModelDisputes:
    """What was said to be wrong at a desk."""

    desk: ModelDesk
    disputes: list[ModelDispute] = field(default_factory=list)

    def open(self, posting: str | None, points: int, evidence: Said | None, opener: str) -> Reply:
        """Of a posting that there is, or (None) of one that there is not."""
        if posting is None:
            return refuse("not_found")
        if points == 0:
            return refuse("amount_out_of_range")
        if any(one.posting == posting and one.status != "rejected" for one in self.disputes):
            return refuse("dispute_exists")
        self.disputes.append(ModelDispute(posting, points, evidence, opener))
        return Reply(201, self._shown(self.disputes[-1]))

    def decide(
        self, one: ModelDispute, *, uphold: bool, evidence: Said | None, decider: str, now: datetime
    ) -> Reply:
        """A refusal leaves it open; evidence takes the place of what it was opened with."""
        if one.status != "open":
            return refuse("dispute_not_open")
        if decider == one.opener:
            return refuse("own_request")
        evidence = evidence or one.evidence
        if uphold:
            if evidence is None or "sha256" not in evidence:
                return refuse("evidence_missing")
            if not self.desk.bank.adjust(self.desk.wallet, one.points, until=None, now=now):
                return refuse("insufficient_points")
        one.status, one.evidence = "upheld" if uphold else "rejected", evidence
        return Reply(200, {**self._shown(one), "decided_by": decider, "decided_at": now})

    def _shown(self, one: ModelDispute) -> Said:
        return {
            "status": one.status,
            "posting_id": one.posting,
            "correction": self.desk.worth(one.points),
            "opened_by": one.opener,
        }
