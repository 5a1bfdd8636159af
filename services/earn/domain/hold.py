"""How held points are divided among the rules that held them, and what of them is to be released by now: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from services.earn.domain.decision import Decision, Judged
from services.earn.domain.versions import Versions, judged_by
from shared.money import Worth
from shared.programme.compiled import CompiledProgramme
from shared.programme.days import day_of
from shared.programme.holds import UNTIL_ACTIVATION, last_day, released_by
from shared.programme.holds import Until as OfRule

Until = OfRule | Literal["review"]
"""`review`: until somebody has looked at the bill and released it (`next_at` says when)."""

REVIEW = "(review)"
"""In a plan's `rule`, which no code is: what would be available but for a review."""


@dataclass(slots=True, eq=False)
class HoldPlan:
    """One rule's share of a held accrual. Of its `points` so many are `released` by now, and so many `cancelled`: refunds took
    them back while they were held. What is left is held at the bank."""

    accrual_id: UUID
    rule: str
    bill_id: UUID
    wallet_id: UUID
    programme: str
    currency: str
    point_value: str
    points: int
    until: Until
    billed_on: date
    days: int
    last_on: date | None
    zone: str
    released: int = 0
    next_at: datetime | None = None
    cancelled: int = 0

    @property
    def left(self) -> int:
        """The points that are held still."""
        return self.points - self.released - self.cancelled

    def release(self, now: datetime, *, activated: bool) -> int:
        """Moves it on to now; gives how many points more are to be released."""
        if not self.left:
            self.next_at = None
            return 0
        before, ours = self.released, self.points - self.cancelled
        if self.until == "review":
            through = ours if self.next_at is not None and self.next_at <= now else 0
            self.next_at = None if through else self.next_at
        elif self.until == "activation":
            through, self.next_at = (ours if activated else 0), None
        else:
            through, self.next_at = released_by(
                self.until,
                ours,
                billed_on=self.billed_on,
                days=self.days,
                last_on=self.last_on,
                zone=ZoneInfo(self.zone),
                now=now,
            )
        self.released = max(before, through)
        return self.released - before


def cancel(plans: Sequence[HoldPlan], points: int) -> None:
    """Takes held points that a refund took back off an accrual's plans, in proportion to what each still holds.

    Rounded cumulatively, so that what the plans hold is together what the bank holds. More than they hold is not taken: that
    was asked to be released and was taken back before.
    """
    lefts = [plan.left for plan in plans]
    whole = sum(lefts)
    points, reached, before = min(points, whole), 0, 0
    for plan, left in zip(plans, lefts, strict=True):
        reached += left
        through = points * reached // whole if whole else 0
        plan.cancelled += through - before
        before = through
        if not plan.left:
            plan.next_at = None


def plans_of(
    bill_id: UUID, occurred_at: datetime, decision: Decision, programmes: Mapping[str, Versions]
) -> Iterator[HoldPlan]:
    """The plans of what a decision held, as the judging versions say."""
    for judged in decision.programmes:
        if judged.held:
            version = judged_by(programmes, judged)
            yield from _plans(bill_id, occurred_at, judged, version)


def _plans(
    bill_id: UUID, occurred_at: datetime, judged: Judged, version: CompiledProgramme
) -> Iterator[HoldPlan]:
    holds = {rule.code: rule.hold for rule in version.book.rules}
    billed_on = day_of(occurred_at, version.zone)
    for accrual in judged.accruals:
        if accrual.kind != "earn_held":
            continue
        if judged.reviewed:
            yield HoldPlan(
                accrual.accrual_id,
                REVIEW,
                bill_id,
                judged.wallet_id,
                judged.programme,
                judged.currency,
                judged.point_value,
                judged.reviewed,
                "review",
                billed_on,
                0,
                None,
                str(version.zone),
            )
        for rule, points in shares(judged, accrual.points - judged.reviewed):
            hold = holds.get(rule, UNTIL_ACTIVATION)
            plan = HoldPlan(
                accrual.accrual_id,
                rule,
                bill_id,
                judged.wallet_id,
                judged.programme,
                judged.currency,
                judged.point_value,
                points,
                hold.until,
                billed_on,
                hold.days,
                last_day(hold, billed_on),
                str(version.zone),
            )
            plan.release(occurred_at, activated=False)
            if plan.released:  # a day that was over when the bill happened: due at once
                plan.released, plan.next_at = 0, occurred_at
            yield plan


def shares(judged: Judged, points: int) -> Iterator[tuple[str, int]]:
    """The held points by the rules that held them, in proportion to what each earned exactly; together they are all."""
    held = [(rule, numerator) for rule, timing, _, _, numerator in judged.by_rule if timing == "hold"]
    whole, reached, before = sum(numerator for _, numerator in held), 0, 0
    for place, (rule, numerator) in enumerate(held, start=1):
        reached += numerator
        through = points if place == len(held) else points * reached // whole if whole else 0
        if through > before:
            yield rule, through - before
        before = through


# ---- what is asked, and answered ---------------------------------------------------------------


FROM_THE_FIRST = UUID(int=0)
"""Before every bill's id."""


class ReleaseDue(msgspec.Struct, frozen=True):
    """Release what is due of the first bills after that one. `dry_run`: only say how much is due, of all."""

    dry_run: bool = False
    after: UUID = FROM_THE_FIRST


class Activate(msgspec.Struct, frozen=True):
    """What was bought with this bill is activated, or delivered. `merchant` None: whoever's bill it is."""

    bill_id: UUID
    merchant: str | None


class Released(msgspec.Struct, frozen=True):
    """What a turn came to. `left`: bills that are due still."""

    bills: int
    points: int
    left: int
    dry_run: bool = False


class ReleasedPoints(msgspec.Struct, frozen=True):
    programme: str
    wallet_id: UUID
    released: Worth


class Activated(msgspec.Struct, frozen=True):
    """The answer to an activation. Nothing is `released` where the bill is not judged yet, or a
    refund of it is in flight: it is then."""

    bill_id: UUID
    activated_at: datetime
    released: tuple[ReleasedPoints, ...]
