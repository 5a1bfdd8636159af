"""An operator suspends a tenant, resumes it, and moves it to another server, by command line."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from typer.testing import CliRunner

from pointbank import embedded
from pointbank.cli.app import app
from pointbank.cli.failures import expected
from pointbank.logins import NotServed, UnknownTenant
from pointbank.operating.moving import CannotMove
from shared.config import Settings
from shared.login import ShutOut
from shared.tenants import Tenant
from shared.tenants.directory import Place, find_place, states_of
from shared.tenants.provision import dsn_for
from tests.support.servers import UNTENDED, to_another_server
from tests.support.serving import only_tenant, own_directory
from tests.support.speaking import Say, by_job, eventually, say
from tests.support.tenants import as_administrator, running

ORPHANS_THAT_ARE_NOT_THERE = """
    INSERT INTO earn.adoptions (epoch, head_n, head_hash, agreed_through, voided_through, actor, reason)
    VALUES (1, 2, 'x', 0, 0, 'tester', 'none')
"""


@pytest.fixture
async def own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A directory of this test's own; commands read it of their environment."""
    made = await own_directory(settings)
    as_administrator(made, monkeypatch)
    return made


@pytest.fixture
async def alone(own: Settings) -> Tenant:
    """Its only tenant."""
    return await only_tenant(own)


@pytest.fixture(scope="module")
def elsewhere(settings: Settings) -> Iterator[str]:
    """The DSN of another server."""
    folder = Path(tempfile.mkdtemp(prefix="pointbank-elsewhere-"))
    folder.chmod(0o711)
    try:
        with embedded.servers(folder, pg_settings=UNTENDED) as servers:
            yield to_another_server(servers, settings)
    finally:
        shutil.rmtree(folder)


async def tenant(*command: str) -> Any:
    return await asyncio.to_thread(CliRunner().invoke, app, ["tenant", *command])


async def state(own: Settings, alone: Tenant) -> str:
    return (await states_of(own, part="earn"))[alone.code]


