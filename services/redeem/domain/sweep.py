"""What a sweep is asked and what it answers; the sweep and its dry run decide by the same `due_in`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from services.redeem.domain.expiring import Notice, expire, notices
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.posting import Posting
from shared.money import told
from shared.programme.compiled import CompiledProgramme


class Place(msgspec.Struct, frozen=True):
    """How far a walk over what is due has come: first along the expiries of lots, then along the wallets that may be left alone."""

    phase: Literal["lots", "idle"] = "lots"
    at: datetime | None = None
    id: UUID | None = None


class Swept(msgspec.Struct):
    """What expired of a programme: how many wallets, lots and points, and what these were worth."""

    programme: str
    currency: str
    wallets: int = 0
    lots: int = 0
    points: int = 0
    amount_minor: int = 0


class ToExpire(msgspec.Struct, frozen=True):
    """What would expire of a wallet, as the posting would: how many lots and points, and what these are worth."""

    wallet_id: UUID
    member_id: UUID
    programme: str
    currency: str
    lots: int
    points: int
    amount_minor: int

    @classmethod
    def of(cls, wallet: Wallet, terms: CompiledProgramme, posting: Posting) -> ToExpire:
        """A posting that `due_in` made."""
        lots = len({line.lot_id for line in posting.lines})
        worth = told(sum(line.money_minor for line in posting.lines))
        return cls(
            wallet.wallet_id, wallet.member_id, terms.code, terms.currency, lots, posting.points, worth
        )


class Expire(msgspec.Struct, frozen=True):
    """Expire what is due in these wallets. `next_cursor` is told again with the answer, for who walks over all of them."""

    wallet_ids: tuple[UUID, ...]
    next_cursor: str | None = None


class Notify(msgspec.Struct, frozen=True):
    """Tell the members of these wallets what will soon expire, as far as they were not told."""

    wallet_ids: tuple[UUID, ...]


class ExpireAnswer(msgspec.Struct, frozen=True):
    """What a step expired, and where the next goes on; `next_cursor` null: it was the last. `to_expire`: each wallet, of a dry run
    only; afterwards `points.expired` tells them."""

    dry_run: bool
    swept: tuple[Swept, ...]
    next_cursor: str | None
    to_expire: tuple[ToExpire, ...] = ()


class Told(msgspec.Struct, frozen=True):
    """How many notices a step gave."""

    notices: int


def due_in(
    wallet: Wallet, terms: CompiledProgramme, now: datetime, new_id: Callable[[], UUID]
) -> Posting | None:
    """What expires of a wallet whose due lots are loaded, posted to it."""
    return expire(wallet, terms=terms, now=now, new_id=new_id, holds_expire=terms.expiry.holds_expire)


def count(swept: dict[str, Swept], found: ToExpire) -> None:
    """Counts what a posting expired, by programme."""
    one = swept.setdefault(found.programme, Swept(found.programme, found.currency))
    one.wallets += 1
    one.lots += found.lots
    one.points += found.points
    one.amount_minor = told(one.amount_minor + found.amount_minor)


def together(swept: dict[str, Swept], more: tuple[Swept, ...]) -> None:
    """Adds the counts of one more step."""
    for found in more:
        one = swept.setdefault(found.programme, Swept(found.programme, found.currency))
        one.wallets += found.wallets
        one.lots += found.lots
        one.points += found.points
        one.amount_minor = told(one.amount_minor + found.amount_minor)


def due_notices(wallet: Wallet, terms: CompiledProgramme, now: datetime) -> list[Notice]:
    """What a member is to be told now of a wallet whose expiring lots are loaded."""
    return notices(wallet.lots, now, terms.expiry.notice_days, terms.zone)
