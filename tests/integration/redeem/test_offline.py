"""Tills that could not ask: an allowance before, a report after; each use once, in the order in which it happened."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey
from redis.asyncio import Redis

from pointbank.verify import Report
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.streams import heads
from pointbank.verify.walks import check_all
from services.redeem.jobs.sweeping import walk
from shared.config import Settings
from tests.integration.redeem.conftest import Bank, Db, Member, accrued, worth
from tests.support.facts import AT, activated
from tests.support.http import assert_problem

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""RFC 3339, as every time leaves."""
OFFLINE = {"points": 300, "hours": 24, "report_days": 2}
RULES = {"consumption": "oldest_earned", "minimum_points": 1, "step_points": 1}
CHECKS = (
    "allowances", "redemptions", "redemptions:overdrawn", "redemptions:told", "redemptions:lots", "redemptions:kept", "returns",
    "returns:told", "returns:refunds", "postings:told", "postings:once", "ledger:balances", "ledger:chain", "ledger:lots",
)  # fmt: skip


async def programme(bank: Bank, **rules: Any) -> str:
    code = f"p-{secrets.token_hex(4)}"
    await bank.hear(activated(code, redemption={**RULES, "offline": OFFLINE, **rules}))
    return code


def body_of(member: Member, code: str, **more: Any) -> dict[str, Any]:
    return {
        "programme": code,
        "member": {"mobile": member.mobile},
        "merchant": "riyadh-mall",
        "terminal": "T03",
        **more,
    }


async def post(
    bank: Bank, path: str, body: Any, *, key: str | None = None, role: str = "till", **token: Any
) -> httpx.Response:
    return await bank.client.post(f"/v1/{path}", json=body, headers=bank.headers(role, key, **token))


