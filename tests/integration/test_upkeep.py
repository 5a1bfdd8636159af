"""What is done now and then: closed dead letters are emptied, and production without a standby is said."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from pointbank.dead_letters import list_dead_letters, move_dead_letters, show_dead_letter
from shared.config import Settings
from shared.events import MessageDelivered
from shared.messaging import Done, Item, Outcome, Tx
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
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
