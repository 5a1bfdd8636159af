"""What goes back to caps and budgets when points of a decision are taken back."""

from __future__ import annotations

from uuid import UUID

from services.earn.domain.decision import Judged
from shared.programme.campaigns import BudgetKey, CapKey
from shared.programme.rules import Details


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
