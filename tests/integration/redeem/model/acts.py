# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What people do to the wallet of a model's machine, over HTTP: points put right, brought along and given away."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.integration.redeem.model.machine import Machine
from tests.integration.redeem.model.programmes import MINUTE
from tests.support.models.replies import Reply, Said, refuse

FEW = st.integers(1, 12)
"""So few that what one person does of a wallet within a day stays within what a person does alone."""
END = st.sampled_from([None, 15, 1440, 4320])
PART = st.sampled_from(["some", "half", "all", "more"])
FINANCE: dict[str, Any] = {"role": "finance", "mfa": True}


class ActsOfPersons(Machine):
    """Rules for a machine."""

    @rule(points=FEW, end=END)
    def somebody_gives_points(self, points: int, end: int | None) -> None:
        self.model.bank.adjust(self.model.wallet, points, until=_until(self, end), now=self.house.now)
        _adjust(self, points, end, Reply(201, {"status": "posted", "given": self.model.worth(points)}))

    @rule(points=FEW)
    def somebody_takes_points(self, points: int) -> None:
        done = self.model.bank.adjust(self.model.wallet, -points, until=None, now=self.house.now)
        taken = Reply(201, {"status": "posted", "taken": self.model.worth(points)})
        _adjust(self, -points, None, taken if done else refuse("insufficient_points"))

    @rule(points=FEW, ago=st.integers(0, 3000), lives=st.sampled_from([None, 60, 6000]))
    def points_are_brought_along(self, points: int, ago: int, lives: int | None) -> None:
        at = self.house.now - ago * MINUTE
        until = None if lives is None else at + lives * MINUTE
        self.model.bank.open(self.model.wallet, points, at=at, until=until)
        self.opened.add(len(self.model.wallet.lines))
        body: Said = {"opening_ref": f"{self.prefix}-{len(self.opened)}", "points": points}
        body |= {"wallet_id": str(self.member.wallet_id), "earned_at": at.isoformat()}
        body |= {} if until is None else {"expires_at": until.isoformat()}
        self.post("openings", body, Reply(201, {"opened": self.model.worth(points)}), **FINANCE)

    @rule(part=PART)
    def points_are_given_away(self, part: str) -> None:
        points = self.part(self.there(), part)
        expected = refuse("wallet_blocked")
        if not self.model.blocked:
            done = self.model.bank.transfer(self.model.wallet, self.friends, points, now=self.house.now)
            given = Reply(201, {"transferred": self.model.worth(points)})
            expected = given if done else refuse("insufficient_points")
        body = {"from_wallet": str(self.member.wallet_id), "to_wallet": str(self.friend.wallet_id)}
        self.post("transfers", {**body, "points": points}, expected, role="ecommerce")


def _until(machine: Machine, end: int | None) -> Any:
    return None if end is None else machine.house.now + end * MINUTE


def _adjust(machine: Machine, points: int, end: int | None, expected: Reply) -> None:
    item: Said = {"wallet_id": str(machine.member.wallet_id), "points": points}
    item |= {} if end is None else {"expires_at": _until(machine, end).isoformat()}
    body = {
        "programme": machine.code,
        "items": [item],
        "reason": "goodwill",
        "evidence": {"reference": "C-1"},
    }
    machine.post("adjustments", body, expected, role="support")
