"""Held points are asked to be released: on their days, by activation, once, and not after a refund took them back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pointbank.verify import verify_tenant
from services.earn.domain import hold
from services.earn.domain.hold import ReleaseDue
from services.earn.handlers.hold import AT_ONCE
from services.earn.jobs.holding import release_held_points
from shared.config import Settings
from shared.db import Connection, connect, database_of
from shared.messaging import Done
from shared.tenants import Tenant
from tests.integration.earn.conftest import Shop, bill, somebody
from tests.integration.earn.oracle import noticed, objections, one_moment
from tests.integration.earn.test_refunds import Bank, post, refund
from tests.support.facts import activated
from tests.support.patience import PATIENCE_S
from tests.support.programmes import earning, rule
from tests.support.runs import runs_of
from tests.support.skew import clock_off

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIGRATION = Path(hold.__file__).parents[1] / "migrations" / "0021_cancelled_points.sql"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOLDING = earning(
    rule("cups", category="cup", timing="hold", priority=9, hold={"until": "day_by_day", "days": 30}),
    rule("phones", category="phone", timing="hold", priority=9, hold={"until": "activation"}),
    rule("late", category="late", timing="hold", priority=9, hold={"until": "date", "days": 14}),
    rule("everything"),
)


async def sale(shop: Shop, *categories: str) -> tuple[dict[str, Any], str]:
    """A bill of a line of 100.00 for each category; gives its id too."""
    if await shop.auditor.fetchval("SELECT count(*) FROM earn.programmes WHERE programme = 'holding'") == 0:
        await shop.hear(activated("holding", earning=HOLDING))
    member = await shop.member("holding")
    lines = [
        {"line_id": str(n), "amount_minor": 10_000, "categories": [one] if one else []}
        for n, one in enumerate(categories, start=1)
    ]
    body = bill(member, lines=lines, total_minor=10_000 * len(lines))
    answer = await shop.post(body)
    assert answer.status_code == 201
    return body, answer.json()["bill_id"]


@asynccontextmanager
async def undone(db: Connection) -> AsyncIterator[None]:
    """A transaction of which nothing stays."""
    transaction = db.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()
        await db.close()


@asynccontextmanager
async def plans_without_bills(settings: Settings, shop: Shop, number: int) -> AsyncIterator[None]:
    """Plans that are due and come before all others, of bills that nobody knows."""
    db = await connect(settings.admin_dsn(), database=shop.runtime.tenant.database)
    await db.execute(
        f"""
        INSERT INTO earn.hold_plans (
            accrual_id, rule, bill_id, wallet_id, programme, currency, point_value, points, until, billed_on, days, last_on,
            zone, next_at
        )
        SELECT
            to_char(n, 'FM00000000-0000-0000-0000-000000000000')::uuid, 'lost',
            to_char(n, 'FM00000000-0000-0000-0000-000000000000')::uuid, gen_random_uuid(), 'holding', 'SAR', '0.10', 1, 'date',
            '2026-01-01', 0, '2026-01-02', 'UTC', '2026-01-02'
        FROM generate_series(1, {number}) AS n
        """
    )
    try:
        yield
    finally:
        await db.execute("DELETE FROM earn.hold_plans WHERE rule = 'lost'")
        await db.close()


async def asked(shop: Shop, bill_id: str) -> list[int]:
    """The targets of the releases that were asked for, in order; the events about the bill are counted without a gap."""
    events = await shop.told(bill_id)
    assert [int(one["sequence"]) for one in events] == list(range(1, len(events) + 1))
    return [one["data"]["release_through"] for one in events if one["type"] == "points.release_requested.v1"]


async def turn(shop: Shop, after: timedelta) -> None:
    shop.at(NOON + after)
    await shop.runtime.do(ReleaseDue(), job="test")


async def test_day_by_day_whole_points_are_released_and_the_rest_on_the_last_day(shop: Shop) -> None:
    _, bill_id = await sale(shop, "cup", "")
    await turn(shop, timedelta())
    assert await asked(shop, bill_id) == []
    await turn(shop, timedelta(days=1))
    await asyncio.gather(
        *[turn(shop, timedelta(days=1)) for _ in range(3)]
    )  # twice, and at once: nothing more
    assert await asked(shop, bill_id) == [3]
    await turn(shop, timedelta(days=29))
    await turn(shop, timedelta(days=30))
    await turn(shop, timedelta(days=31))
    assert await asked(shop, bill_id) == [3, 87, 100]


async def test_an_activation_releases_what_waits_for_it_once_beside_what_a_day_releases(shop: Shop) -> None:
    _, bill_id = await sale(shop, "phone", "late")
    first, again = [
        await shop.client.post(f"/v1/bills/{bill_id}/activate", headers=shop.headers("till"))
        for _ in range(2)
    ]
    assert [one["released"]["points"] for one in first.json()["released"]] == [100]
    assert again.json()["released"] == []
    assert again.json()["activated_at"] == first.json()["activated_at"]
    await turn(shop, timedelta(days=13))
    await turn(shop, timedelta(days=14))
    assert await asked(shop, bill_id) == [100, 200]  # one accrual: its targets are of both
    unknown = await shop.client.post(f"/v1/bills/{UUID(int=5)}/activate", headers=shop.headers("till"))
    assert unknown.status_code == 404


async def test_an_activation_before_the_bill_is_judged_counts_once_it_is(shop: Shop) -> None:
    await sale(shop, "")  # the programme is known from here on
    member = somebody()
    lines = [{"line_id": "1", "amount_minor": 10_000, "categories": ["phone"]}]
    bill_id = (await shop.post(bill(member, lines=lines, total_minor=10_000))).json()["bill_id"]
    told = await shop.client.post(f"/v1/bills/{bill_id}/activate", headers=shop.headers("till"))
    assert (told.status_code, told.json()["released"]) == (200, [])
    await shop.hear(shop.enrolment(member, "holding"))
    async with asyncio.timeout(PATIENCE_S):
        while not await asked(shop, bill_id):
            await turn(shop, timedelta())
            await asyncio.sleep(0.05)
    assert await asked(shop, bill_id) == [100]


def delivery(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What a till tells when the goods of this bill are delivered."""
    named = {"merchant": body["merchant"], "bill_ref": body["bill_ref"]}
    return {"bill": named, "merchant": body["merchant"], "occurred_at": "2026-11-22T11:40:00+03:00", **more}


