"""Our own events as the oracle reads them: what it compares of each, ids as they are written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec


class Envelope(msgspec.Struct, frozen=True, gc=False):
    id: str
    source: str
    type: str
    subject: str
    sequence: str
    tenantid: str
    data: msgspec.Raw
    causationid: str | None = None


class Money(msgspec.Struct, frozen=True, gc=False):
    amount_minor: int
    currency: str


class Worth(msgspec.Struct, frozen=True, gc=False):
    points: int
    money: Money


class BillAccrual(msgspec.Struct, frozen=True, gc=False):
    programme: str
    programme_version: int
    wallet_id: str
    tier: str | None
    available: Worth
    held: Worth

    def row(self) -> tuple[Any, ...]:
        """As it is compared."""
        return (
            self.programme,
            self.programme_version,
            self.wallet_id,
            self.tier,
            self.available.points,
            self.available.money.amount_minor,
            self.held.points,
            self.held.money.amount_minor,
        )


class OfferedBy(msgspec.Struct, frozen=True, gc=False):
    stream_id: str
    source: str
    event_id: str


class BillAnswer(msgspec.Struct, frozen=True, gc=False):
    bill_id: str
    status: str
    merchant: str
    bill_ref: str
    occurred_at: datetime
    accruals: tuple[BillAccrual, ...]
    stream_id: str | None = None
    source: str | None = None
    event_id: str | None = None
    also_offered_by: tuple[OfferedBy, ...] = ()


class ActAnswer(msgspec.Struct, frozen=True, gc=False):
    act_id: str
    status: str
    act: str
    act_ref: str
    merchant: str | None
    occurred_at: datetime
    accruals: tuple[BillAccrual, ...]
    stream_id: str | None = None
    source: str | None = None
    event_id: str | None = None
    also_offered_by: tuple[OfferedBy, ...] = ()


def entries_of(told: BillAnswer | ActAnswer) -> tuple[tuple[str | None, str | None, str | None], ...]:
    """The entries of all tills that are told, the one that it came by first; one of nulls where there is none."""
    others = [(one.stream_id, one.source, one.event_id) for one in told.also_offered_by]
    return ((told.stream_id, told.source, told.event_id), *others)


class ActivationAnswer(msgspec.Struct, frozen=True, gc=False):
    bill_id: str | None
    status: str
    merchant: str
    bill_ref: str
    occurred_at: datetime
    stream_id: str
    source: str
    event_id: str


class BillRejected(msgspec.Struct, frozen=True, gc=False):
    code: str
    stream_id: str
    source: str | None
    event_id: str | None


class RefundReversal(msgspec.Struct, frozen=True, gc=False):
    programme: str
    wallet_id: str
    reversed: Worth
    hold_cancelled: Worth
    returned: Worth
    shortfall: Worth
    owed: Worth
    lapsed: Worth

    def row(self) -> tuple[Any, ...]:
        """As it is compared."""
        sums = (self.reversed, self.hold_cancelled, self.returned, self.shortfall, self.owed, self.lapsed)
        return (
            self.programme,
            self.wallet_id,
            *[number for one in sums for number in (one.points, one.money.amount_minor)],
        )


class RefundAnswer(msgspec.Struct, frozen=True, gc=False):
    refund_id: str
    merchant: str
    refund_ref: str
    status: str
    currency: str
    reversals: tuple[RefundReversal, ...]
    bill_id: str | None = None
    refunded_minor: int | None = None
    code: str | None = None
    detail: str | None = None
    stream_id: str | None = None
    source: str | None = None
    event_id: str | None = None


class AccruedLot(msgspec.Struct, frozen=True, gc=False):
    lot_id: str
    points: int
    expires_at: datetime | None = None


class PointsAccrued(msgspec.Struct, frozen=True, gc=False):
    accrual_id: str
    kind: str
    bill_id: str | None
    member_id: str
    wallet_id: str
    programme: str
    programme_version: int
    currency: str
    point_value: str
    effective_at: datetime
    decided_at: datetime
    points: int
    lots: tuple[AccruedLot, ...]
    act_id: str | None = None


class Balance(msgspec.Struct, frozen=True, gc=False):
    available: Worth
    held: Worth
    reserved: Worth


class Moved(msgspec.Struct, frozen=True, gc=False):
    lot_id: str
    points: int


class Posted(msgspec.Struct, frozen=True, gc=False):
    """points.credited, .redeemed, .expired, .repaid, .transferred, .adjusted, .reinstated, .reserved and .voided: what a posting
    moved, whatever it is called there."""

    posting_id: str
    kind: str
    wallet_id: str
    member_id: str | None
    programme: str
    effective_at: datetime
    posted_at: datetime
    lots: tuple[Moved, ...]
    balance: Balance
    credited: Worth | None = None
    redeemed: Worth | None = None
    expired: Worth | None = None
    reserved: Worth | None = None
    voided: Worth | None = None
    expires_at: datetime | None = None
    repaid: Worth | None = None
    transferred: Worth | None = None
    adjusted: Worth | None = None
    reinstated: Worth | None = None
    debt: Worth | None = None
    direction: str | None = None
    transfer_id: str | None = None
    redemption_id: str | None = None
    merchant: str | None = None
    bill_ref: str | None = None
    resolved_wallet: str | None = None


class Returned(msgspec.Struct, frozen=True, gc=False):
    """points.returned: `posting_id` is null where nothing moved, `return_id` where nothing came back at all."""

    posting_id: str | None
    request_id: str | None
    redemption_id: str | None
    wallet_id: str | None
    member_id: str | None
    programme: str | None
    effective_at: datetime
    posted_at: datetime | None
    returned: Worth | None
    lots: tuple[Moved, ...]
    balance: Balance | None
    return_id: str | None = None
    refund_id: str | None = None
    kind: str = "return"
    late: bool = False


class Asked(msgspec.Struct, frozen=True, gc=False):
    """points.release_requested, points.reversal_requested and points.return_requested."""

    request_id: str
    effective_at: datetime
    decided_at: datetime
    bill_id: str | None = None
    refund_id: str | None = None
    accrual_id: str = ""
    wallet_id: str | None = None
    programme: str | None = None
    point_value: str | None = None
    on_spent: str | None = None
    release_through: int | None = None
    reverse_through: int | None = None
    returned_minor: int | None = None
    total_minor: int | None = None


class Released(msgspec.Struct, frozen=True, gc=False):
    posting_id: str | None
    request_id: str
    accrual_id: str
    wallet_id: str
    member_id: str
    programme: str
    effective_at: datetime
    posted_at: datetime | None
    released: Worth
    released_through: int
    lots: tuple[Moved, ...]
    balance: Balance
    resolved_wallet: str | None = None


class Reversed(msgspec.Struct, frozen=True, gc=False):
    posting_id: str | None
    request_id: str
    accrual_id: str
    wallet_id: str
    member_id: str
    programme: str
    effective_at: datetime
    posted_at: datetime | None
    reversed: Worth
    hold_cancelled: Worth
    owed: Worth
    shortfall: Worth
    reversed_through: int
    lots: tuple[Moved, ...]
    balance: Balance
    lapsed: Worth | None = None
    refund_id: str | None = None
    late: bool = False
    resolved_wallet: str | None = None


class ReversalRefused(msgspec.Struct, frozen=True, gc=False):
    request_id: str
    accrual_id: str
    wallet_id: str
    shortfall: Worth
    programme: str = ""
    code: str = ""
    refund_id: str | None = None
    resolved_wallet: str | None = None


class PointsExpiring(msgspec.Struct, frozen=True, gc=False):
    wallet_id: str
    member_id: str
    programme: str
    expires_at: datetime
    days: int
    expiring: Worth


class PointsMerged(msgspec.Struct, frozen=True, gc=False):
    posting_id: str | None
    merge_id: str
    direction: str
    wallet_id: str
    other_wallet_id: str
    member_id: str
    programme: str
    effective_at: datetime
    posted_at: datetime | None
    merged: Worth
    lots: tuple[Moved, ...]
    balance: Balance


class RewardIssued(msgspec.Struct, frozen=True, gc=False):
    benefit_id: str
    redemption_id: str
    wallet_id: str
    programme: str
    reward: str
    version: int
    tier: str | None
    redeemed: Worth
    unit_cost: Money
    expires_at: datetime | None


class BenefitConsumed(msgspec.Struct, frozen=True, gc=False):
    benefit_id: str
    wallet_id: str
    programme: str
    reward: str
    version: int
    merchant: str
    bill_ref: str | None
    unit_cost: Money
    consumed_at: datetime


class BenefitIssued(msgspec.Struct, frozen=True, gc=False):
    benefit_id: str
    wallet_id: str
    programme: str
    reward: str
    version: int
    origin: str
    effect_id: str | None
    unit_cost: Money
    expires_at: datetime | None


class BenefitEnded(msgspec.Struct, frozen=True, gc=False):
    """benefit.withdrawn and benefit.expired."""

    benefit_id: str
    wallet_id: str
    programme: str
    reward: str
    version: int
    unit_cost: Money
    withdrawn_at: datetime | None = None
    restocked: bool | None = None
    expires_at: datetime | None = None


class BenefitSource(msgspec.Struct, frozen=True, gc=False):
    kind: str
    code: str
    bill_id: str | None = None


class BenefitAsked(msgspec.Struct, frozen=True, gc=False):
    """benefit.asked and benefit.withdrawal_asked."""

    effect_id: str
    issued_by: str | None = None
    wallet_id: str | None = None
    member_id: str | None = None
    programme: str | None = None
    reward: str | None = None
    source: BenefitSource | None = None
    effective_at: datetime | None = None


class BenefitAnswered(msgspec.Struct, frozen=True, gc=False):
    effect_id: str
    outcome: str
    benefit_id: str | None
    code: str | None


class GiftCardMoved(msgspec.Struct, frozen=True, gc=False):
    posting_id: str
    kind: str
    card_id: str
    programme: str
    moved: Money
    balance: Money
    effective_at: datetime
    posted_at: datetime
    use_id: str | None = None
    merchant: str | None = None
    bill_ref: str | None = None


class GiftCardChanged(msgspec.Struct, frozen=True, gc=False):
    card_id: str
    programme: str
    amount: Money


class TierChanged(msgspec.Struct, frozen=True, gc=False, rename={"from_": "from"}):
    wallet_id: str
    member_id: str
    programme: str
    programme_version: int
    from_: str | None
    to: str
    name: dict[str, str]
    direction: str
    numbers: dict[str, int]
    effective_at: datetime
    until: datetime | None


class MessageDelivered(msgspec.Struct, frozen=True, gc=False):
    message_id: str
    member_id: str
    wallet_id: str
    channel: str
    template: str
    locale: str
    cause: str
    delivered_at: datetime


class Wallet(msgspec.Struct, frozen=True, gc=False):
    programme: str
    wallet_id: str


class Identity(msgspec.Struct, frozen=True, gc=False):
    kind: str
    hash: str


class MemberEnrolled(msgspec.Struct, frozen=True, gc=False):
    member_id: str
    locale: str
    channel: str
    consented: bool
    identities: tuple[Identity, ...]
    wallets: tuple[Wallet, ...]
    enrolled_at: datetime
    referred_by: str | None = None
    birth_month: int | None = None


class CardIssued(msgspec.Struct, frozen=True, gc=False):
    member_id: str
    wallet_id: str
    programme: str
    card_id: str
    issued_at: datetime


class MergedWallet(msgspec.Struct, frozen=True, gc=False):
    programme: str
    wallet_id: str
    merged_into: str
    born: bool = False


class MemberMerged(msgspec.Struct, frozen=True, gc=False):
    merge_id: str
    member_id: str
    merged_into: str
    reason: str
    wallets: tuple[MergedWallet, ...]
    survivor_wallets: tuple[Wallet, ...]
    identities: tuple[Identity, ...]
    merged_at: datetime


class MemberSegmented(msgspec.Struct, frozen=True, gc=False):
    member_id: str
    segment: str
    from_at: datetime
    until_at: datetime | None = None


class CardBlocked(msgspec.Struct, frozen=True, gc=False):
    member_id: str
    wallet_id: str
    programme: str
    card_id: str
    identities: tuple[Identity, ...]
    blocked_at: datetime


class WalletBlocked(msgspec.Struct, frozen=True, gc=False):
    """wallet.blocked and wallet.unblocked."""

    wallet_id: str
    member_id: str
    programme: str
    reason: str


class MerchantChanged(msgspec.Struct, frozen=True, gc=False):
    merchant: str
    version: int
    terminals: tuple[str, ...]
    cashiers: dict[str, str] = {}


class ProgrammeActivated(msgspec.Struct, frozen=True, gc=False):
    programme: str
    version: int
    document: dict[str, Any]
    activated_at: datetime


class LedgerSealed(msgspec.Struct, frozen=True, gc=False):
    no: int
    sealed_at: datetime
    leaves: int
    root: str
    previous: str
    hash: str
    public_key: str
    signature: str


class MemberBirthday(msgspec.Struct, frozen=True, gc=False):
    member_id: str
    wallet_id: str
    programme: str
    year: int
    occurred_at: datetime


class RatePublished(msgspec.Struct, frozen=True, gc=False):
    from_currency: str
    to_currency: str
    number: int
    rate: str
    valid_from: datetime
    source: str
    author: str
    published_at: datetime


class AccrualsOfProgramme(msgspec.Struct, frozen=True, gc=False):
    programme: str
    accruals: int
    points: int
    digest: str


class AccrualsDayTold(msgspec.Struct, frozen=True, gc=False):
    day: str
    programmes: tuple[AccrualsOfProgramme, ...]


DATA: dict[str, type] = {
    "accruals.day_told.v1": AccrualsDayTold,
    "bill.recorded.v1": BillAnswer,
    "bill.settled.v1": BillAnswer,
    "bill.rejected.v1": BillRejected,
    "act.recorded.v1": ActAnswer,
    "act.settled.v1": ActAnswer,
    "act.rejected.v1": BillRejected,
    "activation.recorded.v1": ActivationAnswer,
    "activation.settled.v1": ActivationAnswer,
    "points.accrued.v1": PointsAccrued,
    "refund.recorded.v1": RefundAnswer,
    "refund.settled.v1": RefundAnswer,
    "points.return_requested.v1": Asked,
    "points.credited.v1": Posted,
    "points.redeemed.v1": Posted,
    "points.expired.v1": Posted,
    "points.reserved.v1": Posted,
    "points.voided.v1": Posted,
    "points.returned.v1": Returned,
    "points.repaid.v1": Posted,
    "points.transferred.v1": Posted,
    "points.adjusted.v1": Posted,
    "points.reinstated.v1": Posted,
    "points.release_requested.v1": Asked,
    "points.reversal_requested.v1": Asked,
    "points.released.v1": Released,
    "points.reversed.v1": Reversed,
    "points.reversal_refused.v1": ReversalRefused,
    "points.expiring.v1": PointsExpiring,
    "ledger.sealed.v1": LedgerSealed,
    "reward.issued.v1": RewardIssued,
    "benefit.consumed.v1": BenefitConsumed,
    "benefit.issued.v1": BenefitIssued,
    "benefit.withdrawn.v1": BenefitEnded,
    "benefit.expired.v1": BenefitEnded,
    "benefit.asked.v1": BenefitAsked,
    "benefit.withdrawal_asked.v1": BenefitAsked,
    "benefit.answered.v1": BenefitAnswered,
    "gift_card.activated.v1": GiftCardMoved,
    "gift_card.reloaded.v1": GiftCardMoved,
    "gift_card.used.v1": GiftCardMoved,
    "gift_card.refunded.v1": GiftCardMoved,
    "gift_card.expired.v1": GiftCardMoved,
    "gift_card.cancelled.v1": GiftCardMoved,
    "gift_card.issued.v1": GiftCardChanged,
    "gift_card.voided.v1": GiftCardChanged,
    "gift_card.blocked.v1": GiftCardChanged,
    "gift_card.unblocked.v1": GiftCardChanged,
    "gift_card.locked.v1": GiftCardChanged,
    "tier.changed.v1": TierChanged,
    "message.delivered.v1": MessageDelivered,
    "member.enrolled.v1": MemberEnrolled,
    "card.issued.v1": CardIssued,
    "member.segmented.v1": MemberSegmented,
    "card.blocked.v1": CardBlocked,
    "member.merged.v1": MemberMerged,
    "points.merged.v1": PointsMerged,
    "wallet.blocked.v1": WalletBlocked,
    "wallet.unblocked.v1": WalletBlocked,
    "merchant.changed.v1": MerchantChanged,
    "rate.published.v1": RatePublished,
    "member.birthday.v1": MemberBirthday,
    "programme.activated.v1": ProgrammeActivated,
}
"""CloudEvents type -> what is read of its data."""

SAID_BY = {
    "members": (
        "programme.activated.v1",
        "merchant.changed.v1",
        "rate.published.v1",
        "member.birthday.v1",
        "member.enrolled.v1",
        "card.issued.v1",
        "member.segmented.v1",
        "card.blocked.v1",
        "member.merged.v1",
    ),
    "earn": (
        "bill.recorded.v1",
        "bill.settled.v1",
        "bill.rejected.v1",
        "act.recorded.v1",
        "act.settled.v1",
        "act.rejected.v1",
        "activation.recorded.v1",
        "activation.settled.v1",
        "points.accrued.v1",
        "accruals.day_told.v1",
        "refund.recorded.v1",
        "refund.settled.v1",
        "points.return_requested.v1",
        "points.release_requested.v1",
        "points.reversal_requested.v1",
        "benefit.asked.v1",
        "benefit.withdrawal_asked.v1",
    ),
    "redeem": (
        "points.credited.v1",
        "points.redeemed.v1",
        "points.expired.v1",
        "points.reserved.v1",
        "points.voided.v1",
        "points.returned.v1",
        "points.repaid.v1",
        "points.transferred.v1",
        "points.adjusted.v1",
        "points.reinstated.v1",
        "points.merged.v1",
        "points.released.v1",
        "points.reversed.v1",
        "points.reversal_refused.v1",
        "points.expiring.v1",
        "wallet.blocked.v1",
        "wallet.unblocked.v1",
        "ledger.sealed.v1",
        "reward.issued.v1",
        "benefit.consumed.v1",
        "benefit.issued.v1",
        "benefit.withdrawn.v1",
        "benefit.expired.v1",
        "benefit.answered.v1",
        "gift_card.activated.v1",
        "gift_card.reloaded.v1",
        "gift_card.used.v1",
        "gift_card.refunded.v1",
        "gift_card.expired.v1",
        "gift_card.cancelled.v1",
        "gift_card.issued.v1",
        "gift_card.voided.v1",
        "gift_card.blocked.v1",
        "gift_card.unblocked.v1",
        "gift_card.locked.v1",
        "benefit.answered.v1",
    ),
    "tiers": ("tier.changed.v1",),
    "notifier": ("message.delivered.v1",),
}
"""Which service may say what."""

decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_data: dict[str, Callable[[msgspec.Raw], Any]] = {
    type_: msgspec.json.Decoder(struct).decode for type_, struct in DATA.items()
}


def binary(uuid: str) -> bytes:
    """The 16 bytes of an id that stands in an event."""
    return bytes.fromhex(uuid.replace("-", ""))


def home_of(event: Posted | Released | Reversed | ReversalRefused) -> bytes:
    """The wallet that an event is about: the one that it was decided for, or what that was merged into."""
    return binary(event.resolved_wallet or event.wallet_id)
