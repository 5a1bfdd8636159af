"""A tenant is suspended: nothing new is taken, all that is held is finished, nobody gets in, and nothing is lost or done twice."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from pointbank.logins import NotServed
from pointbank.operating.suspending import resume, suspend
from shared.config import Settings
from shared.errors import Refusal
from shared.messaging.bus import redis_client
from shared.messaging.commands import Done, Item, Outcome
from shared.messaging.entries import PosEntry
from shared.messaging.keys import Keys
from shared.messaging.transaction import Tx
from shared.runtime import Blueprint
from shared.service import Service
from shared.tenants import Tenant
from shared.tenants.provision import dsn_for, migrate_all
from tests.support.patience import PATIENCE_S
from tests.support.serving import hearer, only_tenant, own_directory, serving, until
from tests.support.speaking import Ears, Say, by_job, say
from tests.support.tenants import connect_as


async def say_until_refused(earn: Service, tenant: Tenant) -> tuple[int, str]:
    """How many calls were taken, and the code that the next one got."""
    said = 0
    while True:
        try:
            runtime = earn.tenant(tenant.code)
        except Refusal as refused:
            return said, refused.code
        await runtime.lane.submit(by_job(Say(str(said))))
        said += 1


def place_of(service: Service, tenant: Tenant) -> str:
    runtime = service._served[tenant.code].runtime
    return "" if runtime is None else runtime.tenant.host


def unpublished(service: Service, tenant: Tenant) -> float | None:
    """What its metrics say the relay has still to publish; None where they say nothing of the tenant."""
    labels = {"service": "earn", "tenant": tenant.code}
    return service._metrics.registry.get_sample_value("pointbank_relay_lag_events", labels)


async def refused_by_postgres(settings: Settings, tenant: Tenant) -> bool:
    try:
        db = await connect_as(settings, tenant, "redeem")
    except asyncpg.InsufficientPrivilegeError:
        return True
    await db.close()
    return False


async def test_a_tenant_that_is_suspended_finishes_what_it_holds_and_goes_on_where_it_was(
    settings: Settings,
) -> None:
    own = await own_directory(settings)
    tenant = await only_tenant(own)
    taken: list[bytes] = []

    async def take(tx: Tx, items: Sequence[Item[PosEntry]]) -> list[Outcome]:
        tx.after_commit(lambda: taken.extend(item.payload for item in items))
        return [Done()] * len(items)

    handlers: dict[type, Any] = {Say: say, PosEntry: take}
    redeem_ears, notifier_ears = Ears(), Ears()
    redis = redis_client(own.redis_url)
    offer = Keys(own.cell, tenant.code).pos
    try:
        async with (
            serving(own, Blueprint("earn", handlers, ("pos",))) as earn,
            serving(own, hearer(redeem_ears)),
            serving(own, hearer(notifier_ears, "notifier")),
        ):
            await until(lambda: earn._served[tenant.code].runtime is not None)
            await redis.xadd(offer, {"event": b"before"})
            await until(lambda: taken == [b"before"])
            await until(lambda: unpublished(earn, tenant) == 0)
            saying = asyncio.create_task(say_until_refused(earn, tenant))
            done = await suspend(own, tenant.code, within_s=PATIENCE_S)
            said, code = await saying
            assert (done.settled, done.thrown_out, code) == (True, 0, "tenant_suspended")
            assert redeem_ears.heard == notifier_ears.heard == list(range(1, said + 1))
            await until(lambda: unpublished(earn, tenant) is None)

            await redis.xadd(offer, {"event": b"meanwhile"})
            assert await refused_by_postgres(own, tenant)
            await migrate_all(own)  # makes roles and grants anew
            assert await refused_by_postgres(own, tenant)
            again = await suspend(own, tenant.code, within_s=PATIENCE_S)
            assert (again.settled, again.standing.offered, taken) == (True, 1, [b"before"])

            await resume(own, tenant.code)
            await until(lambda: taken == [b"before", b"meanwhile"])
            await earn.tenant(tenant.code).lane.submit(by_job(Say("after")))
            await until(lambda: redeem_ears.heard == list(range(1, said + 2)))
            with pytest.raises(NotServed, match="not suspended"):
                await resume(own, tenant.code)
    finally:
        await redis.aclose()


async def test_what_could_not_settle_is_said_and_waits_for_the_resume(settings: Settings) -> None:
    own = await own_directory(settings)
    tenant = await only_tenant(own)
    ears = Ears()
    async with serving(own, Blueprint("earn", {Say: say}, ())) as earn:
        await until(lambda: earn._served[tenant.code].runtime is not None)
        await earn.tenant(tenant.code).lane.submit(by_job(Say("unheard")))
        done = await suspend(own, tenant.code, within_s=1)
        assert (done.settled, done.standing.unpublished) == (False, {})
        assert done.standing.unheard == {"redeem<-earn": 1, "notifier<-earn": 1}
        await resume(own, tenant.code)
        async with serving(own, hearer(ears)) as redeem:
            await until(lambda: ears.heard == [1])
            # Moved and resumed between two looks of a process: it has never seen the suspension.
            admin = await asyncpg.connect(dsn_for(own, own.control_database))
            await admin.execute("UPDATE control.tenants SET host = 'localhost'")
            await admin.close()
            await until(lambda: place_of(redeem, tenant) == "localhost")
