"""Tills that can't ask: an allowance is given before, what was spent on it is posted when they are back.

An allowance sets nothing aside. What was spent on it is posted as it happened: from what the balance has, and the rest is owed
(domain.md, "owe / overdraw / repay"). docs/offline.md tells it to integrators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import msgspec

from services.redeem.domain.expiring import consumption_order, expire, wake
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.posting import Before, Posting
from services.redeem.domain.reviving import Went, revive
from services.redeem.domain.spendable import spendable
from services.redeem.domain.spending import Terms, consume, posting_of
from shared.errors import Refusal
from shared.money import Worth, money_of
from shared.programme.redeeming import OfflineTerms

EARLY = timedelta(minutes=5)
"""A till's clock may be so far behind ours when it is given an allowance, and so far ahead when it reports."""


class OfflineNotAllowed(Refusal):
    code = "offline_not_allowed"


class AllowanceInvalid(Refusal):
    code = "allowance_invalid"


class AllowanceExpired(Refusal):
    code = "allowance_expired"


class AllowanceExceeded(Refusal):
    code = "allowance_exceeded"


class OccurredInFuture(Refusal):
    code = "occurred_in_future"


class ReportTooLate(Refusal):
    code = "report_too_late"


class RedemptionConflict(Refusal):
    code = "redemption_conflict"


class AskAllowance(msgspec.Struct, frozen=True, kw_only=True):
    """Let this terminal spend points of this member while it can't ask. The member by id or by another identity's hash."""

    programme: str
    member_id: UUID | None
    identity_kind: str | None
    identity_hash: bytes | None
    merchant: str
    terminal: str


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent on an allowance. `redemption_ref` is the till's own: once for each allowance."""

    redemption_ref: str
    points: int
    occurred_at: datetime
    bill_ref: str | None = None
    cashier: str | None = None

    @property
    def content_hash(self) -> bytes:
        """The same use said again has the same."""
        said = self.points, self.occurred_at, self.bill_ref, self.cashier
        return sha256(msgspec.msgpack.encode(said)).digest()


class ReportUses(msgspec.Struct, frozen=True, kw_only=True):
    """What a till let a member spend on an allowance. `merchant`: only where the allowance is this one's."""

    allowance_id: UUID
    uses: tuple[Use, ...]
    merchant: str | None = None


class Allowance(msgspec.Struct):
    """An allowance under its wallet's lock. `used_points` is what was reported so far."""

    allowance_id: UUID
    wallet_id: UUID
    programme: str
    programme_version: int
    merchant: str
    terminal: str
    points: int
    used_points: int
    issued_at: datetime
    expires_at: datetime
    report_until: datetime

    @property
    def left(self) -> int:
        return self.points - self.used_points


class AllowanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to who asks for an allowance; the signed text is made of it."""

    allowance_id: UUID
    programme: str
    wallet_id: UUID
    merchant: str
    terminal: str
    allowed: Worth
    issued_at: datetime
    expires_at: datetime


class UseAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one use: posted, repeated (it was posted before), or refused with a code. `returned`: what has come back of
    it by now."""

    redemption_ref: str
    outcome: str
    redemption_id: UUID | None = None
    redeemed: Worth | None = None
    overdrawn: Worth | None = None
    returned: Worth | None = None
    wallet_blocked: bool = False
    code: str | None = None
    detail: str | None = None


class Overdrawn(msgspec.Struct, frozen=True):
    """A redemption that was posted as it had happened; `owed` of its points were more than the balance had. `revived`: what had
    expired only after it, and was swept before it was told."""

    spent: Posting
    expired: Posting | None
    owed: int
    revived: Posting | None = None


def allow(
    wallet_id: UUID,
    command: AskAllowance,
    *,
    version: int,
    terms: OfflineTerms,
    now: datetime,
    allowance_id: UUID,
) -> Allowance:
    """A new allowance, good from now."""
    ends = now + terms.lasts
    return Allowance(
        allowance_id,
        wallet_id,
        command.programme,
        version,
        command.merchant,
        command.terminal,
        terms.points,
        0,
        now,
        ends,
        ends + terms.reported_within,
    )


def check_use(allowance: Allowance, use: Use, *, now: datetime) -> None:
    """Refuses report_too_late, allowance_expired and allowance_exceeded."""
    if now > allowance.report_until:
        raise ReportTooLate(
            f"What was spent on it could be reported until {allowance.report_until:%Y-%m-%dT%H:%M:%SZ}."
        )
    if not allowance.issued_at - EARLY <= use.occurred_at < allowance.expires_at:
        raise AllowanceExpired(
            f"The allowance held from {allowance.issued_at:%Y-%m-%dT%H:%M:%SZ} until {allowance.expires_at:%Y-%m-%dT%H:%M:%SZ}; "
            f"this was at {use.occurred_at:%Y-%m-%dT%H:%M:%SZ}."
        )
    if use.points > allowance.left:
        raise AllowanceExceeded(
            f"{use.points} points were spent; {allowance.left} are left of the allowance of {allowance.points}."
        )


def overdraw(
    wallet: Wallet,
    *,
    points: int,
    terms: Terms,
    at: datetime,
    redemption_id: UUID,
    new_id: Callable[[], UUID],
    went: Iterable[Went] = (),
) -> Overdrawn:
    """Posts what was spent at that moment, whatever the wallet's status and balance: from lots in the programme's order as far as
    they go, the rest as debt. What had expired or ended by silence by then is not spent, what expired since is, swept or not.

    The wallet's lots must hold all that are past their expiry, those that `went` names, and the first in order that make up
    `points`.
    """
    woken = wake(wallet, at=at, value=terms, new_id=new_id)
    expired = woken or expire(wallet, terms=terms, now=at, new_id=new_id)
    order = consumption_order(terms.consumption)
    revived = revive(
        wallet,
        went,
        points=points,
        at=at,
        order=order,
        value=terms,
        source_id=redemption_id,
        new_id=new_id,
    )
    before, posting_id, lines = Before.of(wallet), new_id(), []
    there = min(points, spendable(wallet, at))
    if there:
        for lot, taken in consume(wallet.lots, there, order):
            wallet.take(lot, taken)
            lines.append(
                wallet.move(
                    "redeem",
                    "available",
                    "redeemed",
                    taken,
                    posting_id=posting_id,
                    money_minor=money_of(taken, terms.point_value, terms.currency),
                    lot_id=lot.lot_id,
                    source_id=redemption_id,
                    effective_at=at,
                )
            )
    owed = points - there
    if owed:
        lines.append(
            wallet.move(
                "overdraw",
                "debt",
                "redeemed",
                owed,
                posting_id=posting_id,
                money_minor=money_of(owed, terms.point_value, terms.currency),
                lot_id=None,
                source_id=redemption_id,
                effective_at=at,
            )
        )
    spent = posting_of(wallet, before, posting_id, lines[0].kind, points, at, lines)
    return Overdrawn(spent, expired, owed, revived)