async def allowed(bank: Bank, member: Member, code: str) -> dict[str, Any]:
    answer = await post(bank, "redemption-allowances", body_of(member, code))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def use(ref: str, points: int, *, ago_s: float = 0.0, **more: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    return {"redemption_ref": ref, "points": points, "occurred_at": at.isoformat(), **more}


async def reported(bank: Bank, one: dict[str, Any], *uses: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = await post(
        bank, "offline-redemptions", {"allowance": one["allowance"], "redemptions": uses}, **more
    )
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def moved(bank: Bank, one: dict[str, Any], **columns: Any) -> None:
    """An administrator changes an allowance by hand."""
    db = await bank.administrator()
    sets = ", ".join(f"{column} = ${k}" for k, column in enumerate(columns, start=2))
    try:
        await db.execute(
            f"UPDATE redeem.allowances SET {sets} WHERE allowance_id = $1",
            UUID(one["allowance_id"]),
            *columns.values(),
        )
    finally:
        await db.close()


async def broken(bank: Bank, settings: Settings, db: Db | None = None) -> dict[str, list[str]]:
    """What the oracle says against these books, seen over this connection."""
    reader = db or await bank.administrator()
    redis = Redis.from_url(settings.redis_url)
    try:
        report = Report(bank.code)
        copies = await heads(redis, settings.cell, bank.code)
        async with reader.transaction():
            await check_all(report, Snapshot(reader), redis, copies, journal=None, progress=lambda _: None)
    finally:
        await redis.aclose()
        if db is None:
            await reader.close()
    assert report["allowances"].compared > 0
    return {name: report[name].examples for name in CHECKS if report[name].broken}


async def test_an_allowance_is_signed_and_stands_once_for_a_member_at_a_terminal(bank: Bank) -> None:
    code = await programme(bank)
    member = await bank.member(100, programme=code)
    key = secrets.token_hex(8)
    first = await post(bank, "redemption-allowances", body_of(member, code), key=key)
    one = first.json()
    assert (first.status_code, one["allowed"], one["wallet_id"]) == (201, worth(300), str(member.wallet_id))
    assert (await post(bank, "redemption-allowances", body_of(member, code), key=key)).json() == one
    again = await post(bank, "redemption-allowances", body_of(member, code))
    assert (again.status_code, again.json()) == (200, one)
    public = (
        await bank.client.get("/v1/redemption-allowances/public-key", headers=bank.headers("till"))
    ).json()
    claims = jwt.decode(one["allowance"], OKPKey.import_key(public), algorithms=["Ed25519"]).claims
    assert (claims["tenant"], claims["terminal"], claims["points"]) == (bank.code, "T03", 300)
    kept = await bank.auditor.fetchval(
        "SELECT convert_from(body, 'UTF8') FROM redeem.idempotency WHERE key = $1", key
    )
    assert one["allowance"] not in kept
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["reserved"]) == (100, 0), "nothing is set aside"
    other = await post(bank, "redemption-allowances", body_of(member, code, terminal="T01"))
    assert other.json()["allowance_id"] != one["allowance_id"]
    plain = await bank.member(10)
    for body, status, refusal in (
        (body_of(plain, "shops"), 409, "offline_not_allowed"),
        (body_of(member, code, terminal="T99"), 422, "terminal_unknown"),
        (body_of(member, "nothing-here"), 422, "programme_unknown"),
    ):
        assert_problem(await post(bank, "redemption-allowances", body), status, refusal)


async def test_what_was_spent_is_posted_as_it_happened_and_what_was_not_there_is_owed_and_repaid(
    bank: Bank, settings: Settings
) -> None:
    code = await programme(bank)
    member = await bank.member(60, 40, programme=code)
    one = await allowed(bank, member, code)
    later, earlier = use("R-2", 90, ago_s=10, bill_ref="B-2"), use("R-1", 50, ago_s=60)
    key = secrets.token_hex(8)
    said = await reported(bank, one, later, earlier, key=key)
    assert [
        (use["redemption_ref"], use["outcome"], use["redeemed"], use["overdrawn"])
        for use in said["redemptions"]
    ] == [
        ("R-2", "posted", worth(90), worth(40)),
        ("R-1", "posted", worth(50), worth(0)),
    ], "the one that happened first had the points"
    assert (said["left"], said["balance"]["available"], said["balance"]["debt"]) == (
        worth(160),
        worth(0),
        worth(-40),
    )
    assert await reported(bank, one, later, earlier, key=key) == said
    lines = [
        (line["kind"], line["from_bucket"], line["points"], line["lot_id"] is None)
        for line in (await bank.lines(member.wallet_id))[2:]
    ]
    assert lines == [
        ("redeem", "available", 50, False),
        ("redeem", "available", 10, False),
        ("redeem", "available", 40, False),
        ("overdraw", "debt", 40, True),
    ]
    path = f"/v1/wallets/{member.wallet_id}/ledger?kind=overdraw"
    [owed] = (await bank.client.get(path, headers=bank.headers("crm"))).json()["items"]
    assert owed["source"] == {"redemption_id": said["redemptions"][0]["redemption_id"]}
    [_, _, first, second] = await bank.told(member.wallet_id)
    assert (first["type"], first["data"]["overdrawn"]) == ("points.redeemed.v1", worth(0))
    assert (second["data"]["overdrawn"], second["data"]["offline"]) == (worth(40), True)
    assert second["data"]["effective_at"] < second["data"]["posted_at"]

    repeated = await reported(bank, one, earlier, {**later, "points": 91}, use("R-3", 5))
    assert [(use["outcome"], use.get("code")) for use in repeated["redemptions"]] == [
        ("repeated", None),
        ("refused", "redemption_conflict"),
        ("posted", None),
    ]
    assert repeated["redemptions"][0]["redemption_id"] == said["redemptions"][1]["redemption_id"]
    assert repeated["redemptions"][2]["overdrawn"] == worth(5)

    await bank.hear(accrued(member.wallet_id, 100, member_id=member.member_id, programme=code))
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["debt"], wallet["redeemed"]) == (55, 0, 145), "45 were owed"
    before = await bank.get(
        f"/v1/wallets/{member.wallet_id}/balance", at=(AT + timedelta(hours=1)).isoformat()
    )
    assert before.json()["debt"] == worth(0), "nothing was owed yet when these points were earned"
    assert await broken(bank, settings) == {}


