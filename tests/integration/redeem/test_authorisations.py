"""Points set aside: authorised, captured whole or in part, voided, released; by id and code; one end each, whoever is first."""

import asyncio
import secrets
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from pointbank.jobs.releasing import release
from services.redeem.domain.codes import code_hash
from services.redeem.domain.redemption import Release
from services.redeem.handlers import ON
from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import FromJob, Item
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, Member, accrued, asks, worth
from tests.support.facts import AT, activated
from tests.support.http import assert_problem
from tests.support.tenants import running

NOTHING = {"points": 0, "money": {"amount_minor": 0, "currency": "SAR"}}


async def authorised(bank: Bank, member: Member, **asked: Any) -> dict[str, Any]:
    answer = await bank.redeem(asks(member, capture="later", **asked))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def post(
    bank: Bank, path: str, body: Any = None, *, key: str | None = None, **token: Any
) -> httpx.Response:
    return await bank.client.post(f"/v1/{path}", json=body, headers=bank.headers("till", key, **token))


def capture(bank: Bank, one: dict[str, Any], body: Any = None, **more: Any) -> Awaitable[httpx.Response]:
    return post(bank, f"redemptions/{one['redemption_id']}/capture", body, **more)


def void(bank: Bank, one: dict[str, Any], **more: Any) -> Awaitable[httpx.Response]:
    return post(bank, f"redemptions/{one['redemption_id']}/void", **more)


async def overdue(bank: Bank, one: dict[str, Any]) -> None:
    """Its time is over: moved there by an administrator's hand."""
    db = await bank.administrator()
    try:
        await db.execute(
            "UPDATE redeem.reservations SET expires_at = $2 WHERE redemption_id = $1",
            UUID(one["redemption_id"]),
            datetime.now(UTC) - timedelta(seconds=1),
        )
    finally:
        await db.close()


async def buckets(bank: Bank, member: Member) -> tuple[int, int, int, int]:
    wallet = await bank.wallet(member.wallet_id)
    return wallet["available"], wallet["reserved"], wallet["redeemed"], wallet["expired"]


async def test_an_authorisation_sets_points_aside_and_a_capture_spends_them(bank: Bank) -> None:
    member = await bank.member(100, 50)
    key = secrets.token_hex(8)
    asked = asks(member, points=120, capture="later", bill_ref="A-1")
    first = await bank.redeem(asked, key=key)
    one = first.json()
    assert (first.status_code, one["status"], one["reserved"]) == (201, "authorised", worth(120))
    assert one["balance"] == {"available": worth(30), "held": NOTHING, "reserved": worth(120)}
    stands = datetime.fromisoformat(one["expires_at"]) - datetime.fromisoformat(one["effective_at"])
    assert stands == timedelta(minutes=15)
    assert (await bank.redeem(asked, key=key)).content == first.content, "the code as well"
    kept = await bank.auditor.fetchval(
        "SELECT convert_from(body, 'UTF8') FROM redeem.idempotency WHERE key = $1", key
    )
    stored = await bank.auditor.fetchval(
        "SELECT code_hash FROM redeem.reservations WHERE redemption_id = $1", UUID(one["redemption_id"])
    )
    assert one["code"] not in kept, "nobody reads a code in the database"
    assert stored == code_hash(bank.runtime.tenant.identity_key, one["code"])
    assert await buckets(bank, member) == (30, 120, 0, 0)

    done = await capture(bank, one, {"terminal": "T01"})
    assert done.status_code == 200
    assert (done.json()["status"], done.json()["redeemed"], done.json()["voided"]) == (
        "captured",
        worth(120),
        NOTHING,
    )
    assert await buckets(bank, member) == (30, 0, 120, 0)
    for again, code in (
        (await capture(bank, one), "redemption_captured"),
        (await void(bank, one), "redemption_captured"),
    ):
        assert_problem(again, 409, code)
    told = await bank.told(member.wallet_id)
    assert [(event["type"], event["data"]["kind"]) for event in told[2:]] == [
        ("points.reserved.v1", "reserve"),
        ("points.redeemed.v1", "redeem"),
    ]
    assert told[3]["data"]["lots"] == told[2]["data"]["lots"]
    lines = [
        (line["kind"], line["from_bucket"], line["points"]) for line in await bank.lines(member.wallet_id)
    ][2:]
    assert lines == [
        ("reserve", "available", 100),
        ("reserve", "available", 20),
        ("redeem", "reserved", 100),
        ("redeem", "reserved", 20),
    ]


