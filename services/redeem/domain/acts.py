"""What can be asked of wallets beside spending: a transfer, an adjustment, a reinstatement, an opening balance; each posts once
under its id, for ever."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

AdjustmentState = Literal["posted", "pending", "rejected"]


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Give points to another wallet of the same programme."""

    transfer_id: UUID
    giver: UUID
    receiver: UUID
    points: int


class Evidence(msgspec.Struct, frozen=True):
    """A reference to what proves something, and the SHA-256 of that, where it is known."""

    reference: str
    sha256: bytes | None = None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What an adjustment does to a wallet: give points (above zero), with an expiry or for ever, or take some (below zero)."""

    posting_id: UUID
    wallet_id: UUID
    points: int
    expires_at: datetime | None = None


class Adjust(msgspec.Struct, frozen=True, kw_only=True):
    """Put balances right, for a reason of the programme's list. Whoever asks is a person: that is decided before it comes here.
    Whether somebody else must agree is decided here."""

    adjustment_id: UUID
    programme: str
    parts: tuple[Part, ...]
    reason: str
    evidence: Evidence


class DecideAdjustment(msgspec.Struct, frozen=True, kw_only=True):
    """Approve a pending adjustment, or reject it. Whoever decides is a person with a second factor, likewise."""

    adjustment_id: UUID
    approve: bool
    note: str | None = None


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment as it stands. `second_person_above` is what its programme's newest version said when it was asked for."""

    adjustment_id: UUID
    programme: str
    programme_version: int
    second_person_above: int
    state: AdjustmentState
    reason: str
    evidence: Evidence
    requested_by: str
    requested_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    note: str | None = None
    parts: tuple[Part, ...] = ()


class Reinstate(msgspec.Struct, frozen=True, kw_only=True):
    """Bring expired points of a lot back, until `expires_at` (None: for ever)."""

    reinstatement_id: UUID
    wallet_id: UUID
    lot_id: UUID
    points: int
    expires_at: datetime | None
    reason: str


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """Points that a member had before: earned then, expiring then. The wallet is named by its id, or by its programme and the kind
    and hash of an identity of its member's."""

    opening_id: UUID
    wallet_id: UUID | None = None
    programme: str | None = None
    identity_kind: str | None = None
    identity_hash: bytes | None = None
    points: int
    earned_at: datetime
    expires_at: datetime | None
    last_active_at: datetime | None = None
    """When the member last did something elsewhere, since earning them; None: that is not known."""
    by_one: bool = False
    """Whether one person answers for it, within the programme's threshold; an operator's file is not bounded."""
