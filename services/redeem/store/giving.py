"""What earn asked to be issued and taken back, each request once for ever; and benefits that are taken back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.redeem.store.rewards import Name, benefits
from services.redeem.store.sql import columns, giving
from shared.db import Connection
from shared.events import BenefitAsked


class Ask(NamedTuple):
    """A request that issues, and what it came to. `outcome` None: only its withdrawal was asked for so far."""

    effect_id: UUID
    wallet_id: UUID | None = None
    member_id: UUID | None = None
    programme: str | None = None
    reward: str | None = None
    source_kind: str | None = None
    source_code: str | None = None
    bill_id: UUID | None = None
    effective_at: datetime | None = None
    outcome: str | None = None
    benefit_id: UUID | None = None
    code: str | None = None
    withdrawn_first: bool = False

    @classmethod
    def of(cls, event: BenefitAsked) -> Ask:
        """As it was asked, without an outcome."""
        return cls(
            event.effect_id,
            event.wallet_id,
            event.member_id,
            event.programme,
            event.reward,
            event.source.kind,
            event.source.code,
            event.source.bill_id,
            event.effective_at,
        )

    @property
    def said(self) -> tuple[Any, ...]:
        """What was asked: another under the same id is another request."""
        return self[:9]


class Withdrawal(NamedTuple):
    """A request that takes back, and what it came to."""

    effect_id: UUID
    issued_by: UUID
    outcome: str
    benefit_id: UUID | None


class Lapsing(NamedTuple):
    """A benefit that expired unused, and what it would have cost in minor units."""

    benefit_id: UUID
    programme: str
    reward: str
    expires_at: datetime
    cost_minor: int


class Liability(NamedTuple):
    """What became of a reward's benefits, and what the open ones would cost, in minor units."""

    programme: str
    reward: str
    currency: str
    issued: int
    consumed: int
    consumed_minor: int
    withdrawn: int
    written_off: int
    open: int
    open_minor: int
    expired: int


class Standing(NamedTuple):
    """A benefit under its lock."""

    benefit_id: UUID
    expires_at: datetime | None
    consumed_at: datetime | None
    withdrawn_at: datetime | None
    lapsed_at: datetime | None


async def lock_asks(db: Connection, effect_ids: Iterable[UUID]) -> dict[UUID, Ask]:
    """The requests that issue under these ids, each with a row from now on, locked until the end of the transaction."""
    ids = sorted(set(effect_ids))
    await giving.begin_asks(db, effect_ids=ids)
    return {row[0]: Ask(*row) for row in await giving.lock_asks(db, effect_ids=ids)}


async def known_withdrawals(db: Connection, effect_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """Of these requests to withdraw those that were made before, with what they named. Asked under the locks of what they name."""
    rows = await giving.known_withdrawals(db, effect_ids=list(effect_ids))
    return {row[0]: row[1] for row in rows}


async def answer_asks(db: Connection, asks: Sequence[Ask]) -> None:
    """Writes what locked requests came to."""
    if asks:
        await giving.answer_asks(db, **columns(_ASK_COLUMNS, asks))


async def keep_withdrawals(db: Connection, made: Sequence[Withdrawal]) -> None:
    """Writes withdrawals."""
    if made:
        names = ("effect_ids", "issued_bys", "outcomes", "benefit_ids")
        await giving.keep_withdrawals(db, **columns(names, made))


async def lock_benefits(db: Connection, benefit_ids: Iterable[UUID]) -> dict[UUID, Standing]:
    """Benefits, locked until the end of the transaction."""
    rows = await giving.lock_benefits_by_id(db, benefit_ids=sorted(set(benefit_ids)))
    return {row[0]: Standing(*row) for row in rows}


async def withdraw(db: Connection, restocked: Mapping[UUID, bool], now: datetime) -> None:
    """Writes that these locked benefits are taken back, and which of them are on stock again."""
    await giving.withdraw(db, benefit_ids=list(restocked), restockeds=list(restocked.values()), now=now)


async def restock(db: Connection, back: Mapping[Name, int]) -> None:
    """Puts so many of these locked rewards on stock again."""
    if back:
        rows = [(programme, reward, most) for (programme, reward), most in sorted(back.items())]
        await giving.restock(db, **columns(("programmes", "rewards", "backs"), rows))


async def next_lapsing(db: Connection, now: datetime, *, most: int) -> list[UUID]:
    """Benefits that expired unused, the longest ago first."""
    return [row[0] for row in await giving.next_lapsing(db, now=now, most=most)]


async def lapse(db: Connection, benefit_ids: Sequence[UUID], now: datetime) -> list[UUID]:
    """Locks these benefits and writes off those that expired unused; gives them."""
    await lock_benefits(db, benefit_ids)
    return sorted([row[0] for row in await giving.lapse(db, benefit_ids=benefit_ids, now=now)])


async def lapsing_page(
    db: Connection, now: datetime, *, after: tuple[datetime, UUID], most: int
) -> list[Lapsing]:
    """What is due to be written off, the longest ago first, from after a place (expiry, benefit)."""
    rows = await giving.lapsing_page(db, now=now, after_at=after[0], after_id=after[1], most=most)
    return [Lapsing(*row) for row in rows]


async def liability(db: Connection, programme: str | None, now: datetime) -> list[Liability]:
    """Of each reward that was ever issued, of one programme or of all."""
    return [Liability(*row) for row in await giving.liability(db, programme=programme, now=now)]


async def of_wallet(
    db: Connection, wallet_id: UUID, *, merchant: str | None, before: tuple[datetime, UUID], most: int
) -> list[Any]:
    """A wallet's benefits as `benefits` gives them, the newest first, from before one of them; with a merchant without those that
    were used elsewhere."""
    ids = [
        row[0]
        for row in await giving.benefit_ids_of_wallet(
            db,
            wallet_id=wallet_id,
            merchant=merchant,
            before_at=before[0],
            before_id=before[1],
            most=most,
        )
    ]
    found = await benefits(db, ids)
    return [found[one] for one in ids]


_ASK_COLUMNS = (
    "effect_ids",
    "wallet_ids",
    "member_ids",
    "programmes",
    "rewards",
    "source_kinds",
    "source_codes",
    "bill_ids",
    "effective_ats",
    "outcomes",
    "benefit_ids",
    "codes",
    "withdrawn_firsts",
)
assert len(_ASK_COLUMNS) == len(Ask._fields)
