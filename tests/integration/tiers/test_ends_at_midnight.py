"""The year ends while a batch is judged: of a standing that is over by then all years are known."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from services.tiers.handlers import ON
from shared.config import Settings
from shared.ids import uuid7
from shared.tenants import Tenant
from tests.integration.tiers.test_handlers import END_OF_2027, hear, standing
from tests.support.facts import AT, activated, credited
from tests.support.tenants import running

END_OF_2028 = datetime(2028, 12, 31, 21, tzinfo=UTC)


class Ticking:
    """A tenant's clock that moves on by a second each time it is asked."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.mark.parametrize("before", range(5))
async def test_a_fact_of_one_year_takes_nothing_from_what_another_earned(
    settings: Settings, tenant: Tenant, before: int
) -> None:
    """Gold of 2026 ends at midnight; 2027 has earned silver, and the fact that is heard at midnight is one of 2026. So often the
    clock is asked before."""
    clock, code, wallet = Ticking(), f"p-{secrets.token_hex(4)}", uuid7()
    async with running(settings, tenant, "tiers", ON, clock=clock) as tiers:
        await hear(tiers, activated(code), credited(wallet, 1200, programme=code))
        clock.now = datetime(2027, 9, 5, 9, tzinfo=UTC)
        await hear(tiers, credited(wallet, 600, programme=code, at=clock.now))
        assert (await standing(tiers, wallet) or ())[:2] == ("gold", END_OF_2027)
        clock.now = END_OF_2027 - timedelta(seconds=before + 0.5)
        await hear(tiers, credited(wallet, 5, programme=code))
        clock.now = datetime(2028, 2, 5, 9, tzinfo=UTC)
        await hear(tiers, credited(wallet, 5, programme=code, at=clock.now))
        assert (await standing(tiers, wallet) or ())[:2] == ("silver", END_OF_2028)
