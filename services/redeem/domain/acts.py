"""What can be asked of wallets beside spending: a transfer, an adjustment, a reinstatement, an opening balance; each posts once
under its id, for ever."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Give points to another wallet of the same programme."""

    transfer_id: UUID
    giver: UUID
    receiver: UUID
    points: int


class Adjust(msgspec.Struct, frozen=True, kw_only=True):
    """Put a balance right: give points (above zero), with an expiry or for ever, or take some (below zero). `reason` is a code,
    `evidence` a reference to what proves it. Who may ask for it, and who must approve, is decided before it comes here."""

    adjustment_id: UUID
    wallet_id: UUID
    points: int
    expires_at: datetime | None
    reason: str
    evidence: str


class Reinstate(msgspec.Struct, frozen=True, kw_only=True):
    """Bring expired points of a lot back, until `expires_at` (None: for ever)."""

    reinstatement_id: UUID
    wallet_id: UUID
    lot_id: UUID
    points: int
    expires_at: datetime | None
    reason: str


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """Points that a member had before: earned then, expiring then."""

    opening_id: UUID
    wallet_id: UUID
    points: int
    earned_at: datetime
    expires_at: datetime | None


Asked = Transfer | Adjust | Reinstate | Open