async def test_an_allowance_that_is_asked_for_again_is_worth_what_its_own_version_says(bank: Bank) -> None:
    """As what is spent on it is: a till that was told otherwise would take less, or more, off the bill."""
    code = await programme(bank)
    member = await bank.member(100, programme=code)
    first = await allowed(bank, member, code)
    dearer = activated(code, 2, redemption={**RULES, "offline": OFFLINE})
    dearer.document["programme"]["point_value"] = "0.20"
    await bank.hear(dearer)
    again = await post(bank, "redemption-allowances", body_of(member, code))
    assert (again.status_code, again.json()["allowed"]) == (200, worth(300))
    said = await reported(bank, first, use("a", 40))
    assert (said["redemptions"][0]["redeemed"], said["left"]) == (worth(40), worth(260))
    after = await post(bank, "redemption-allowances", body_of(member, code))
    assert (after.status_code, after.json()["allowed"]) == (200, worth(260))


async def test_what_an_allowance_does_not_cover_is_refused_one_by_one_and_moves_nothing(bank: Bank) -> None:
    code = await programme(bank)
    member = await bank.member(100, programme=code)
    one = await allowed(bank, member, code)
    said = await reported(
        bank, one,
        use("A", 200, ago_s=3), use("B", 101, ago_s=2), use("C", 1, ago_s=-600), use("D", 1, ago_s=600), use("E", 100),
    )  # fmt: skip
    assert [(use["redemption_ref"], use.get("code")) for use in said["redemptions"]] == [
        ("A", None), ("B", "allowance_exceeded"), ("C", "occurred_in_future"), ("D", "allowance_expired"), ("E", None),
    ]  # fmt: skip
    details = [use["detail"] for use in said["redemptions"] if "detail" in use]
    assert [len(TIME.findall(detail)) for detail in details] == [0, 2, 3], details
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["redeemed"], wallet["debt"]) == (300, -200)
    fresh = await allowed(bank, member, code)
    assert fresh["allowance_id"] != one["allowance_id"], "one that is used up makes room for the next"
    now = datetime.now(UTC)
    await moved(
        bank, fresh, report_until=now, expires_at=now - timedelta(hours=1), issued_at=now - timedelta(days=1)
    )
    late = await reported(bank, fresh, use("L", 1, ago_s=7200))
    [use_late] = late["redemptions"]
    assert use_late["code"] == "report_too_late"
    assert TIME.search(use_late["detail"])

    path = "offline-redemptions"
    report = {"allowance": one["allowance"], "redemptions": [use("X", 1)]}
    head, payload, signature = one["allowance"].split(".")
    for allowance in ("x", f"{head}.{payload}.{signature[:-4]}AAAA", f"{head}.{payload[:-2]}AA.{signature}"):
        assert_problem(await post(bank, path, {**report, "allowance": allowance}), 422, "allowance_invalid")
    assert_problem(await post(bank, path, report, merchant="somebody-else"), 403, "scope_missing")


