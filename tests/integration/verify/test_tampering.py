"""Somebody with every right in the database changes the ledger: six ways, each with the check that finds it.

Triggers and foreign keys are off; what can be made to fit is made to fit.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pointbank.verify import Report, Trust, run_chains, verify_chains
from pointbank.verify.chain import FIRST, LAST, ChainWalk
from pointbank.verify.chains import CHAIN, Quiet, StateBroken, check_seals, read_state
from pointbank.verify.database import Snapshot
from pointbank.verify.seals import SAYS
from services.redeem.domain.ledger import Line, canonical
from services.redeem.domain.merkle import leaf_hash, root_of
from services.redeem.domain.seal import seal_bytes
from shared.db import Connection
from tests.integration.verify.conftest import report_of, spoilt
from tests.support.town import Town

TARGET = (
    "(SELECT wallet_id FROM redeem.ledger GROUP BY wallet_id HAVING count(*) >= 4 ORDER BY wallet_id LIMIT 1)"
)
OF_LINE = f"WHERE wallet_id = {TARGET} AND seq = 2"


async def chains_of(town: Town, db: Connection) -> dict[str, list[str]]:
    """What is broken in the chains and seals as this connection sees them: check -> examples."""
    report = Report(town.tenant)
    chain = report.open("ledger:chain", 4, CHAIN)
    heads = report.open("seals:heads", 4, SAYS["seals:heads"])
    await ChainWalk(chain, heads, lambda _: None).range(Snapshot(db), FIRST, LAST)
    await check_seals(report, Snapshot(db), town.tenant, Trust.of(town.settings, town.tenant))
    assert all(check.compared for check in report)
    return {check.name: check.examples for check in report.broken}


async def test_an_edited_line_is_found_by_its_hash(town: Town) -> None:
    async with spoilt(town) as db:
        assert await chains_of(town, db) == {}
        wallet = await db.fetchval(
            f"UPDATE redeem.ledger SET points = points + 1 {OF_LINE} RETURNING wallet_id"
        )
        assert await chains_of(town, db) == {
            "ledger:chain": [f"wallet {wallet}: the hash of line 2 is not that of its bytes"]
        }


async def test_a_deleted_line_is_found_by_the_gap(town: Town) -> None:
    async with spoilt(town) as db:
        wallet = await db.fetchval(f"DELETE FROM redeem.ledger {OF_LINE} RETURNING wallet_id")
        found = await chains_of(town, db)
    assert f"wallet {wallet}: line 3 stands where line 2 should" in found["ledger:chain"]


async def test_an_inserted_line_is_found_by_its_number(town: Town) -> None:
    names = ", ".join(name for name in Line.__struct_fields__ if name not in {"seq", "posted_at"})
    async with spoilt(town) as db:
        wallet = await db.fetchval(
            f"""
            INSERT INTO redeem.ledger (seq, posted_at, {names})
            SELECT seq, posted_at + interval '1 microsecond', {names} FROM redeem.ledger {OF_LINE}
            RETURNING wallet_id
            """
        )
        found = await chains_of(town, db)
    assert f"wallet {wallet}: line 2 stands where line 3 should" in found["ledger:chain"]


async def test_swapped_lines_are_found_by_hash_and_time(town: Town) -> None:
    async with spoilt(town) as db:
        wallet = await db.fetchval(
            f"""
            UPDATE redeem.ledger SET seq = 5 - seq WHERE wallet_id = {TARGET} AND seq IN (2, 3) RETURNING wallet_id
            """
        )
        found = await chains_of(town, db)
    assert {
        f"wallet {wallet}: the hash of line 2 is not that of its bytes",
        f"wallet {wallet}: line 3 was not posted after the one before it",
    } <= set(found["ledger:chain"])


async def test_a_cut_tail_is_found_by_the_seal_over_it(town: Town) -> None:
    """The wallet's row and its buckets are made to fit, so that its chain is whole."""
    async with spoilt(town) as db:
        wallet, last = await _spender(db)
        await db.execute("DELETE FROM redeem.ledger WHERE wallet_id = $1 AND seq = $2", wallet, last["seq"])
        await db.execute(
            """
            UPDATE redeem.wallets AS w
            SET seq = l.seq, head = l.hash, last_posted_at = l.posted_at, available = l.available_after,
                redeemed = redeemed - $2
            FROM redeem.ledger AS l
            WHERE w.wallet_id = $1 AND l.wallet_id = $1 AND l.seq = w.seq - 1
            """,
            wallet,
            last["points"],
        )
        assert await chains_of(town, db) == {
            "seals:heads": [f"wallet {wallet}: line {last['seq']}, the head under seal 2, is not there"]
        }


