"""Which tier a wallet is in, and why. Pure: time, rows and the programme's document come as arguments."""

from services.tiers.domain.ladder import Known, Programme, Tier, missing, qualifies, read_programme
from services.tiers.domain.standing import (
    QUALIFYING,
    Change,
    Earned,
    Standing,
    judge,
    moves,
    rejudge,
    take_over,
)

__all__ = [
    "QUALIFYING",
    "Change",
    "Earned",
    "Known",
    "Programme",
    "Standing",
    "Tier",
    "judge",
    "missing",
    "moves",
    "qualifies",
    "read_programme",
    "rejudge",
    "take_over",
]
