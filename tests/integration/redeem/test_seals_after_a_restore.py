"""PostgreSQL lost commits whose seals were exported: nothing is sealed beside them until an operator has said that it goes on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from pointbank.cli.app import app
from pointbank.cli.failures import expected
from pointbank.jobs.sealing import adopt_seals, reconcile_tenant
from pointbank.verify.chains import verify_chains
from services.redeem.domain.lost_seals import NoSealsLost
from services.redeem.domain.seal import NotOurSeal
from services.redeem.jobs import sealing
from services.redeem.jobs.exporting import SealsForked
from services.redeem.jobs.sealing import job_item, take_seal
from shared.config import Settings
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank
from tests.support.http import assert_problem
from tests.support.tenants import as_environment, running


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Seals are exported, and taken when a test asks for one."""
    return settings.model_copy(update={"seal_folder": tmp_path_factory.mktemp("seals"), "seal_every_s": 0.0})


def folder_of(bank: Bank) -> Path:
    folder = bank.settings.seal_folder
    assert folder is not None
    return folder / bank.code


def files(bank: Bank) -> list[str]:
    return sorted(one.name for one in folder_of(bank).glob("0*.json"))


def violations(bank: Bank) -> float:
    """What an alert looks at."""
    labels = {"service": "redeem", "tenant": bank.code, "invariant": "4"}
    name = "pointbank_invariant_violations"
    return bank.runtime.metrics.registry.get_sample_value(name, labels) or 0.0


async def numbers(bank: Bank) -> list[int]:
    return [row["no"] for row in await bank.auditor.fetch("SELECT no FROM redeem.seals ORDER BY no")]


async def told(bank: Bank) -> int:
    found = await bank.auditor.fetchval(
        "SELECT count(*) FROM redeem.outbox WHERE convert_from(payload, 'UTF8') LIKE '%ledger.sealed.v1%'"
    )
    return int(found)


async def sealed(bank: Bank) -> int:
    """Somebody new, under a seal of a process that has just begun; the number of the newest seal."""
    await bank.member(10)
    bank.runtime.cache.pop(sealing.Standing, None)
    await sealing.seal(bank.runtime)
    return (await numbers(bank))[-1]


async def adopted(bank: Bank) -> dict[str, Any]:
    """What an operator does."""
    return await adopt_seals(bank.settings, bank.code, actor="cli:me", reason="restored, ticket 4711")


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _what_was_lost_is_adopted_afterwards(bank: Bank) -> AsyncIterator[None]:
    yield
    with suppress(NoSealsLost):
        await adopted(bank)


async def asked(bank: Bank) -> int:
    """The status of a call that asks for a seal."""
    answer = await bank.client.post("/v1/ledger/seals", json={}, headers=bank.headers("operator"))
    return answer.status_code


async def lose_seals(bank: Bank, *, after: int) -> None:
    """PostgreSQL is as it was before these were taken."""
    db = await bank.administrator()
    async with db.transaction():
        await db.execute("SET LOCAL session_replication_role = replica")
        for table in ("seal_leaves", "seals"):
            await db.execute(f"DELETE FROM redeem.{table} WHERE no > $1", after)
    await db.close()


async def test_nothing_is_sealed_told_or_exported_beside_seals_that_were_lost(bank: Bank) -> None:
    kept = await sealed(bank)
    await sealed(bank)
    await sealed(bank)
    exported, said = files(bank), await told(bank)
    await lose_seals(bank, after=kept)
    await bank.member(10)
    for _ in range(2):
        bank.runtime.cache.pop(sealing.Standing, None)
        with pytest.raises(SealsForked, match=r"seal_forked: .*2 exported seals"):
            await sealing.seal(bank.runtime)
    assert await numbers(bank) == list(range(1, kept + 1))
    assert (files(bank), await told(bank)) == (exported, said)


