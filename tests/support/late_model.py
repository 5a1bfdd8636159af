"""What had expired when somebody tells what was spent of it before; it shares no code with the service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tests.support.wallet_model import ModelLot


def bring_back(
    lots: list[ModelLot], points: int, at: datetime, move: Callable[[ModelLot, int], None]
) -> None:
    """Of so many points that are spent in the order of these lots, those that expired only after that moment."""
    for lot in lots:
        usable = lot.available
        for one in sorted(lot.went, key=lambda one: one[0]):
            some = min(points, one[1], lot.expired) if one[0] > at else 0
            one[1] -= some
            points -= some
            if some:
                move(lot, some)
        points -= min(points, usable)