def told(shop: Shop, data: dict[str, Any], event_id: str, source: str = "/pos/riyadh-mall/T03") -> bytes:
    return shop.event(data, event_id=event_id, source=source, type="bill.activated.v1")


async def answers(shop: Shop, body: dict[str, Any]) -> list[tuple[str, int, str, str | None]]:
    """What was said of the bill's activation."""
    events = await shop.told(f"activation/{body['merchant']}/{body['bill_ref']}")
    return [(e["type"], int(e["sequence"]), e["data"]["status"], e["data"]["bill_id"]) for e in events]


async def test_a_till_tells_that_what_was_bought_is_delivered_and_it_is_released_once(shop: Shop) -> None:
    body, bill_id = await sale(shop, "phone", "late")
    ref = body["bill_ref"]
    first = told(shop, delivery(body), f"d-{ref}")
    assert await shop.offer(first, first) == [Done(), Done(replayed=True)]
    assert await shop.offer(told(shop, delivery(body), f"e-{ref}", "/pos/courier/7")) == [Done(replayed=True)]
    assert await asked(shop, bill_id) == [100]
    assert await answers(shop, body) == [("activation.recorded.v1", 1, "activated", bill_id)]
    [reply] = [one for one in await shop.replies("courier.7") if one["data"]["bill_ref"] == ref]
    assert (reply["type"], reply["data"]["event_id"], reply["data"]["status"]) == (
        "activation.recorded.v1",
        f"e-{ref}",
        "activated",
    )
    refused = {
        "merchant_mismatch": told(shop, delivery(body, merchant="riyadh-north"), f"f-{ref}"),
        "id_reused": told(shop, delivery(body, occurred_at="2026-11-22T11:41:00+03:00"), f"d-{ref}"),
        "occurred_in_future": told(shop, delivery(body, occurred_at="2026-12-22T11:41:00+03:00"), f"g-{ref}"),
        "occurred_too_early": told(shop, delivery(body, occurred_at="0001-01-01T00:00:00Z"), f"i-{ref}"),
        "field_missing": told(shop, {"merchant": "riyadh-mall"}, f"h-{ref}"),
    }
    assert {code: await shop.code_of(event) for code, event in refused.items()} == {
        code: code for code in refused
    }


