"""What tiers does about what it hears."""

from services.tiers.handlers.conditions import JudgeDay, judge_days, learn_segments
from services.tiers.handlers.counting import Settle, count_points, learn_programmes, settle, settle_wake
from services.tiers.handlers.ending import EndStandings, end_standings
from services.tiers.merging import merge_members
from shared.events import (
    MemberEnrolled,
    MemberMerged,
    MemberSegmented,
    PointsCredited,
    PointsReversed,
    ProgrammeActivated,
)
from shared.messaging import Handlers

__all__ = ["HEARS", "ON", "EndStandings", "JudgeDay", "Settle", "settle_wake"]

ON: Handlers = {
    ProgrammeActivated: learn_programmes,
    MemberEnrolled: count_points,
    MemberMerged: merge_members,
    MemberSegmented: learn_segments,
    PointsCredited: count_points,
    PointsReversed: count_points,
    Settle: settle,
    JudgeDay: judge_days,
    EndStandings: end_standings,
}

HEARS: tuple[str, ...] = ("members", "redeem")
