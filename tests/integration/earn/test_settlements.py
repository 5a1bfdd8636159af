"""Settlement: what merchants and banks say of days is held against the bills, to half a minor unit, in the programme's zone."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from redis.asyncio import Redis

from pointbank.api import Answer, Api, CallFailed
from pointbank.files.settlement import BadFile, import_file, read_lines
from pointbank.verify import Report
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.streams import heads
from pointbank.verify.walks import check_all
from services.earn.domain.settlement import Compared, minor
from services.earn.jobs.checking import check, check_days
from shared.config import Settings
from shared.events import MerchantChanged
from tests.integration.earn.conftest import Shop, bill
from tests.integration.earn.oracle import noticed, objections, one_moment
from tests.integration.earn.test_currencies import rate
from tests.integration.earn.test_refunds import Bank, post, refund
from tests.support.books import open_books
from tests.support.facts import activated
from tests.support.http import assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = date(2026, 11, 22)


def line(merchant: str, amount: str, kind: str = "total", **more: Any) -> dict[str, Any]:
    return {"merchant": merchant, "day": DAY.isoformat(), "kind": kind, "amount": amount, **more}


async def imported(
    shop: Shop, *lines: dict[str, Any], role: str = "operator", programme: str = "shops", **token: Any
) -> httpx.Response:
    body = {
        "programme": programme,
        "file_hash": hashlib.sha256(repr(lines).encode()).hexdigest(),
        "lines": list(lines),
    }
    return await shop.client.post("/v1/settlements", json=body, headers=shop.headers(role, **token))


async def variances(shop: Shop, merchant: str, **query: Any) -> list[dict[str, Any]]:
    headers = shop.headers("finance", merchant=merchant)
    found = await shop.client.get("/v1/settlements/variances", params=query, headers=headers)
    assert found.status_code == 200
    items: list[dict[str, Any]] = found.json()["items"]
    return items


async def day_of(shop: Shop, merchant: str, *sold: tuple[int, str]) -> None:
    await shop.hear(MerchantChanged(merchant=merchant, version=1, terminals=("T03",)))
    for total, at in sold:
        lines = [{"line_id": "1", "amount_minor": total}]
        answer = await shop.post(
            bill(None, merchant=merchant, lines=lines, total_minor=total, occurred_at=at)
        )
        assert answer.status_code == 201, answer.text


async def test_a_day_is_held_against_its_bills_in_the_zone_and_only_more_than_half_a_unit_varies(
    shop: Shop,
) -> None:
    # Riyadh is three hours ahead: the first is of the day, the last of the day before.
    await day_of(
        shop,
        "exact",
        (1_000, "2026-11-21T21:00:00Z"),
        (234, "2026-11-22T11:00:00Z"),
        (7, "2026-11-21T20:59:59Z"),
    )
    lines = line("exact", "12.345"), line("exact", "12.3350", "deposit", reference="a")
    assert (await imported(shop, *lines)).json() == {"imported": 2, "known": 0}
    assert (await imported(shop, *lines, *lines)).json() == {"imported": 0, "known": 4}
    asked = {"from_day": "2026-11-01", "to_day": "2026-11-22"}
    done = await shop.client.post("/v1/settlements/check", json=asked, headers=shop.headers("operator"))
    assert done.json() == {"compared": 2, "variances": 0, "closed": 0}
    assert (await imported(shop, line("exact", "0.000001", reference="more"))).status_code == 200
    await check_days(shop.runtime)
    [one] = await variances(shop, "exact")
    assert (one["kind"], one["expected_minor"], one["found_minor"], one["state"]) == (
        "total",
        1_234,
        "1234.5001",
        "open",
    )
    # A bill comes late, and the day agrees.
    await day_of(shop, "exact", (1, "2026-11-22T11:59:00Z"))
    await check_days(shop.runtime)
    assert [one["kind"] for one in await variances(shop, "exact")] == ["deposit"]
    [one] = await variances(shop, "exact", state="closed")
    assert one["reason"] == "It agrees by now."


async def computed(
    shop: Shop, settings: Settings, change: str, merchant: str = "owned", *, alone: bool = False
) -> list[str]:
    """What the oracle says of the variances, changed by hand, an hour after they were seen. `alone`: of the open one, without those
    that were closed before."""
    db = await open_books(settings, shop.code)
    redis = Redis.from_url(settings.redis_url)
    transaction = db.transaction()
    await transaction.start()
    try:
        if alone:
            await db.execute(
                "DELETE FROM earn.settlement_variances WHERE merchant = $1 AND state = 'closed'", merchant
            )
        await db.execute(
            "UPDATE earn.settlement_variances SET checked_at = clock_timestamp() + interval '1 hour', "
            f"{change} WHERE merchant = $1",
            merchant,
        )
        report = Report(shop.code)
        copies = await heads(redis, settings.cell, shop.code)
        await check_all(report, Snapshot(db), redis, copies, journal=None, progress=lambda _: None)
        found = report["settlements:computed"]
        assert found.compared
        assert report["decisions:audited"].compared
        assert not report["decisions:audited"].broken
        return found.examples
    finally:
        await transaction.rollback()
        await db.close()
        await redis.aclose()


async def test_a_variance_has_an_owner_and_a_state_and_what_was_closed_is_not_raised_again(
    shop: Shop, settings: Settings
) -> None:
    member = await shop.member()
    await day_of(shop, "owned")
    body = bill(member, merchant="owned", terminal="T03")
    answer = await shop.post(body)
    await post(shop, refund(body, merchant="owned", terminal="T03", amount_minor=4_500))
    await Bank(shop).serve(answer.json()["bill_id"])
    assert (await imported(shop, line("owned", "105.00"))).status_code == 200
    for _ in range(2):
        await check(shop.runtime, first=DAY, last=DAY)
    [one] = await variances(shop, "owned")
    assert (one["expected_minor"], one["found_minor"]) == (6_000, "10500")
    assert await computed(shop, settings, "found_minor = found_minor") == []
    assert len(await computed(shop, settings, "found_minor = found_minor + 1")) == 1

    async def decided(role: str = "finance", merchant: str | None = None, **said: Any) -> httpx.Response:
        path = f"/v1/settlements/variances/{one['variance_id']}"
        return await shop.client.post(path, json=said, headers=shop.headers(role, merchant=merchant))

    assert (await decided("operator", owner="noor")).json()["code"] == "scope_missing"
    assert (await decided(merchant="exact", owner="noor")).json()["code"] == "not_found"
    assert (await decided(state="closed")).json()["code"] == "field_missing"
    assert (await decided(owner="noor")).json()["owner"] == "noor"
    closed = (await decided(state="closed", reason="gross, not net")).json()
    assert (closed["state"], closed["owner"], closed["reason"]) == ("closed", "noor", "gross, not net")
    await check(shop.runtime, first=DAY, last=DAY)
    assert await variances(shop, "owned") == []
    assert (await imported(shop, line("owned", "-1", reference="late"))).status_code == 200
    await check(shop.runtime, first=DAY, last=DAY)
    [again] = await variances(shop, "owned")
    assert (again["found_minor"], again["owner"]) == ("10400", None)
    audited = await shop.auditor.fetch(
        "SELECT action FROM earn.audit WHERE action LIKE 'settlement.%' ORDER BY 1"
    )
    assert {row[0] for row in audited} == {"settlement.import", "settlement.check", "settlement.decide"}


async def test_a_day_of_whole_hundreds_is_told_in_plain_digits(shop: Shop, settings: Settings) -> None:
    await day_of(shop, "rounded", (5_000, "2026-11-22T11:00:00Z"))
    said = line("rounded", "12000.00"), line("rounded", "300.000", "deposit")
    assert (await imported(shop, *said)).status_code == 200
    await check(shop.runtime, first=DAY, last=DAY)
    [deposit, one] = sorted(await variances(shop, "rounded"), key=lambda found: str(found["kind"]))
    assert [found["found_minor"] for found in (one, deposit)] == ["1200000", "30000"]
    path = f"/v1/settlements/variances/{one['variance_id']}"
    answer = await shop.client.post(path, json={"owner": "noor"}, headers=shop.headers("finance"))
    assert (answer.json()["owner"], answer.json()["found_minor"]) == ("noor", "1200000")
    assert await computed(shop, settings, "found_minor = found_minor", "rounded") == []


async def test_what_agreed_is_raised_again_with_the_same_numbers_but_not_what_a_person_closed(
    shop: Shop, settings: Settings
) -> None:
    async def after(amount: str, reference: str) -> list[tuple[int, str]]:
        assert (await imported(shop, line("wavers", amount, reference=reference))).status_code == 200
        await check(shop.runtime, first=DAY, last=DAY)
        return [(one["expected_minor"], one["found_minor"]) for one in await variances(shop, "wavers")]

    await day_of(shop, "wavers", (10_000, "2026-11-22T11:00:00Z"))
    assert await after("90.00", "first") == [(10_000, "9000")]
    assert await after("10.00", "corrected") == []
    assert await after("-10.00", "the correction was wrong") == [(10_000, "9000")]
    [one] = await variances(shop, "wavers")
    assert await computed(shop, settings, "found_minor = found_minor", "wavers") == []
    path = f"/v1/settlements/variances/{one['variance_id']}"
    [agreed] = await variances(shop, "wavers", state="closed")
    beside = f"/v1/settlements/variances/{agreed['variance_id']}"
    opened = await shop.client.post(beside, json={"state": "open"}, headers=shop.headers("finance"))
    assert (opened.status_code, opened.json()["code"]) == (409, "variance_exists")
    assert one["variance_id"] in opened.json()["detail"]
    [closed] = await computed(
        shop, settings, "agreed = true, state = 'closed', reason = 'It agrees by now.'", "wavers", alone=True
    )
    assert closed.endswith("it is closed as if it agreed, and nothing was written since it did not")
    said = {"state": "closed", "reason": "It agrees by now."}  # whatever a person says, it is a person's word
    assert (await shop.client.post(path, json=said, headers=shop.headers("finance"))).status_code == 200
    assert await after("0.00", "nothing more") == []
    assert await after("10.00", "corrected again") == []
    assert await after("-10.00", "and back") == [], "these numbers are a person's"
    assert len(await variances(shop, "wavers", state="closed")) == 2


async def test_a_variance_that_is_gone_is_missed_once_its_day_was_checked_a_day_later(
    shop: Shop, settings: Settings
) -> None:
    """Of lines that were written today nobody need have looked yet."""
    assert (await imported(shop, line("silent", "50.00", "deposit"))).status_code == 200
    await check(shop.runtime, first=DAY, last=DAY)
    assert len(await variances(shop, "silent")) == 1
    gone = "DELETE FROM earn.settlement_variances WHERE merchant = 'silent'"
    before = "UPDATE earn.settlement_lines SET imported_at = imported_at - interval '2 days' WHERE merchant = 'silent'"
    names = {"settlements:noticed"}
    async with one_moment(settings, shop) as books:
        assert await objections(settings, shop, books, names) == {}
        assert await noticed(settings, shop, books, gone, names) == {}
        await books.execute(before)
        assert await objections(settings, shop, books, names) == {}
        found = await noticed(settings, shop, books, gone, names)
    assert found == {
        "settlements:noticed": [
            "deposit of silent on 2026-11-22 in SAR is 5000, its bills come to 0, and no variance says so"
        ]
    }


async def test_a_line_of_a_day_still_to_come_and_a_day_that_no_check_looked_at_are_not_missed(
    shop: Shop, settings: Settings
) -> None:
    """Somebody checks the first days of November alone, and finds something: that says nothing of the tenth, nor of next year."""
    looked, other, ahead = date(2026, 11, 2), date(2026, 11, 10), date(2027, 12, 20)
    said = [line("early", "5.00", "deposit") | {"day": day.isoformat()} for day in (looked, other, ahead)]
    assert (await imported(shop, *said)).status_code == 200
    asked = {"from_day": "2026-11-01", "to_day": "2026-11-03"}
    done = await shop.client.post("/v1/settlements/check", json=asked, headers=shop.headers("operator"))
    assert done.json() == {"compared": 1, "variances": 1, "closed": 0}
    names = {"settlements:noticed"}
    gone = "DELETE FROM earn.settlement_variances WHERE merchant = 'early'"
    alone = """
        DELETE FROM earn.audit
        WHERE action = 'settlement.check' AND id < (SELECT max(id) FROM earn.audit WHERE action = 'settlement.check')
    """
    async with one_moment(settings, shop) as books:
        await books.execute(alone)
        await books.execute(
            "UPDATE earn.settlement_lines SET imported_at = imported_at - interval '2 days' WHERE merchant = 'early'"
        )
        assert await objections(settings, shop, books, names) == {}
        assert await noticed(settings, shop, books, gone, names) == {
            "settlements:noticed": [
                "deposit of early on 2026-11-02 in SAR is 500, its bills come to 0, and no variance says so"
            ]
        }


async def test_a_check_that_found_everything_right_has_looked_too(shop: Shop, settings: Settings) -> None:
    """All that varied may be what is gone."""
    day = date(2026, 3, 3)
    assert (
        await imported(shop, line("righted", "0.00", "deposit") | {"day": day.isoformat()})
    ).status_code == 200
    done = await check(shop.runtime, first=day, last=day)
    assert (done.compared, done.variances, done.closed) == (1, 0, 0)
    [after] = await shop.auditor.fetch(
        "SELECT after::text FROM earn.audit WHERE action = 'settlement.check' AND after ->> 'to_day' = '2026-03-03'"
    )
    assert msgspec.json.decode(after[0]) == {
        "compared": 1,
        "variances": 0,
        "closed": 0,
        "from_day": "2026-03-03",
        "to_day": "2026-03-03",
    }
    spoilt = """
        UPDATE earn.settlement_lines SET imported_at = imported_at - interval '2 days', amount_minor = 700
        WHERE merchant = 'righted'
    """
    async with one_moment(settings, shop) as books:
        found = await noticed(settings, shop, books, spoilt, {"settlements:noticed"})
    assert found == {
        "settlements:noticed": [
            "deposit of righted on 2026-03-03 in SAR is 700, its bills come to 0, and no variance says so"
        ]
    }


async def test_what_was_checked_before_a_version_or_a_rate_came_is_not_held_against_it(
    shop: Shop, settings: Settings
) -> None:
    """A programme accepts dollars no more, or what one was worth is put right, when days are over and what varied is closed."""
    told = activated("strait", 1)
    told.document["programme"] |= {"currency": "SAR", "accepts": ["USD"]}
    then, day = "2026-11-18T09:00:00Z", date(2026, 11, 18)
    await shop.hear(told, rate(1, "3.75", of="USD", since=datetime(2026, 11, 17, tzinfo=UTC)))
    for merchant, amount in (("ferry", "10.00"), ("barge", "37.50"), ("raft", "10.00")):
        await day_of(shop, merchant)
        abroad = bill(None, merchant=merchant, lines=[], total_minor=1_000, currency="USD", occurred_at=then)
        assert (await shop.post(abroad)).status_code == 201
        one = line(merchant, amount) | {"day": day.isoformat()}
        assert (await imported(shop, one, programme="strait")).status_code == 200
    await check(shop.runtime, first=day, last=day)
    [one] = await variances(shop, "ferry")
    assert (one["expected_minor"], one["found_minor"]) == (3_750, "1000")
    assert await variances(shop, "barge") == []
    path = f"/v1/settlements/variances/{one['variance_id']}"
    said = {"state": "closed", "reason": "they are paid in cash"}
    assert (await shop.client.post(path, json=said, headers=shop.headers("finance"))).status_code == 200
    names = {"settlements:computed", "settlements:noticed"}
    an_hour = "UPDATE earn.settlement_variances SET checked_at = clock_timestamp() + interval '1 hour'"
    before = """
        UPDATE earn.settlement_lines SET imported_at = imported_at - interval '2 days'
        WHERE merchant IN ('ferry', 'barge', 'raft')
    """
    righted = """
        WITH of AS (SELECT 'USD', 'SAR', 2, '3.76', timestamptz '2026-11-17', 'the central bank'),
        kept AS (INSERT INTO earn.currency_rates SELECT * FROM of)
        INSERT INTO members.currency_rates SELECT of.*, 'finance', timestamptz '2026-11-25' FROM of
    """
    wrong = "UPDATE earn.settlement_variances SET expected_minor = 3751 WHERE merchant IN ('ferry', 'raft')"
    async with one_moment(settings, shop) as books:
        await books.execute(an_hour)
        await books.execute(before)
        assert await objections(settings, shop, books, names) == {}
        assert len((await noticed(settings, shop, books, wrong, names))["settlements:computed"]) == 2
        assert await noticed(settings, shop, books, righted, names) == {}
    dropped = activated("strait", 2)
    dropped.document["programme"] |= {"currency": "SAR"}
    await shop.hear(msgspec.structs.replace(dropped, activated_at=shop.runtime.clock()))
    by_the_newest = "UPDATE earn.settlement_variances SET expected_minor = 0 WHERE merchant = 'ferry'"
    by_an_earlier_release = f"""
        WITH ran AS (
            UPDATE earn.migrations SET at = clock_timestamp() + interval '2 hours' WHERE name LIKE '%/0089%' RETURNING at
        )
        {by_the_newest} AND EXISTS (SELECT FROM ran)
    """
    async with one_moment(settings, shop) as books:
        await books.execute(an_hour)
        await books.execute(before)
        await books.execute("UPDATE earn.settlement_variances SET last_seen = last_seen + interval '3 days'")
        assert await objections(settings, shop, books, names) == {}
        assert len((await noticed(settings, shop, books, by_the_newest, names))["settlements:computed"]) == 1
        assert await noticed(settings, shop, books, by_an_earlier_release, names) == {}
    shop.at(datetime(2026, 11, 24, 12, tzinfo=UTC))
    await check_days(shop.runtime)
    assert await variances(shop, "barge") == [], "dollars were accepted on that day"
    late = {"currency": "USD", "kind": "deposit", "day": day.isoformat()}
    assert (await imported(shop, line("barge", "10.00") | late, programme="strait")).status_code == 200
    after = {"day": "2026-11-23"}
    refused = await imported(shop, line("barge", "10.00") | late | after, programme="strait")
    assert refused.json()["code"] == "currency_mismatch"
    assert (await imported(shop, line("barge", "37.50") | after, programme="strait")).status_code == 200
    shop.at(datetime(2026, 11, 25, 12, tzinfo=UTC))
    await check_days(shop.runtime)
    off = {
        (one["day"], one["currency"], one["expected_minor"], one["found_minor"])
        for one in await variances(shop, "barge")
    }
    assert off == {("2026-11-23", "SAR", 0, "3750")}
    gone = "DELETE FROM earn.settlement_variances WHERE merchant = 'barge'"
    async with one_moment(settings, shop) as books:
        await books.execute(an_hour)
        await books.execute(before)
        assert await objections(settings, shop, books, names) == {}
        assert await noticed(settings, shop, books, gone, names) == {
            "settlements:noticed": [
                "total of barge on 2026-11-23 in SAR is 3750, its bills come to 0, and no variance says so"
            ]
        }


async def test_a_day_that_agreed_agrees_whatever_its_programme_accepts_later(
    shop: Shop, settings: Settings
) -> None:
    """The total of a day before euros were accepted has none in it: another programme counted them."""
    euros, told = activated("euros", 1), activated("later", 1)
    euros.document["programme"]["currency"] = "EUR"
    then, day = "2026-11-17T09:00:00Z", date(2026, 11, 17)
    await shop.hear(euros, told, rate(4, "4", since=datetime(2026, 11, 16, tzinfo=UTC)))
    await day_of(shop, "isthmus", (1_000, then))
    abroad = bill(None, merchant="isthmus", lines=[], total_minor=500, currency="EUR", occurred_at=then)
    assert (await shop.post(abroad)).status_code == 201
    for said, programme in (({"amount": "10.00"}, "later"), ({"amount": "5.00"}, "euros")):
        one = line(
            "isthmus", **said, kind="deposit" if programme == "euros" else "total", reference=programme
        )
        assert (await imported(shop, one | {"day": day.isoformat()}, programme=programme)).status_code == 200

    async def off() -> list[tuple[str, int, str, str | None]]:
        await check(shop.runtime, first=day, last=day)
        return [
            (one["currency"], one["expected_minor"], one["found_minor"], one["missing"])
            for one in await variances(shop, "isthmus")
        ]

    assert await off() == [("EUR", 500, "0", "total")]
    accepting = activated("later", 2)
    accepting.document["programme"] |= {"accepts": ["EUR"]}
    await shop.hear(msgspec.structs.replace(accepting, activated_at=datetime(2026, 11, 20, tzinfo=UTC)))
    assert await off() == [("EUR", 500, "0", "total")]
    assert await computed(shop, settings, "found_minor = found_minor", "isthmus") == []


async def test_a_refund_of_dollars_is_in_a_days_total_when_dollars_are_taken_no_more(
    shop: Shop, settings: Settings
) -> None:
    for version, began, accepts in ((1, 16, ["USD"]), (2, 20, [])):
        told = activated("sound", version)
        told.document["programme"] |= {"currency": "SAR", "accepts": accepts}
        since = datetime(2026, 11, began, tzinfo=UTC)
        await shop.hear(msgspec.structs.replace(told, activated_at=since))
    await shop.hear(rate(9, "3.75", of="USD", since=datetime(2026, 11, 16, tzinfo=UTC)))
    then, day = "2026-11-21T09:00:00Z", date(2026, 11, 21)
    await day_of(shop, "dinghy", (1_000, then))
    abroad = bill(
        None,
        merchant="dinghy",
        lines=[],
        total_minor=1_000,
        currency="USD",
        occurred_at="2026-11-19T09:00:00Z",
    )
    sold = await shop.post(abroad)
    assert sold.status_code == 201
    back = refund(abroad, terminal="T03", currency="USD", amount_minor=400, occurred_at=then)
    assert (await post(shop, back)).status_code in {201, 202}
    await Bank(shop).serve(sold.json()["bill_id"])
    one = line("dinghy", "-5.00") | {"day": day.isoformat()}
    assert (await imported(shop, one, programme="sound")).status_code == 200
    shop.at(datetime(2026, 11, 25, 12, tzinfo=UTC))
    await check(shop.runtime, first=day, last=day)
    assert await variances(shop, "dinghy") == [], "ten riyals were sold, and four dollars given back"
    names = {"settlements:noticed"}
    async with one_moment(settings, shop) as books:
        for change in (
            "UPDATE earn.settlement_lines SET imported_at = imported_at - interval '2 days' WHERE merchant = 'dinghy'",
            "UPDATE earn.bills SET recorded_at = recorded_at - interval '2 days' WHERE merchant = 'dinghy'",
            """UPDATE earn.refunds SET recorded_at = recorded_at - interval '2 days', settled_at = settled_at - interval '2 days'
               WHERE merchant = 'dinghy'""",
        ):
            await books.execute(change)
        assert await objections(settings, shop, books, names) == {}


async def test_a_refund_that_was_taken_long_after_it_was_asked_for_is_of_when_it_was_taken(
    shop: Shop, settings: Settings
) -> None:
    """Its bill waited for a member, or the bank was silent: a night between the two did not count it."""
    await day_of(shop, "slow")
    body = bill(await shop.member(), merchant="slow", terminal="T03")
    answer = await shop.post(body)
    await post(shop, refund(body, merchant="slow", terminal="T03", amount_minor=4_500))
    assert (await imported(shop, line("slow", "0.00"))).status_code == 200
    await check(shop.runtime, first=DAY, last=DAY)
    names = {"settlements:noticed"}
    alone = "DELETE FROM earn.bills WHERE merchant = 'slow'"  # nothing else of the day is new
    gone = "DELETE FROM earn.settlement_variances WHERE merchant = 'slow'"
    before = "UPDATE earn.settlement_lines SET imported_at = imported_at - interval '2 days' WHERE merchant = 'slow'"
    asked = "UPDATE earn.refunds SET recorded_at = recorded_at - interval '2 days' WHERE merchant = 'slow'"
    taken = "UPDATE earn.refunds SET status = 'completed', settled_at = recorded_at + interval '{}' WHERE merchant = 'slow'"
    async with one_moment(settings, shop) as books:
        for change in (alone, gone, before, asked):
            await books.execute(change)
        assert await objections(settings, shop, books, names) == {}
        assert await noticed(settings, shop, books, taken.format("2 days"), names) == {}
        found = await noticed(settings, shop, books, taken.format("1 hour"), names)
    assert found == {
        "settlements:noticed": [
            "total of slow on 2026-11-22 in SAR is 0, its bills come to -4500, and no variance says so"
        ]
    }
    await Bank(shop).serve(answer.json()["bill_id"])


async def test_foreign_bills_are_converted_into_the_total_and_what_nobody_spoke_of_is_missed(
    shop: Shop, settings: Settings
) -> None:
    told = activated("port", 1)
    told.document["programme"] |= {"currency": "SAR", "accepts": ["EUR", "KWD"]}
    gulf = activated("gulf", 1)
    gulf.document["programme"]["currency"] = "KWD"
    then, day = "2026-11-19T09:00:00Z", date(2026, 11, 19)
    await shop.hear(told, gulf, rate(1, "4.05", since=datetime(2026, 11, 18, tzinfo=UTC)))
    member = await shop.member("port")
    await day_of(shop, "quay", (1_000, then))
    await day_of(shop, "mute", (700, then))
    for who, total, currency in ((member, 1_000, "EUR"), (None, 101, "EUR"), (None, 50, "KWD")):
        body = bill(who, merchant="quay", lines=[], total_minor=total, currency=currency, occurred_at=then)
        answer = await shop.post(body)
        assert answer.status_code == 201, answer.text
    # KWD is counted by another programme, and has no rate here. After a correction what was judged keeps its rate, and the bill of
    # nobody is counted by what holds now.
    await shop.hear(rate(2, "4", since=datetime(2026, 11, 18, tzinfo=UTC)))

    async def said(amount: str, merchant: str = "quay", **more: Any) -> httpx.Response:
        one = {"merchant": merchant, "day": day.isoformat(), "kind": "total", "amount": amount, **more}
        return await imported(shop, one, programme="port")

    async def found() -> set[tuple[Any, ...]]:
        await check_days(shop.runtime)
        return {
            (one["merchant"], one["kind"], one["currency"], one["expected_minor"], one["found_minor"], one["missing"])
            for merchant in ("quay", "mute", "dry")
            for one in await variances(shop, merchant)
        }  # fmt: skip

    assert (await said("1", currency="USD")).json()["errors"][0]["pointer"] == "/lines/0/currency"
    assert (await said("3", merchant="dry")).status_code == 200
    assert (await said("5.00", kind="deposit", currency="EUR")).status_code == 200
    silent = {
        ("mute", "total", "SAR", 700, "0", "total"),
        ("dry", "total", "SAR", 0, "300", "bills"),
        ("quay", "deposit", "EUR", 1_101, "500", None),
        ("quay", "total", "KWD", 50, "0", "total"),
    }
    assert await found() == silent | {
        ("quay", "total", "SAR", 1_000, "0", "total"),
        ("quay", "total", "EUR", 1_101, "0", "total"),
    }
    assert (await said("1.00")).status_code == 200
    assert await found() == silent | {("quay", "total", "SAR", 1_000 + 4_050 + 404, "100", None)}
    assert await computed(shop, settings, "found_minor = found_minor", "quay") == []
    assert len(await computed(shop, settings, "missing = 'bills'", "quay")) == 4
    assert (await said("53.54", reference="rest")).status_code == 200
    assert await found() == silent
    # Its own total in EUR takes the bills in EUR out of the one in SAR.
    assert (await said("11.01", currency="EUR")).status_code == 200
    assert await found() == silent | {("quay", "total", "SAR", 1_000, "5454", None)}
    assert await computed(shop, settings, "found_minor = found_minor", "quay") == []


async def test_a_day_begins_where_its_first_hour_does_also_where_clocks_come_to_it_twice(
    shop: Shop, settings: Settings
) -> None:
    """On the Azores 25 October 2026 has two hours from midnight to one: the clocks are put back. The first is the day's too."""
    told = activated("isles", 1)
    told.document["programme"] |= {"time_zone": "Atlantic/Azores", "accepts": ["EUR"]}
    await shop.hear(told, rate(3, "4", since=datetime(2026, 10, 1, tzinfo=UTC)))
    await day_of(shop, "pier", (300, "2026-10-24T23:59:59Z"), (500, "2026-10-25T00:30:00Z"))
    await day_of(shop, "pier", (700, "2026-10-25T01:30:00Z"), (900, "2026-10-26T00:59:59Z"))
    abroad = bill(None, merchant="pier", lines=[], total_minor=1_000, currency="EUR")
    assert (await shop.post(abroad | {"occurred_at": "2026-10-25T00:15:00Z"})).status_code == 201
    days = date(2026, 10, 24), date(2026, 10, 25)
    lines = [
        line("pier", amount) | {"day": day.isoformat()}
        for day, amount in zip(days, ("3", "60.99"), strict=True)
    ]
    assert (await imported(shop, *lines, programme="isles")).json() == {"imported": 2, "known": 0}
    await check(shop.runtime, first=days[0], last=days[1])
    [one] = await variances(shop, "pier")
    # 5 and 7 and 9, and 10 EUR at 4; but a cent too little was said.
    assert (one["day"], one["expected_minor"], one["found_minor"]) == ("2026-10-25", 6_100, "6099")
    assert await computed(shop, settings, "found_minor = found_minor", "pier") == []


