"""Alerts that were made to fire: a real service is driven into the state, scraped before and after, and the rules are asked."""

import asyncio
import re
import shutil
import subprocess
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from shared.config import Settings
from shared.events import MessageDelivered
from shared.messaging.commands import Handlers
from shared.metrics import exposition
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from shared.tenants.provision import dsn_for
from tests.support.skew import clock_off
from tests.support.speaking import Ears, Say, by_job, eventually, heard_by_stream, say
from tests.support.tenants import connect_as, running

ROOT = Path(__file__).parents[2]
RULES = [str(ROOT / "deploy" / "prometheus" / "rules" / name) for name in ("recording.yml", "alerts.yml")]
SCRAPES = 80
"""So many scrapes, 15 s apart, saw the state before; and so many the state after."""

Scrape = dict[str, float]


def scrape(service: TenantRuntime) -> Scrape:
    """What Prometheus would keep of it now: series -> value."""
    found = {}
    for family in text_string_to_metric_families(exposition([service.metrics.registry]).decode()):
        for sample in family.samples:
            labels = ", ".join(f'{name}="{value}"' for name, value in sample.labels.items())
            found[f'{sample.name}{{{labels}, instance="a:8000", job="pointbank"}}'] = sample.value
    return found


def firing(before: Scrape, after: Scrape, *, minutes: int, folder: Path) -> set[str]:
    """What fires so many minutes into the state after, as promtool evaluates our rules."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    there = ('instance="a:8000", job="pointbank"', 'instance="g:8405", job="pointbank-gateway"')
    series = [{"series": f"up{{{one}}}", "values": f"1x{2 * SCRAPES}"} for one in there]
    for name, value in after.items():
        start = f"{before[name]}x{SCRAPES - 1}" if name in before else f"_x{SCRAPES}"
        series.append({"series": name, "values": f"{start} {value}x{SCRAPES}"})
    asked = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{SCRAPES // 4 + minutes}m",
        "exp_samples": [{"labels": '{alertname="none of ours"}', "value": 1}],
    }
    case = {"interval": "15s", "input_series": series, "promql_expr_test": [asked]}
    file = folder / "scraped.yml"
    file.write_text(yaml.safe_dump({"rule_files": RULES, "evaluation_interval": "15s", "tests": [case]}))
    command = ["promtool", "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    # It expects what never comes, and so tells what did.
    got = (done.stdout + done.stderr).partition("got:")[2]
    assert got, done.stdout + done.stderr
    return set(re.findall(r'alertname="(\w+)"', got))


async def test_a_halted_relay_a_dead_letter_and_an_emptied_redis_are_told(
    settings: Settings, tenant: Tenant, tmp_path: Path
) -> None:
    async with running(settings, tenant, "redeem", {Say: say}) as service:
        await service.lane.submit_many([by_job(Say(str(k))) for k in range(5)])
        stream, head = service.keys.stream("redeem"), service.keys.head("redeem")
        await eventually(lambda: service.relay.trouble(after_s=30) is None)
        await service.housekeeping._count()
        await service.housekeeping._count_lag()
        healthy = scrape(service)
        assert firing(healthy, healthy, minutes=15, folder=tmp_path) == set()

        await service.redis.delete(stream, head)
        await service.relay.compare()
        assert firing(healthy, scrape(service), minutes=1, folder=tmp_path) == {"PointbankStreamRebuilt"}

        await service.lane.submit(heard_by_stream(1, Say("x", refuse="total_mismatch")))
        await service.housekeeping._count()
        known = scrape(service)
        assert firing(healthy, known, minutes=15, folder=tmp_path) == {"PointbankDeadLetters"}

        await service.redis.hset(head, mapping={"hash": "00" * 32})
        service.relay._compared_at = float("-inf")
        await service.lane.submit(by_job(Say("late")))
        await eventually(lambda: "different stories" in (service.relay.trouble(after_s=30) or ""))
        await service.lane.submit(by_job(Say("later still")))
        await service.housekeeping._count_lag()
        assert firing(known, scrape(service), minutes=3, folder=tmp_path) == {
            "PointbankDeadLetters",
            "PointbankInvariantViolated",
            "PointbankRelayHalted",
        }


async def test_a_clock_that_is_wrong_is_told_until_it_is_right(
    settings: Settings, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings, tenant, "redeem", {}, clock=None) as service:
        healthy = scrape(service)
        with monkeypatch.context() as patch:
            clock_off(patch, timedelta(hours=-1))
            await service.upkeep.compare_clocks()
        wrong = scrape(service)
        assert firing(healthy, wrong, minutes=4, folder=tmp_path) == {"PointbankClockWrong"}
        await service.upkeep.compare_clocks()
        assert firing(wrong, scrape(service), minutes=1, folder=tmp_path) == set()


async def test_a_consumer_that_a_lock_holds_up_a_pool_that_is_empty_and_a_relay_that_is_late_are_told(
    settings: Settings, tenant: Tenant, tmp_path: Path
) -> None:
    ears = Ears()
    impatient = settings.model_copy(update={"lock_timeout_ms": 50})
    async with (
        running(impatient, tenant, "earn", {Say: say}) as earn,
        running(impatient, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)) as redeem,
    ):
        await earn.lane.submit_many([by_job(Say(str(k))) for k in range(10)])
        await eventually(lambda: len(ears.heard) == 10)
        await redeem.housekeeping.turn()
        healthy = scrape(redeem)
        assert any("reclaimed_total" in name and value == 0 for name, value in healthy.items())
        admin = await asyncpg.connect(dsn_for(settings, tenant.database))
        async with admin.transaction():
            await admin.execute("LOCK TABLE redeem.inbox IN ACCESS EXCLUSIVE MODE")
            await earn.lane.submit_many([by_job(Say(str(k))) for k in range(10)])
            tried = redeem.metrics._retries.labels("redeem", tenant.code, "locked")._value
            # More often than halving ten comes to: who waits outside of the lane is counted too.
            await eventually(lambda: tried.get() > 24)
            redeem.housekeeping._lag_at = float("-inf")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await redeem.housekeeping.turn()
            stuck = scrape(redeem)
        await admin.close()
        await eventually(lambda: len(ears.heard) == 20)
        # All who wait for the lock may have a connection at this moment, or one of them may be between two tries.
        told = firing(healthy, stuck, minutes=10, folder=tmp_path) - {"PointbankPoolExhausted"}
        assert told == {"PointbankConsumerStuck"}

        async with AsyncExitStack() as held:
            for _ in range(settings.pool_size):
                await held.enter_async_context(redeem.pool.acquire())
            turn = asyncio.create_task(redeem.housekeeping.turn())
            await asyncio.sleep(0.05)
            exhausted = scrape(redeem)
        await turn
        assert firing(healthy, exhausted, minutes=5, folder=tmp_path) == {"PointbankPoolExhausted"}

        await earn.relay.stop()
        assert earn._relaying is not None
        await earn._relaying
        healthy = scrape(earn)
        # Six minutes ago may have been yesterday, and then it has no partition.
        today = datetime.now(UTC).date()
        db = await asyncpg.connect(dsn_for(settings, tenant.database))
        try:
            with suppress(asyncpg.InvalidObjectDefinitionError):  # a run that began yesterday has it
                await db.execute(
                    "CREATE TABLE earn.outbox_before PARTITION OF earn.outbox "
                    f"FOR VALUES FROM ('{today - timedelta(days=1)} 00:00Z') TO ('{today} 00:00Z')"
                )
            await db.execute(
                "INSERT INTO earn.outbox (event_id, payload, at) "
                "VALUES (gen_random_uuid(), '{}', clock_timestamp() - interval '6 minutes')"
            )
        finally:
            await db.close()
        await earn.housekeeping._count_lag()
        assert firing(healthy, scrape(earn), minutes=5, folder=tmp_path) == {
            "PointbankRelayLagging",
            "PointbankRelayStuck",
        }


async def test_a_stream_that_nobody_reads_is_told_before_its_tenant_has_all_the_redis_that_it_may(
    settings: Settings, tenant: Tenant, tmp_path: Path
) -> None:
    ears = Ears()
    small = settings.model_copy(update={"stream_bytes": 60_000})
    hearing: Handlers = {MessageDelivered: ears.hear}

    async def bytes_now(service: TenantRuntime) -> float:
        service.housekeeping._trimmed_at = service.housekeeping._sizes._asked_at = float("-inf")
        await service.housekeeping.turn()
        labels = {"service": "earn", "tenant": tenant.code, "kind": "service"}
        return service.metrics.registry.get_sample_value("pointbank_stream_bytes", labels) or 0

    async with running(small, tenant, "earn", {Say: say}) as earn:
        await bytes_now(earn)
        healthy = scrape(earn)
        assert firing(healthy, healthy, minutes=15, folder=tmp_path) == set()
        await earn.lane.submit_many([by_job(Say(str(k))) for k in range(300)])
        await eventually(lambda: earn.relay.published == 300)
        full = await bytes_now(earn)
        assert full > 0.8 * 60_000
        assert firing(healthy, scrape(earn), minutes=4, folder=tmp_path) == set()
        assert firing(healthy, scrape(earn), minutes=6, folder=tmp_path) == {"PointbankStreamsTooLarge"}

        async with (
            running(small, tenant, "redeem", hearing, hears=("earn",)),
            running(small, tenant, "notifier", hearing, hears=("earn",)),
        ):
            await eventually(lambda: len(ears.heard) == 600)
        assert await bytes_now(earn) < full / 10
        assert firing(healthy, scrape(earn), minutes=15, folder=tmp_path) == set()


async def test_the_sql_of_the_runbook_is_answered_by_the_tables_there_are(
    settings: Settings, tenant: Tenant
) -> None:
    statements = re.findall(r"```sql\n(.*?);\n```", (ROOT / "docs" / "runbook.md").read_text(), re.DOTALL)
    assert len(statements) >= 5
    db = await connect_as(settings, tenant, "auditor")
    await db.execute("SET search_path = earn")
    for statement in statements:
        await db.fetch(statement)
    await db.close()