@asynccontextmanager
async def administrating(dsn: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    db = await asyncpg.connect(dsn)
    try:
        yield db
    finally:
        await db.close()


async def databases(own: Settings, to: str) -> set[str]:
    parts = urlsplit(to)
    async with administrating(dsn_for(own, "", parts.hostname, parts.port)) as db:
        return {row[0] for row in await db.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'pb_%'")}


async def test_a_tenant_that_has_settled_is_suspended_and_resumed(own: Settings, alone: Tenant) -> None:
    done = await tenant("suspend", alone.code, "--within", "10")
    assert (done.exit_code, done.stdout) == (0, f"{alone.code} is suspended, settled.\n")
    assert await state(own, alone) == "suspended"
    again = await tenant("resume", alone.code)
    assert (again.exit_code, again.stdout) == (0, f"{alone.code} is served again.\n")
    assert await state(own, alone) == "active"
    await tenant("suspend", alone.code, "--within", "10")
    told = await tenant("resume", alone.code, "--json")
    assert json.loads(told.stdout) == {"tenant": alone.code, "state": "active"}
    made = await tenant("create", alone.code, "--json")
    assert json.loads(made.stdout) == {"tenant": alone.code, "till_user": f"pb-{alone.code}-tills"}


async def test_what_can_not_be_done_for_a_suspended_tenant_says_that_it_is_to_be_resumed(
    own: Settings, alone: Tenant
) -> None:
    assert (await tenant("suspend", alone.code, "--within", "10")).exit_code == 0
    resume = f"`pointbank tenant resume {alone.code}`"
    for words in (("stream", "adopt", "--service", "earn", "--dry-run"), ("expire", "--dry-run")):
        done = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--tenant", alone.code])
        assert isinstance(done.exception, NotServed), (words, done.exception)
        assert str(done.exception) == f"{alone.code} is suspended; {resume} serves it again"
    shut = await asyncio.to_thread(CliRunner().invoke, app, ["dead-letters", "list", "--tenant", alone.code])
    assert isinstance(shut.exception, ShutOut)
    assert (expected(shut.exception) or "").endswith(
        "`pointbank migrate` lets a service in again; is the tenant suspended, `pointbank tenant resume` does"
    )


async def test_the_auditor_logs_in_where_the_command_says_and_changes_nothing(
    own: Settings, alone: Tenant
) -> None:
    told = await tenant("auditor-url", alone.code)
    assert told.exit_code == 0, told.output
    async with administrating(told.stdout.strip()) as db:
        assert await db.fetchval("SELECT current_user") == f"pb_{alone.code}_auditor"
        assert await db.fetchval("SELECT count(*) FROM redeem.ledger") == 0
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await db.execute("DELETE FROM redeem.ledger")
    unknown = await tenant("auditor-url", "nobody")
    assert isinstance(unknown.exception, UnknownTenant)
    assert (
        expected(unknown.exception)
        == "there is no tenant nobody; `pointbank tenant list` shows those there are"
    )


@pytest.mark.parametrize("words", ["tenant till-url nobody", "seal public-key --tenant nobody"])
async def test_no_password_or_key_is_told_of_a_tenant_that_nobody_made(
    own: Settings, alone: Tenant, words: str
) -> None:
    told = await asyncio.to_thread(CliRunner().invoke, app, words.split())
    assert (told.stdout, type(told.exception)) == ("", UnknownTenant)
    known = words.replace("nobody", alone.code).split()
    assert (await asyncio.to_thread(CliRunner().invoke, app, known)).exit_code == 0


async def test_a_tenant_that_has_not_settled_is_suspended_and_the_command_fails(
    own: Settings, alone: Tenant
) -> None:
    async with running(own, alone, "earn", {Say: say}) as earn:
        await earn.lane.submit(by_job(Say("unheard")))
        await eventually(lambda: earn.relay.published == 1)
    done = await tenant("suspend", alone.code, "--within", "0.5", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (
        1,
        {
            "tenant": alone.code,
            "settled": False,
            "thrown_out": 0,
            "standing": {
                "unpublished": {},
                "unheard": {"redeem<-earn": 1, "notifier<-earn": 1},
                "offered": 0,
            },
        },
    )
    told = await tenant("suspend", alone.code)
    assert told.exit_code == 1
    assert sorted(told.stdout.splitlines()) == [
        "  notifier<-earn: 1 event waits for the resume",
        "  redeem<-earn: 1 event waits for the resume",
        f"{alone.code} is suspended, not settled.",
    ]
    assert await state(own, alone) == "suspended"


async def test_a_tenant_is_moved_as_it_was_said_before(own: Settings, alone: Tenant, elsewhere: str) -> None:
    command = ("move", alone.code, "--to", elsewhere, "--within", "10", "--json")
    dry = await tenant(*command, "--dry-run")
    assert dry.exit_code == 0, dry.output
    plan = json.loads(dry.stdout)
    there = urlsplit(elsewhere)
    assert (plan["dry_run"], plan["copied"], plan["destination"]) == (
        True,
        None,
        f"127.0.0.1:{there.port}/{alone.database}",
    )
    assert await state(own, alone) == "active"
    assert alone.database not in await databases(own, elsewhere)

    done = await tenant(*command)
    assert done.exit_code == 0, done.output
    moved = json.loads(done.stdout)
    assert (moved["dry_run"], moved["origin"], moved["destination"]) == (
        False,
        plan["origin"],
        plan["destination"],
    )
    assert moved["copied"]["tables"] > 100
    assert await find_place(own, alone.code, part="earn") == Place(alone.database, "127.0.0.1", there.port)
    assert await state(own, alone) == "active"


async def test_a_copy_that_verify_objects_to_is_not_served(
    own: Settings, alone: Tenant, elsewhere: str
) -> None:
    home = await find_place(own, alone.code, part="earn")
    async with administrating(dsn_for(own, alone.database)) as db:
        await db.execute(ORPHANS_THAT_ARE_NOT_THERE)
    done = await tenant("move", alone.code, "--to", elsewhere, "--within", "10")
    assert done.exit_code == 1
    assert isinstance(done.exception, CannotMove)
    assert str(done.exception) == (
        f"verify objects to the copy (adoptions); {alone.code} is suspended where it was"
    )
    assert await find_place(own, alone.code, part="earn") == home
    assert await state(own, alone) == "suspended"
    assert alone.database in await databases(own, elsewhere), "it was copied"
    again = await tenant("resume", alone.code)
    assert (again.exit_code, await state(own, alone)) == (0, "active")


async def test_who_logs_in_at_the_destination_can_not_be_said(own: Settings, alone: Tenant) -> None:
    for who in ("somebody", "somebody:secret", ""):
        done = await tenant("move", alone.code, "--to", f"postgresql://{who}@127.0.0.1:1", "--dry-run")
        assert isinstance(done.exception, CannotMove), done.output
        assert str(done.exception).startswith("--to names a server and nobody")
        assert "secret" not in str(done.exception)
    assert await state(own, alone) == "active"


async def test_a_destination_where_nobody_listens_is_told_as_that_and_not_as_our_own_server(
    own: Settings, alone: Tenant
) -> None:
    done = await tenant("move", alone.code, "--to", "postgresql://127.0.0.1:1", "--dry-run")
    assert isinstance(done.exception, CannotMove), done.output
    assert str(done.exception).startswith("the destination can't be used: ")
    assert str(done.exception).endswith("; nothing was changed")
    assert await state(own, alone) == "active"