async def test_who_closes_numbers_that_are_no_more_is_told_so_and_the_audit_has_those_that_were_closed(
    shop: Shop, settings: Settings
) -> None:
    await day_of(shop, "moved", (10_000, "2026-11-22T11:00:00Z"))
    assert (await imported(shop, line("moved", "99.00"))).status_code == 200
    await check(shop.runtime, first=DAY, last=DAY)
    [one] = await variances(shop, "moved")
    seen = {name: one[name] for name in ("expected_minor", "found_minor")}
    assert seen == {"expected_minor": 10_000, "found_minor": "9900"}
    path = f"/v1/settlements/variances/{one['variance_id']}"

    async def closed(**numbers: Any) -> httpx.Response:
        said = {"state": "closed", "reason": "1.00 was change", **numbers}
        return await shop.client.post(path, json=said, headers=shop.headers("finance"))

    # While somebody reads 1.00, the day becomes 1,000,000.00 off.
    assert (await imported(shop, line("moved", "999900.00", reference="late"))).status_code == 200
    await check(shop.runtime, first=DAY, last=DAY)
    refused = await closed(**seen)
    assert (refused.status_code, refused.json()["code"]) == (409, "variance_changed")
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/found_minor"]
    assert "99999900" in refused.json()["detail"]
    assert (await closed(expected_minor=9_999)).json()["code"] == "variance_changed"
    assert (await closed(found_minor="1,5")).json()["code"] == "field_type"
    [one] = await variances(shop, "moved")
    assert (one["state"], one["found_minor"]) == ("open", "99999900")
    assert (await closed(expected_minor=10_000, found_minor="99999900.0")).json()["state"] == "closed"
    [after] = await shop.auditor.fetch(
        "SELECT after ->> 'expected_minor', after ->> 'found_minor' FROM earn.audit WHERE object = $1",
        f"variance/{one['variance_id']}",
    )
    assert tuple(after) == ("10000", "99999900")
    async with one_moment(settings, shop) as books:
        assert await objections(settings, shop, books, {"decisions:audited"}) == {}
        spoil = "UPDATE earn.settlement_variances SET found_minor = found_minor + 1 WHERE merchant = 'moved'"
        [wrong] = (await noticed(settings, shop, books, spoil, {"decisions:audited"}))["decisions:audited"]
    assert wrong.startswith(f"variance {one['variance_id']} is closed")


