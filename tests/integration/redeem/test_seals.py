"""Seals: what is new is sealed once, whoever commits late; a seal is kept, told and exported; a line is proved under it."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from typer.testing import CliRunner

from pointbank.cli.app import app
from pointbank.jobs.sealing import seal_tenant, writer_of
from services.redeem.domain.ledger import Line, Wallet
from services.redeem.domain.merkle import leaf_hash, root_of
from services.redeem.domain.seal import Seal, SealBusy, Signer, file_of
from services.redeem.jobs import sealing
from services.redeem.jobs.exporting import SealsForked, export
from services.redeem.jobs.sealing import job_item, take_seal
from services.redeem.store import seals
from shared.config import Settings
from shared.db import PINNED_PLANS, connect
from shared.ids import uuid7
from shared.metrics import exposition
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, accrued, asks
from tests.integration.redeem.gift_cards import Cards
from tests.support.facts import AT, activated
from tests.support.gift_cards import GIFTS
from tests.support.http import assert_problem
from tests.support.tenants import as_environment, connect_as, running

VERIFIER = Path(__file__).parents[3] / "docs" / "verify_proof.py"


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Seals are exported, and taken when a test asks for one."""
    return settings.model_copy(update={"seal_folder": tmp_path_factory.mktemp("seals"), "seal_every_s": 0.0})


async def sealed(bank: Bank, **body: Any) -> dict[str, Any]:
    answer = await bank.client.post("/v1/ledger/seals", json=body, headers=bank.headers("operator"))
    assert answer.status_code in {200, 201}, answer.text
    found: dict[str, Any] = answer.json()
    return found


def turn_of(bank: Bank) -> float:
    """When this process says that sealing came to an end last."""
    labels = {"service": "redeem", "tenant": bank.code}
    found = bank.runtime.metrics.registry.get_sample_value("pointbank_seal_turn_timestamp_seconds", labels)
    assert found is not None
    return found


async def leaves_of(bank: Bank, no: int) -> list[tuple[UUID, int, bytes]]:
    rows = await bank.auditor.fetch(
        "SELECT wallet_id, seq, head FROM redeem.seal_leaves WHERE no = $1 ORDER BY position", no
    )
    return [tuple(row) for row in rows]


async def test_what_is_new_is_sealed_told_audited_and_exported(bank: Bank) -> None:
    await sealed(bank)
    members = [await bank.member(10, 5) for _ in range(3)]
    would = await sealed(bank, dry_run=True)
    made = await sealed(bank)
    seal = made["seal"]
    assert (made["dry_run"], made["exported"], made["foreign"], seal["leaves"]) == (False, 1, 0, 3)
    assert (would["exported"], would["foreign"]) == (1, 0)
    assert {name: would["seal"][name] for name in ("no", "leaves", "root", "previous")} == {
        name: seal[name] for name in ("no", "leaves", "root", "previous")
    }
    leaves = await leaves_of(bank, seal["no"])
    assert leaves == [
        (wallet_id, 2, (await bank.wallet(wallet_id))["head"])
        for wallet_id in sorted(member.wallet_id for member in members)
    ]
    assert root_of([leaf_hash(*leaf) for leaf in leaves]).hex() == seal["root"]

    folder = bank.runtime.settings.seal_folder
    assert folder is not None
    [file] = (folder / bank.code).glob(f"{seal['no']:012d}-*.json")
    assert json.loads(file.read_text()) == seal
    told = msgspec.json.decode(
        await bank.auditor.fetchval("SELECT payload FROM redeem.outbox ORDER BY id DESC LIMIT 1")
    )
    assert (told["type"], told["subject"], int(told["sequence"])) == (
        "ledger.sealed.v1",
        "ledger",
        seal["no"],
    )
    assert told["data"] == {name: value for name, value in seal.items() if name != "tenant"}
    audit = await bank.auditor.fetchrow(
        "SELECT actor, action, object FROM redeem.audit ORDER BY id DESC LIMIT 1"
    )
    assert tuple(audit or ()) == ("test-operator", "ledger.seal", f"seal/{seal['no']}")

    again = await sealed(bank)
    assert (again["seal"], again["exported"]) == (None, 0)
    await bank.redeem(asks(members[1], points=4))
    following = (await sealed(bank))["seal"]
    assert (following["no"], following["leaves"], following["previous"]) == (seal["no"] + 1, 1, seal["hash"])
    listed = await bank.client.get("/v1/ledger/seals", params={"limit": 1}, headers=bank.headers("auditor"))
    assert listed.json()["items"] == [following]


