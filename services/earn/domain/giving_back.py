"""What goes back to caps and budgets when points of a decision are taken back, or the bank refuses a reward of it."""

from __future__ import annotations

from uuid import UUID

from services.earn.domain.decision import Decision, Judged
from shared.programme.campaigns import BudgetKey, CapKey
from shared.programme.checkout import MONEY, TIMES
from shared.programme.earned import Details


def given_back(
    judged: Judged, accrual_id: UUID, *, before: int, through: int
) -> dict[CapKey | BudgetKey, int]:
    """The points by counter that go back when, of one accrual of this decision, `through` points are taken back in all and
    `before` were already: to the windows and campaigns of the decision, by cumulative rounding. Whatever the steps, the
    whole gives back exactly what was counted."""
    [accrual] = [one for one in judged.accruals if one.accrual_id == accrual_id]
    assert 0 <= before <= through <= accrual.points, (before, through, accrual.points)
    details = judged.details or Details()
    back: dict[CapKey | BudgetKey, int] = {}
    for one in details.campaigns:
        held = one.points if judged.flagged else one.held
        share = held if accrual.kind == "earn_held" else one.points - held
        points = share * through // accrual.points - share * before // accrual.points
        if not points:
            continue
        for room in one.caps:
            back[judged.wallet_id, one.campaign, room.period, room.since] = points
        if one.budget is not None:
            back[judged.programme, one.campaign] = points
    if through > before:
        for room in details.caps:
            back[judged.wallet_id, "", room.period, room.since] = through - before
    return back


def refused_back(decision: Decision, effect_id: UUID) -> dict[CapKey | BudgetKey, int]:
    """What a campaign's reward that the bank refused had used of its budget, in minor units, and of the member's caps, in times:
    by counter, in the windows of the decision."""
    [(judged, gift)] = [
        (judged, one) for judged in decision.programmes for one in judged.offers if one.effect_id == effect_id
    ]
    back: dict[CapKey | BudgetKey, int] = {
        (judged.wallet_id, gift.campaign + TIMES, room.period, room.since): 1 for room in gift.caps
    }
    if gift.budget is not None:
        back[judged.programme, gift.campaign + MONEY] = gift.granted_minor
    return back
