"""How large a tenant's streams are: what Redis says of them is shown, beside what the tenant may have."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from structlog.testing import capture_logs

from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import sizes
from shared.messaging.bus import redis_client
from shared.messaging.keys import Keys
from shared.messaging.sizes import SAMPLES, StreamBytes
from shared.metrics import Metrics
from shared.tenants import Tenant
from tests.support.speaking import Say, by_job, eventually, say
from tests.support.tenants import running

BUDGET = 1_000_000


def shown(metrics: Metrics, keys: Keys, kind: str) -> float | None:
    labels = {"service": metrics.service, "tenant": keys.tenant, "kind": kind}
    return metrics.registry.get_sample_value("pointbank_stream_bytes", labels)


async def usage(redis: Redis, stream: str) -> int:
    found: int | None = await redis.memory_usage(stream, samples=SAMPLES)
    return found or 0


async def fill(redis: Redis, stream: str, entries: int, *, octets: int = 500) -> None:
    for k in range(entries):
        await redis.xadd(stream, {"event": f"{k}".ljust(octets, "x")})


@asynccontextmanager
async def a_cell(settings: Settings) -> AsyncIterator[tuple[Redis, Keys]]:
    """Redis, and the keys of a tenant that nobody else has; no stream is left."""
    redis, keys = redis_client(settings.redis_url), Keys(settings.cell, f"s{uuid7().hex[-10:]}")
    try:
        yield redis, keys
        await redis.delete(keys.pos, *[keys.stream(one) for one in ("earn", "notifier")])
    finally:
        await redis.aclose()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks is answered, however short ago it was asked."""
    monkeypatch.setattr(sizes, "EVERY_S", 0.0)


@pytest.mark.usefixtures("at_once")
async def test_a_stream_is_shown_as_large_as_redis_says_it_grows_with_entries_and_falls_when_it_is_trimmed(
    settings: Settings,
) -> None:
    async with a_cell(settings) as (redis, keys):
        metrics = Metrics(CollectorRegistry(), "earn")
        streams = StreamBytes(redis, keys, "earn", metrics, budget_bytes=BUDGET)
        await streams.tell()
        assert [shown(metrics, keys, kind) for kind in ("service", "pos", "out")] == [0, 0, None]

        seen: list[float] = []
        for entries in (100, 1_000):
            await fill(redis, keys.pos, entries)
            await streams.tell()
            assert shown(metrics, keys, "pos") == await usage(redis, keys.pos)
            seen.append(shown(metrics, keys, "pos") or 0)
        assert 50_000 < seen[0] < seen[1]
        assert seen[1] > 500_000

        await redis.xtrim(keys.pos, maxlen=10, approximate=False)
        await streams.tell()
        assert shown(metrics, keys, "pos") == await usage(redis, keys.pos) < seen[0]
        assert shown(metrics, keys, "service") == 0
        labels = {"service": "earn", "tenant": keys.tenant}
        assert metrics.registry.get_sample_value("pointbank_stream_budget_bytes", labels) == BUDGET


@pytest.mark.usefixtures("at_once")
async def test_what_subscribers_are_told_counts_in_all_and_a_dropped_stream_no_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "AT_ONCE", 2)
    async with a_cell(settings) as (redis, keys):
        metrics = Metrics(CollectorRegistry(), "notifier")
        streams = StreamBytes(redis, keys, "notifier", metrics, budget_bytes=BUDGET)
        tills = [keys.out(f"T{k}") for k in range(3)]
        for k, till in enumerate(tills, start=1):
            await fill(redis, till, 20 * k)
        streams.wrote(tills)
        each = [await usage(redis, till) for till in tills]
        await streams.tell()
        assert shown(metrics, keys, "out") == each[0] + each[1]  # so many in a turn, the others in the next
        await streams.tell()
        assert shown(metrics, keys, "out") == sum(each)

        await redis.delete(tills[1])
        for _ in tills:
            await streams.tell()
        assert shown(metrics, keys, "out") == each[0] + each[2]
        await redis.delete(*tills)


async def test_redis_is_asked_every_fifteen_seconds_at_most(settings: Settings) -> None:
    async with a_cell(settings) as (redis, keys):
        metrics = Metrics(CollectorRegistry(), "earn")
        streams = StreamBytes(redis, keys, "earn", metrics, budget_bytes=BUDGET)
        await streams.tell()
        await fill(redis, keys.pos, 10)
        await streams.tell()
        assert shown(metrics, keys, "pos") == 0
        streams._asked_at -= 15.0
        await streams.tell()
        assert shown(metrics, keys, "pos") == await usage(redis, keys.pos)


@pytest.mark.usefixtures("at_once")
async def test_where_redis_does_not_let_it_ask_that_is_logged_once_and_nothing_is_told_until_it_does(
    settings: Settings,
) -> None:
    async with a_cell(settings) as (redis, keys):
        user = f"old-{keys.tenant}"
        admin: Any = redis
        await admin.execute_command("ACL", "SETUSER", user, "on", ">secret", "~*", "+@all", "-memory|usage")
        parts = urlsplit(settings.redis_url)
        address = parts.netloc.rpartition("@")[2]
        limited = redis_client(urlunsplit(parts._replace(netloc=f"{user}:secret@{address}")))
        metrics = Metrics(CollectorRegistry(), "earn")
        streams = StreamBytes(limited, keys, "earn", metrics, budget_bytes=BUDGET)
        with capture_logs() as logs:
            for _ in range(3):
                await streams.tell()
        assert [(line["log_level"], line["tenant"]) for line in logs] == [("warning", keys.tenant)]
        assert shown(metrics, keys, "pos") is None

        await admin.execute_command("ACL", "SETUSER", user, "+memory|usage")
        await streams.tell()
        assert shown(metrics, keys, "pos") == 0
        await limited.aclose()
        await admin.execute_command("ACL", "DELUSER", user)


async def test_a_service_tells_how_large_its_own_stream_is_as_it_keeps_house(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "redeem", {Say: say}) as service:
        await service.lane.submit_many([by_job(Say(str(k))) for k in range(200)])
        await eventually(lambda: service.relay.published == 200)
        service.housekeeping._trimmed_at = service.housekeeping._sizes._asked_at = float("-inf")
        await service.housekeeping.turn()
        stream = service.keys.stream("redeem")
        assert shown(service.metrics, service.keys, "service") == await usage(service.redis, stream) > 1_000
