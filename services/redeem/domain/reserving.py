"""Points set aside at a till and settled later: reserved lot by lot, then captured in whole or in part, or given back.

A reservation outlives the lots it stands on: what is captured was set aside while its lot lived. What goes back after its
lot's expiry goes back and expires at once, at the moment that it came back: it could not be spent in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain.expiring import consumption_order, expire, silenced_by, wake
from services.redeem.domain.ledger import Line, Lot, Wallet
from services.redeem.domain.parts import part_of
from services.redeem.domain.posting import Before, Posting
from services.redeem.domain.spending import Terms, WalletBlocked, check_spendable, consume, posting_of
from services.redeem.domain.versions import Newest
from shared.errors import Refusal
from shared.money import Money, money_of


class RedemptionCaptured(Refusal):
    code = "redemption_captured"


class RedemptionVoided(Refusal):
    code = "redemption_voided"


class AuthorisationExpired(Refusal):
    code = "authorisation_expired"


class LotPart(msgspec.Struct):
    """What a redemption took of one lot, and what became of it: points. Under the redemption's own id stands what was overdrawn:
    that was in no lot."""

    lot_id: UUID
    lent: int
    captured: int = 0
    voided: int = 0
    returned: int = 0


class Redemption(msgspec.Struct):
    """A redemption under its wallet's lock: as it was read, then as the decisions of this batch leave it.

    `points` and `money_minor` are what it was made for: of a captured one `captured_points` and `captured_minor` count.
    `expires_at` is null for one that was captured when it was made. `lots` stand in the order in which it took them; a plain
    redemption may come without them, until they are asked for.
    """

    redemption_id: UUID
    posting_id: UUID
    wallet_id: UUID
    programme: str
    programme_version: int
    status: str
    points: int
    money_minor: int
    merchant: str
    terminal: str | None
    cashier: str | None
    channel: str | None
    bill_ref: str | None
    effective_at: datetime
    returned_points: int
    returned_minor: int
    expires_at: datetime | None = None
    captured_points: int = 0
    captured_minor: int = 0
    ended: str | None = None
    ended_at: datetime | None = None
    lots: list[LotPart] = []
    capture_posting: UUID | None = None
    void_posting: UUID | None = None
    changed: bool = False
    """Whether this batch settled it."""
    reward: str | None = None
    """What an authorisation holds for it."""
    bill_most_minor: int | None = None
    """What points may pay of the bill that it was set aside for; None where nothing was said of that."""
    newest: Newest | None = None
    """Of its programme: what a balance is worth by now. None where nothing is answered."""

    @property
    def captured_at(self) -> datetime | None:
        """When its points were spent; None where they never were."""
        if self.status != "captured":
            return None
        return self.effective_at if self.expires_at is None else self.ended_at


class Reserved(msgspec.Struct, frozen=True):
    """An authorisation that was posted, the lots it stands on, and what had to be expired on touch before it."""

    set_aside: Posting
    lots: list[LotPart]
    expired: Posting | None


class Voided(msgspec.Struct, frozen=True):
    """Reserved points that went back to their lots, and those of them whose lots had expired meanwhile."""

    given_back: Posting
    expired: Posting | None


class Captured(msgspec.Struct, frozen=True):
    """A capture that was posted, with what it left over. `woken`: what of the balance had ended before it by silence."""

    spent: Posting
    rest: Voided | None
    woken: Posting | None = None


def reserve(
    wallet: Wallet,
    *,
    points: int,
    pointer: str,
    terms: Terms,
    now: datetime,
    redemption_id: UUID,
    new_id: Callable[[], UUID],
) -> Reserved:
    """Sets points aside, chosen as a redemption chooses them; `redeem` says what must be loaded, and refuses the same."""
    check_spendable(wallet, points=points, pointer=pointer, terms=terms, now=now)
    expired = expire(wallet, terms=terms, now=now, new_id=new_id)
    before, posting_id, lines, parts = Before.of(wallet), new_id(), [], []
    for lot, taken in consume(wallet.lots, points, consumption_order(terms.consumption)):
        wallet.shift(lot, "available", "reserved", taken)
        parts.append(LotPart(lot.lot_id, taken))
        lines.append(
            wallet.move(
                "reserve",
                "available",
                "reserved",
                taken,
                posting_id=posting_id,
                money_minor=money_of(taken, terms.point_value, terms.currency),
                lot_id=lot.lot_id,
                source_id=redemption_id,
                effective_at=now,
            )
        )
    return Reserved(posting_of(wallet, before, posting_id, "reserve", points, now, lines), parts, expired)


def capture(
    wallet: Wallet,
    redemption: Redemption,
    *,
    points: int | None,
    money: Money | None,
    terms: Terms,
    now: datetime,
    new_id: Callable[[], UUID],
) -> Captured:
    """Spends reserved points, all of them or as many as are asked for; the rest goes back. The wallet has the redemption's lots.
    Who captures is active: what had ended by silence ends first, and the rest lives under the new end.

    Refuses redemption_captured, redemption_voided, authorisation_expired, wallet_blocked, currency_mismatch and
    amount_out_of_range, and then nothing has moved.
    """
    _check_standing(redemption)
    if redemption.expires_at is None or now >= redemption.expires_at:
        raise AuthorisationExpired(
            f"The authorisation ended at {redemption.expires_at:%Y-%m-%dT%H:%M:%SZ}; its points go back. Ask for a new one."
        )
    if wallet.status != "active":
        raise WalletBlocked(f"The wallet is {wallet.status}; nothing can be spent from it.")
    taken, paid = part_of(redemption, points=points, money=money, terms=terms)
    woken = wake(wallet, at=now, value=terms, new_id=new_id)
    lots, before, posting_id, lines = lots_of(wallet), Before.of(wallet), new_id(), []
    left = taken
    for part in redemption.lots:
        spent = min(left, part.lent)
        if not spent:
            break
        left -= spent
        part.captured = spent
        lot = lots[part.lot_id]
        wallet.shift(lot, "reserved", "redeemed", spent)
        lines.append(_line(wallet, redemption, "redeem", part.lot_id, spent, posting_id, terms, now))
    assert not left, (redemption.redemption_id, left)
    posting = posting_of(wallet, before, posting_id, "redeem", taken, now, lines)
    redemption.status = redemption.ended = "captured"
    redemption.ended_at, redemption.capture_posting = now, posting_id
    redemption.captured_points, redemption.captured_minor = taken, paid
    redemption.changed = True
    rest = _give_back(wallet, redemption, terms=terms, now=now, new_id=new_id)
    return Captured(posting, rest, woken)


def void(
    wallet: Wallet, redemption: Redemption, *, terms: Terms, now: datetime, new_id: Callable[[], UUID]
) -> Voided:
    """Gives each lot back what it lent, whatever the wallet's status. Refuses redemption_captured and redemption_voided."""
    _check_standing(redemption)
    assert redemption.expires_at is not None
    redemption.status = "voided"
    redemption.ended = "expired" if now >= redemption.expires_at else "voided"
    redemption.ended_at, redemption.changed = now, True
    voided = _give_back(wallet, redemption, terms=terms, now=now, new_id=new_id)
    assert voided is not None
    return voided


