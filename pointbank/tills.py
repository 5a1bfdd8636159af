"""The tills' own way into Redis: they may offer bills of their tenant and read their replies, and nothing else."""

from __future__ import annotations

from urllib.parse import quote, urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.config import Settings
from shared.messaging.bus import redis_client
from shared.messaging.keys import Keys

PART = "tills"


def till_user(tenant: str) -> str:
    """The Redis user of a tenant's tills: one for all of them; tills that must not trust each other use HTTP."""
    return f"pb-{tenant}-tills"


def till_url(settings: Settings, tenant: str) -> str:
    """Where a till connects, with its tenant's user and derived password."""
    user = till_user(tenant)
    parts = urlsplit(settings.redis_url)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(settings.password_of(PART, user))}@{address}"))


async def allow_tills(settings: Settings, tenant: str) -> str:
    """Makes (or renews) the Redis user of a tenant's tills; gives its name. Needs an administrator's Redis URL."""
    user, keys = till_user(tenant), Keys(settings.cell, tenant)
    redis = redis_client(settings.redis_url)
    try:
        rules = [
            *("reset", "on", f">{settings.password_of(PART, user)}", "resetchannels"),
            *("+ping", "+hello", "+auth", "+client|setname", "+select"),
            *(("+client|setinfo",) if await _knows_setinfo(redis) else ()),
            f"(+xadd ~{keys.pos})",
            f"(+xread +xrange +xrevrange +xinfo|stream +exists %R~{keys.out('*')})",
        ]
        await redis.execute_command("ACL", "SETUSER", user, *rules)  # type: ignore[no-untyped-call]
        try:
            await redis.execute_command("ACL", "SAVE")  # type: ignore[no-untyped-call]
        except ResponseError as error:
            # A server configured without an aclfile keeps users in memory; its operator knows where they come from.
            if "aclfile" not in str(error).lower():
                raise
    finally:
        await redis.aclose()
    return user


async def _knows_setinfo(redis: Redis) -> bool:
    """Redis 7.0 refuses a rule about a command that it does not have; CLIENT SETINFO came with 7.2."""
    server = await redis.info("server")
    return tuple(int(part) for part in str(server["redis_version"]).split(".")[:2]) >= (7, 2)
