"""Somebody with every right in the database changes the ledger of points, or that of gift cards: six ways, each with the check
that finds it.

Triggers and foreign keys are off; what can be made to fit is made to fit.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pointbank.verify import Report, Trust
from pointbank.verify.chains import CHAIN, check_seals
from pointbank.verify.database import Snapshot
from pointbank.verify.ledger.chain import FIRST, LAST, ChainWalk
from pointbank.verify.ledger.seals import SAYS
from pointbank.verify.spending.gift_cards import CHAIN as CARD_CHAIN
from pointbank.verify.spending.gift_cards import check_card_chains
from services.redeem.domain import ledger as points
from services.redeem.domain.giftcards import ledger as cards
from services.redeem.domain.merkle import leaf_hash, root_of
from services.redeem.domain.seal import seal_bytes
from shared.db import Connection
from tests.integration.verify.conftest import report_of, spoilt
from tests.support.town import Town


class Ledger(NamedTuple):
    """A ledger of the bank: its lines, whose they are, and the bytes of a line."""

    holder: str
    lines: str
    holders: str
    holder_id: str
    amount: str
    line: type[msgspec.Struct]
    canonical: Callable[..., bytes]
    check: str
    last_kind: str
    spent: tuple[str, str]
    """The buckets that its last line moved between."""

    @property
    def target(self) -> str:
        """One with four lines or more."""
        return (
            f"(SELECT {self.holder_id} FROM {self.lines} GROUP BY 1 HAVING count(*) >= 4 ORDER BY 1 LIMIT 1)"
        )

    @property
    def of_line(self) -> str:
        """Its second line."""
        return f"WHERE {self.holder_id} = {self.target} AND seq = 2"


POINTS = Ledger(
    "wallet", "redeem.ledger", "redeem.wallets", "wallet_id", "points", points.Line, points.canonical, "ledger:chain", "redeem",
    ("available", "redeemed"),
)  # fmt: skip
MONEY = Ledger(
    "card", "redeem.gift_card_lines", "redeem.gift_cards", "card_id", "amount_minor", cards.Line, cards.canonical,
    "gift_cards:chain", "use", ("balance", "used"),
)  # fmt: skip
each_ledger = pytest.mark.parametrize("of", [POINTS, MONEY], ids=["points", "money"])


async def chains_of(town: Town, db: Connection) -> dict[str, list[str]]:
    """What is broken in the chains and seals as this connection sees them: check -> examples."""
    report = Report(town.tenant)
    chain = report.open("ledger:chain", 4, CHAIN)
    heads = report.open("seals:heads", 4, SAYS["seals:heads"])
    await ChainWalk(chain, heads, lambda _: None).range(Snapshot(db), FIRST, LAST)
    await check_card_chains(report.open("gift_cards:chain", 4, CARD_CHAIN), heads, Snapshot(db))
    await check_seals(report, Snapshot(db), town.tenant, Trust.of(town.settings, town.tenant))
    assert {check.name for check in report if not check.compared} <= {"seals:lost"}
    return {check.name: check.examples for check in report.broken}


@each_ledger
async def test_an_edited_line_is_found_by_its_hash(town: Town, of: Ledger) -> None:
    async with spoilt(town) as db:
        assert await chains_of(town, db) == {}
        holder = await db.fetchval(
            f"UPDATE {of.lines} SET {of.amount} = {of.amount} + 1 {of.of_line} RETURNING {of.holder_id}"
        )
        assert await chains_of(town, db) == {
            of.check: [f"{of.holder} {holder}: the hash of line 2 is not that of its bytes"]
        }


@each_ledger
async def test_a_deleted_line_is_found_by_the_gap(town: Town, of: Ledger) -> None:
    async with spoilt(town) as db:
        holder = await db.fetchval(f"DELETE FROM {of.lines} {of.of_line} RETURNING {of.holder_id}")
        found = await chains_of(town, db)
    assert f"{of.holder} {holder}: line 3 stands where line 2 should" in found[of.check]


@each_ledger
async def test_an_inserted_line_is_found_by_its_number(town: Town, of: Ledger) -> None:
    names = ", ".join(name for name in of.line.__struct_fields__ if name not in {"seq", "posted_at"})
    async with spoilt(town) as db:
        holder = await db.fetchval(
            f"""
            INSERT INTO {of.lines} (seq, posted_at, {names})
            SELECT seq, posted_at + interval '1 microsecond', {names} FROM {of.lines} {of.of_line}
            RETURNING {of.holder_id}
            """
        )
        found = await chains_of(town, db)
    assert f"{of.holder} {holder}: line 2 stands where line 3 should" in found[of.check]


@each_ledger
async def test_swapped_lines_are_found_by_hash_and_time(town: Town, of: Ledger) -> None:
    async with spoilt(town) as db:
        holder = await db.fetchval(
            f"""
            UPDATE {of.lines} SET seq = 5 - seq WHERE {of.holder_id} = {of.target} AND seq IN (2, 3)
            RETURNING {of.holder_id}
            """
        )
        found = await chains_of(town, db)
    assert {
        f"{of.holder} {holder}: the hash of line 2 is not that of its bytes",
        f"{of.holder} {holder}: line 3 was not posted after the one before it",
    } <= set(found[of.check])


@each_ledger
async def test_a_cut_tail_is_found_by_the_seal_over_it(town: Town, of: Ledger) -> None:
    """The row of whose line it was is made to fit, and its buckets, so that its chain is whole."""
    source, target = of.spent
    async with spoilt(town) as db:
        holder, last = await _spender(db, of)
        await db.execute(
            f"DELETE FROM {of.lines} WHERE {of.holder_id} = $1 AND seq = $2", holder, last["seq"]
        )
        await db.execute(
            f"""
            UPDATE {of.holders} AS w
            SET seq = l.seq, head = l.hash, last_posted_at = l.posted_at, {source} = l.{source}_after,
                {target} = {target} - $2
            FROM {of.lines} AS l
            WHERE w.{of.holder_id} = $1 AND l.{of.holder_id} = $1 AND l.seq = w.seq - 1
            """,
            holder,
            last["amount"],
        )
        assert await chains_of(town, db) == {
            "seals:heads": [f"{of.holder} {holder}: line {last['seq']}, the head under seal 2, is not there"]
        }


@each_ledger
async def test_a_wholly_recomputed_chain_is_found_by_the_seal_over_it(town: Town, of: Ledger) -> None:
    """And whoever changes the seals too is found by their root, then by the key, then by what was exported."""
    async with spoilt(town) as db:
        holder, _ = await _spender(db, of)
        heads = await _recompute(db, of, holder)
        found = await chains_of(town, db)
        assert found.keys() == {"seals:heads"}
        assert (
            f"{of.holder} {holder}: line {max(heads)}, the head under seal 2, has another hash now"
            in found["seals:heads"]
        )
        whole = await report_of(town, db)
        assert "seals:heads" in {check.name for check in whole.broken}
        assert of.check not in {check.name for check in whole.broken}

        for seq, head in heads.items():
            await db.execute(
                f"UPDATE redeem.seal_leaves SET head = $3 WHERE {of.holder_id} = $1 AND seq = $2",
                holder,
                seq,
                head,
            )
        assert (await chains_of(town, db))["seals"] == [
            "seal 1: its root is not that of its leaves",
            "seal 2: its root is not that of its leaves",
        ]
        key = Ed25519PrivateKey.generate()
        await _sign_anew(db, town, key)
        found = await chains_of(town, db)
        named = key.public_key().public_bytes_raw().hex()
        assert found["seals"] == [
            f"seal {no}: it is signed with the key {named}, which is not trusted" for no in (1, 2)
        ]
        assert [text.endswith("is not in the database") for text in found["seals:exported"]] == [True, True]


async def _spender(db: Connection, of: Ledger) -> tuple[UUID, Any]:
    """A wallet or card whose last line spends, sealed twice; and that line."""
    row = await db.fetchrow(
        f"""
        SELECT l.{of.holder_id} AS id, l.seq, l.{of.amount} AS amount
        FROM {of.holders} AS w
        JOIN {of.lines} AS l ON l.{of.holder_id} = w.{of.holder_id} AND l.seq = w.seq
        WHERE l.kind = '{of.last_kind}' AND w.seq >= 3
            AND (SELECT count(*) FROM redeem.seal_leaves AS k WHERE k.{of.holder_id} = w.{of.holder_id}) = 2
        ORDER BY 1
        LIMIT 1
        """
    )
    assert row is not None
    return row["id"], row


async def _recompute(db: Connection, of: Ledger, holder: UUID) -> dict[int, bytes]:
    """Gives a first line another moment, and all that follows from it the hashes that fit."""
    await db.execute(
        f"UPDATE {of.lines} SET effective_at = effective_at - interval '1 second' WHERE {of.holder_id} = $1 AND seq = 1",
        holder,
    )
    names = ", ".join(of.line.__struct_fields__)
    previous, heads = bytes(32), {}
    for row in await db.fetch(
        f"SELECT {names} FROM {of.lines} WHERE {of.holder_id} = $1 ORDER BY seq", holder
    ):
        previous = heads[row["seq"]] = sha256(of.canonical(previous, *tuple(row)[:-1])).digest()
        await db.execute(
            f"UPDATE {of.lines} SET hash = $3 WHERE {of.holder_id} = $1 AND seq = $2",
            holder,
            row["seq"],
            previous,
        )
    await db.execute(f"UPDATE {of.holders} SET head = $2 WHERE {of.holder_id} = $1", holder, previous)
    return heads


async def _sign_anew(db: Connection, town: Town, key: Ed25519PrivateKey) -> None:
    previous = bytes(32)
    for seal in await db.fetch("SELECT no, sealed_at, leaves FROM redeem.seals ORDER BY no"):
        leaves = await db.fetch(
            """
            SELECT coalesce(wallet_id, card_id), seq, head
            FROM redeem.seal_leaves
            WHERE no = $1
            ORDER BY position
            """,
            seal["no"],
        )
        root = root_of([leaf_hash(*leaf) for leaf in leaves])
        signed = seal_bytes(
            town.tenant,
            no=seal["no"],
            previous=previous,
            sealed_at=seal["sealed_at"],
            leaves=len(leaves),
            root=root,
        )
        hash_ = sha256(signed).digest()
        await db.execute(
            """
            UPDATE redeem.seals
            SET root = $2, pages = $2, previous = $3, hash = $4, signature = $5, public_key = $6
            WHERE no = $1
            """,
            seal["no"], root, previous, hash_, key.sign(signed), key.public_key().public_bytes_raw(),
        )  # fmt: skip
        previous = hash_