async def test_a_partial_capture_gives_each_lot_its_rest_back_and_an_expired_one_expires_at_once(
    bank: Bank,
) -> None:
    member = await bank.member()
    soon = datetime.now(UTC) + timedelta(minutes=5)
    lots = [
        accrued(member.wallet_id, 100, at=AT),
        accrued(member.wallet_id, 50, at=AT + timedelta(days=1), expires_at=soon),
        accrued(member.wallet_id, 50, at=AT + timedelta(days=2)),
    ]
    await bank.hear(*lots)
    one = await authorised(bank, member, points=180)
    bank.passes(timedelta(minutes=6))
    done = (await capture(bank, one, {"money": {"amount_minor": 1195, "currency": "SAR"}})).json()
    assert done["redeemed"] == {"points": 120, "money": {"amount_minor": 1195, "currency": "SAR"}}
    assert (done["voided"], done["expired"]) == (worth(60), worth(30))
    assert done["balance"] == {"available": worth(50), "held": NOTHING, "reserved": NOTHING}
    assert await buckets(bank, member) == (50, 0, 120, 30)
    left = await bank.auditor.fetch(
        "SELECT remaining, reserved FROM redeem.lots WHERE wallet_id = $1 ORDER BY earned_at",
        member.wallet_id,
    )
    assert [tuple(row) for row in left] == [(0, 0), (0, 0), (50, 0)]
    [*_, back, _, gone] = await bank.lines(member.wallet_id)
    assert (back["kind"], gone["kind"], gone["points"]) == ("void", "expire", 30)
    assert gone["effective_at"] == back["effective_at"] > soon, "before that it was not there to expire"
    told = [event["type"] for event in await bank.told(member.wallet_id)][4:]
    assert told == ["points.redeemed.v1", "points.voided.v1", "points.expired.v1"]


async def test_a_void_gives_all_back_once(bank: Bank) -> None:
    member = await bank.member(100)
    one = await authorised(bank, member, points=60)
    done = (await void(bank, one)).json()
    assert (done["status"], done["redeemed"], done["voided"]) == ("voided", NOTHING, worth(60))
    assert await buckets(bank, member) == (100, 0, 0, 0)
    key = secrets.token_hex(8)
    for refused in (await capture(bank, one, key=key), await void(bank, one)):
        assert_problem(refused, 409, "redemption_voided")
    assert (await capture(bank, one, key=key)).headers["idempotent-replayed"] == "true"


async def test_what_can_not_be_captured_is_refused_and_moves_nothing(bank: Bank) -> None:
    member = await bank.member(100)
    one = await authorised(bank, member, points=60)
    too_much = await capture(bank, one, {"points": 61})
    assert_problem(too_much, 422, "amount_out_of_range")
    foreign = await capture(bank, one, {"money": {"amount_minor": 10, "currency": "EUR"}})
    assert_problem(foreign, 422, "currency_mismatch")
    assert_problem(await capture(bank, one, {"terminal": "T99"}), 422, "terminal_unknown")
    assert_problem(await capture(bank, one, merchant="other-mall"), 404, "not_found")
    assert_problem(await capture(bank, {"redemption_id": str(uuid7())}), 404, "not_found")
    await overdue(bank, one)
    late = secrets.token_hex(8)
    assert_problem(await capture(bank, one, key=late), 409, "authorisation_expired")
    by_code = {"code": one["code"], "merchant": "riyadh-mall"}
    for again in (
        await capture(bank, one, key=late),
        await post(bank, "redemption-codes/use", by_code, key=late + "c"),
        await post(bank, "redemption-codes/use", by_code, key=late + "c"),
    ):
        assert_problem(again, 409, "authorisation_expired")
    assert again.headers["idempotent-replayed"] == "true"
    assert await buckets(bank, member) == (40, 60, 0, 0)
    released = (await void(bank, one)).json()
    assert (released["status"], released["voided"]) == ("voided", worth(60))
    for refused in (await capture(bank, one), await void(bank, one)):
        assert_problem(refused, 409, "authorisation_expired")
    assert (await bank.told(member.wallet_id))[-1]["data"]["reason"] == "expired"


