"""Events of members: people, cards, segments, merchants, programmes, rates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


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
    identities: tuple[Identity, ...]
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


class MerchantChanged(msgspec.Struct, frozen=True, gc=False):
    merchant: str
    version: int
    terminals: tuple[str, ...]
    cashiers: dict[str, str] = {}
    brand: str | None = None


class ProgrammeActivated(msgspec.Struct, frozen=True, gc=False):
    programme: str
    version: int
    document: dict[str, Any]
    activated_at: datetime


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


SAYS: dict[str, type] = {
    "member.enrolled.v1": MemberEnrolled,
    "card.issued.v1": CardIssued,
    "member.segmented.v1": MemberSegmented,
    "card.blocked.v1": CardBlocked,
    "member.merged.v1": MemberMerged,
    "merchant.changed.v1": MerchantChanged,
    "rate.published.v1": RatePublished,
    "member.birthday.v1": MemberBirthday,
    "programme.activated.v1": ProgrammeActivated,
}
"""CloudEvents type -> what is read of its data."""