async def test_a_delivery_that_is_told_before_its_bill_counts_once_the_bill_has_come(shop: Shop) -> None:
    await sale(shop, "")  # the programme is known from here on
    member = await shop.member("holding")
    lines = [{"line_id": "1", "amount_minor": 10_000, "categories": ["phone"]}]
    body = bill(member, lines=lines, total_minor=10_000)
    early = told(shop, delivery(body), f"d-{body['bill_ref']}")
    assert await shop.offer(early) == [Done()]
    await release_held_points(shop.runtime)
    assert await answers(shop, body) == [("activation.recorded.v1", 1, "waiting_for_bill", None)]
    bill_id = (await shop.post(body)).json()["bill_id"]
    await asyncio.gather(*[release_held_points(shop.runtime) for _ in range(3)])
    assert await answers(shop, body) == [
        ("activation.recorded.v1", 1, "waiting_for_bill", None),
        ("activation.settled.v1", 2, "activated", bill_id),
    ]
    assert await asked(shop, bill_id) == [100]
    await shop.offer(early)
    assert (await shop.replies())[-1]["type"] == "activation.settled.v1"


async def test_a_delivery_after_a_refund_releases_nothing_and_the_oracle_holds_what_tills_told(
    shop: Shop, settings: Settings
) -> None:
    body, bill_id = await sale(shop, "phone")
    await post(shop, refund(body, all=True))
    await Bank(shop, held=True).serve(bill_id)
    assert await shop.offer(told(shop, delivery(body), f"d-{body['bill_ref']}")) == [Done()]
    assert await asked(shop, bill_id) == []
    checks = {"activations:told", "activations:kept", "holds:planned", "holds:terms", "holds:asked"}
    spoilt = {
        "UPDATE earn.told_activations SET bill_id = gen_random_uuid() WHERE waited": "activations:kept",
        "DELETE FROM earn.told_activations WHERE waited": "activations:told",
        "UPDATE earn.told_activations SET occurred_at = occurred_at + '1 s'": "activations:told",
        f"DELETE FROM earn.activations WHERE bill_id = '{bill_id}'": "activations:kept",
        "UPDATE earn.hold_plans SET last_on = billed_on WHERE last_on IS NOT NULL": "holds:terms",
        "UPDATE earn.hold_plans SET until = 'review' WHERE until = 'activation'": "holds:terms",
        "UPDATE earn.hold_plans SET days = 1 WHERE days > 1": "holds:terms",
        "UPDATE earn.hold_plans SET zone = 'UTC'": "holds:terms",
    }
    async with one_moment(settings, shop) as books:
        assert await objections(settings, shop, books, checks) == {}
        for sql, check in spoilt.items():
            assert check in await noticed(settings, shop, books, sql, checks), sql


async def test_what_a_refund_took_back_whole_is_not_released_any_more(shop: Shop) -> None:
    body, bill_id = await sale(shop, "cup")
    await post(shop, refund(body, all=True))
    assert [
        one["reverse_through"] for one in await Bank(shop, held=True).serve(bill_id) if "accrual_id" in one
    ] == [100]
    await turn(shop, timedelta(days=30))
    assert await asked(shop, bill_id) == []


async def test_after_a_part_was_taken_back_no_rule_frees_what_another_holds(
    shop: Shop, settings: Settings
) -> None:
    body, bill_id = await sale(shop, "phone", "late", "cup")
    await post(shop, refund(body, lines=[{"line_id": "1"}]))
    bank = Bank(shop, held=True)
    assert [one["reverse_through"] for one in await bank.serve(bill_id) if "accrual_id" in one] == [100]
    plans = "SELECT rule, points, released, cancelled FROM earn.hold_plans WHERE bill_id = $1 ORDER BY rule"
    held = [tuple(row) for row in await shop.auditor.fetch(plans, UUID(bill_id))]
    assert held == [("cups", 100, 0, 33), ("late", 100, 0, 33), ("phones", 100, 0, 34)]
    await shop.client.post(f"/v1/bills/{bill_id}/activate", headers=shop.headers("till"))
    assert await asked(shop, bill_id) == [66]  # of the phones alone
    await turn(shop, timedelta(days=13))  # cups: 67 over 30 days
    await turn(shop, timedelta(days=14))
    await turn(shop, timedelta(days=30))
    assert await asked(shop, bill_id) == [66, 66 + 26, 66 + 28 + 67, 200]
    planned = (await verify_tenant(settings, shop.code))["holds:planned"]
    assert planned.verdict == "holds", planned.examples


