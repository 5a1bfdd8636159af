"""What had expired when somebody tells what was spent of it before; it shares no code with the service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tests.support.models.wallet import ModelLot, root


def bring_back(
    lots: list[ModelLot], points: int, at: datetime, move: Callable[[ModelLot, int], None]
) -> None:
    """Of so many points that are spent in the order of these lots, those that expired only after that moment."""
    left = _left(lots, at)
    for lot in lots:
        usable = lot.available
        for one in sorted(lot.went, key=lambda one: one[0]):
            some = min(points, left.get(id(one), 0), lot.expired)
            one[1] -= some
            points -= some
            if some:
                move(lot, some)
        points -= min(points, usable)


def _left(lots: list[ModelLot], at: datetime) -> dict[int, int]:
    """What of each that expired since then pays: as much as refunds found over does not, what went last is left first."""
    left: dict[int, int] = {}
    most: dict[int, int] = {}
    every = [(one[0], lot.number, one, lot) for lot in lots for one in lot.went if one[0] > at]
    for _, _, one, lot in sorted(every, key=lambda one: one[:2], reverse=True):
        left[id(one)] = one[1]
        accrual = root(lot).accrual
        if accrual is None or not accrual.lapsed:
            continue
        expired = sum(other.expired for other in lots if root(other).accrual is accrual)
        pays = most.setdefault(id(accrual), expired - accrual.lapsed)
        left[id(one)] = min(one[1], max(pays, 0))
        most[id(accrual)] -= left[id(one)]
    return left