async def test_another_amount_under_a_key_another_merchants_day_and_an_unknown_programme_are_refused(
    shop: Shop,
) -> None:
    assert (await imported(shop, line("kept", "5"))).status_code == 200
    other = await imported(shop, line("kept", "5.0"), line("new", "1"), line("kept", "6"))
    assert (other.json()["code"], other.json()["errors"][0]["pointer"]) == ("settlement_conflict", "/lines/2")
    assert (await imported(shop, line("new", "1"), line("new", "2"))).json()["code"] == "settlement_conflict"
    assert (await imported(shop, line("new", "1"))).json() == {"imported": 1, "known": 0}, (
        "nothing of the others was kept"
    )
    assert (await imported(shop, line("kept", "1"), merchant="new")).json()["code"] == "scope_missing"
    assert (await imported(shop, line("kept", "1"), role="till")).json()["code"] == "scope_missing"
    body = {"programme": "nowhere", "file_hash": "0" * 64, "lines": [line("kept", "1")]}
    refused = await shop.client.post("/v1/settlements", json=body, headers=shop.headers("operator"))
    assert refused.json()["code"] == "programme_unknown"


async def test_a_file_says_what_the_same_lines_say_over_http_and_each_in_its_own_currency(
    shop: Shop, tmp_path: Path
) -> None:
    told = activated("coast", 1)
    told.document["programme"] |= {"currency": "SAR", "accepts": ["EUR"]}
    await shop.hear(told)
    file = tmp_path / "days.csv"
    file.write_text("merchant,day,total\ncove,2026-11-22,10.00\n")
    assert (await imported(shop, line("cove", "10.00"), programme="coast")).json() == {
        "imported": 1,
        "known": 0,
    }
    answer = await imported(shop, *[line for _, line in read_lines(file)], programme="coast")
    assert answer.json() == {"imported": 0, "known": 1}, "a line of no reference has none, however it is said"
    file.write_text(
        "merchant,day,deposit,reference,currency\n"
        "cove,2026-11-22,7.00,,\ncove,2026-11-22,5.00,,EUR\ncove,2026-11-22,2.00,slip 2,EUR\n"
    )
    answer = await imported(shop, *[line for _, line in read_lines(file)], programme="coast")
    assert answer.json() == {"imported": 3, "known": 0}
    kept = await shop.auditor.fetch(
        "SELECT reference, currency, amount_minor::text FROM earn.settlement_lines "
        "WHERE merchant = 'cove' AND kind = 'deposit' ORDER BY reference"
    )
    assert [tuple(row) for row in kept] == [
        ("", "SAR", "700"),
        ("EUR", "EUR", "500"),
        ("slip 2", "EUR", "200"),
    ]