async def test_nothing_is_released_while_the_bank_has_not_said_what_a_refund_took(shop: Shop) -> None:
    body, bill_id = await sale(shop, "phone", "late")
    await post(shop, refund(body, lines=[{"line_id": "1"}]))
    told = await shop.client.post(f"/v1/bills/{bill_id}/activate", headers=shop.headers("till"))
    assert (told.status_code, told.json()["released"]) == (200, [])
    await turn(shop, timedelta(days=14))
    assert await asked(shop, bill_id) == []
    await Bank(shop, held=True).serve(bill_id)
    await turn(shop, timedelta())
    await turn(shop, timedelta(days=14))
    assert await asked(shop, bill_id) == [50, 100]


async def test_plans_of_before_count_what_refunds_had_taken_once_they_are_migrated(
    shop: Shop, settings: Settings, tenant: Tenant
) -> None:
    body, bill_id = await sale(shop, "phone", "late", "cup")
    await post(shop, refund(body, lines=[{"line_id": "1"}]))
    await Bank(shop, held=True).serve(bill_id)
    db = await connect(settings.admin_dsn(), database=database_of(tenant.code))
    async with undone(db):
        await db.execute(
            """
            SET LOCAL search_path TO earn;
            ALTER TABLE hold_plans
                DROP CONSTRAINT hold_plans_release_what_they_hold,
                ALTER COLUMN cancelled DROP DEFAULT,
                ALTER COLUMN cancelled TYPE boolean USING false,
                ALTER COLUMN cancelled SET DEFAULT false,
                ADD CONSTRAINT hold_plans_release_what_they_hold CHECK (released BETWEEN 0 AND points);
            """
        )
        await db.execute(MIGRATION.read_text())
        cancelled = await db.fetch(
            "SELECT cancelled FROM hold_plans WHERE bill_id = $1 ORDER BY rule", UUID(bill_id)
        )
        assert [row[0] for row in cancelled] == [33, 33, 34]
    await turn(shop, timedelta(days=30))


@pytest.mark.parametrize("hours", [2, -2])
async def test_held_points_are_released_whatever_the_clock_was_of_who_recorded_their_bill(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    with monkeypatch.context() as wrong:
        clock_off(wrong, timedelta(hours=hours))
        _, bill_id = await sale(shop, "phone", "late")
    told = await shop.client.post(f"/v1/bills/{bill_id}/activate", headers=shop.headers("till"))
    assert [one["released"]["points"] for one in told.json()["released"]] == [100]
    shop.at(NOON + timedelta(days=14))
    async with asyncio.timeout(PATIENCE_S):
        await release_held_points(shop.runtime)
    assert await asked(shop, bill_id) == [100, 200]


async def test_what_can_not_be_released_keeps_nobody_elses_points_and_no_process_busy(
    shop: Shop, settings: Settings
) -> None:
    """Plans without a bill stand for whatever keeps one from being released."""
    _, bill_id = await sale(shop, "late")
    shop.at(NOON + timedelta(days=14))
    async with plans_without_bills(settings, shop, AT_ONCE + 1):
        async with asyncio.timeout(PATIENCE_S):
            await release_held_points(shop.runtime)
        assert await asked(shop, bill_id) == [100]


async def test_an_operator_sees_what_is_due_and_releases_it(shop: Shop) -> None:
    _, bill_id = await sale(shop, "late")
    shop.at(NOON + timedelta(days=40))
    headers = shop.headers("operator")
    dry = (await shop.client.post("/v1/holds/release", json={"dry_run": True}, headers=headers)).json()
    assert (dry["bills"], dry["points"], dry["dry_run"]) == (1, 100, True)
    assert await asked(shop, bill_id) == []
    headers = shop.headers("operator")
    done = (await shop.client.post("/v1/holds/release", json={}, headers=headers)).json()
    assert (done["bills"], done["points"], done["left"]) == (1, 100, 0)
    assert await asked(shop, bill_id) == [100]
    for token in (shop.headers("till"), shop.headers("operator", merchant="riyadh-mall")):
        for path in runs_of("earn"):
            forbidden = await shop.client.post(path, json={}, headers=token)
            assert (forbidden.status_code, forbidden.json()["code"]) == (403, "scope_missing")
