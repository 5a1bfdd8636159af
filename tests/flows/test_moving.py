"""A tenant moves to another server while tills go on: nothing acknowledged is lost, nothing counts twice, and its books agree."""

from __future__ import annotations

import asyncio
import random
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from pointbank import embedded
from pointbank.logins import log_in
from pointbank.operating.moving import CannotMove, move
from shared.config import Settings
from shared.tenants.directory import find_place
from tests.flows.conftest import ALL_IN_ONE, running_fleet
from tests.support.servers import to_another_server
from tests.support.town import Load, Town, found_town


def test_a_tenant_moves_to_another_server_while_its_tills_go_on(settings: Settings, tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    with (
        embedded.servers(tmp_path / "other") as servers,
        running_fleet(settings, ALL_IN_ONE, POINTBANK_REST_AFTER_S="1") as fleet,
    ):
        town = asyncio.run(found_town(fleet, f"t{secrets.token_hex(3)}", members=10))
        asyncio.run(_move(town, to_another_server(servers, settings)))


async def _move(town: Town, to: str) -> None:
    asked: dict[str, Any] = {"to": to, "within_s": 60, "replace": False, "say": print}
    async with (
        town.open(patience_s=10) as trade,
        Load(trade, random.Random(7), most_bills=200, callers=2).running() as load,
    ):
        plan = await move(town.settings, town.tenant, dry_run=True, **asked)
        assert (plan.dry_run, plan.copied) == (True, None)
        while load.offered < 60 or not load.called["redemption"]:
            await asyncio.sleep(0.05)
        before = await _ledger(town)
        moved = await move(town.settings, town.tenant, dry_run=False, **asked)
        assert moved.copied is not None
        assert moved.copied.rows >= before > 0
        place = await find_place(town.settings, town.tenant, part="auditor")
        assert place is not None
        assert place.port == urlsplit(to).port
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await _at_home(town)
        called = load.called.total()
        while load.called.total() < called + 5:
            await asyncio.sleep(0.05)
    await town.verified()
    assert await _ledger(town) > before
    with pytest.raises(CannotMove, match="there already"):
        await move(town.settings, town.tenant, dry_run=True, **asked)


async def _ledger(town: Town) -> int:
    db = await log_in(town.settings, town.tenant, "auditor")
    try:
        return int(await db.fetchval("SELECT count(*) FROM redeem.ledger"))
    finally:
        await db.close()


async def _at_home(town: Town) -> None:
    """As a process that was asleep all the time would: redeem's login, at the old place."""
    role = f"pb_{town.tenant}_redeem"
    db = await asyncpg.connect(
        host=town.settings.postgres_host,
        port=town.settings.postgres_port,
        database=f"pb_{town.tenant}",
        user=role,
        password=town.settings.password_of("redeem", role),
    )
    await db.close()
