"""A release is followed by the next while tills and callers go on: tables first, processes one by one, nothing refused or lost."""

from __future__ import annotations

import asyncio
import random
import secrets
import subprocess
import sys
from pathlib import Path

from pointbank.api import Call
from pointbank.operating.dead_letters import list_dead_letters
from shared.config import Settings
from tests.flows.conftest import own_directory
from tests.mutations.mutants import Patch, copy_of_the_code
from tests.support.patience import PATIENCE_S
from tests.support.processes import ALL, Fleet, Replica
from tests.support.programmes import SHOPS
from tests.support.town import PROGRAMME, Load, Town, found_town

ADDED = {
    "shared/messaging/migrations/9001_later.sql": """
        ALTER TABLE outbox ADD COLUMN later text;
        ALTER TABLE idempotency ADD COLUMN later int NOT NULL DEFAULT 7;
    """,
    "services/earn/migrations/9001_later.sql": """
        ALTER TABLE bills ADD COLUMN later int NOT NULL DEFAULT 7, ADD CONSTRAINT later_positive CHECK (later > 0);
        CREATE TABLE later (id bigint PRIMARY KEY);
        GRANT SELECT, INSERT ON later TO {{service_role}};
    """,
    "services/redeem/migrations/9001_later.sql": """
        ALTER TABLE wallets ADD COLUMN later text;
        ALTER TABLE lots ADD COLUMN later timestamptz DEFAULT clock_timestamp();
    """,
    "services/redeem/migrations/9002_later.sql": "ALTER TABLE ledger ADD COLUMN later text;",
}
"""What the next release adds, to the tables that are written most."""


LATER = Patch(
    "shared/programme/earning.py",
    '    tax: Literal["included", "excluded"] = "included"\n',
    '    tax: Literal["included", "excluded"] = "included"\n    later: str | None = None\n',
)
"""What the next release lets a programme say."""


def release(folder: Path, migrations: dict[str, str], *patches: Patch) -> Path:
    code = copy_of_the_code(folder, patches)
    for name, text in migrations.items():
        (code / name).write_text(text, encoding="utf-8")
    return code


async def command(fleet: Fleet, code: Path, *words: str) -> None:
    """A command of that release, with what an administrator's environment says."""
    settings = fleet.settings
    assert settings.postgres_dsn is not None
    assert settings.secret is not None
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", "from pointbank.cli import main; main()", *words],
        cwd=code,
        env={
            "PATH": "/usr/bin:/bin",
            "POINTBANK_POSTGRES_DSN": settings.postgres_dsn,
            "POINTBANK_SECRET": settings.secret,
            "POINTBANK_CONTROL_DATABASE": settings.control_database,
            "POINTBANK_REDIS_URL": settings.redis_url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)


def test_tables_come_first_then_processes_one_by_one(settings: Settings, tmp_path: Path) -> None:
    following = release(tmp_path, ADDED)
    own = own_directory(settings)
    with Fleet(
        own, tmp_path, services=(ALL,), environment={"POINTBANK_BATCH_ITEMS": "40"}, forked=True
    ).running() as fleet:
        town = asyncio.run(found_town(fleet, f"t{secrets.token_hex(3)}", members=10))
        asyncio.run(_follow(fleet, town, following))


async def _follow(fleet: Fleet, town: Town, following: Path) -> None:
    fleet.gateway.failed.clear()  # what a tenant that is seconds old was told on a busy machine is no upgrade's doing
    async with (
        town.open() as trade,
        Load(trade, random.Random(4), most_bills=10**6, callers=3).running() as load,
    ):
        # Without its tables a process of the next release says so, and would refuse what it was given.
        early = await _replace(fleet, f"{ALL}-1", following)
        while "earn.release" not in early.ready_checks():
            await asyncio.sleep(0.05)
        checks = early.ready_checks()
        assert [checks[f"{service}.release"] for service in ("earn", "redeem", "members")] == [False] * 3
        # The tables are made beside the release before, which goes on.
        await _more(load)
        await command(fleet, following, "migrate")
        await _more(load)
        await asyncio.to_thread(fleet.wait_ready, town.tenant, names=[early.name])
        fleet.aside.clear()
        await _more(load)  # by processes of both
        late = await _replace(fleet, f"{ALL}-2", following)
        await asyncio.to_thread(fleet.wait_ready, town.tenant, names=[late.name])
        fleet.aside.clear()
        await _more(load)
        load.end()
    assert not fleet.gateway.failed, fleet.gateway.failed
    wrong = [line for one in (early, late) for line in one.told() if line["level"] in {"error", "critical"}]
    assert wrong == []
    await town.verified()


def test_a_version_that_only_the_next_release_knows_rejects_no_bill(
    settings: Settings, tmp_path: Path
) -> None:
    following = release(tmp_path, {}, LATER)
    own = own_directory(settings)
    with Fleet(
        own, tmp_path, services=(ALL,), environment={"POINTBANK_BATCH_ITEMS": "40"}
    ).running() as fleet:
        town = asyncio.run(found_town(fleet, f"t{secrets.token_hex(3)}", members=10))
        asyncio.run(_activate_too_early(fleet, town, following))


async def _activate_too_early(fleet: Fleet, town: Town, following: Path) -> None:
    before, after = f"{ALL}-1", f"{ALL}-2"
    await _replace(fleet, after, following)
    await asyncio.to_thread(fleet.wait_ready, town.tenant, names=[after])
    fleet.aside = {before}
    async with town.open() as trade:
        document = {**SHOPS, "earning": {**SHOPS["earning"], "later": "anything"}}
        drafted = await trade.call(Call("POST", "/v1/programmes", document, key="draft"))
        path = f"/v1/programmes/{PROGRAMME}/versions/{drafted.json()['version']}/activate"
        assert (await trade.call(Call("POST", path, key="activate"))).status == 200
        # Bills come to both by stream and by HTTP; what a process of the release before can't judge it leaves.
        fleet.aside.clear()
        left = "what a later release activated is left to it"
        async with (
            asyncio.timeout(PATIENCE_S),
            Load(trade, random.Random(4), most_bills=10**6, callers=2).running() as load,
        ):
            while not any(line["event"] == left for line in fleet.replicas[before].told()):
                await asyncio.sleep(0.05)
            await _replace(fleet, before, following)
            await asyncio.to_thread(fleet.wait_ready, town.tenant, names=[before])
            fleet.aside.clear()
            await _more(load)
            load.end()
    assert await list_dead_letters(fleet.settings, town.tenant) == []
    words = ("verify", "--tenant", town.tenant, "--journal", str(town.journal), "--wait", str(PATIENCE_S))
    await command(fleet, following, *words)


async def _replace(fleet: Fleet, name: str, code: Path) -> Replica:
    """Stopped in order, and started as the other release; the gateway leaves it aside until it is ready."""
    fleet.aside.add(name)
    await asyncio.to_thread(fleet.stop, name)
    fleet.code = code
    return await asyncio.to_thread(fleet.start, name)


async def _more(load: Load) -> None:
    """The load goes on: each kind of call is answered, and bills are taken from the stream."""
    before, offered = load.called.copy(), load.offered
    async with asyncio.timeout(PATIENCE_S):
        while load.offered < offered + 20 or any(
            load.called[kind] <= before[kind] for kind in ("bill", "redemption")
        ):
            await asyncio.sleep(0.02)
