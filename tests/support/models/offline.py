"""What tills let members spend while they could not ask, on top of the model of the desk; it shares no code with the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.support.models.desk import ModelDesk, Sale
from tests.support.models.replies import Reply, Said, refuse
from tests.support.models.rules import Rules


@dataclass
class Allowed:
    """An allowance of the one terminal."""

    points: int
    since: datetime
    until: datetime
    report_until: datetime
    uses: dict[str, tuple[Any, Said, Sale]] = field(default_factory=dict)
    used: int = 0


EARLY = timedelta(minutes=5)


class ModelTill(ModelDesk):
    """The desk with allowances for tills that can't ask."""

    def __init__(self, rules: Rules, until_of: Any) -> None:
        super().__init__(rules, until_of)
        self.allowances: list[Allowed] = []

    def allow(self, *, now: datetime) -> tuple[Reply, Allowed | None]:
        if self.blocked:
            return refuse("wallet_blocked"), None
        standing = [one for one in self.allowances if one.until > now and one.used < one.points]
        one = max(standing, key=lambda one: one.until, default=None)
        status = 200
        if one is None:
            rules, status = self.rules, 201
            until = now + rules.allowed_for
            one = Allowed(rules.allowed, now, until, until + rules.reported_within)
            self.allowances.append(one)
        said = {
            "allowed": self.worth(one.points - one.used),
            "issued_at": one.since,
            "expires_at": one.until,
        }
        return Reply(status, said), one

    def report(self, one: Allowed, uses: list[tuple[str, int, datetime, str]], *, now: datetime) -> Reply:
        """Uses (reference, points, when, bill), each posted as it happened whatever the order in which they are told."""
        told: dict[int, Said] = {}
        before = len(self.sales)
        for place in sorted(range(len(uses)), key=lambda place: (uses[place][2], place)):
            told[place] = self._use(one, *uses[place], now=now)
        for sale in self.sales[before:]:
            if sale.bill_ref in self.refunds:
                self._refund(sale, *self.refunds[sale.bill_ref], now=now)
        return Reply(
            200,
            {
                "left": self.worth(one.points - one.used),
                "redemptions": [self._with_returns(one, told[place]) for place in range(len(uses))],
                "balance": self.balance("debt", gone=self._gone(now)),
            },
        )

    def _use(
        self, one: Allowed, ref: str, points: int, at: datetime, bill_ref: str, *, now: datetime
    ) -> Said:
        said: Said = {"redemption_ref": ref}
        asked = (points, at, bill_ref)
        if ref in one.uses:
            before, answer, _ = one.uses[ref]
            if before != asked:
                return {**said, "outcome": "refused", "code": "redemption_conflict"}
            return {**answer, "outcome": "repeated"}
        code = None
        if at > now + EARLY:
            code = "occurred_in_future"
        elif now > one.report_until:
            code = "report_too_late"
        elif not one.since - EARLY <= at < one.until:
            code = "allowance_expired"
        elif points > one.points - one.used:
            code = "allowance_exceeded"
        if code is not None:
            return {**said, "outcome": "refused", "code": code}
        one.used += points
        at = min(at, now)
        parts = self.bank.let(self.wallet, points, now=at)
        owed = sum(part.captured for part in parts if part.lot is None)
        paid = self.rules.worth(points)
        sale = Sale(parts, points, paid, "captured", bill_ref, at)
        sale.captured, sale.captured_minor, sale.captured_at = points, paid, at
        self.sales.append(sale)
        answer = {
            **said,
            "outcome": "posted",
            "redeemed": self.worth(points),
            "overdrawn": self.worth(owed),
            "wallet_blocked": self.blocked,
        }
        one.uses[ref] = asked, answer, sale
        return answer

    def _with_returns(self, one: Allowed, answer: Said) -> Said:
        """What was said of a use, with what has come back of it by now."""
        if answer["outcome"] == "refused":
            return answer
        _, _, sale = one.uses[answer["redemption_ref"]]
        back = sale.returned or sale.returned_minor
        return {**answer, "returned": self.worth(sale.returned, sale.returned_minor) if back else None}