async def test_an_operator_adopts_what_was_lost_and_no_number_is_used_twice(bank: Bank) -> None:
    last = await sealed(bank)
    await sealed(bank)
    lost = files(bank)[-1]
    await lose_seals(bank, after=last)
    await bank.member(10)
    would = await adopt_seals(bank.settings, bank.code, actor="cli:me", reason="", dry_run=True)
    with pytest.raises(SealsForked):
        await sealing.seal(bank.runtime)
    done = await adopted(bank)
    assert {**done, "dry_run": True, "epoch": None} == would
    assert (done["after_no"], done["next_no"], done["lost"]) == (last, last + 2, (lost,))
    assert lost in files(bank), "it is evidence, and stays"
    with pytest.raises(NoSealsLost):
        await adopted(bank)

    assert await sealed(bank) == last + 2
    before, after = (await bank.auditor.fetch("SELECT * FROM redeem.seals ORDER BY no"))[-2:]
    assert (before["no"], after["previous"]) == (last, before["hash"])
    audit = await bank.auditor.fetchrow(
        "SELECT actor, object, after ->> 'reason' FROM redeem.audit WHERE action = 'ledger.seals_adopt' ORDER BY id DESC"
    )
    assert tuple(audit or ()) == ("cli:me", f"seal/{last + 2}", "restored, ticket 4711")
    kept = await bank.auditor.fetchrow("SELECT * FROM redeem.lost_seals WHERE no = $1", last + 1)
    assert kept is not None
    assert (kept["epoch"], kept["previous"], kept["hash"].hex()[:16]) == (
        done["epoch"],
        before["hash"],
        lost[13:29],
    )
    event = await bank.auditor.fetchval("SELECT payload FROM redeem.outbox ORDER BY id DESC LIMIT 1")
    said = msgspec.json.decode(event)
    assert (said["data"]["no"], int(said["sequence"])) == (last + 2, len(await numbers(bank)))


async def test_the_oracle_follows_the_chain_past_what_was_lost_and_says_how_much_it_was(bank: Bank) -> None:
    last = await sealed(bank)
    await sealed(bank)
    await lose_seals(bank, after=last)
    found = await verify_chains(bank.settings, bank.code)
    assert [check.name for check in found.broken] == ["seals:exported"]
    await adopted(bank)
    await sealed(bank)
    report = await verify_chains(bank.settings, bank.code)
    assert report.broken == []
    assert report["seals"].compared == len(await numbers(bank))
    lost = await bank.auditor.fetchval("SELECT count(*) FROM redeem.lost_seals")
    assert report["seals:exported"].notes["were lost by the database, as an operator said"] == lost
    assert report["seals:lost"].compared > lost


async def test_a_reconciliation_compares_what_was_posted_since_the_seal_before_the_gap(bank: Bank) -> None:
    last = await sealed(bank)
    await reconcile_tenant(bank.settings, bank.code, actor="cli:me")
    await sealed(bank)
    await lose_seals(bank, after=last)
    await adopted(bank)
    await bank.member(5, 6)
    assert await sealed(bank) == last + 2
    done = await reconcile_tenant(bank.settings, bank.code, actor="cli:me")
    assert (done["postings"], done["differences"]) == (4, 0)


async def test_a_process_that_went_on_notices_it_at_its_next_turn(bank: Bank) -> None:
    """It looks at what is numbered as the last that it exported, or higher."""
    last = await sealed(bank)
    await bank.member(10)
    await sealing.seal(bank.runtime)
    await lose_seals(bank, after=last)
    await bank.member(10)
    with pytest.raises(SealsForked, match="1 exported seals"):
        await sealing.seal(bank.runtime)
    assert (await numbers(bank))[-1] == last


async def test_a_call_is_told_what_to_do_and_the_same_call_seals_once_it_was_done(bank: Bank) -> None:
    last = await sealed(bank)
    await sealed(bank)
    await lose_seals(bank, after=last)
    await bank.member(10)
    before = violations(bank)
    for path, body in (
        ("ledger/seals", {}),
        ("ledger/seals", {"dry_run": True}),
        ("reconciliation/runs", {}),
    ):
        answer = await bank.client.post(f"/v1/{path}", json=body, headers=bank.headers("operator"))
        assert_problem(answer, 503, "tenant_unavailable")
        assert answer.json()["detail"].startswith("Nothing is sealed (seal_forked): 1 exported seals are not")
        assert "`pointbank seal adopt`" in answer.json()["detail"]
    assert ((await numbers(bank))[-1], violations(bank) - before) == (last, 3)
    await adopted(bank)
    answer = await bank.client.post("/v1/ledger/seals", json={}, headers=bank.headers("operator"))
    assert (answer.status_code, answer.json()["seal"]["no"]) == (201, last + 2)


async def test_replicas_of_one_folder_and_calls_at_once_take_one_seal_and_see_no_fork(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "redeem", {}) as other:
        for _ in range(5):
            last = await sealed(bank)
            await bank.member(10)
            turns = [sealing.seal(runtime) for runtime in (bank.runtime, other, bank.runtime, other)]
            status, *_ = await asyncio.gather(asked(bank), *turns)
            assert status in {200, 201}
            assert (await numbers(bank))[-1] == last + 1
    assert len(files(bank)) == len(set(files(bank))) >= len(await numbers(bank))


