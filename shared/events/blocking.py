"""Wallets that nobody may spend from for now, and cards that identify nobody any more."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.events.envelope import EventData
from shared.events.members import HashedIdentity


class WalletBlocked(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. Nothing can be spent from it until it is unblocked; what is earned still comes."""

    TYPE: ClassVar[str] = "wallet.blocked.v1"
    SOURCE: ClassVar[str] = "/redeem"
    wallet_id: UUID
    member_id: UUID
    programme: str
    reason: str
    blocked_at: datetime


class WalletUnblocked(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. It can be spent from again."""

    TYPE: ClassVar[str] = "wallet.unblocked.v1"
    SOURCE: ClassVar[str] = "/redeem"
    wallet_id: UUID
    member_id: UUID
    programme: str
    reason: str
    unblocked_at: datetime


class CardBlocked(EventData, frozen=True, kw_only=True):
    """Subject: the member_id. For ever: it identifies nobody who spends. `identities` are the card's id and number, hashed."""

    TYPE: ClassVar[str] = "card.blocked.v1"
    SOURCE: ClassVar[str] = "/members"
    member_id: UUID
    wallet_id: UUID
    programme: str
    card_id: UUID
    identities: tuple[HashedIdentity, ...]
    reason: str
    blocked_at: datetime
