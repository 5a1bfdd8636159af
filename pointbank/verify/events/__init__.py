"""Our own events as the oracle reads them: what it compares of each, ids as they are written. A module for each who says them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pointbank.verify.events import earn, gift_cards, members, redeem, rewards
from pointbank.verify.events.earn import (
    AccrualsDayTold,
    AccrualsOfProgramme,
    AccruedLot,
    ActAnswer,
    ActivationAnswer,
    Asked,
    BenefitAsked,
    BenefitSource,
    BillAccrual,
    BillAnswer,
    BillRejected,
    OfferedBy,
    PointsAccrued,
    RefundAnswer,
    RefundReversal,
    entries_of,
)
from pointbank.verify.events.envelope import Envelope, Money, Worth, binary
from pointbank.verify.events.followers import MessageDelivered, TierChanged
from pointbank.verify.events.gift_cards import GiftCardChanged, GiftCardMoved
from pointbank.verify.events.members import (
    CardBlocked,
    CardIssued,
    Identity,
    MemberBirthday,
    MemberEnrolled,
    MemberMerged,
    MemberSegmented,
    MerchantChanged,
    MergedWallet,
    ProgrammeActivated,
    RatePublished,
    Wallet,
)
from pointbank.verify.events.redeem import (
    Balance,
    LedgerSealed,
    Moved,
    PointsExpiring,
    PointsMerged,
    Posted,
    Released,
    Returned,
    ReversalRefused,
    Reversed,
    WalletBlocked,
    home_of,
)
from pointbank.verify.events.rewards import (
    BenefitAnswered,
    BenefitConsumed,
    BenefitEnded,
    BenefitIssued,
    RewardIssued,
)

__all__ = [
    "DATA",
    "SAID_BY",
    "AccrualsDayTold",
    "AccrualsOfProgramme",
    "AccruedLot",
    "ActAnswer",
    "ActivationAnswer",
    "Asked",
    "Balance",
    "BenefitAnswered",
    "BenefitAsked",
    "BenefitConsumed",
    "BenefitEnded",
    "BenefitIssued",
    "BenefitSource",
    "BillAccrual",
    "BillAnswer",
    "BillRejected",
    "CardBlocked",
    "CardIssued",
    "Envelope",
    "GiftCardChanged",
    "GiftCardMoved",
    "Identity",
    "LedgerSealed",
    "MemberBirthday",
    "MemberEnrolled",
    "MemberMerged",
    "MemberSegmented",
    "MerchantChanged",
    "MergedWallet",
    "MessageDelivered",
    "Money",
    "Moved",
    "OfferedBy",
    "PointsAccrued",
    "PointsExpiring",
    "PointsMerged",
    "Posted",
    "ProgrammeActivated",
    "RatePublished",
    "RefundAnswer",
    "RefundReversal",
    "Released",
    "Returned",
    "ReversalRefused",
    "Reversed",
    "RewardIssued",
    "TierChanged",
    "Wallet",
    "WalletBlocked",
    "Worth",
    "binary",
    "decode_data",
    "decode_envelope",
    "entries_of",
    "home_of",
]

_SAYS: dict[str, dict[str, type]] = {
    "members": members.SAYS,
    "earn": earn.SAYS,
    "redeem": redeem.SAYS | rewards.SAYS | gift_cards.SAYS,
    "tiers": {"tier.changed.v1": TierChanged},
    "notifier": {"message.delivered.v1": MessageDelivered},
}

SAID_BY = {service: tuple(says) for service, says in _SAYS.items()}
"""Which service may say what."""

DATA = {type_: struct for says in _SAYS.values() for type_, struct in says.items()}
"""CloudEvents type -> what is read of its data."""

decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_data: dict[str, Callable[[msgspec.Raw], Any]] = {
    type_: msgspec.json.Decoder(struct).decode for type_, struct in DATA.items()
}
