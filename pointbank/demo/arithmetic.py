"""The points that the journal's bills should have earned, beside what each answer said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pointbank.generate import expected_points
from pointbank.journal import Acknowledged, Answered, AnyEntry, Called, Offered

_decode = msgspec.json.decode


@dataclass
class Expected:
    """Over all bills of a journal. `wrong` are bills whose answer is not what the generator works out."""

    bills: int = 0
    points: int = 0
    redeemed: int = 0
    members: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    by_wallet: dict[str, int] = field(default_factory=dict)

    @property
    def available(self) -> int:
        """What is left to spend: this programme holds nothing back and nothing expires while the demo runs."""
        return self.points - self.redeemed


def expected_of(entries: Iterable[AnyEntry], document: Mapping[str, Any]) -> Expected:
    """Works every answered bill out again from its body, with the tier that its answer names."""
    expected = Expected()
    bodies: dict[tuple[str, str], msgspec.Raw] = {}
    answers: dict[tuple[str, str], Answered] = {}
    for entry in entries:
        match entry:
            case Offered() if isinstance(entry.body, msgspec.Raw):
                bodies.setdefault((entry.source, entry.id), entry.body)
            case Answered() if entry.source is not None and entry.id is not None:
                key = (entry.source, entry.id)
                if key not in answers or answers[key].status in {"waiting", "unclaimed"}:
                    answers[key] = entry
            case Acknowledged() if entry.http_status == 201:
                answer = _decode(entry.answer)
                if entry.path == "/v1/redemptions":
                    expected.redeemed += answer["redeemed"]["points"]
                elif entry.path == "/v1/members":
                    expected.members.add(answer["member_id"])
            case _:
                pass
    for key, answer in answers.items():
        if key in bodies:
            _work_out(expected, key[1], _decode(bodies[key]), answer, document)
    return expected


def unanswered_calls(entries: Iterable[AnyEntry]) -> list[Called]:
    """The calls that a journal has no answer to, oldest first, each key once."""
    left: dict[str, Called] = {}
    for entry in entries:
        if isinstance(entry, Called):
            left[entry.key] = entry
        elif isinstance(entry, Acknowledged):
            left.pop(entry.key, None)
    return list(left.values())


def _work_out(
    expected: Expected, bill_ref: str, body: Mapping[str, Any], answer: Answered, document: Mapping[str, Any]
) -> None:
    if answer.status in {"rejected", "waiting", "unclaimed"}:
        expected.wrong.append(f"{bill_ref}: {answer.status} {answer.code or ''}".rstrip())
        return
    expected.bills += 1
    if bool(body.get("member")) != bool(answer.accruals):
        expected.wrong.append(f"{bill_ref}: {len(answer.accruals)} accruals")
    for accrual in answer.accruals:
        points = expected_points(document, body, tier=accrual.tier)
        expected.points += points
        expected.by_wallet[accrual.wallet_id] = expected.by_wallet.get(accrual.wallet_id, 0) + points
        if (accrual.points, accrual.held) != (points, 0):
            expected.wrong.append(
                f"{bill_ref}: {accrual.points} available, {accrual.held} held, not {points}"
            )