@pytest.mark.parametrize("swept", [False, True])
async def test_a_blocked_wallet_owes_what_its_member_took_and_an_expired_lot_paid_for_what_came_before(
    bank: Bank, settings: Settings, swept: bool
) -> None:
    code = await programme(bank)
    member = await bank.member(programme=code)
    ends = datetime.now(UTC) + timedelta(hours=1)
    await bank.hear(
        accrued(member.wallet_id, 80, member_id=member.member_id, programme=code, expires_at=ends),
    )
    one = await allowed(bank, member, code)
    before = use("R-1", 30)
    bank.passes(timedelta(hours=2))
    db = await bank.administrator()
    await db.execute("UPDATE redeem.wallets SET status = 'blocked' WHERE wallet_id = $1", member.wallet_id)
    await db.close()
    if swept:
        assert (await walk(bank.runtime))[code].points == 80
    said = await reported(bank, one, before, use("R-2", 20, ago_s=-5_400))
    assert [(use["overdrawn"], use["wallet_blocked"]) for use in said["redemptions"]] == [
        (worth(0), True),
        (worth(20), True),
    ]
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["redeemed"], wallet["expired"], wallet["available"], wallet["debt"]) == (50, 50, 0, -20)
    assert await broken(bank, settings) == {}


async def test_a_report_tells_the_balance_that_is_read_also_before_the_sweep(bank: Bank) -> None:
    """The report comes after a lot's end, of a use before it; and once more, where nothing is posted."""
    code = await programme(bank)
    member = await bank.member(90, programme=code, expires_at=datetime.now(UTC) - timedelta(minutes=1))
    await bank.hear(accrued(member.wallet_id, 60, member_id=member.member_id, programme=code))
    one = await allowed(bank, member, code)
    await moved(bank, one, issued_at=datetime.now(UTC) - timedelta(hours=1))
    spent = use("a", 10, ago_s=1800)
    for _ in range(2):
        said = await reported(bank, one, spent)
        read = (await bank.get(f"/v1/wallets/{member.wallet_id}/balance")).json()
        assert said["balance"]["available"] == read["available"] == worth(60)


async def test_overdrawn_points_that_are_returned_pay_what_is_owed(bank: Bank, settings: Settings) -> None:
    code = await programme(bank)
    member = await bank.member(30, programme=code)
    one = await allowed(bank, member, code)
    said = await reported(bank, one, use("R-1", 100))
    path = f"redemptions/{said['redemptions'][0]['redemption_id']}/returns"
    first = (await post(bank, path, {"return_ref": secrets.token_hex(4), "points": 50})).json()
    assert first["returned"] == worth(50)
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["debt"], wallet["redeemed"]) == (0, -20, 50)
    rest = (await post(bank, path, {"return_ref": secrets.token_hex(4), "all": True})).json()
    assert rest["returned_in_all"] == worth(100)
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["debt"], wallet["redeemed"]) == (30, 0, 0), "as it was before"
    assert await broken(bank, settings) == {}


async def test_reports_at_once_spend_no_allowance_twice(bank: Bank, settings: Settings) -> None:
    code = await programme(bank)
    member = await bank.member(1000, programme=code)
    one = await allowed(bank, member, code)
    uses = [use(f"R-{k}", 20, ago_s=k / 10) for k in range(20)]
    answers = await asyncio.gather(*[reported(bank, one, *uses[k % 5 :]) for k in range(10)])
    posted = [use for answer in answers for use in answer["redemptions"] if use["outcome"] == "posted"]
    assert len({use["redemption_ref"] for use in posted}) == len(posted) == 15
    assert (await bank.wallet(member.wallet_id))["redeemed"] == 300
    assert await broken(bank, settings) == {}

    spoilt = await bank.administrator()
    outer = spoilt.transaction()
    await outer.start()
    await spoilt.execute("SET session_replication_role = replica")
    for sql, name in (
        ("UPDATE redeem.allowances SET used_points = used_points - 1 WHERE used_points > 0", "allowances"),
        (
            "UPDATE redeem.offline_redemptions SET overdrawn_points = overdrawn_points + 1",
            "redemptions:overdrawn",
        ),
        (
            f"UPDATE redeem.redemptions SET terminal = 'T01' WHERE wallet_id = '{member.wallet_id}'",
            "allowances",
        ),
    ):
        inner = spoilt.transaction()
        await inner.start()
        await spoilt.execute(sql)
        assert name in await broken(bank, settings, spoilt), sql
        await inner.rollback()
    await outer.rollback()
    await spoilt.close()
