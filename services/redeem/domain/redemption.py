"""What is asked for, and answered, when points are spent at a merchant."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from services.redeem.domain.acceptance import Bill, Place
from services.redeem.domain.offline import AskAllowance
from services.redeem.domain.rewards import Code, RedeemReward
from services.redeem.domain.versions import Newest
from shared.errors import MemberUnknown, MerchantUnknown, ProgrammeUnknown, Refusal, TerminalUnknown
from shared.events import Balance
from shared.money import Money, Worth


class Redeem(msgspec.Struct, frozen=True, kw_only=True):
    """Spend points at a merchant, now. Exactly one of `points` and `money`; the member by id or by another identity's hash.

    `patient`: an unknown party may be told of in a moment, so the refusal is not kept, and the caller asks again.
    `code`: set them aside instead, to be captured later; the code that names the redemption at a till.
    """

    programme: str
    member_id: UUID | None
    identity_kind: str | None
    identity_hash: bytes | None
    points: int | None
    money: Money | None
    merchant: str
    terminal: str | None
    cashier: str | None
    channel: str | None
    bill_ref: str | None
    patient: bool = False
    code: Code | None = None
    bill_total_minor: int | None = None
    bill_categories: tuple[tuple[str, int], ...] | None = None

    @property
    def place(self) -> Place:
        """Where it is, and for what."""
        return self.place_of(0)

    def place_of(self, paid_minor: int) -> Place:
        """The same where points have paid so much of the bill."""
        return Place(self.merchant, self.terminal, self.bill_categories, paid_minor)

    @property
    def bill(self) -> Bill | None:
        """The bill that it pays for, where more than its name is said of it: then no more is paid of it than may be."""
        if self.bill_ref is None or (self.bill_total_minor is None and self.bill_categories is None):
            return None
        return Bill(self.programme, self.merchant, self.bill_ref)


class Parties(Protocol):
    """What is known here of a redemption's member, programme, merchant and terminal."""

    @property
    def member_named(self) -> bool: ...
    @property
    def wallet_id(self) -> UUID | None: ...
    @property
    def newest(self) -> Newest | None: ...
    @property
    def merchant_known(self) -> bool: ...
    @property
    def terminal_known(self) -> bool: ...


def missing(command: Redeem | RedeemReward | AskAllowance, party: Parties) -> Refusal | None:
    """What is not known of those who take part; None where all are."""
    if party.newest is None:
        return ProgrammeUnknown(f"There is no programme {command.programme}.", pointer="/programme")
    if not party.merchant_known:
        return MerchantUnknown(f"There is no merchant {command.merchant}.", pointer="/merchant")
    if not party.terminal_known:
        return TerminalUnknown(f"{command.merchant} has no terminal {command.terminal}.", pointer="/terminal")
    if party.wallet_id is None:
        if party.member_named and command.member_id is None:
            return MemberUnknown(f"The member is not in {command.programme}.", pointer="/member")
        return MemberUnknown("No member has this identity.", pointer="/member")
    return None


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """Spend what an authorisation set aside, named by its id or by its code: all of it, or so much of it.

    `merchant`: only where it is this one's. What is given of terminal, cashier and bill takes the place of what was said before.
    """

    redemption_id: UUID | None = None
    code_hash: bytes | None = None
    merchant: str | None = None
    points: int | None = None
    money: Money | None = None
    terminal: str | None = None
    cashier: str | None = None
    bill_ref: str | None = None


class Void(msgspec.Struct, frozen=True, kw_only=True):
    """Give back what an authorisation set aside. `merchant`: only where it is this one's."""

    redemption_id: UUID
    merchant: str | None = None


class Release(msgspec.Struct, frozen=True):
    """Give back what an authorisation set aside, if its time is over; nothing if it is not, or was settled meanwhile."""

    redemption_id: UUID


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """Give points of a captured redemption back. Exactly one of `points`, `money`, `whole`; without `whole` false. `merchant`: only
    where it is this one's. `return_ref` is the merchant's own: the same one again is the same return."""

    redemption_id: UUID
    return_ref: str
    points: int | None = None
    money: Money | None = None
    whole: bool = False
    merchant: str | None = None


class RedemptionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a redemption. `redeemed.money` is what the points paid for: the amount asked, if one was."""

    redemption_id: UUID
    status: str
    programme: str
    wallet_id: UUID
    effective_at: datetime
    redeemed: Worth
    balance: Balance


class AuthorisationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a redemption that is captured later. `code` is sealed in what is kept, and opened for who asked."""

    redemption_id: UUID
    status: str
    programme: str
    wallet_id: UUID
    effective_at: datetime
    expires_at: datetime
    code: str
    reserved: Worth
    balance: Balance


class SettledAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a capture or a void: what was spent of what was set aside, what went back, and what of that expired at
    once, for its lot had. `returned`: what of the spent came back at once, for the bill had been refunded before."""

    redemption_id: UUID
    status: str
    programme: str
    wallet_id: UUID
    effective_at: datetime
    redeemed: Worth
    voided: Worth
    expired: Worth
    balance: Balance
    returned: Worth | None = None


class ReturnAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a return: what came back by it, and in all by now; and what of it expired at once, for its lot had."""

    return_id: UUID
    redemption_id: UUID
    return_ref: str
    programme: str
    wallet_id: UUID
    effective_at: datetime
    returned: Worth
    returned_in_all: Worth
    expired: Worth
    balance: Balance
