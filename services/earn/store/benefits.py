"""Stamp cards and asked rewards as they are written, and as they are read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.earn.domain.benefit import Effect, TakenStamps
from services.earn.domain.decision import Decision, decode_decision
from services.earn.domain.judge import CardKey
from services.earn.store.recorded import of_bills
from shared.db import Connection
from shared.sql import load

queries = load("services.earn.store", "benefits.sql")

_STAMP_COLUMNS = ("bill_id", "wallet_id", "card", "stamps")
_EFFECT_COLUMNS = (
    "effect_id", "kind", "code", "bill_id", "wallet_id", "member_id", "programme", "reward", "stamps", "effective_at",
    "request_id", "traceparent",
)  # fmt: skip


def _columns(keys: Iterable[CardKey]) -> dict[str, list[Any]]:
    ordered = list(keys)
    return {"wallet_ids": [key[0] for key in ordered], "cards": [key[1] for key in ordered]}


async def hold_cards(db: Connection, keys: Collection[CardKey]) -> dict[CardKey, int]:
    """The stamps on these cards, which are held until the end of the transaction."""
    columns = _columns(keys)
    await queries.lock_cards(db, **columns)
    return {(row[0], row[1]): row[2] for row in await queries.cards(db, **columns)}


async def read_cards(db: Connection, keys: Collection[CardKey]) -> dict[CardKey, int]:
    """The same without holding them."""
    return {(row[0], row[1]): row[2] for row in await queries.cards(db, **_columns(keys))}


async def move_cards(db: Connection, cards: Mapping[CardKey, int], *, before: Mapping[CardKey, int]) -> None:
    """So many stamps are on these cards, which this transaction holds, and so many were there `before`."""
    more = {key: stamps - before[key] for key, stamps in cards.items() if stamps != before[key]}
    if more:
        await queries.move_cards(db, **_columns(more), more=list(more.values()))


async def write_stamps(db: Connection, rows: Sequence[tuple[UUID, UUID, str, int]]) -> None:
    """(bill, wallet, card, stamps) of new bills."""
    if rows:
        await db.copy_records_to_table("stamps", records=rows, columns=_STAMP_COLUMNS)


async def write_effects(db: Connection, effects: Sequence[Effect]) -> None:
    """Rewards that are asked for from now on."""
    if effects:
        rows = [tuple([getattr(one, column) for column in _EFFECT_COLUMNS]) for one in effects]
        await db.copy_records_to_table("effects", records=rows, columns=_EFFECT_COLUMNS)


async def stamps_of_bills(db: Connection, bill_ids: Iterable[UUID]) -> dict[tuple[UUID, UUID, str], int]:
    """How many stamps of each (bill, wallet, card) were taken back."""
    rows = await queries.stamps_of_bills(db, bill_ids=list(bill_ids))
    return {(row["bill_id"], row["wallet_id"], row["card"]): row["taken_back"] for row in rows}


async def take_stamps(db: Connection, taken: Sequence[TakenStamps]) -> None:
    """So many of these were taken back in all."""
    await queries.take_stamps(
        db,
        bill_ids=[one.bill_id for one in taken],
        wallet_ids=[one.wallet_id for one in taken],
        cards=[one.card for one in taken],
        taken_backs=[one.through for one in taken],
    )


async def standing_of_cards(db: Connection, keys: Collection[CardKey]) -> list[UUID]:
    """The rewards of these cards that a member has, or is to have."""
    return [row[0] for row in await queries.standing_of_cards(db, **_columns(keys))] if keys else []


async def standing_of_bills(db: Connection, given: Collection[tuple[UUID, UUID]]) -> list[UUID]:
    """The rewards of campaigns by these (bill, wallet) that a member has, or is to have."""
    if not given:
        return []
    rows = await queries.standing_of_bills(
        db, bill_ids=[bill_id for bill_id, _ in given], wallet_ids=[wallet_id for _, wallet_id in given]
    )
    return [row[0] for row in rows]


async def answered_effects(db: Connection, ids: Collection[UUID]) -> list[Any]:
    """(effect_id, kind, code, wallet_id) of what these answers are about."""
    return list(await queries.answered_effects(db, ids=list(ids)))


async def lock_effects(db: Connection, effect_ids: Collection[UUID]) -> dict[UUID, Effect]:
    """These effects as they stand, locked."""
    if not effect_ids:
        return {}
    return {
        row["effect_id"]: Effect(*row) for row in await queries.lock_effects(db, effect_ids=list(effect_ids))
    }


async def decisions_about(db: Connection, bill_ids: Collection[UUID]) -> dict[UUID, Decision]:
    """The last decision about each of these settled bills."""
    rows = await of_bills(db, queries.decisions_about, bill_ids)
    return {row[0]: decode_decision(row[1]) for row in rows}


async def move_effects(db: Connection, effects: Sequence[Effect]) -> None:
    """Where these stand now."""
    await queries.move_effects(
        db,
        effect_ids=[one.effect_id for one in effects],
        statuses=[one.status for one in effects],
        benefit_ids=[one.benefit_id for one in effects],
        answer_codes=[one.answer_code for one in effects],
        withdrawal_ids=[one.withdrawal_id for one in effects],
        sequences=[one.sequence for one in effects],
    )


async def unanswered_effects(db: Connection, *, asked_before: datetime) -> list[UUID]:
    """Some of those that were asked for before that time and are not answered."""
    return [row[0] for row in await queries.unanswered_effects(db, asked_before=asked_before)]


# ---- reads


async def wallets_of(
    db: Connection, *, member_id: UUID | None = None, wallet_id: UUID | None = None
) -> dict[UUID, str]:
    """The programmes by wallet of a member, or of one wallet."""
    if member_id is not None:
        return {row[0]: row[1] for row in await queries.wallets_of_member(db, member_id=member_id)}
    found = await queries.wallet_programme(db, wallet_id=wallet_id)
    return {} if found is None else {found[0]: found[1]}


async def progress_of_wallets(db: Connection, wallet_ids: Iterable[UUID]) -> dict[CardKey, int]:
    """The stamps on every card of these wallets that was ever stamped."""
    rows = await queries.cards_of_wallets(db, wallet_ids=list(wallet_ids))
    return {(row[0], row[1]): row[2] for row in rows}


async def rewards_of_wallets(db: Connection, wallet_ids: Iterable[UUID]) -> list[Any]:
    """What their full cards were given, the latest first."""
    return list(await queries.rewards_of_wallets(db, wallet_ids=list(wallet_ids)))