async def test_a_wholly_recomputed_chain_is_found_by_the_seal_over_it(town: Town) -> None:
    """And whoever changes the seals too is found by their root, then by the key, then by what was exported."""
    async with spoilt(town) as db:
        wallet, _ = await _spender(db)
        heads = await _recompute(db, wallet)
        found = await chains_of(town, db)
        assert found.keys() == {"seals:heads"}
        assert (
            f"wallet {wallet}: line {max(heads)}, the head under seal 2, has another hash now"
            in found["seals:heads"]
        )
        whole = await report_of(town, db)
        assert "seals:heads" in {check.name for check in whole.broken}
        assert "ledger:chain" not in {check.name for check in whole.broken}

        for seq, head in heads.items():
            await db.execute(
                "UPDATE redeem.seal_leaves SET head = $3 WHERE wallet_id = $1 AND seq = $2", wallet, seq, head
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


async def _spender(db: Connection) -> tuple[UUID, Any]:
    """A wallet whose last line redeems, sealed twice; and that line."""
    row = await db.fetchrow(
        """
        SELECT l.wallet_id, l.seq, l.points, l.kind
        FROM redeem.wallets AS w
        JOIN redeem.ledger AS l ON l.wallet_id = w.wallet_id AND l.seq = w.seq
        WHERE l.kind = 'redeem' AND w.seq >= 3
            AND (SELECT count(*) FROM redeem.seal_leaves AS k WHERE k.wallet_id = w.wallet_id) = 2
        ORDER BY 1
        LIMIT 1
        """
    )
    assert row is not None
    return row["wallet_id"], row


async def _recompute(db: Connection, wallet: UUID) -> dict[int, bytes]:
    """Gives a wallet more money for its first line, and all that follows from it the hashes that fit."""
    await db.execute(
        "UPDATE redeem.ledger SET money_minor = money_minor + 100 WHERE wallet_id = $1 AND seq = 1", wallet
    )
    names = ", ".join(Line.__struct_fields__)
    previous, heads = bytes(32), {}
    for row in await db.fetch(f"SELECT {names} FROM redeem.ledger WHERE wallet_id = $1 ORDER BY seq", wallet):
        previous = heads[row["seq"]] = sha256(canonical(previous, *tuple(row)[:-1])).digest()
        await db.execute(
            "UPDATE redeem.ledger SET hash = $3 WHERE wallet_id = $1 AND seq = $2",
            wallet,
            row["seq"],
            previous,
        )
    await db.execute("UPDATE redeem.wallets SET head = $2 WHERE wallet_id = $1", wallet, previous)
    return heads


async def _sign_anew(db: Connection, town: Town, key: Ed25519PrivateKey) -> None:
    previous = bytes(32)
    for seal in await db.fetch("SELECT no, sealed_at, leaves FROM redeem.seals ORDER BY no"):
        leaves = await db.fetch(
            "SELECT wallet_id, seq, head FROM redeem.seal_leaves WHERE no = $1 ORDER BY position", seal["no"]
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


# ---- the command


class Dies(Quiet):
    """Dies after so many pieces of the ledger."""

    def __init__(self, pieces: int) -> None:
        self.left = pieces

    def lines(self, count: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise InterruptedError


async def test_a_check_that_died_is_gone_on_with_and_finds_the_same(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pointbank.verify.chain.AT_ONCE", 3)
    whole = await verify_chains(town.settings, town.tenant)
    state = tmp_path / "state.json"
    with pytest.raises(InterruptedError):
        await verify_chains(town.settings, town.tenant, state=state, watch=Dies(4))
    known = read_state(state, town.tenant)
    assert known is not None
    assert 0 < known.checks[0].compared < whole["ledger:chain"].compared
    rest = await verify_chains(town.settings, town.tenant, after=known.after)
    assert rest["ledger:chain"].compared == whole["ledger:chain"].compared - known.checks[0].compared
    with pytest.raises(StateBroken, match=town.tenant):
        await verify_chains(town.settings, "another", state=state)
    resumed = await verify_chains(town.settings, town.tenant, state=state)
    assert [msgspec.to_builtins(check) for check in resumed] == [
        msgspec.to_builtins(check) for check in whole
    ]
    assert whole.broken == []
    assert not state.exists()


def test_one_wallet_is_checked_alone(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    wallet = UUID(town.cards[0].wallet_id)
    trust = Trust.of(town.settings, town.tenant)
    code = run_chains(
        town.settings, town.tenant, wallet=wallet, after=None, state=None, trust=trust, as_json=True
    )
    document = json.loads(capsys.readouterr().out)
    [chain, heads] = document["checks"]
    assert (code, document["holds"], chain["name"], heads["name"]) == (0, True, "ledger:chain", "seals:heads")
    assert 0 < chain["compared"] < 60
    assert heads["compared"] == 2
