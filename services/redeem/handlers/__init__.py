"""What redeem does with what it hears and is asked."""

from services.redeem.domain.redemption import Capture, Redeem, Release, Return, Void
from services.redeem.handlers.close import CloseMonth, close_month
from services.redeem.handlers.give_back import give_back
from services.redeem.handlers.learn import learn_members, learn_merchants, learn_programmes, learn_standings
from services.redeem.handlers.post import post
from services.redeem.handlers.settle import settle
from shared.events import (
    CardIssued,
    MemberEnrolled,
    MerchantChanged,
    PointsAccrued,
    ProgrammeActivated,
    ReturnRequested,
    TierChanged,
)
from shared.messaging import Handlers

ON: Handlers = {
    PointsAccrued: post,
    Redeem: post,
    Capture: settle,
    Void: settle,
    Release: settle,
    Return: give_back,
    ReturnRequested: give_back,
    ProgrammeActivated: learn_programmes,
    MerchantChanged: learn_merchants,
    MemberEnrolled: learn_members,
    CardIssued: learn_members,
    CloseMonth: close_month,
    TierChanged: learn_standings,
}

HEARS: tuple[str, ...] = ("members", "earn", "tiers")
