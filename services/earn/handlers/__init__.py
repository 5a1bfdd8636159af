"""What earn does with what it hears and is asked. The table at the end names it all."""

from services.earn.domain.acts.act import RecordAct
from services.earn.domain.bill import RecordBill
from services.earn.domain.hold import Activate, ReleaseDue
from services.earn.domain.refund_body import RecordRefund
from services.earn.domain.review import Decide
from services.earn.domain.settlement import CheckDone, DecideVariance, Import, Keep
from services.earn.handlers.activations import TakeUpActivations, take_up_activations, tell_activations
from services.earn.handlers.acts import (
    ReportActUnclaimed,
    SettleAct,
    record_acts,
    report_acts_unclaimed,
    settle_acts,
)
from services.earn.handlers.answered import AskAgain, TakeUp, ask_again, hear_answers, take_up_refunds
from services.earn.handlers.benefits import AskBenefitsAgain, ask_benefits_again, hear_benefits
from services.earn.handlers.days import TellDay, tell_days
from services.earn.handlers.guarding import ThinSightings, thin_sightings
from services.earn.handlers.hold import activate_bills, release_due
from services.earn.handlers.learn import (
    hear_birthdays,
    learn_members,
    learn_merchants,
    learn_programmes,
    learn_rates,
    learn_segment_stays,
    learn_standings,
)
from services.earn.handlers.merge import merge_members
from services.earn.handlers.record import record_bills
from services.earn.handlers.referrals import GiveReferral, give_referrals
from services.earn.handlers.refunds import record_refunds
from services.earn.handlers.reject import buried
from services.earn.handlers.reviewing import decide_reviews
from services.earn.handlers.settle import (
    ReportUnclaimed,
    Settle,
    Tick,
    report_unclaimed,
    settle_bills,
    tick,
)
from services.earn.handlers.settling_days import answer_checks, decide_variances, import_lines, keep_variances
from services.earn.handlers.taken_back import AskActAgain, ReviewReferral, ask_acts_again, review_referrals
from services.earn.handlers.wake import settle_wake
from shared.events import (
    BenefitAnswered,
    CardIssued,
    MemberBirthday,
    MemberEnrolled,
    MemberMerged,
    MemberSegmented,
    MerchantChanged,
    PointsReturned,
    PointsReversed,
    ProgrammeActivated,
    RatePublished,
    ReversalRefused,
    TierChanged,
)
from shared.messaging import Handlers, PosAct, PosActivation, PosEntry, PosRefund

__all__ = [
    "HEARS",
    "ON",
    "AskActAgain",
    "AskAgain",
    "GiveReferral",
    "ReleaseDue",
    "ReportActUnclaimed",
    "ReportUnclaimed",
    "ReviewReferral",
    "Settle",
    "SettleAct",
    "TakeUp",
    "TellDay",
    "Tick",
    "buried",
    "settle_wake",
]

HEARS: tuple[str, ...] = ("pos", "members", "tiers", "redeem")

ON: Handlers = {
    PosEntry: record_bills,
    RecordBill: record_bills,
    PosRefund: record_refunds,
    RecordRefund: record_refunds,
    PosAct: record_acts,
    RecordAct: record_acts,
    SettleAct: settle_acts,
    ReportActUnclaimed: report_acts_unclaimed,
    GiveReferral: give_referrals,
    ReviewReferral: review_referrals,
    AskActAgain: ask_acts_again,
    TakeUp: take_up_refunds,
    AskAgain: ask_again,
    ReleaseDue: release_due,
    Activate: activate_bills,
    PosActivation: tell_activations,
    TakeUpActivations: take_up_activations,
    Decide: decide_reviews,
    Import: import_lines,
    Keep: keep_variances,
    CheckDone: answer_checks,
    DecideVariance: decide_variances,
    Settle: settle_bills,
    ReportUnclaimed: report_unclaimed,
    Tick: tick,
    ThinSightings: thin_sightings,
    TellDay: tell_days,
    ProgrammeActivated: learn_programmes,
    MerchantChanged: learn_merchants,
    RatePublished: learn_rates,
    MemberEnrolled: learn_members,
    MemberBirthday: hear_birthdays,
    CardIssued: learn_members,
    MemberMerged: merge_members,
    MemberSegmented: learn_segment_stays,
    TierChanged: learn_standings,
    PointsReversed: hear_answers,
    ReversalRefused: hear_answers,
    PointsReturned: hear_answers,
    BenefitAnswered: hear_benefits,
    AskBenefitsAgain: ask_benefits_again,
}
