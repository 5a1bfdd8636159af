"""Two tenants in one process: who has much to do goes in small steps while the other is there."""

import asyncio
from collections.abc import Sequence
from statistics import median

from shared.config import Settings
from shared.fairness import FEW
from shared.messaging import Done, Item, Outcome, Tx
from shared.tenants import Tenant
from tests.support.speaking import Say, by_http, heard_by_stream, say
from tests.support.tenants import new_tenant, running


async def test_a_loud_tenants_batches_are_small_while_a_quiet_one_calls_and_large_when_it_is_alone(
    settings: Settings, tenant: Tenant
) -> None:
    sizes: list[int] = []

    async def noted(tx: Tx, items: Sequence[Item[Say]]) -> list[Outcome]:
        sizes.append(len(items))
        return await say(tx, items)

    quiet_tenant = await new_tenant(settings)
    async with (
        running(settings, tenant, "redeem", {Say: noted}) as loud,
        running(settings, quiet_tenant, "redeem", {Say: say}) as quiet,
    ):
        await loud.lane.submit_many([heard_by_stream(n, Say(str(n))) for n in range(1, 2001)])
        alone, sizes[:] = list(sizes), []
        assert max(alone) == settings.batch_items

        await quiet.lane.submit(by_http(Say("first"), key="first"))
        busy = asyncio.create_task(
            loud.lane.submit_many([heard_by_stream(n, Say(str(n))) for n in range(2001, 3001)])
        )
        answers: list[Outcome] = []
        while not busy.done():
            answers.append(await quiet.lane.submit(by_http(Say("x"), key=f"key-{len(answers)}")))
        outcomes = await busy

        assert all(isinstance(one, Done) for one in (*outcomes, *answers))
        assert median(sizes) == FEW  # a machine that stands still for a second makes a large one of its own
        assert sum(sizes) == 1000
        assert len(answers) > 1
        gave_way = loud.metrics.registry.get_sample_value(
            "pointbank_gave_way_seconds_total", {"service": "redeem", "tenant": tenant.code}
        )
        assert gave_way, "who is loud has given way"