class ByShop(Api):
    """The API of a shop that listens on no port."""

    def __init__(self, shop: Shop) -> None:
        super().__init__("http://127.0.0.1", lambda _: "")
        self._shop = shop

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, role: str = "admin"
    ) -> Answer:
        headers = self._shop.headers(role, key)
        found = await self._shop.client.request(method, path, json=body, headers=headers)
        return Answer(found.status_code, found.content)


async def test_what_is_wrong_with_a_long_file_is_told_by_its_own_lines(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "days.csv"
    file.write_text("merchant,day,total,deposit\nquay,2026-11-22,1.00,2.00\n")

    async def taken() -> dict[str, int]:
        async with ByShop(shop) as api:
            return await import_file(api, file, programme="shops", said=lambda _: None)

    assert await taken() == {"imported": 2, "known": 0}
    # Two lines of a row each: the second piece begins with row 502 of the file.
    rows = [f"quay{k},2026-11-22,1.00,2.00" for k in range(500)]
    others = ["mole,2026-11-22,1.00,", "quay,2026-11-22,1.00,3.00"]
    file.write_text("\n".join(["merchant,day,total,deposit", *rows, *others, ""]))
    with pytest.raises(CallFailed) as refused:
        await taken()
    assert "line 503: 200 minor units of SAR were imported under this key." in str(refused.value)
    assert "(settlement_conflict)" in str(refused.value)
    assert "/lines/" not in str(refused.value)
    assert str(refused.value).endswith(
        "What stands before line 502 was taken, and is known when the file comes again."
    )
    file.write_text("\n".join(["merchant,day,total,deposit", *rows, "mole,2026-11-31,1.00,", ""]))
    with pytest.raises(CallFailed, match="line 502, day: "):
        await taken()


async def test_the_reference_that_files_had_not_is_taken_off(shop: Shop, settings: Settings) -> None:
    """`currency`, of an earlier `pointbank settlement import`: a line that stands without one already keeps its own beside it."""
    for merchant, references in (("bay", ("currency", "slip 1")), ("inlet", ("", "currency"))):
        for reference in references:
            assert (await imported(shop, line(merchant, "1", reference=reference))).status_code == 200
    migration = Path("services/earn/migrations/0089_settlement_references.sql").read_text()
    of_owner = "SELECT tableowner FROM pg_tables WHERE schemaname = 'earn' AND tablename = 'settlement_lines'"
    async with one_moment(settings, shop) as books:
        await books.execute("SET LOCAL session_replication_role = origin")  # guards stand, as when it runs
        await books.execute(
            f'SET LOCAL ROLE "{await books.fetchval(of_owner)}"; SET LOCAL search_path = earn'
        )
        await books.execute(migration)
        kept = await books.fetch(
            "SELECT merchant, reference FROM settlement_lines WHERE merchant IN ('bay', 'inlet') ORDER BY 1, 2"
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            async with books.transaction():
                await books.execute(
                    "UPDATE settlement_lines SET reference = 'another' WHERE merchant = 'bay'"
                )
    assert [tuple(row) for row in kept] == [
        ("bay", ""),
        ("bay", "slip 1"),
        ("inlet", ""),
        ("inlet", "currency"),
    ]


async def test_a_variance_that_stands_has_the_numbers_of_now_also_those_that_a_person_closed_before(
    shop: Shop,
) -> None:
    async def now() -> list[tuple[int, str]]:
        await check(shop.runtime, first=DAY, last=DAY)
        return [(one["expected_minor"], one["found_minor"]) for one in await variances(shop, "sways")]

    await day_of(shop, "sways", (10_000, "2026-11-22T11:00:00Z"))
    assert (await imported(shop, line("sways", "90.00"))).status_code == 200
    assert await now() == [(10_000, "9000")]
    [one] = await variances(shop, "sways")
    path = f"/v1/settlements/variances/{one['variance_id']}"
    said = {"state": "closed", "reason": "paid in cash"}
    assert (await shop.client.post(path, json=said, headers=shop.headers("finance"))).status_code == 200
    assert await now() == []
    assert (await imported(shop, line("sways", "-50.00", reference="late"))).status_code == 200
    assert await now() == [(10_000, "4000")]
    assert (await imported(shop, line("sways", "50.00", reference="late after all"))).status_code == 200
    assert await now() == [(10_000, "9000")], "40.00 is what nobody says any more"


async def test_a_file_is_read_exactly(tmp_path: Path) -> None:
    file = tmp_path / "days.csv"
    file.write_text("merchant,day,total,deposit\nmall,2026-11-22,10.0051,\nport,2026-11-22,1,0.99\n")
    assert [(one["merchant"], one["kind"], one["amount"]) for _, one in read_lines(file)] == [
        ("mall", "total", "10.0051"),
        ("port", "total", "1"),
        ("port", "deposit", "0.99"),
    ]
    for wrong in (
        "merchant,total\nmall,1\n",
        "merchant,day,total,note\nm,2026-11-22,1,x\n",
        "merchant,day,total\nm,2026-11-22\n",
    ):
        file.write_text(wrong)
        with pytest.raises(BadFile):
            list(read_lines(file))
    assert (minor("10.0051", "SAR"), minor("-1", "KWD"), minor("7.25", "JPY")) == (
        Decimal("1000.51"), Decimal(-1000), Decimal("7.25"),
    )  # fmt: skip
    for found, varies in (
        (Decimal("100.5"), False),
        (Decimal("100.500000001"), True),
        (Decimal("99.5"), False),
    ):
        assert Compared("m", DAY + timedelta(), "total", "SAR", "UTC", 100, found).varies is varies


@pytest.mark.parametrize("day", ["0001-01-01", "0001-02-01", "9999-12-31", "1700006400", "20261122"])
async def test_a_day_that_no_calendar_can_reckon_with_is_refused_and_not_our_mistake(
    shop: Shop, day: str
) -> None:
    headers = shop.headers("operator")
    asked = await shop.client.post("/v1/settlements/check", json={"to_day": day}, headers=headers)
    if day == "0001-02-01":  # within it, but two months before it are not
        assert asked.json()["compared"] == 0
        return
    assert_problem(asked, 422, "field_type")
    said = await imported(shop, line("endless", "1.00") | {"day": day})
    assert assert_problem(said, 422, "field_type")["errors"][0]["pointer"] == "/lines/0/day"


async def test_no_service_decides_about_a_variance(shop: Shop) -> None:
    await day_of(shop, "unattended", (10_000, "2026-11-22T11:00:00Z"))
    assert (await imported(shop, line("unattended", "90.00"))).status_code == 200
    await check(shop.runtime, first=DAY, last=DAY)
    [one] = await variances(shop, "unattended")
    path, said = f"/v1/settlements/variances/{one['variance_id']}", {"state": "closed", "reason": "so be it"}
    by_service = await shop.client.post(path, json=said, headers=shop.headers("finance", kind="service"))
    assert_problem(by_service, 403, "person_required")
    assert [one["state"] for one in await variances(shop, "unattended")] == ["open"]


async def test_what_was_said_to_nine_places_is_told_without_an_exponent(shop: Shop) -> None:
    await day_of(shop, "precise", (10_000, "2026-11-22T11:00:00Z"))
    assert (await imported(shop, line("precise", "0.000000000"))).status_code == 200
    await check(shop.runtime, first=DAY, last=DAY)
    [one] = await variances(shop, "precise")
    assert one["found_minor"] == "0"
    path = f"/v1/settlements/variances/{one['variance_id']}"
    owned = await shop.client.post(path, json={"owner": "noor"}, headers=shop.headers("finance"))
    assert owned.json()["found_minor"] == "0"