async def test_an_empty_folder_on_a_new_machine_is_filled_and_stops_nobody(
    bank: Bank, settings: Settings, tenant: Tenant, tmp_path: Path
) -> None:
    await sealed(bank)
    moved = settings.model_copy(update={"seal_folder": tmp_path / "new"})
    async with running(moved, tenant, "redeem", {}) as other:
        await bank.member(10)
        await sealing.seal(other)
    assert len(list((tmp_path / "new" / bank.code).iterdir())) == len(await numbers(bank))


@pytest.mark.parametrize("content", ["{", '{"tenant": "acme"}', "another number", "another signature"])
async def test_a_file_that_is_no_seal_of_ours_is_named_and_never_adopted(bank: Bank, content: str) -> None:
    last = await sealed(bank)
    place = folder_of(bank)
    seal = msgspec.json.decode((place / files(bank)[-1]).read_bytes())
    if content == "another number":
        content = json.dumps({**seal, "no": last + 1})
    elif content == "another signature":
        content = json.dumps({**seal, "signature": "00" * 64})
    strange = place / f"{last + 1:012d}-{seal['hash'][:16]}.json"
    strange.write_text(content)
    with pytest.raises(SealsForked, match=strange.name):
        await sealing.seal(bank.runtime)
    with pytest.raises(NotOurSeal, match=strange.name):
        await adopted(bank)
    strange.unlink()  # what the message says
    await bank.member(10)
    await sealing.seal(bank.runtime)
    assert (await numbers(bank))[-1] == last + 1


async def test_a_fork_that_an_older_release_made_is_adopted_and_a_second_restore_once_more(
    bank: Bank, settings: Settings
) -> None:
    last = await sealed(bank)
    await sealed(bank)
    await lose_seals(bank, after=last)
    await bank.member(10)
    made = await take_seal(bank.runtime.writer, sealing.signer_of(bank.runtime), item=job_item())
    assert made is not None
    assert made.no == last + 1
    with pytest.raises(SealsForked, match="1 exported seals"):
        await sealed(bank)
    assert (await adopted(bank))["next_no"] == last + 2
    assert await sealed(bank) == last + 2
    await lose_seals(bank, after=last)  # and with them what was adopted
    db = await bank.administrator()
    async with db.transaction():
        await db.execute("SET LOCAL session_replication_role = replica")
        await db.execute("DELETE FROM redeem.lost_seals WHERE no > $1", last)
        await db.execute("DELETE FROM redeem.seal_adoptions WHERE after_no >= $1", last)
    await db.close()
    with pytest.raises(SealsForked, match="3 exported seals"):
        await sealed(bank)
    assert (await adopted(bank))["next_no"] == last + 3
    assert await sealed(bank) == last + 3


async def test_the_commands_say_it_and_what_to_do(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_environment(settings, monkeypatch)
    last = await sealed(bank)
    await sealed(bank)
    lost = files(bank)[-1]
    await lose_seals(bank, after=last)
    await bank.member(10)

    async def run(*words: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--tenant", bank.code])
        if isinstance(done.exception, Exception):
            return 2, expected(done.exception) or repr(done.exception)
        return done.exit_code, " ".join(done.output.split())

    wrong = f"seal_forked: nothing is sealed. Not in the database: {lost}. See `pointbank seal adopt --help`"
    assert await run("seal") == (1, wrong)
    assert await run("seal", "--dry-run") == (1, wrong)
    code, said = await run("reconcile")
    assert (code, said.startswith("seal_forked: tenant ")) == (2, True)
    found = f"The newest seal in the database is seal {last}; these were exported and are not there: {lost}"
    would = f"{found} Nothing was changed. The next seal would be {last + 2}."
    assert await run("seal", "adopt", "--dry-run") == (0, would)
    code, said = await run("seal", "adopt", "--reason", "restored from the backup of 02:00")
    assert (code, said.startswith(f"{found} Recorded as lost, epoch ")) == (0, True)
    assert said.endswith(f"The next seal is {last + 2}.")
    code, said = await run("seal", "adopt", "--reason", "again")
    assert (code, said) == (2, f"nothing was changed: the database knows every seal in {folder_of(bank)}")
    code, said = await run("seal")
    assert (code, said.endswith(f" 2 heads sealed as number {last + 2}. 1 seal exported.")) == (0, True)
