"""A job for every tenant: who is active has its turn, one's failure is its own, and it is told."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from pointbank.cli.app import app
from pointbank.desk import open_desk
from shared.clock import real_clock
from shared.config import Settings
from shared.db import connect, database_of
from shared.ids import uuid7
from shared.tenants.provision import dsn_for
from tests.integration.redeem.conftest import accrued
from tests.integration.verify.test_settled import WAITING
from tests.support.facts import activated
from tests.support.tenants import as_environment, new_tenant

JOBS = (
    "release-reservations",
    "notices",
    "benefits",
    "expire-gift-cards",
    "seal",
    "reconcile",
    "verify",
    "partitions",
)


@dataclass(frozen=True)
class Town:
    """A tenant that is whole, one that is not there although the directory says so, one suspended, one of another cell."""

    whole: str
    lost: str
    suspended: str
    elsewhere: str


@pytest.fixture(scope="module")
def town(settings: Settings) -> Iterator[Town]:
    whole = asyncio.run(new_tenant(settings)).code
    lost, suspended, elsewhere = (f"t{secrets.token_hex(4)}" for _ in range(3))

    async def change(*statements: tuple[Any, ...]) -> None:
        control = await asyncpg.connect(dsn_for(settings, settings.control_database))
        try:
            for statement, *values in statements:
                await control.execute(statement, *values)
        finally:
            await control.close()

    add = "INSERT INTO control.tenants (code, cell, database, state) VALUES ($1, $2, $1, $3)"
    asyncio.run(
        change(
            (add, lost, settings.cell, "active"),
            (add, suspended, settings.cell, "suspended"),
            (add, elsewhere, "another", "active"),
        )
    )
    yield Town(whole, lost, suspended, elsewhere)
    asyncio.run(change(("DELETE FROM control.tenants WHERE database = code",)))


@pytest.fixture(autouse=True)
def _environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    as_environment(settings, monkeypatch)


def ran(*words: str, code: int) -> Any:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, (done.output, done.exception)
    return done


@pytest.mark.parametrize("job", JOBS)
def test_each_job_is_done_for_who_is_there_and_says_who_is_not(town: Town, job: str) -> None:
    done = ran(job, "--all", "--json", code=2 if job == "verify" else 1)
    told = json.loads(done.stdout)
    assert (set(told["tenants"]), set(told["failed"])) == ({town.whole}, {town.lost})
    assert f"{town.lost}: failed: {told['failed'][town.lost]}" in done.stderr
    assert "Traceback" not in done.stderr
    if job == "verify":
        assert told["tenants"][town.whole]["holds"] is True


def test_what_was_on_its_way_when_the_oracle_looked_is_told_from_books_that_are_broken(
    settings: Settings, town: Town
) -> None:
    async def do(sql: str) -> None:
        owner = await connect(settings.admin_dsn(), database=database_of(town.whole))
        try:
            await owner.execute(sql)
        finally:
            await owner.close()

    asyncio.run(do(WAITING))
    try:
        said = ran("verify", "--all", code=1).stderr
    finally:
        asyncio.run(do("DELETE FROM earn.waiting"))
    assert f"{town.whole}: not settled, and nothing else is broken: bills waiting: 1\n" in said
    assert f"{town.whole}: broken" not in said


def test_what_is_due_of_one_expires_though_another_is_lost(settings: Settings, town: Town) -> None:
    async def earn() -> None:
        async with open_desk(settings, town.whole) as desk:
            await desk.do(activated("shops"), job="test")
            gone = real_clock() - timedelta(days=1)
            await desk.do(accrued(uuid7(), 77, expires_at=gone), job="test")

    asyncio.run(earn())
    told = json.loads(ran("expire", "--all", "--json", code=1).stdout)
    assert set(told["tenants"]) == {town.whole}
    assert [one["points"] for one in told["tenants"][town.whole]["swept"]] == [77]
    assert told["failed"] == {
        town.lost: f"{town.lost} is migrating; run `pointbank migrate`, or try again when it is active"
    }
    assert told["skipped"][town.suspended] == "suspended"
    assert town.elsewhere not in json.dumps(told)

    again = ran("expire", "--all", code=1)
    assert f"{town.whole}:\nNothing was due.\n" in again.stdout
    assert f"{town.suspended}: skipped, it is suspended\n" in again.stdout
    assert f"{town.lost}: failed: {town.lost} is migrating" in again.stderr

    # Points out of nowhere: the oracle says so, which weighs more than who could not be read.
    broken = ran("verify", "--all", code=1).stderr
    assert f"{town.whole}: broken: " in broken
    assert f"{town.lost}: failed: " in broken


@pytest.mark.parametrize("job", [*JOBS, "expire"])
def test_all_and_one_are_not_asked_for_at_once(town: Town, job: str) -> None:
    assert "either --tenant or --all" in ran(job, "--all", "--tenant", town.whole, code=2).stderr


def test_the_oracle_asked_for_all_takes_nothing_that_is_one_tenants_own() -> None:
    said = ran("verify", "--all", "--public-key", "00" * 32, code=2).stderr
    assert "is one tenant's own" in said


def test_a_bug_in_one_tenants_turn_is_told_whole_and_the_others_have_theirs(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: object) -> list[str]:
        raise ZeroDivisionError(path)

    monkeypatch.setenv("POINTBANK_SEAL_FOLDER", str(tmp_path))
    monkeypatch.setattr("os.listdir", broken)
    done = ran("seal", "--all", "--whole", code=1)
    monkeypatch.undo()
    assert f"{town.whole}: failed: ZeroDivisionError" in done.stderr
    assert "Traceback (most recent call last)" in done.stderr
    assert f"{town.lost}: failed: " in done.stderr
