"""What redeem does with what it hears and is asked."""

from services.redeem.domain.accruals import DayCompared
from services.redeem.domain.acts import Adjust, DecideAdjustment, Open, Reinstate, Transfer
from services.redeem.domain.blocking import BlockWallet
from services.redeem.domain.disputes import DecideDispute, OpenDispute
from services.redeem.domain.giftcards.acts import (
    Activate,
    ExpireCards,
    Issue,
    Look,
    Manage,
    RefundUse,
    Reload,
    RenewPin,
    Use,
)
from services.redeem.domain.giving import LapseBenefits
from services.redeem.domain.jobs import JobDone
from services.redeem.domain.lost_seals import AdoptSeals
from services.redeem.domain.offline import AskAllowance, ReportUses
from services.redeem.domain.reconciliation import DecideDifference, ReconcilePage, SealCompared
from services.redeem.domain.redemption import Capture, Redeem, Release, Return, Void
from services.redeem.domain.rewards import PutReward, RedeemReward, UseBenefit
from services.redeem.domain.stock import ImportCounts
from services.redeem.domain.sweep import Expire, Notify
from services.redeem.domain.thresholds import IssueReached
from services.redeem.handlers.adopt_seals import adopt_seals
from services.redeem.handlers.answer import answer
from services.redeem.handlers.asked import SettleAsked, do_asked
from services.redeem.handlers.block import block_wallets
from services.redeem.handlers.close import CloseMonth, close_month
from services.redeem.handlers.days import hear_days, keep_days
from services.redeem.handlers.disputes import open_disputes
from services.redeem.handlers.expire import expire_due, notify
from services.redeem.handlers.gift_cards import issue_cards, move_gift_cards
from services.redeem.handlers.give import give_benefits
from services.redeem.handlers.give_back import give_back
from services.redeem.handlers.lapse import lapse_benefits
from services.redeem.handlers.learn import learn_members, learn_merchants, learn_programmes, learn_standings
from services.redeem.handlers.merge import merge_members
from services.redeem.handlers.move import move_points
from services.redeem.handlers.offline import give_allowance, report_uses
from services.redeem.handlers.post import post
from services.redeem.handlers.reconcile import decide_difference, keep_seals, reconcile_page
from services.redeem.handlers.rewards import put_reward, redeem_reward
from services.redeem.handlers.self_issue import issue_reached
from services.redeem.handlers.settle import settle
from services.redeem.handlers.stock import import_counts
from services.redeem.handlers.used_benefits import use_benefit
from shared.events import (
    AccrualsDayTold,
    BenefitAsked,
    BenefitWithdrawalAsked,
    CardBlocked,
    CardIssued,
    MemberEnrolled,
    MemberMerged,
    MerchantChanged,
    PointsAccrued,
    ProgrammeActivated,
    ReleaseRequested,
    ReturnRequested,
    ReversalRequested,
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
    ReleaseRequested: do_asked,
    ReversalRequested: do_asked,
    SettleAsked: do_asked,
    Transfer: move_points,
    Adjust: move_points,
    DecideAdjustment: move_points,
    OpenDispute: open_disputes,
    DecideDispute: move_points,
    Reinstate: move_points,
    Open: move_points,
    Expire: expire_due,
    Notify: notify,
    ProgrammeActivated: learn_programmes,
    MerchantChanged: learn_merchants,
    MemberEnrolled: learn_members,
    CardIssued: learn_members,
    CardBlocked: learn_members,
    MemberMerged: merge_members,
    BlockWallet: block_wallets,
    CloseMonth: close_month,
    TierChanged: learn_standings,
    JobDone: answer,
    ReconcilePage: reconcile_page,
    DecideDifference: decide_difference,
    AccrualsDayTold: hear_days,
    DayCompared: keep_days,
    SealCompared: keep_seals,
    AdoptSeals: adopt_seals,
    PutReward: put_reward,
    ImportCounts: import_counts,
    RedeemReward: redeem_reward,
    UseBenefit: use_benefit,
    BenefitAsked: give_benefits,
    BenefitWithdrawalAsked: give_benefits,
    LapseBenefits: lapse_benefits,
    IssueReached: issue_reached,
    AskAllowance: give_allowance,
    ReportUses: report_uses,
    Issue: issue_cards,
    Activate: move_gift_cards,
    Reload: move_gift_cards,
    Look: move_gift_cards,
    Use: move_gift_cards,
    RefundUse: move_gift_cards,
    Manage: move_gift_cards,
    RenewPin: move_gift_cards,
    ExpireCards: move_gift_cards,
}

HEARS: tuple[str, ...] = ("members", "earn", "tiers")