async def test_a_wallet_that_committed_late_is_in_the_next_seal(
    bank: Bank, settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its line was posted before the last seal, and nobody could see it then."""
    monkeypatch.setattr(sealing, "CLOCK_MARGIN", timedelta(0))
    await sealed(bank)
    before = await bank.member(1)
    await sealed(bank)
    await bank.hear(accrued(before.wallet_id, 1, member_id=before.member_id))
    await sealed(bank)
    late, early = await bank.member(), await bank.member(7)
    db = await connect_as(settings, tenant, "redeem")
    try:
        held = db.transaction()
        await held.start()
        line, wallet = posted(late.wallet_id, 9)
        await db.copy_records_to_table(
            "ledger", records=[msgspec.structs.astuple(line)], columns=Line.__struct_fields__
        )
        await db.execute(
            "UPDATE wallets SET issued = -9, available = 9, seq = 1, head = $2, last_posted_at = $3 WHERE wallet_id = $1",
            late.wallet_id, wallet.head, wallet.last_posted_at,
        )  # fmt: skip
        first = (await sealed(bank))["seal"]
        assert [leaf[0] for leaf in await leaves_of(bank, first["no"])] == [early.wallet_id]
        await bank.redeem(asks(before, points=1))
        second = (await sealed(bank))["seal"]  # the transaction is older than two seals by now
        assert [leaf[0] for leaf in await leaves_of(bank, second["no"])] == [before.wallet_id]
        await held.commit()
    finally:
        await db.close()
    third = (await sealed(bank))["seal"]
    assert await leaves_of(bank, third["no"]) == [(late.wallet_id, 1, wallet.head)]
    assert (await sealed(bank, whole=True))["seal"] is None


async def test_the_first_seal_that_covers_cards_covers_all_of_them(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seals of an older release stand between a card's lines and it."""
    monkeypatch.setattr(sealing, "CLOCK_MARGIN", timedelta(0))
    monkeypatch.setattr(seals, "HOLDERS", ("wallet",))
    await bank.hear(activated("gifts", gift_cards=GIFTS))
    card = await Cards(bank).sold(700)
    for points in (1, 2, 3):
        await bank.member(points)
        await sealed(bank)
    monkeypatch.setattr(seals, "HOLDERS", ("wallet", "card"))
    member = await bank.member(4)
    made = (await sealed(bank))["seal"]
    rows = await bank.auditor.fetch(
        "SELECT wallet_id, card_id FROM redeem.seal_leaves WHERE no = $1 ORDER BY position", made["no"]
    )
    assert [tuple(row) for row in rows] == [(member.wallet_id, None), (None, UUID(card["card_id"]))]
    assert (await sealed(bank, whole=True))["seal"] is None


def posted(wallet_id: UUID, points: int) -> tuple[Line, Wallet]:
    """A wallet's first line, as the bank posts it now."""
    wallet = Wallet(wallet_id, "shops", uuid7(), datetime.now(UTC))
    line = wallet.move(
        "earn",
        "issued",
        "available",
        points,
        posting_id=uuid7(),
        money_minor=points * 10,
        lot_id=uuid7(),
        source_id=uuid7(),
        effective_at=AT,
    )
    return line, wallet


async def test_many_that_seal_at_once_make_one_seal(bank: Bank, settings: Settings) -> None:
    await sealed(bank)
    await bank.member(3)
    signer = Signer(settings.seal_root(), bank.code)
    async with writer_of(settings, bank.code) as other:
        writers = [bank.runtime.writer, other] * 3
        made = await asyncio.gather(
            *[take_seal(writer, signer, item=job_item()) for writer in writers], return_exceptions=True
        )
    assert [found.leaves for found in made if isinstance(found, Seal)] == [1]
    assert {type(found) for found in made} <= {Seal, SealBusy, type(None)}
    rows = await bank.auditor.fetch("SELECT no, previous, hash FROM redeem.seals ORDER BY no")
    assert [row["no"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["previous"] for row in rows[1:]] == [row["hash"] for row in rows[:-1]]


async def test_a_seal_that_died_before_its_export_or_was_lost_is_exported_again(bank: Bank) -> None:
    await bank.member(3)
    folder = bank.runtime.settings.seal_folder
    assert folder is not None
    made = await take_seal(bank.runtime.writer, sealing.signer_of(bank.runtime), item=job_item())
    assert made is not None
    place = folder / bank.code
    assert not (place / file_of(made)).exists()  # the process died here
    (place / ".000000000001-half.json.7.x").write_bytes(b"{")  # and there another one, while it wrote
    began = time.time()
    await sealing.seal(bank.runtime)
    ended = turn_of(bank)
    assert ended >= began
    whole = {file.name: file.read_bytes() for file in place.glob("0*.json")}
    assert file_of(made) in whole
    [first, *_] = sorted(whole)
    (place / first).unlink()
    (place / file_of(made)).unlink()
    await sealing.seal(bank.runtime)  # looks at what is new since its last turn
    assert not (place / first).exists()
    bank.runtime.cache[sealing.Standing].all_files_at = 0.0  # a day later
    await sealing.seal(bank.runtime)
    assert {file.name: file.read_bytes() for file in place.glob("0*.json")} == whole

    (place / first).unlink()
    assert await export(bank.runtime.pool, bank.code, folder, only_look=True) == (1, made)
    assert await export(bank.runtime.pool, bank.code, folder) == (1, made)
    assert await export(bank.runtime.pool, bank.code, folder) == (0, made)
    other = place / f"{made.no + 7:012d}-{'ab' * 8}.json"
    other.write_text("{}")  # the database was set back to before this seal
    bank.runtime.cache[sealing.Standing].exported = msgspec.structs.replace(made, hash=bytes(32))
    ended = turn_of(bank)
    with pytest.raises(SealsForked, match=other.name):
        await sealing.seal(bank.runtime)
    assert turn_of(bank) == ended  # that turn has not come to its end: the alert sees it
    assert other.read_text() == "{}"
    other.unlink()


async def test_a_process_that_serves_the_tenant_no_more_is_not_late(bank: Bank, settings: Settings) -> None:
    def shown(runtime: TenantRuntime) -> bool:
        text = exposition([runtime.metrics.registry]).decode()
        return f'pointbank_seal_turn_timestamp_seconds{{service="redeem",tenant="{bank.code}"}}' in text

    async with running(settings, bank.runtime.tenant, "redeem", {}) as other:
        await sealing.seal(other)
        assert shown(other)
    assert not shown(other)


async def test_a_line_is_proved_to_somebody_who_has_only_the_public_key(
    bank: Bank, settings: Settings, tmp_path: Path
) -> None:
    crowd = [await bank.member(2) for _ in range(4)]
    member = await bank.member(100, 20)
    await bank.hear(accrued(member.wallet_id, 30, member_id=member.member_id))
    path = f"/v1/wallets/{member.wallet_id}/ledger"
    auditor = bank.headers("auditor")
    assert_problem(await bank.client.get(f"{path}/2/proof", headers=auditor), 409, "not_sealed_yet")
    assert_problem(await bank.client.get(f"{path}/9/proof", headers=auditor), 404, "not_found")
    await sealed(bank)
    await bank.redeem(asks(member, points=1))
    await bank.redeem(asks(crowd[0], points=1))
    await sealed(bank)
    public = (await bank.client.get("/v1/ledger/public-key", headers=auditor)).json()["public_key"]
    proofs = [(await bank.client.get(f"{path}/{seq}/proof", headers=auditor)).json() for seq in (1, 2, 3, 4)]
    lines = await bank.lines(member.wallet_id)
    assert [[line["seq"] for line in proof["lines"]] for proof in proofs] == [[1, 2, 3], [2, 3], [3], [4]]
    assert proofs[0]["head"] == {"seq": 3, "hash": lines[2]["hash"].hex()}

    def said(proof: dict[str, Any], key: str = public) -> tuple[int, str]:
        file = tmp_path / "proof.json"
        file.write_text(json.dumps(proof))
        done = subprocess.run(
            [sys.executable, VERIFIER, file, key], capture_output=True, text=True, check=False, cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    await bank.hear(activated("gifts", gift_cards=GIFTS))
    cards = Cards(bank)
    card = await cards.sold(700)
    assert (await cards.use(card, 200)).status_code == 201
    bought = f"/v1/gift-cards/{card['card_id']}/lines"
    assert_problem(await bank.client.get(f"{bought}/1/proof", headers=auditor), 409, "not_sealed_yet")
    await sealed(bank)
    money = (await bank.client.get(f"{bought}/1/proof", headers=auditor)).json()
    assert said(money)[1].startswith("PROVEN: 700 minor units, under seal ")
    assert said({**money, "wallet_id": money["card_id"], "card_id": str(uuid7())})[0] == 1
    as_points = {**money, "wallet_id": money["card_id"]}
    del as_points["card_id"]
    assert said(as_points)[0] == 1, "a line of money is none of points"

    no, at = proofs[0]["seal"]["no"], proofs[0]["seal"]["sealed_at"]
    assert said(proofs[0]) == (0, f"PROVEN: 100 points, under seal {no} of {at}\n")
    assert said(proofs[3])[0] == 0
    points = bytes.fromhex(proofs[0]["lines"][0]["bytes"])
    richer = points[:76] + (101).to_bytes(8, "big") + points[84:]
    forged = {**proofs[0], "lines": [{"seq": 1, "bytes": richer.hex()}, *proofs[0]["lines"][1:]]}
    code, text = said(forged)
    assert (code, "no chain" in text) == (1, True)
    code, text = said({**proofs[3], "seal": proofs[0]["seal"]})
    assert (code, "does not lead to" in text) == (1, True)
    code, text = said({**proofs[0], "seal": {**proofs[0]["seal"], "no": no + 1}})
    assert (code, "InvalidSignature" in text) == (1, True)
    assert said(proofs[0], Signer("another's", bank.code).public_key.hex())[0] == 1
    assert len(VERIFIER.read_text().splitlines()) <= 60


async def test_new_lines_are_found_by_their_block_range_and_not_by_reading_the_ledger(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    admin = await connect(settings.admin_dsn(), database=tenant.database)
    try:
        # 40,000 lines since the month began, without wallets: nothing of them is ever sealed.
        await admin.execute(
            """
            INSERT INTO redeem.ledger
            SELECT
                gen_random_uuid(), 1, gen_random_uuid(),
                date_trunc('month', now()) + (now() - date_trunc('month', now())) * (n / 40000.0), now(), 5, 5, 5, 0, 0, 0,
                gen_random_uuid(), NULL, 'earn', 'issued', 'available', sha256('x')
            FROM generate_series(1, 40000) AS n
            """
        )
        await admin.execute("VACUUM ANALYZE redeem.ledger")
    finally:
        await admin.close()
    db = await connect_as(settings, tenant, "redeem")
    try:
        for name, value in PINNED_PLANS.items():
            await db.execute(f"SET {name} = {value}")
        async with db.transaction(isolation="repeatable_read", readonly=True):
            await seals.take_turn(db)
            rows = await db.fetch(f"EXPLAIN {seals.queries.texts()['wallet_heads_since']}", datetime.now(UTC))
    finally:
        await db.close()
    plan = "\n".join(row[0] for row in rows)
    assert re.search(r"Bitmap Index Scan on ledger_\d+_posted_at_idx", plan), plan
    assert "Seq Scan" not in plan


async def test_another_tenants_seal_is_signed_with_another_key(settings: Settings) -> None:
    keys = {Signer(settings.seal_root(), tenant).public_key for tenant in ("acme", "bravo")}
    assert len(keys) == 2


def test_the_command_says_what_it_would_seal_and_seals_it(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_environment(settings, monkeypatch)
    asyncio.run(seal_tenant(settings, tenant.code, actor="test"))

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["seal", *words, "--tenant", tenant.code])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    assert json.loads(run("--json", "--dry-run")) == {
        "dry_run": True,
        "seal": None,
        "exported": 0,
        "foreign": [],
    }
    assert run().startswith("Nothing is new.")
    done = CliRunner().invoke(app, ["seal", "public-key", "--tenant", tenant.code])
    assert done.stdout.strip() == Signer(settings.seal_root(), tenant.code).public_key.hex()
