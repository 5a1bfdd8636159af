"""What is done now and then: closed dead letters are emptied, and production without a standby is said, and a wrong clock."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from pointbank.operating.dead_letters import list_dead_letters, move_dead_letters, show_dead_letter
from shared.config import Settings
from shared.events import MessageDelivered
from shared.messaging import Done, Item, Outcome, Tx
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.facts import autumn_2026
from tests.support.skew import clock_off
from tests.support.tenants import running


async def hear(_: Tx, items: Sequence[Item[MessageDelivered]]) -> list[Outcome]:
    return [Done()] * len(items)


async def bury(redeem: TenantRuntime, *entries: bytes) -> None:
    await redeem.consumers[0].handle([(entry, b"no event") for entry in entries])


async def age(settings: Settings, tenant: Tenant, *, days: int) -> None:
    db = await asyncpg.connect(settings.postgres_dsn, database=tenant.database)
    await db.execute(
        "UPDATE redeem.dead_letters SET changed_at = changed_at - make_interval(days => $1)", days
    )
    await db.close()


async def payload_of(settings: Settings, tenant: Tenant, dead_letter_id: UUID) -> object:
    shown = await show_dead_letter(settings, tenant.code, dead_letter_id)
    assert shown is not None
    return shown["payload"]


async def test_a_dead_letter_that_was_closed_long_ago_is_emptied_and_stays_known(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "redeem", {MessageDelivered: hear}, hears=("earn",)) as redeem:
        await bury(redeem, b"1-0", b"2-0")
        first, second = await list_dead_letters(settings, tenant.code)
        dropped = await move_dead_letters(
            settings, tenant.code, [first.dead_letter_id], state="dropped", actor="tester", reason="nonsense"
        )
        assert dropped == [first.dead_letter_id]
        await age(settings, tenant, days=89)
        await redeem.upkeep.turn()
        assert await payload_of(settings, tenant, first.dead_letter_id) == "no event"
        await age(settings, tenant, days=2)
        await redeem.upkeep.turn()
        assert await payload_of(settings, tenant, first.dead_letter_id) is None
        assert await payload_of(settings, tenant, second.dead_letter_id) == "no event"
    known = await list_dead_letters(settings, tenant.code, everything=True)
    assert {one.dead_letter_id: (one.state, one.code) for one in known} == {
        first.dead_letter_id: ("dropped", "not_json"),
        second.dead_letter_id: ("open", "not_json"),
    }


async def test_production_says_that_it_has_no_synchronous_standby(settings: Settings, tenant: Tenant) -> None:
    for environment, told in (("development", []), ("production", [f"standby:{tenant.code}"])):
        chosen = settings.model_copy(update={"environment": environment})
        async with running(chosen, tenant, "redeem", {}) as redeem:
            await redeem.upkeep.turn()
            checks = [check for check in redeem.checks() if check.name.startswith("standby:")]
        assert [check.name for check in checks] == told
        assert all(check.ok and "no synchronous standby" in check.detail for check in checks)


@pytest.mark.parametrize(("off", "said"), [(1, "ahead of"), (-1, "behind")], ids=["ahead", "behind"])
async def test_a_machine_whose_clock_is_wrong_says_so_and_goes_by_postgresqls(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, off: int, said: str
) -> None:
    """Also once it was put right: until the two are compared again it is PostgreSQL's that goes on."""
    async with running(settings, tenant, "redeem", {}, clock=None) as redeem:

        async def shown() -> tuple[list[bool], bool]:
            """Whether each word about the clock says what is wrong with it, and whether the tenant's is PostgreSQL's."""
            told = [check for check in redeem.checks() if check.name == f"clock:{tenant.code}"]
            assert all(check.ok for check in told), "which of the two is right, it does not know"
            async with redeem.read() as db:
                apart = redeem.clock() - await db.fetchval("SELECT clock_timestamp()")
            return [said in check.detail for check in told], abs(apart) < timedelta(minutes=30)

        assert await shown() == ([], True)
        with monkeypatch.context() as patch:
            clock_off(patch, timedelta(hours=off))
            assert await shown() == ([], False)
            await redeem.upkeep.compare_clocks()
            assert await shown() == ([True], True)
        assert await shown() == ([True], True)
        await redeem.upkeep.compare_clocks()
        assert await shown() == ([], True)


async def test_who_wakes_compares_clocks_before_anything_is_heard(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings, tenant, "redeem", {}, clock=None) as redeem:
        assert not redeem.upkeep.clock.is_wrong
        with monkeypatch.context() as patch:
            clock_off(patch, timedelta(hours=1))
            await redeem.rest()
            await redeem.start()
            assert redeem.upkeep.clock.is_wrong


async def test_of_a_tenant_at_rest_a_clock_that_was_put_right_is_told_as_wrong_until_the_next_look(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings, tenant, "redeem", {}, clock=None) as redeem:

        def told() -> tuple[bool, bool]:
            """By the gauge, and by /readyz."""
            labels = {"service": "redeem", "tenant": tenant.code}
            ahead_s = redeem.metrics.registry.get_sample_value("pointbank_clock_ahead_seconds", labels)
            assert ahead_s is not None
            return ahead_s > 2.5, f"clock:{tenant.code}" in {check.name for check in redeem.checks()}

        with monkeypatch.context() as patch:
            clock_off(patch, timedelta(hours=1))
            await redeem.upkeep.compare_clocks()
            assert await redeem.rest() is not None
        assert told() == (True, True)
        redeem.rota._due["clock"] = 0.0
        assert await redeem.look() is not None
        assert told() == (False, False)


async def test_a_tenant_with_a_clock_of_its_own_keeps_it(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "redeem", {}, clock=autumn_2026) as redeem:
        await redeem.upkeep.compare_clocks()
        assert redeem.clock is redeem.writer.clock is autumn_2026
