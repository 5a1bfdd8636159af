"""A seal that is asked for over HTTP: a call waits for it as long as it likes, the next goes on waiting, whoever takes the seal."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.redeem.handlers import ON
from services.redeem.jobs.sealing import job_item
from services.redeem.jobs.sealing_on_call import SealDone, Wanted, begin_run, seal_on_call, wait_for_seal
from shared.config import Settings
from shared.http.cursors import encode_cursor
from shared.jobs import Job
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, asks
from tests.support.http import assert_problem
from tests.support.tenants import running


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Seals are exported, and taken when a test asks for one."""
    return settings.model_copy(update={"seal_folder": tmp_path_factory.mktemp("seals"), "seal_every_s": 0.0})


async def asked(bank: Bank, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await bank.client.post("/v1/ledger/seals", json=body, headers=bank.headers("operator"))
    return answer.status_code, answer.json()


@asynccontextmanager
async def slow(bank: Bank) -> AsyncIterator[None]:
    """Whoever seals has to wait until this is over, as with a very large tenant; nobody else."""
    db = await bank.administrator()
    try:
        async with db.transaction():
            await db.execute("LOCK TABLE redeem.seal_leaves IN SHARE MODE")
            yield
    finally:
        await db.close()


async def numbers(bank: Bank) -> list[int]:
    return [row["no"] for row in await bank.auditor.fetch("SELECT no FROM redeem.seals ORDER BY no")]


async def sealed_before(bank: Bank) -> None:
    """There is a seal, and nothing new since."""
    await bank.member(1)
    assert (await asked(bank))[0] == 201


def files(bank: Bank) -> list[Path]:
    folder = bank.runtime.settings.seal_folder
    assert folder is not None
    return sorted((folder / bank.code).glob("*.json"))


@contextmanager
def in_the_way(bank: Bank) -> Iterator[Path]:
    """A file where the tenant's folder is."""
    folder = bank.runtime.settings.seal_folder
    assert folder is not None
    place = folder / bank.code
    aside = place.rename(folder / "aside")
    place.write_bytes(b"")
    try:
        yield place
    finally:
        place.unlink()
        aside.rename(place)


def wanted_by(run: Any, **changed: Any) -> Wanted:
    return Wanted(run, job_item(), dry_run=False, whole=False, resumed=False, **changed)


async def test_a_call_that_waits_no_longer_is_told_how_to_go_on_and_the_seal_goes_on_by_itself(
    bank: Bank,
) -> None:
    await sealed_before(bank)
    before, member = await numbers(bank), await bank.member(10)
    async with slow(bank):
        status, begun = await asked(bank, within_s=0)
        assert (status, begun["seal"], begun["exported"]) == (202, None, 0)
        assert (await asked(bank, cursor=begun["next_cursor"], within_s=0))[0] == 202
        # No posting waits for it.
        assert (await bank.redeem(asks(member, points=4))).status_code == 201
    status, made = await asked(bank, cursor=begun["next_cursor"])
    assert (status, made["seal"]["no"], made["seal"]["leaves"], made["exported"]) == (
        201,
        before[-1] + 1,
        1,
        1,
    )
    assert made["next_cursor"] is None
    assert msgspec.json.decode(files(bank)[-1].read_bytes()) == made["seal"]
    # The same once more: of what came since there is no second seal.
    assert await asked(bank, cursor=begun["next_cursor"]) == (201, made)
    assert await numbers(bank) == [*before, made["seal"]["no"]]
    assert_problem(
        await bank.client.post("/v1/ledger/seals", json={"cursor": "x"}, headers=bank.headers("operator")),
        422,
        "field_type",
    )


async def test_a_folder_that_cant_be_written_is_said_and_once_it_is_mended_the_same_call_exports_the_seal(
    bank: Bank,
) -> None:
    await sealed_before(bank)
    before = await numbers(bank)
    await bank.member(10)
    with in_the_way(bank):
        for dry_run in (True, False):
            answer = await bank.client.post(
                "/v1/ledger/seals", json={"dry_run": dry_run}, headers=bank.headers("operator")
            )
            assert_problem(answer, 503, "tenant_unavailable")
            assert "file can't be read or written here: Not a directory." in answer.json()["detail"]
            assert "POINTBANK_SEAL_FOLDER" in answer.json()["detail"]
    made = [*before, before[-1] + 1]
    assert await numbers(bank) == made
    status, done = await asked(bank)
    assert (status, done["seal"], done["exported"]) == (200, None, 1)
    assert await numbers(bank) == made


@pytest.mark.parametrize("whole", [False, True])
async def test_where_the_process_that_seals_dies_another_begins_anew(
    bank: Bank, settings: Settings, tenant: Tenant, whole: bool
) -> None:
    await sealed_before(bank)
    before = await numbers(bank)
    await bank.member(10)
    async with slow(bank):
        async with running(
            settings, tenant, "redeem", ON, jobs=(Job("asked-seals", 1.0, seal_on_call, endless=True),)
        ) as dies:
            run = await begin_run(dies)
            assert await wait_for_seal(dies, wanted_by(run), within_s=0.5) is None
            # While it lives, nobody else does.
            status, waits = await asked(bank, cursor=encode_cursor(run), whole=whole, within_s=1)
            assert (status, waits["next_cursor"]) == (202, encode_cursor(run))
        assert await numbers(bank) == before
    status, made = await asked(bank, cursor=encode_cursor(run), whole=whole)
    assert (status, made["seal"]["no"], made["seal"]["leaves"]) == (201, before[-1] + 1, 1)
    assert await numbers(bank) == [*before, made["seal"]["no"]]


async def test_what_another_process_sealed_is_told_by_any(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await sealed_before(bank)
    await bank.member(10)
    async with running(
        settings, tenant, "redeem", ON, jobs=(Job("asked-seals", 1.0, seal_on_call, endless=True),)
    ) as other:
        run = await begin_run(other)
        done = await wait_for_seal(other, wanted_by(run), within_s=20)
        assert isinstance(done, SealDone)
        assert done.seal is not None
    await bank.member(10)
    status, told = await asked(bank, cursor=encode_cursor(run))
    assert (status, told["seal"]["no"], told["seal"]["leaves"]) == (201, done.seal.no, 1)
    assert (await numbers(bank))[-1] == done.seal.no


async def test_many_calls_at_once_make_one_seal_and_none_is_told_of_nothing(bank: Bank) -> None:
    await sealed_before(bank)
    before = await numbers(bank)
    await bank.member(10)
    answers = await asyncio.gather(*[asked(bank) for _ in range(8)])
    [made] = (await numbers(bank))[len(before) :]
    assert {said["seal"]["no"] for status, said in answers if status == 201} == {made}
    assert {status for status, _ in answers} <= {200, 201}


async def test_a_dry_run_may_take_its_time_too_and_leaves_nothing(bank: Bank) -> None:
    await sealed_before(bank)
    before = await numbers(bank)
    await bank.member(10)
    status, begun = await asked(bank, dry_run=True, within_s=0)
    assert status == 202
    status, would = await asked(bank, dry_run=True, cursor=begun["next_cursor"])
    assert (status, would["seal"]["leaves"], would["exported"]) == (200, 1, 1)
    assert (await numbers(bank), len(files(bank))) == (before, len(before))
