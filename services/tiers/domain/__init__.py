"""Which tier a wallet is in, and why. Pure: time, rows and the programme's document come as arguments."""

from services.tiers.domain.ending import end, is_over
from services.tiers.domain.ladder import Known, Programme, Tier, missing, qualifies, read_programme
from services.tiers.domain.standing import judge, moves, rejudge, take_over
from services.tiers.domain.words import QUALIFYING, Change, Earned, Standing

__all__ = [
    "QUALIFYING",
    "Change",
    "Earned",
    "Known",
    "Programme",
    "Standing",
    "Tier",
    "end",
    "is_over",
    "judge",
    "missing",
    "moves",
    "qualifies",
    "read_programme",
    "rejudge",
    "take_over",
]