async def test_a_code_is_looked_at_and_used_at_its_merchant_alone(bank: Bank) -> None:
    member = await bank.member(100)
    one = await authorised(bank, member, points=60)
    typed = "-".join(one["code"][k : k + 4] for k in range(0, 16, 4)).lower()
    here = {"code": typed, "merchant": "riyadh-mall"}
    seen = (await post(bank, "redemption-codes/validate", here)).json()
    assert (seen["redemption_id"], seen["usable"], seen["refusal"]) == (one["redemption_id"], True, None)
    assert (seen["status"], seen["authorised"], seen["expires_at"]) == (
        "authorised",
        worth(60),
        one["expires_at"],
    )
    misread = {**here, "code": ("C" if one["code"][0] != "C" else "D") + one["code"][1:]}
    elsewhere = {**here, "merchant": "jeddah-mall"}
    for path in ("validate", "use"):
        assert_problem(await post(bank, f"redemption-codes/{path}", misread), 422, "code_malformed")
        assert_problem(await post(bank, f"redemption-codes/{path}", elsewhere), 422, "code_unknown")
    used = await post(
        bank, "redemption-codes/use", {**here, "points": 50, "terminal": "T01", "bill_ref": "B-9"}
    )
    assert (used.status_code, used.json()["redeemed"], used.json()["voided"]) == (200, worth(50), worth(10))
    row = await bank.auditor.fetchrow(
        "SELECT status, terminal, bill_ref, points FROM redeem.redemptions WHERE redemption_id = $1",
        UUID(one["redemption_id"]),
    )
    assert row is not None
    assert tuple(row) == ("captured", "T01", "B-9", 60)
    assert_problem(await post(bank, "redemption-codes/use", here), 409, "redemption_captured")
    seen = (await post(bank, "redemption-codes/validate", here)).json()
    assert (seen["usable"], seen["refusal"]) == (False, "redemption_captured")


async def test_fifty_calls_with_one_key_authorise_once_and_capture_once(bank: Bank) -> None:
    member, key = await bank.member(100), secrets.token_hex(8)
    asked = asks(member, points=60, capture="later")
    answers = await asyncio.gather(*[bank.redeem(asked, key=key) for _ in range(50)])
    assert len({answer.content for answer in answers}) == 1
    assert await buckets(bank, member) == (40, 60, 0, 0)
    answers = await asyncio.gather(*[capture(bank, answers[0].json(), key=key) for _ in range(50)])
    assert len({answer.content for answer in answers}) == 1
    assert await buckets(bank, member) == (40, 0, 60, 0)


