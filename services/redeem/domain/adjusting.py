"""Points that a person puts right, and those that a wallet brings along from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, NamedTuple
from uuid import UUID, uuid5

from services.redeem.domain.acts import Open
from services.redeem.domain.expiring import consumption_order, expire
from services.redeem.domain.ledger import Bucket, Kind, Lot, Wallet
from services.redeem.domain.posting import Act, Posting, Value, most_points
from services.redeem.domain.spendable import spendable
from services.redeem.domain.spending import InsufficientPoints, consume
from shared.errors import AmountOutOfRange, Refusal

_OPENINGS = UUID("01a1f82f-1e80-7f0a-9c55-6f70656e696e")


class OpeningConflict(Refusal):
    code: ClassVar[str] = "opening_conflict"


class OccurredInFuture(Refusal):
    code: ClassVar[str] = "occurred_in_future"


class Opened(NamedTuple):
    """What was said of an opening balance, as a repeat must say it."""

    wallet_id: UUID
    points: int
    earned_at: datetime
    expires_at: datetime | None
    last_active_at: datetime | None


def opened_of(asked: Open, wallet_id: UUID) -> Opened:
    """What is said, of the wallet that is meant by it."""
    return Opened(wallet_id, asked.points, asked.earned_at, asked.expires_at, asked.last_active_at)


def check_repeat(before: Opened, now: Opened) -> None:
    """Refuses a second opening balance of a reference that is not the first: opening_conflict."""
    differs = [name for name, one, other in zip(Opened._fields, before, now, strict=True) if one != other]
    if differs:
        raise OpeningConflict(
            f"Under this reference a balance was opened with another {', '.join(differs)}. Take another reference.",
            pointer="/opening_ref",
        )


def another_act() -> OpeningConflict:
    """The refusal of an opening balance whose id something else has."""
    return OpeningConflict(
        "Something else was posted under this reference. Take another one.", pointer="/opening_ref"
    )


def another_row() -> OpeningConflict:
    """The refusal of a row of a file under whose key a row before it opens something else."""
    return OpeningConflict(
        "A row before opens another balance under this key. Give each a key of its own.",
        pointer="/opening_ref",
    )


def opening_id(opening_ref: str) -> UUID:
    """The id of the opening balance of this reference, by whatever road it comes."""
    return uuid5(_OPENINGS, opening_ref)


def check_opening(asked: Open, value: Value, now: datetime) -> None:
    """Refuses an opening balance that no wallet could have: amount_out_of_range, occurred_in_future."""
    most = most_points(value)
    if not 0 < asked.points <= most:
        raise AmountOutOfRange(f"A balance opens with 1 to {most} points.", pointer="/points")
    if asked.earned_at > now:
        raise OccurredInFuture(
            "An opening balance was earned before. Name an earlier moment.", pointer="/earned_at"
        )
    if asked.expires_at is not None and asked.expires_at <= asked.earned_at:
        raise AmountOutOfRange(
            "Points expire after they are earned. Name a later moment.", pointer="/expires_at"
        )
    check_activity(asked, now)


def check_activity(asked: Open, now: datetime) -> None:
    """Refuses a last activity that can't be: amount_out_of_range, occurred_in_future. Who earned points was active then."""
    if asked.last_active_at is None:
        return
    if asked.last_active_at > now:
        raise OccurredInFuture(
            "A member was active before. Name an earlier moment.", pointer="/last_active_at"
        )
    if asked.last_active_at < asked.earned_at:
        raise AmountOutOfRange(
            "Who earned points was active then. Name no earlier moment.", pointer="/last_active_at"
        )


def over_at_once(lot: Lot, wallet: Wallet, now: datetime) -> int:
    """What of an opened lot nobody can spend: it has expired, swept or not, or silence has ended the balance."""
    silent = wallet.idle_at is not None and wallet.idle_at <= now
    return lot.expired + (lot.usable if silent or lot.expired_by(now) else 0)


def opening(
    wallet: Wallet,
    *,
    points: int,
    earned_at: datetime,
    expires_at: datetime | None,
    value: Value,
    source_id: UUID | None,
    posting_id: UUID,
    new_id: Callable[[], UUID],
) -> Posting:
    """Points that a member had before this ledger: a lot of their own, backdated to when they were earned."""
    return _opened(
        wallet, "opening", "issued", points, earned_at, expires_at, value, source_id, posting_id, new_id
    )


def adjust(
    wallet: Wallet,
    *,
    points: int,
    expires_at: datetime | None,
    consumption: str,
    value: Value,
    now: datetime,
    source_id: UUID,
    posting_id: UUID,
    new_id: Callable[[], UUID],
) -> tuple[Posting, Posting | None]:
    """Gives points (a lot of their own), or takes as many as `points` is below zero, in the order in which they would be
    spent; gives also what had to be expired before. Refuses insufficient_points: no adjustment takes what is not there."""
    assert points
    if points > 0:
        given = _opened(
            wallet, "adjust", "adjusted", points, now, expires_at, value, source_id, posting_id, new_id
        )
        return given, None
    there = spendable(wallet, now)
    if -points > there:
        raise InsufficientPoints(
            f"The wallet has {there} available points; {-points} were to be taken.", pointer="/points"
        )
    expired = expire(wallet, terms=value, now=now, new_id=new_id)
    act = Act(wallet, posting_id, value, now, source_id)
    for lot, taken in consume(wallet.lots, -points, consumption_order(consumption)):
        act.move("adjust", "available", "adjusted", taken, lot)
    taken_back = act.done()
    assert taken_back is not None
    return taken_back, expired


def _opened(
    wallet: Wallet,
    kind: Kind,
    from_bucket: Bucket,
    points: int,
    at: datetime,
    expires_at: datetime | None,
    value: Value,
    source_id: UUID | None,
    posting_id: UUID,
    new_id: Callable[[], UUID],
) -> Posting:
    act = Act(wallet, posting_id, value, at, source_id)
    act.open(
        kind,
        from_bucket,
        "available",
        Lot(new_id(), wallet.wallet_id, posting_id, source_id, at, expires_at, points, points),
    )
    posting = act.done()
    assert posting is not None
    return posting
