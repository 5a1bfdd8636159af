"""What members says: programmes, merchants, members, cards. Identities travel as keyed hashes only."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from shared.events.envelope import EventData


class HashedIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """`kind` is card_id, card_number, mobile, email or external_id; `hash` is hex (see shared.identity)."""

    kind: str
    hash: str


class EnrolledWallet(msgspec.Struct, frozen=True, kw_only=True):
    programme: str
    wallet_id: UUID


class ProgrammeActivated(EventData, frozen=True, kw_only=True):
    """Subject: `programme/<code>`. `document` is the whole version; it never changes."""

    TYPE: ClassVar[str] = "programme.activated.v1"
    SOURCE: ClassVar[str] = "/members"
    programme: str
    version: int
    document: dict[str, Any]
    activated_at: datetime


class RatePublished(EventData, frozen=True, kw_only=True):
    """Subject: `rate/<from>-<to>`. From `valid_from` on, one unit of the one currency is worth `rate` units of the other, in
    major units. `number` rises by one with each rate of the pair."""

    TYPE: ClassVar[str] = "rate.published.v1"
    SOURCE: ClassVar[str] = "/members"
    from_currency: str
    to_currency: str
    number: int
    rate: str
    valid_from: datetime
    source: str
    author: str
    published_at: datetime


class MerchantChanged(EventData, frozen=True, kw_only=True):
    """Subject: `merchant/<code>`. The whole state; `version` rises by one with each change. `cashiers`: who they are as members."""

    TYPE: ClassVar[str] = "merchant.changed.v1"
    SOURCE: ClassVar[str] = "/members"
    merchant: str
    version: int
    brand: str | None = None
    name: dict[str, str] = msgspec.field(default_factory=dict)
    terminals: tuple[str, ...] = ()
    cashiers: dict[str, UUID] = msgspec.field(default_factory=dict)


class MemberBirthday(EventData, frozen=True, kw_only=True):
    """Subject: the member_id. It is the member's birthday in this programme: told once for each member, programme and year, some
    time after `occurred_at`, the beginning of the day on the programme's calendar. No year of birth."""

    TYPE: ClassVar[str] = "member.birthday.v1"
    SOURCE: ClassVar[str] = "/members"
    member_id: UUID
    wallet_id: UUID
    programme: str
    year: int
    occurred_at: datetime


class MemberEnrolled(EventData, frozen=True, kw_only=True, omit_defaults=True):
    """Subject: the member_id. `referred_by`: the member who told this one of it, if somebody did. `birth_month`: 1 to 12, where
    the birthday is known; its day and year stay in members."""

    TYPE: ClassVar[str] = "member.enrolled.v1"
    SOURCE: ClassVar[str] = "/members"
    member_id: UUID
    locale: str
    channel: str
    consented: bool
    identities: tuple[HashedIdentity, ...]
    wallets: tuple[EnrolledWallet, ...]
    enrolled_at: datetime
    referred_by: UUID | None = None
    birth_month: int | None = None


class CardIssued(EventData, frozen=True, kw_only=True):
    """Subject: the member_id. `identities` are the card's id and number, hashed."""

    TYPE: ClassVar[str] = "card.issued.v1"
    SOURCE: ClassVar[str] = "/members"
    member_id: UUID
    wallet_id: UUID
    programme: str
    card_id: UUID
    identities: tuple[HashedIdentity, ...]
    issued_at: datetime


class MergedWallet(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet whose points, and whatever comes for it later, are another's in the same programme. `born`: that one is new."""

    programme: str
    wallet_id: UUID
    merged_into: UUID
    born: bool = False


class MemberMerged(EventData, frozen=True, kw_only=True):
    """Subject: the member_id, who is the same person as `merged_into` and goes on as that one. `wallets`: all of the merged
    member's; those that they merge into are the other's, some born with this. `survivor_wallets`: all of the other's. `identities`
    named the merged member, and name the other from now on."""

    TYPE: ClassVar[str] = "member.merged.v1"
    SOURCE: ClassVar[str] = "/members"
    merge_id: UUID
    member_id: UUID
    merged_into: UUID
    reason: str
    wallets: tuple[MergedWallet, ...]
    survivor_wallets: tuple[EnrolledWallet, ...]
    identities: tuple[HashedIdentity, ...]
    merged_at: datetime


class MemberSegmented(EventData, frozen=True, kw_only=True):
    """Subject: the member_id. A stay of the member in a segment as it is now, named by when it began: in force from `from_at`
    on and before `until_at` (None: no end is known). One that ends as it begins was called off."""

    TYPE: ClassVar[str] = "member.segmented.v1"
    SOURCE: ClassVar[str] = "/members"
    member_id: UUID
    segment: str
    from_at: datetime
    until_at: datetime | None = None
