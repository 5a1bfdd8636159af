"""Suspending a tenant and letting it go on: nothing new is taken, what is held is finished, then nobody is let in.

Each step may be repeated. Killed anywhere, the directory says what the tenant is: `suspending` is settled further by the next
call, or taken back by `resume`.
"""

from __future__ import annotations

import asyncio
import time

import msgspec
from redis.asyncio import Redis

from pointbank.logins import NotServed, UnknownTenant
from pointbank.waking import ask_to_wake
from shared.config import Settings
from shared.db import Connection, role_of
from shared.messaging.bus import redis_client
from shared.messaging.keys import HEARERS, SERVICES, Keys
from shared.messaging.queries import queries as messaging
from shared.tenants.directory import Place, queries
from shared.tenants.provision import connected, fence, let_in

LOOK_EVERY_S = 0.5
DRAIN_S = 40.0
"""So long the processes of a service may take to stop; what is left then is thrown out."""


class Standing(msgspec.Struct, frozen=True):
    """What is still under way: events committed and not published, by service; events not applied, by "hearer<-stream"; and
    what tills have offered and nobody has taken, which waits where it is for as long as it must."""

    unpublished: dict[str, int]
    unheard: dict[str, int]
    offered: int

    @property
    def settled(self) -> bool:
        """Whether every event has reached all who hear it."""
        return not self.unpublished and not self.unheard


class Suspended(msgspec.Struct, frozen=True):
    """What came of it. Not settled: what was under way goes on when the tenant is resumed."""

    tenant: str
    settled: bool
    thrown_out: int
    standing: Standing


async def suspend(settings: Settings, tenant: str, *, within_s: float) -> Suspended:
    """Returns when nobody serves the tenant any more. Raises UnknownTenant; NotServed where it is being made, or somebody has
    resumed it meanwhile."""
    async with connected(settings, Place(settings.control_database)) as control:
        place = await _place(control, tenant)
        state = await queries.state_of(control, code=tenant)
        if state != "suspended" and await queries.begin_suspension(control, code=tenant) is None:
            raise NotServed(f"{tenant} is {state}: there is nothing to suspend")
        async with connected(settings, place) as db:
            if state == "suspended":
                standing = await stands(settings, tenant, db)
            else:
                standing = await _settled(settings, tenant, db, within_s=within_s)
                if await queries.end_suspension(control, code=tenant) is None:
                    raise NotServed(f"somebody has resumed {tenant} meanwhile")
            thrown_out = await _emptied(db, tenant, place)
            await fence(db, tenant, place.database)
            # What was still being written when it was looked at is there by now.
            standing = await stands(settings, tenant, db)
    return Suspended(tenant, standing.settled, thrown_out, standing)


async def resume(settings: Settings, tenant: str) -> None:
    """Lets the services in again, where the directory says that the tenant is. Raises UnknownTenant, NotServed."""
    async with connected(settings, Place(settings.control_database)) as control:
        place = await _place(control, tenant)
        async with connected(settings, place) as db:
            await let_in(db, tenant, place.database)
        if await queries.resume(control, code=tenant) is None:
            raise NotServed(f"{tenant} is {await queries.state_of(control, code=tenant)}, not suspended")


async def stands(settings: Settings, tenant: str, db: Connection) -> Standing:
    """What is under way, by an administrator's connection to the tenant's database."""
    redis = redis_client(settings.redis_url, connections=1)
    keys = Keys(settings.cell, tenant)
    try:
        tops, unpublished = await _told(db, redis, keys)
        unheard: dict[str, int] = {}
        for stream, hearers in HEARERS.items():
            for hearer in hearers:
                await db.execute(f"SET search_path = {hearer}")
                applied = int(await messaging.position(db, stream=stream) or 0)
                if applied < tops[stream]:
                    unheard[f"{hearer}<-{stream}"] = tops[stream] - applied
        return Standing(unpublished, unheard, await _offered(redis, keys))
    finally:
        await db.execute("RESET search_path")
        await redis.aclose()


async def _told(db: Connection, redis: Redis, keys: Keys) -> tuple[dict[str, int], dict[str, int]]:
    """How many events each service has planned, and how many of its committed ones are not in its stream."""
    tops: dict[str, int] = {}
    unpublished: dict[str, int] = {}
    for service in SERVICES:
        await db.execute(f"SET search_path = {service}")
        last = await messaging.last_cut(db)
        tops[service] = int(last["base"]) + int(last["n"]) - 1
        published = int(await redis.hget(keys.head(service), "n") or 0)
        left = int((await messaging.unpublished(db, published=published))["n"])
        if left:
            unpublished[service] = left
    return tops, unpublished


async def _offered(redis: Redis, keys: Keys) -> int:
    for group in await redis.xinfo_groups(keys.pos) if await redis.exists(keys.pos) else ():
        if group["name"] in (b"earn", "earn"):
            return int(group.get("lag") or 0) + int(group["pending"])
    return 0


async def _settled(settings: Settings, tenant: str, db: Connection, *, within_s: float) -> Standing:
    """When everything has reached everybody, twice in a row; or, after `within_s`, how it stands."""
    until = time.monotonic() + within_s
    seen = 0
    while True:
        await ask_to_wake(settings, tenant)
        await asyncio.sleep(LOOK_EVERY_S)
        standing = await stands(settings, tenant, db)
        seen = seen + 1 if standing.settled else 0
        if seen > 2 / LOOK_EVERY_S or time.monotonic() > until:
            return standing


async def _emptied(db: Connection, tenant: str, place: Place) -> int:
    """Waits until the services have left the database; gives how many sessions had not in time."""
    roles = [role_of(tenant, service) for service in SERVICES]
    until = time.monotonic() + DRAIN_S
    while sessions := int(await queries.sessions_of(db, database=place.database, roles=roles)):
        if time.monotonic() > until:
            return sessions
        await asyncio.sleep(LOOK_EVERY_S)
    return 0


async def _place(control: Connection, tenant: str) -> Place:
    row = await queries.place_of(control, code=tenant)
    if row is None:
        raise UnknownTenant(f"there is no tenant {tenant}; `pointbank tenant list` shows those there are")
    return Place(**row)
