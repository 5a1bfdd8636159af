"""A redemption that comes alone is met by a function of its own: it tells what the one for many tells, and holds what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from services.redeem.store import meeting
from services.redeem.store.meeting import Asked
from services.redeem.store.sql import queries
from shared.db import Connection
from shared.ids import uuid7
from tests.integration.redeem.conftest import Bank, Member, accrued
from tests.support.facts import AT

CLOCK, SEQ = 18, 30
"""Places in a row of `meet`: when it was read, and the wallet's last ledger line."""
"""Within the minute in which lots count as ending."""


def by_id(member: Member, **names: Any) -> Asked:
    usual = {"programme": "shops", "identity_kind": None, "identity_hash": None, "terminal": "T03"}
    return Asked(**{"member_id": member.member_id, "merchant": "riyadh-mall", **usual, **names})


def by_mobile(bank: Bank, member: Member) -> Asked:
    known = bank.identity("mobile", member.mobile)
    named = by_id(member, member_id=None)
    return named._replace(identity_kind=known.kind, identity_hash=bytes.fromhex(known.hash))


def a_key() -> dict[str, Any]:
    return {
        "principals": ["till"],
        "routes": ["POST /v1/redemptions"],
        "keys": [uuid7().hex],
        "request_hashes": [bytes(32)],
    }


async def rows(bank: Bank, asked: Asked, needed: int | None, meet: Callable[..., Awaitable[Any]]) -> Any:
    """What one function tells, without the moment at which it did."""
    key = a_key()
    async with bank.runtime.read() as db, db.transaction():
        found = await meet(db, asked, needed, key)
        taken = await db.fetchval("SELECT count(*) FROM idempotency WHERE key = $1", key["keys"][0])
    assert taken == 1
    told = [(*row[:CLOCK], *row[CLOCK + 1 :]) for row in found]
    return sorted(told, key=str)


async def for_many(db: Connection, asked: Asked, needed: int | None, key: dict[str, Any]) -> Any:
    columns = {f"{name}s": [value] for name, value in asked._asdict().items()}
    columns["identity_hashes"] = columns.pop("identity_hashs")
    return await queries.meet(
        db, **key, **columns, needed=[needed], credited=[], ending_by=datetime.now(UTC) + meeting.SOON
    )


async def for_one(db: Connection, asked: Asked, needed: int | None, key: dict[str, Any]) -> Any:
    names = zip(("principal", "route", "key", "request_hash"), key.values(), strict=True)
    return await queries.meet_one(
        db,
        **{name: column[0] for name, column in names},
        **asked._asdict(),
        needed=needed,
        ending_by=datetime.now(UTC) + meeting.SOON,
    )


async def test_one_is_told_what_many_are_told(bank: Bank) -> None:
    gone, many = datetime.now(UTC) - timedelta(days=1), [10] * 120
    soon = datetime.now(UTC) + meeting.SOON / 2
    penniless, rich, of_many = await bank.member(), await bank.member(50, 20), await bank.member(*many)
    ending = await bank.member(40)
    await bank.hear(
        accrued(ending.wallet_id, 7, at=AT - timedelta(days=1), expires_at=gone),
        accrued(ending.wallet_id, 5, at=AT + timedelta(days=1), expires_at=soon),
        accrued(ending.wallet_id, 3, at=AT + timedelta(days=2), expires_at=gone),
    )
    last = await bank.member()
    await bank.hear(accrued(last.wallet_id, 9, expires_at=soon))
    for asked, needed, count in [
        (by_id(rich), 50, 1),
        (by_id(rich), 51, 2),
        (by_id(rich), 1_000, 2),
        (by_id(rich), None, 2),
        (by_mobile(bank, rich), 50, 1),
        (by_id(rich, terminal=None), 1, 1),
        (by_id(rich, terminal="T99"), 1, 1),
        (by_id(rich, merchant="nowhere"), 1, 1),
        (by_id(rich, programme="nothing"), 1, 1),
        (by_id(rich, member_id=uuid7()), 1, 1),
        (by_mobile(bank, Member(uuid7(), uuid7(), "+966500000000")), 1, 1),
        (by_id(penniless), 1, 1),
        (by_id(of_many), 35, 4),
        (by_id(of_many), 1_150, 101),
        (by_id(ending), 40, 4),
        (by_id(ending), 41, 4),
        (by_id(last), 9, 1),
    ]:
        told = await rows(bank, asked, needed, for_one)
        assert told == await rows(bank, asked, needed, for_many)
        assert len(told) == count, (asked, needed)


async def test_a_key_that_was_used_is_told_nothing(bank: Bank) -> None:
    member, key = await bank.member(10), a_key()
    async with bank.runtime.read() as db, db.transaction():
        assert len(await for_one(db, by_id(member), 1, key)) == 1
        assert await for_one(db, by_id(member), 1, key) == []


async def test_who_comes_second_waits_and_meets_the_wallet_as_the_first_left_it(bank: Bank) -> None:
    member = await bank.member(10)
    async with bank.runtime.read() as first, bank.runtime.read() as second, second.transaction():
        async with first.transaction():
            [before] = await for_one(first, by_id(member), 10, a_key())
            waiting = asyncio.create_task(for_one(second, by_id(member), 10, a_key()))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            await first.execute("UPDATE wallets SET seq = seq + 1 WHERE wallet_id = $1", member.wallet_id)
            await first.execute(
                "UPDATE lots SET remaining = remaining - 4 WHERE wallet_id = $1", member.wallet_id
            )
        rows = await waiting
    assert (before[SEQ], [row[SEQ] for row in rows]) == (1, [2])
    assert [row["lot_remaining"] for row in rows] == [6]
