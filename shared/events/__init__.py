"""Every event that crosses a boundary: the envelope, and one frozen struct for each type's `data`.

Fields are only added, with defaults; a change of meaning is a new type (`.v2`). Readers ignore what they don't know.
"""

from shared.events.asking import ReleaseRequested, ReturnRequested, ReversalRequested
from shared.events.bills import (
    BillAccrual,
    BillAnswer,
    BillRecorded,
    BillRejected,
    BillSettled,
    PointsAccrued,
)
from shared.events.envelope import Envelope, EventData, decode_envelope, encode_event
from shared.events.giving import (
    BenefitAnswered,
    BenefitAsked,
    BenefitSource,
    BenefitWithdrawalAsked,
)
from shared.events.members import (
    CardIssued,
    EnrolledWallet,
    HashedIdentity,
    MemberEnrolled,
    MerchantChanged,
    ProgrammeActivated,
)
from shared.events.messages import MessageDelivered
from shared.events.moves import (
    PointsAdjusted,
    PointsExpiring,
    PointsReinstated,
    PointsRepaid,
    PointsTransferred,
)
from shared.events.points import (
    Balance,
    Lot,
    PointsCredited,
    PointsExpired,
    PointsRedeemed,
    PointsReleased,
    PointsReserved,
    PointsReturned,
    PointsReversed,
    PointsVoided,
    ReversalRefused,
    TakenLot,
)
from shared.events.refunds import RefundAnswer, RefundRecorded, RefundReversal, RefundSettled
from shared.events.rewards import (
    BenefitConsumed,
    BenefitExpired,
    BenefitIssued,
    BenefitWithdrawn,
    RewardIssued,
)
from shared.events.seals import LedgerSealed
from shared.events.streams import StreamOrphaned
from shared.events.tiers import TierChanged
from shared.money import Worth

EVENTS: dict[str, type[EventData]] = {
    event.TYPE: event
    for event in (
        ProgrammeActivated,
        MerchantChanged,
        MemberEnrolled,
        CardIssued,
        BillRecorded,
        BillSettled,
        BillRejected,
        PointsAccrued,
        PointsCredited,
        PointsRedeemed,
        PointsReserved,
        PointsVoided,
        PointsExpired,
        ReleaseRequested,
        ReversalRequested,
        ReturnRequested,
        PointsReleased,
        PointsReversed,
        ReversalRefused,
        PointsReturned,
        PointsRepaid,
        PointsTransferred,
        PointsAdjusted,
        PointsReinstated,
        PointsExpiring,
        LedgerSealed,
        RefundRecorded,
        RefundSettled,
        RewardIssued,
        BenefitConsumed,
        BenefitAsked,
        BenefitWithdrawalAsked,
        BenefitAnswered,
        BenefitIssued,
        BenefitWithdrawn,
        BenefitExpired,
        TierChanged,
        MessageDelivered,
        StreamOrphaned,
    )
}
"""CloudEvents type -> the struct of its data."""

__all__ = [
    "EVENTS",
    "Balance",
    "BenefitAnswered",
    "BenefitAsked",
    "BenefitConsumed",
    "BenefitExpired",
    "BenefitIssued",
    "BenefitSource",
    "BenefitWithdrawalAsked",
    "BenefitWithdrawn",
    "BillAccrual",
    "BillAnswer",
    "BillRecorded",
    "BillRejected",
    "BillSettled",
    "CardIssued",
    "EnrolledWallet",
    "Envelope",
    "EventData",
    "HashedIdentity",
    "LedgerSealed",
    "Lot",
    "MemberEnrolled",
    "MerchantChanged",
    "MessageDelivered",
    "PointsAccrued",
    "PointsAdjusted",
    "PointsCredited",
    "PointsExpired",
    "PointsExpiring",
    "PointsRedeemed",
    "PointsReinstated",
    "PointsReleased",
    "PointsRepaid",
    "PointsReserved",
    "PointsReturned",
    "PointsReversed",
    "PointsTransferred",
    "PointsVoided",
    "ProgrammeActivated",
    "RefundAnswer",
    "RefundRecorded",
    "RefundReversal",
    "RefundSettled",
    "ReleaseRequested",
    "ReturnRequested",
    "ReversalRefused",
    "ReversalRequested",
    "RewardIssued",
    "StreamOrphaned",
    "TakenLot",
    "TierChanged",
    "Worth",
    "decode_envelope",
    "encode_event",
]