async def test_capture_void_and_release_race_in_two_processes_and_one_wins(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    member = await bank.member(*[10] * 64)
    held = await asyncio.gather(*[authorised(bank, member, points=9) for _ in range(64)])
    async with running(settings, tenant, "redeem", ON) as other:

        def release(one: dict[str, Any]) -> Item[Release]:
            return Item(Release(UUID(one["redemption_id"])), FromJob("t"), request_id="r", actor="t")

        races: list[Awaitable[Any]] = []
        for number, one in enumerate(held):
            if number % 4 == 0:
                await overdue(bank, one)
            races += [capture(bank, one), void(bank, one), other.lane.submit(release(one))]
            races.append(bank.redeem(asks(member, points=1)))
        await asyncio.gather(*races)
    ended = await bank.auditor.fetch(
        """
        SELECT s.ended, count(*) AS n, sum(s.captured_points)::bigint AS captured
        FROM redeem.reservations AS s WHERE s.wallet_id = $1 GROUP BY s.ended
        """,
        member.wallet_id,
    )
    by_end = {row["ended"]: row["n"] for row in ended}
    assert by_end.keys() <= {"captured", "voided", "expired"}
    assert (by_end["expired"], sum(by_end.values())) == (16, 64)
    captured = sum(row["captured"] for row in ended)
    assert captured == 9 * by_end.get("captured", 0)
    assert await buckets(bank, member) == (640 - 64 - captured, 0, 64 + captured, 0)
    lines = await bank.lines(member.wallet_id)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert sum(line["points"] for line in lines if line["kind"] == "reserve") == 64 * 9
    assert sum(line["points"] for line in lines if line["kind"] == "void") == 64 * 9 - captured


async def test_sixty_four_tasks_spend_and_authorise_one_wallet_exactly(bank: Bank) -> None:
    member = await bank.member(*[10] * 30)
    answers = await asyncio.gather(
        *[
            bank.redeem(asks(member, points=7, capture="later" if number % 2 else "now"))
            for number in range(64)
        ]
    )
    made = [answer.json() for answer in answers if answer.status_code == 201]
    assert len(made) == 42
    assert {answer.status_code for answer in answers} == {201, 409}
    standing = [one for one in made if one["status"] == "authorised"]
    assert await buckets(bank, member) == (6, 7 * len(standing), 7 * (42 - len(standing)), 0)
    assert len({one["code"] for one in standing}) == len(standing)


async def test_a_blocked_wallet_captures_nothing_but_gets_its_points_back(bank: Bank) -> None:
    member = await bank.member(100)
    one = await authorised(bank, member, points=60)
    db = await bank.administrator()
    await db.execute("UPDATE redeem.wallets SET status = 'blocked' WHERE wallet_id = $1", member.wallet_id)
    await db.close()
    assert_problem(await capture(bank, one), 409, "wallet_blocked")
    assert (await void(bank, one)).status_code == 200
    assert await buckets(bank, member) == (100, 0, 0, 0)


@pytest.mark.parametrize("path", ["redemption-codes/validate", "redemption-codes/use"])
async def test_a_till_of_another_merchant_has_no_business_with_a_code(bank: Bank, path: str) -> None:
    one = await authorised(bank, await bank.member(10), points=5)
    asked = {"code": one["code"], "merchant": "riyadh-mall"}
    assert_problem(await post(bank, path, asked, merchant="other-mall"), 403, "scope_missing")


async def test_the_job_releases_what_is_past_its_time_and_a_dry_run_says_the_same(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await release(settings, tenant.code, dry_run=False)  # what other tests left
    member = await bank.member(*[10] * 5)
    held = [await authorised(bank, member, points=8) for _ in range(5)]
    for one in held[:4]:
        await overdue(bank, one)
    dry = await release(settings, tenant.code, dry_run=True)
    of_shops = {"programme": "shops", "reservations": 4, "released": worth(32), "expired": worth(0)}
    assert msgspec.to_builtins(dry) == {"dry_run": True, "reservations": 4, "programmes": [of_shops]}
    assert await buckets(bank, member) == (10, 40, 0, 0)
    pages: list[int] = []

    def points(found: dict[str, Any]) -> int:
        return sum(one["released"]["points"] for one in found["programmes"])

    both = await asyncio.gather(
        release(
            settings, tenant.code, dry_run=False, progress=lambda so_far: pages.append(so_far.reservations)
        ),
        bank.client.post("/v1/redemptions/overdue/release", headers=bank.headers("operator")),
    )
    by_hand, by_http = msgspec.to_builtins(both[0]), both[1].json()
    assert by_hand["reservations"] + by_http["reservations"] == 4
    assert points(by_hand) + points(by_http) == 32
    assert pages[-1:] in ([], [by_hand["reservations"]])
    assert await buckets(bank, member) == (42, 8, 0, 0)
    assert (await release(settings, tenant.code, dry_run=False)).reservations == 0
    audit = await bank.auditor.fetchval(
        "SELECT count(*) FROM redeem.audit WHERE action = 'points.void' AND place = 'job:release-reservations' AND object = $1",
        f"wallet/{member.wallet_id}",
    )
    assert audit == 4


async def test_a_dry_run_says_what_expires_of_a_balance_that_ended_by_silence(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await release(settings, tenant.code, dry_run=False)
    await bank.hear(activated("hushed", expiry={"policy": "inactivity", "months": 3}))
    silent, awake = [await bank.member(50, programme="hushed", at=datetime.now(UTC)) for _ in range(2)]
    for member in (silent, silent, awake):
        await overdue(bank, await authorised(bank, member, points=8, programme="hushed"))
    db = await bank.administrator()
    await db.execute(
        "UPDATE redeem.wallets SET last_active_at = $2 WHERE wallet_id = $1",
        silent.wallet_id,
        datetime.now(UTC) - timedelta(days=200),
    )
    await db.close()

    async def by_steps(*, dry_run: bool) -> list[tuple[int, int, int]]:
        steps, cursor = list[tuple[int, int, int]](), None
        while True:
            body = {"dry_run": dry_run, "step": 2, "within_s": 0} | (
                {} if cursor is None else {"cursor": cursor}
            )
            said = (
                await bank.client.post(
                    "/v1/redemptions/overdue/release", json=body, headers=bank.headers("operator")
                )
            ).json()
            [of] = said["programmes"]
            steps.append((said["reservations"], of["released"]["points"], of["expired"]["points"]))
            if (cursor := said["next_cursor"]) is None:
                return steps

    dry = await release(settings, tenant.code, dry_run=True)
    of_hushed = {"programme": "hushed", "reservations": 3, "released": worth(24), "expired": worth(16)}
    assert msgspec.to_builtins(dry.programmes) == [of_hushed]
    assert await by_steps(dry_run=True) == await by_steps(dry_run=False) == [(2, 16, 16), (1, 8, 0)]
    assert await buckets(bank, silent) == (34, 0, 0, 16)
    assert await buckets(bank, awake) == (50, 0, 0, 0)


async def test_bad_amounts_have_their_codes_and_move_nothing(bank: Bank) -> None:
    member = await bank.member(100)
    one = await authorised(bank, member, points=60)
    at_once = (await bank.redeem(asks(member, points=10))).json()
    before = await bank.wallet(member.wallet_id)
    amounts: list[tuple[Any, str]] = [
        ({"points": 0}, "amount_out_of_range"),
        ({"points": -5}, "amount_out_of_range"),
        ({"points": 10**30}, "amount_out_of_range"),
        ({"points": 1.5}, "field_type"),
        ({"points": "5"}, "field_type"),
        ({"money": {"amount_minor": 0, "currency": "SAR"}}, "amount_out_of_range"),
        ({"money": {"amount_minor": 5, "currency": "sar"}}, "field_type"),
        ({"points": 5, "money": {"amount_minor": 5, "currency": "SAR"}}, "field_unknown"),
        ({"tip": 1}, "field_unknown"),
    ]
    code = {"code": one["code"], "merchant": "riyadh-mall"}
    for amount, said in amounts:
        for answer in (
            await capture(bank, one, amount),
            await post(bank, "redemption-codes/use", {**code, **amount}),
            await post(
                bank, f"redemptions/{at_once['redemption_id']}/returns", {"return_ref": "x", **amount}
            ),
        ):
            assert_problem(answer, 422, said)
    assert await bank.wallet(member.wallet_id) == before


async def test_a_capture_takes_no_part_of_a_step_and_no_less_than_the_minimum(bank: Bank) -> None:
    spent_so = {"consumption": "oldest_earned", "minimum_points": 100, "step_points": 50}
    await bank.hear(activated("steps", redemption=spent_so))
    m = await bank.member(500, programme="steps")
    one = (await bank.redeem(asks(m, programme="steps", points=200, capture="later"))).json()
    path = f"/v1/redemptions/{one['redemption_id']}/capture"
    for points in (1, 50, 99, 101):
        refused = await bank.client.post(path, json={"points": points}, headers=bank.headers("till"))
        assert_problem(refused, 422, "amount_out_of_range")
    for minor in (500, 1010):  # 50 points, and 101
        body = {"money": {"amount_minor": minor, "currency": "SAR"}}
        refused = await bank.client.post(path, json=body, headers=bank.headers("till"))
        assert_problem(refused, 422, "amount_out_of_range")
    done = await bank.client.post(path, json={"points": 150}, headers=bank.headers("till"))
    assert (done.status_code, done.json()["redeemed"]["points"]) == (200, 150)