def expire_at_once(
    wallet: Wallet,
    came_back: Iterable[tuple[Lot, int]],
    *,
    terms: Terms,
    since: datetime,
    now: datetime,
    new_id: Callable[[], UUID],
) -> Posting | None:
    """Expires what just came back to lots that are past their expiry at `now`: each at its expiry, or at `since`, when it came
    back, if that is later, for before it was not there to expire."""
    before, posting_id, lines, gone = Before.of(wallet), new_id(), [], []
    for lot, points in came_back:
        dies_at = lot.dies_at
        if dies_at is None or dies_at > now:
            continue
        gone.append(lot)
        wallet.shift(lot, "available", "expired", points)
        lines.append(
            wallet.move(
                "expire",
                "available",
                "expired",
                points,
                posting_id=posting_id,
                money_minor=money_of(points, terms.point_value, terms.currency),
                lot_id=lot.lot_id,
                source_id=lot.source_id,
                effective_at=max(dies_at, since),
            )
        )
    if not lines:
        return None
    points = sum(line.points for line in lines)
    return posting_of(
        wallet,
        before,
        posting_id,
        "expire",
        points,
        lines[-1].effective_at,
        lines,
        silenced_by=silenced_by(wallet, gone),
    )


def _check_standing(redemption: Redemption) -> None:
    match redemption.status:
        case "captured":
            raise RedemptionCaptured(
                f"The redemption was captured at {redemption.captured_at:%Y-%m-%dT%H:%M:%SZ}; a return gives its points back."
            )
        case "voided" if redemption.ended == "expired":
            raise AuthorisationExpired(
                f"The authorisation ended at {redemption.expires_at:%Y-%m-%dT%H:%M:%SZ}; its points go back. Ask for a new one."
            )
        case "voided":
            raise RedemptionVoided(
                f"The redemption was voided at {redemption.ended_at:%Y-%m-%dT%H:%M:%SZ}. Ask for a new one."
            )


def _give_back(
    wallet: Wallet, redemption: Redemption, *, terms: Terms, now: datetime, new_id: Callable[[], UUID]
) -> Voided | None:
    lots, before, posting_id = lots_of(wallet), Before.of(wallet), new_id()
    lines: list[Line] = []
    came_back: list[tuple[Lot, int]] = []
    for part in redemption.lots:
        points = part.lent - part.captured
        if not points:
            continue
        part.voided = points
        lot = lots[part.lot_id]
        wallet.shift(lot, "reserved", "available", points)
        came_back.append((lot, points))
        lines.append(_line(wallet, redemption, "void", part.lot_id, points, posting_id, terms, now))
    if not lines:
        return None
    redemption.void_posting = posting_id
    points = sum(line.points for line in lines)
    given_back = posting_of(wallet, before, posting_id, "void", points, now, lines)
    return Voided(
        given_back, expire_at_once(wallet, came_back, terms=terms, since=now, now=now, new_id=new_id)
    )


def _line(
    wallet: Wallet,
    redemption: Redemption,
    kind: str,
    lot_id: UUID,
    points: int,
    posting_id: UUID,
    terms: Terms,
    now: datetime,
) -> Line:
    return wallet.move(
        "redeem" if kind == "redeem" else "void",
        "reserved",
        "redeemed" if kind == "redeem" else "available",
        points,
        posting_id=posting_id,
        money_minor=money_of(points, terms.point_value, terms.currency),
        lot_id=lot_id,
        source_id=redemption.redemption_id,
        effective_at=now,
    )


def lots_of(wallet: Wallet) -> dict[UUID, Lot]:
    """The loaded lots of a wallet by their ids."""
    return {lot.lot_id: lot for lot in wallet.lots}
