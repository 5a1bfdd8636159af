"""What the database itself refuses, whatever the code does; and how it finds its way."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
import pytest

from services.redeem.domain import spending
from services.redeem.store import postings
from services.redeem.store.sql import moving
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Outcome, Tx
from tests.integration.redeem.conftest import Bank, accrued
from tests.support.facts import AT


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("available = -1, issued = 1", "wallets_available_never_negative"),
        ("available = available + 1", "wallets_buckets_sum_to_zero"),
        ("held = -1, available = available + 1", "wallets_held_never_negative"),
        ("reserved = -1, available = available + 1", "wallets_reserved_never_negative"),
        ("issued = 1, available = 9, adjusted = -10", "wallets_issued_never_positive"),
        ("debt = 1, available = available - 1", "wallets_debt_never_positive"),
    ],
)
async def test_a_wallet_that_breaks_a_law_is_refused(bank: Bank, change: str, constraint: str) -> None:
    wallet_id = uuid7()
    await bank.hear(accrued(wallet_id, 10))
    async with bank.runtime.read() as db:
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await db.execute(f"UPDATE wallets SET {change} WHERE wallet_id = $1", wallet_id)
    assert refused.value.constraint_name == constraint


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("held = -1", "lots_parts_within_remaining"),
        ("remaining = 11", "lots_remaining_within_points"),
        ("reserved = 6, held = 5", "lots_parts_within_remaining"),
    ],
)
async def test_a_lot_that_breaks_a_law_is_refused(bank: Bank, change: str, constraint: str) -> None:
    wallet_id = uuid7()
    await bank.hear(accrued(wallet_id, 10))
    async with bank.runtime.read() as db:
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await db.execute(f"UPDATE lots SET {change} WHERE wallet_id = $1", wallet_id)
    assert refused.value.constraint_name == constraint


async def test_a_move_that_its_kind_does_not_allow_is_refused(bank: Bank) -> None:
    wallet_id = uuid7()
    await bank.hear(accrued(wallet_id, 10))
    async with bank.runtime.read() as db:
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await db.execute(
                "INSERT INTO ledger SELECT wallet_id, 2, posting_id, posted_at, effective_at, points, money_minor,"
                " available_after, held_after, reserved_after, debt_after, lot_id, source_id, 'earn', 'available',"
                " 'redeemed', hash FROM ledger WHERE wallet_id = $1",
                wallet_id,
            )
    assert refused.value.constraint_name == "ledger_move_is_of_its_kind"


async def test_a_wallet_that_changed_since_it_was_read_is_never_written(bank: Bank) -> None:
    wallet_id = uuid7()
    accrual, other = accrued(wallet_id, 10), accrued(wallet_id, 20)
    await bank.hear(accrual)
    async with bank.runtime.read() as db:
        # Read without the lock's protection: the lock is gone with its transaction.
        async with db.transaction():
            wallets = await postings.lock(db, [wallet_id])
        await bank.hear(other)
    spending.credit(wallets[wallet_id], accrued(wallet_id, 1))

    async def write_stale(tx: Tx, items: Sequence[Item[Any]]) -> list[Outcome]:
        await postings.write(tx, wallets.values())
        return [Done()] * len(items)

    with pytest.raises(asyncpg.RaiseError, match="0 of 1 wallets"):
        await bank.runtime.lane._writer.write([Item(other, FromJob("test"), "r", "a")], write_stale)
    wallet = await bank.wallet(wallet_id)
    assert (wallet["available"], wallet["seq"]) == (30, 2)


async def test_a_write_that_a_guard_refuses_is_counted_under_its_invariant(bank: Bank) -> None:
    def counted(invariant: int) -> float:
        labels = {"service": "redeem", "tenant": bank.code, "invariant": str(invariant)}
        return bank.runtime.metrics.registry.get_sample_value("pointbank_invariant_violations", labels) or 0

    first = accrued(uuid7(), 10)
    await bank.hear(first)
    assert counted(1) == 0
    # Another accrual that would open the same lot again: PostgreSQL refuses it, alone and for good.
    with pytest.raises(asyncpg.UniqueViolationError, match="lots_pkey"):
        await bank.hear(msgspec.structs.replace(accrued(uuid7(), 10), lots=first.lots))
    assert counted(1) >= 1
    assert counted(2) == counted(4) == 0


async def test_updates_of_wallets_and_lots_stay_on_their_page(bank: Bank) -> None:
    indexed = await bank.auditor.fetch(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'redeem.wallets'::regclass"
    )
    assert [row[0] for row in indexed] == ["redeem.wallets_pkey"]
    named = await bank.auditor.fetch(
        "SELECT a.attname FROM pg_index AS x JOIN pg_attribute AS a ON a.attrelid = x.indexrelid"
        " WHERE x.indrelid = 'redeem.lots'::regclass"
    )
    # None of them changes when points are spent; `expires_at` changes with a release, a return or a reinstatement.
    assert {row[0] for row in named} == {"lot_id", "wallet_id", "earned_at", "expires_at", "parent_lot"}


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


async def test_what_is_due_is_found_by_index(bank: Bank) -> None:
    async with bank.runtime.read() as db, db.transaction():
        # So few lots are as quickly read and sorted.
        await db.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
        )
        text = moving.texts()["due_page"]
        [found] = msgspec.json.decode(await db.fetchval(f"EXPLAIN (FORMAT JSON) {text}", AT, None, None, 500))
    scans = [node for node in nodes(found["Plan"]) if node.get("Relation Name") == "lots"]
    assert [(node["Node Type"], node["Index Name"]) for node in scans] == [("Index Scan", "lots_expiring")]
    assert "Sort" not in {node["Node Type"] for node in nodes(found["Plan"])}
