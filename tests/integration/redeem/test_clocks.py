"""Machines whose clocks are wrong: the tenant's present is PostgreSQL's there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pointbank.jobs.expiring import expire_tenant
from shared.config import Settings
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, asks, opened
from tests.support.skew import clock_off

HOUR = timedelta(hours=1)


async def test_a_command_given_where_it_is_tomorrow_expires_nothing_of_today(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = await bank.member(70, expires_at=datetime.now(UTC) + HOUR)
    with monkeypatch.context() as patch:
        clock_off(patch, 24 * HOUR)
        assert await expire_tenant(settings, bank.code, only_look=True) == []
        assert await expire_tenant(settings, bank.code, only_look=False) == []
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["expired"]) == (70, 0)


async def test_points_are_spent_to_their_last_hour_where_it_is_later(
    settings: Settings, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_off(monkeypatch, 2 * HOUR)
    async with opened(settings, tenant, tmp_path) as bank:
        assert bank.runtime.upkeep.clock.is_wrong, "it has looked before it hears anybody"
        now = datetime.now(UTC)
        member = await bank.member(50, expires_at=now + HOUR)
        spent = await bank.redeem(asks(member, points=20))
        assert (spent.status_code, spent.json()["balance"]["available"]["points"]) == (201, 30)
        assert datetime.fromisoformat(spent.json()["effective_at"]) < now + HOUR
