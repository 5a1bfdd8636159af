"""Fraud guards: what they flag is held for somebody, who releases or cancels it; once, under any race, and the oracle agrees."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
from redis.asyncio import Redis

from pointbank.verify import Report
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.streams import heads
from pointbank.verify.walks import check_all
from services.earn.domain.hold import ReleaseDue
from services.earn.jobs.thinning import thin_sightings
from shared.config import Settings
from shared.events import BenefitAnswered, MerchantChanged
from shared.money import CURRENCIES
from shared.tenants import Tenant
from tests.integration.earn.conftest import Member, Shop, bill, running_earn, somebody
from tests.integration.earn.test_campaigns import campaign
from tests.integration.earn.test_refunds import Bank, post, refund
from tests.integration.earn.test_waiting import settled
from tests.support.books import open_books
from tests.support.facts import activated, autumn_2026
from tests.support.programmes import earning, rule

pytestmark = pytest.mark.asyncio(loop_scope="module")

GUARDS = {
    "member_rate": [{"bills": 3, "minutes": 60}],
    "duplicates": {"minutes": 5},
    "own_card": True,
    "many_cards": {"cards": 4, "minutes": 10},
    "refund_loop": {"refunds": 1, "days": 30},
}
RULES = (
    rule("phones", category="phone", timing="hold", priority=9, hold={"until": "date", "days": 14}),
    rule("everything"),
)
CHECKS = {
    "bills:decisions",
    "decisions:audited",
    "guards:counted",
    "reviews:kept",
    "reviews:asked",
    "holds:planned",
    "caps:counted",
    "refunds:computed",
    "stamps:taken",
    "stamps:cards",
    "gifts:asked",
}


async def till(shop: Shop, name: str, **cashiers: UUID) -> None:
    """A merchant of its own, with one terminal; the programme is known."""
    if await shop.auditor.fetchval("SELECT count(*) FROM earn.programmes WHERE programme = 'guarded'") == 0:
        section = earning(*RULES) | {"guards": GUARDS, "member_caps": {"day": 10_000}}
        await shop.hear(activated("guarded", earning=section))
    await shop.hear(MerchantChanged(merchant=name, version=1, terminals=("T1",), cashiers=cashiers))


async def sale(
    shop: Shop, merchant: str, member: Member, total_minor: int = 10_000, **more: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A bill, and how it was answered."""
    lines = more.pop("lines", [{"line_id": "1", "amount_minor": total_minor}])
    total = sum(line["amount_minor"] for line in lines)
    body = bill(member, merchant=merchant, terminal="T1", lines=lines, total_minor=total, **more)
    answer = await shop.post(body)
    assert answer.status_code == 201, answer.text
    return body, answer.json()


def held(answer: dict[str, Any]) -> tuple[int, int]:
    [one] = answer["accruals"]
    return one["available"]["points"], one["held"]["points"]


async def queue(shop: Shop, **query: Any) -> list[dict[str, Any]]:
    found = await shop.client.get(
        "/v1/reviews", params={"limit": 200, **query}, headers=shop.headers("finance")
    )
    assert found.status_code == 200
    items: list[dict[str, Any]] = found.json()["items"]
    return items


async def decide(shop: Shop, review: dict[str, Any], verdict: str, **token: Any) -> httpx.Response:
    headers = shop.headers(token.pop("role", "finance"), **token)
    return await shop.client.post(
        f"/v1/reviews/{review['review_id']}/{verdict}", json={"reason": "looked at it"}, headers=headers
    )


async def targets(shop: Shop, bill_id: str) -> list[int]:
    told = await shop.told(bill_id)
    assert [int(one["sequence"]) for one in told] == list(range(1, len(told) + 1))
    return [one["data"]["release_through"] for one in told if one["type"] == "points.release_requested.v1"]


async def test_a_flagged_bill_is_held_whole_and_released_as_its_rules_say(shop: Shop) -> None:
    member = await shop.member("guarded")
    await till(shop, "own", c7=member.member_id)
    phone = [
        {"line_id": "1", "amount_minor": 5_000},
        {"line_id": "2", "amount_minor": 3_000, "categories": ["phone"]},
    ]
    _, answer = await sale(shop, "own", member, lines=phone, cashier="c7")
    assert (answer["status"], held(answer)) == ("held", (0, 80))
    [review] = [one for one in await queue(shop, pattern="own_card") if one["merchant"] == "own"]
    assert (review["patterns"], review["held"]["points"], review["state"]) == (["own_card"], 80, "open")
    why = (await shop.get(f"/v1/bills/{answer['bill_id']}/why")).json()["judgements"][0]["words"]
    assert why[-2:] == [
        "The cashier is the member: flagged.",
        "All its points are held until somebody has looked at it.",
    ]
    await shop.runtime.do(ReleaseDue(), job="test")
    assert await targets(shop, answer["bill_id"]) == []

    refused = [
        await decide(shop, review, "release", role="operator"),
        await decide(shop, review, "release", kind="service"),
        await decide(shop, review, "release", merchant="other"),
    ]
    assert [one.json()["code"] for one in refused] == ["scope_missing", "person_required", "not_found"]
    several = await asyncio.gather(*[decide(shop, review, "release") for _ in range(5)])
    assert {one.status_code for one in several} == {200}
    assert several[0].json()["decided_by"] == "test-finance"
    assert await targets(shop, answer["bill_id"]) == [50], "what a rule holds is held on"
    late = (await decide(shop, review, "cancel")).json()
    assert late["code"] == "review_decided"
    assert re.fullmatch(r"test-finance has \S+ it, at \S{10}T\S{8}Z\.", late["detail"]), late
    shop.at(shop.runtime.clock() + timedelta(days=14))
    await shop.runtime.do(ReleaseDue(), job="test")
    assert await targets(shop, answer["bill_id"]) == [50, 80]


async def test_what_is_cancelled_is_taken_back_and_given_back_to_caps_once(shop: Shop) -> None:
    member = await shop.member("guarded")
    await till(shop, "twice")
    body, _ = await sale(shop, "twice", member)
    _, again = await sale(shop, "twice", member)
    assert held(again) == (0, 100)
    [review] = [one for one in await queue(shop, pattern="duplicate") if one["merchant"] == "twice"]
    # A refund of half of it is in flight when it is cancelled: the bank takes all of it in the end, whatever it hears first.
    await post(shop, refund({**body, "bill_ref": review["bill_ref"]}, amount_minor=5_000))
    assert (await decide(shop, review, "cancel")).status_code == 200
    bank = Bank(shop, held=True)
    asked = await bank.asked(again["bill_id"])
    assert [one.get("reverse_through") for one in asked] == [50, None, 100]
    await shop.hear(*[bank.answer(one) for one in reversed(asked)])
    caps = "SELECT decided, given_back FROM earn.caps WHERE wallet_id = $1"
    assert [tuple(row) for row in await shop.auditor.fetch(caps, member.wallet_id)] == [(200, 100)]
    plans = await shop.auditor.fetch(
        "SELECT rule, released, cancelled FROM earn.hold_plans WHERE bill_id = $1", UUID(again["bill_id"])
    )
    assert [tuple(plan) for plan in plans] == [("(review)", 0, 100)]
    assert [one["state"] for one in await queue(shop, state="cancelled") if one["merchant"] == "twice"] == [
        "cancelled"
    ]


TREATS = {
    "guards": {"duplicates": {"minutes": 5}},
    "campaigns": [campaign("hello", effect={"issue": {"reward": "voucher", "value_minor": 100}})],
    "stamp_cards": [{"code": "visits", "match": {}, "count": "item", "stamps": 3, "reward": "free-coffee"}],
}


async def gifts(shop: Shop, member: Member) -> tuple[int, list[tuple[str, str]]]:
    """(stamps on the card, the rewards and where they stand, the oldest first)."""
    progress = await shop.auditor.fetchval(
        "SELECT progress FROM earn.stamp_cards WHERE wallet_id = $1", member.wallet_id
    )
    rows = await shop.auditor.fetch(
        "SELECT reward, status FROM earn.effects WHERE wallet_id = $1 ORDER BY effect_id", member.wallet_id
    )
    return progress, sorted(tuple(row) for row in rows)


async def answer_gifts(shop: Shop, member: Member, *, used: str = "") -> None:
    """The bank issues what it is asked for, and gives back what it is asked back, but what was used."""
    for effect_id, withdrawal_id, reward, status in await shop.auditor.fetch(
        "SELECT effect_id, withdrawal_id, reward, status FROM earn.effects WHERE wallet_id = $1",
        member.wallet_id,
    ):
        if status == "asked":
            await shop.hear(
                BenefitAnswered(effect_id=effect_id, outcome="issued", benefit_id=effect_id, code=None)
            )
        elif status == "withdrawing":
            kept = BenefitAnswered(
                effect_id=withdrawal_id, outcome="used_already", benefit_id=None, code=None
            )
            await shop.hear(kept if reward == used else msgspec.structs.replace(kept, outcome="withdrawn"))


async def test_what_is_cancelled_gives_back_stamps_and_rewards_too_but_only_those_of_its_programme(
    shop: Shop,
) -> None:
    member = await shop.member("treats", "plain")
    await till(shop, "treats")
    plain = {name: part for name, part in TREATS.items() if name != "guards"}
    await shop.hear(
        activated("treats", earning=earning(rule()) | TREATS),
        activated("plain", earning=earning(rule()) | plain),
    )
    three = [{"line_id": "1", "amount_minor": 4_000, "quantity": "3"}]
    await sale(shop, "treats", member, lines=three)
    body, second = await sale(shop, "treats", member, lines=three)
    await answer_gifts(shop, member)
    assert await gifts(shop, member) == (0, [("free-coffee", "issued")] * 2 + [("voucher", "issued")] * 2)
    # A refund of a part has taken a stamp, so a reward, back before it is cancelled: no more is taken than was given.
    await post(shop, refund(body, amount_minor=2_000))
    assert (await gifts(shop, member))[0] == 2
    await answer_gifts(shop, member)
    await Bank(shop, held=True).serve(second["bill_id"])
    [review] = [one for one in await queue(shop) if one["merchant"] == "treats"]
    both = await asyncio.gather(*[decide(shop, review, "cancel") for _ in range(4)])
    assert {one.status_code for one in both} == {200}
    await answer_gifts(shop, member, used="voucher")
    taken = [
        ("free-coffee", "issued"),
        ("free-coffee", "withdrawn"),
        ("voucher", "issued"),
        ("voucher", "kept"),
    ]
    assert await gifts(shop, member) == (0, taken)
    asked = (
        "SELECT count(*) FROM earn.effects WHERE member_id = $1 AND programme = 'plain' AND status = 'asked'"
    )
    assert await shop.auditor.fetchval(asked, member.member_id) == 3, (
        "the refund took one of these, the cancelling none"
    )
    await post(shop, refund(body, amount_minor=2_000))
    await decide(shop, review, "cancel")
    assert await gifts(shop, member) == (0, taken), "and once"


async def test_many_members_at_a_terminal_and_refunds_one_after_the_other_are_flagged(shop: Shop) -> None:
    await till(shop, "crowd")
    members = [await shop.member("guarded") for _ in range(5)]
    answers = [(await sale(shop, "crowd", one, 1_000 + n))[1] for n, one in enumerate(members)]
    assert [held(one) for one in answers] == [(10, 0)] * 4 + [(0, 10)]
    await till(shop, "loop")
    for total_minor in (
        2_000,
        50,
    ):  # of the second no point is taken back, for it had earned none: it is a refund all the same
        body, answer = await sale(shop, "loop", members[0], total_minor)
        await post(shop, refund(body, all=True, occurred_at="2026-11-22T11:32:00+03:00"))
        await Bank(shop).serve(answer["bill_id"])
    _, answer = await sale(shop, "loop", members[0], 3_000, occurred_at="2026-11-22T14:00:00+03:00")
    assert held(answer) == (0, 30)
    [review] = [one for one in await queue(shop, pattern="refund_loop") if one["merchant"] == "loop"]
    assert review["patterns"] == ["refund_loop"]


async def test_of_bills_at_once_in_two_processes_exactly_those_beyond_the_limit_are_flagged(
    shop: Shop, settings: Settings, tenant: Tenant, tmp_path: Path
) -> None:
    member = await shop.member("guarded")
    await till(shop, "burst")
    async for other in running_earn(settings, tenant, tmp_path):
        sold = [sale(shop if n % 2 else other, "burst", member, 1_000 + 100 * n) for n in range(12)]
        answers = [answer for _, answer in await asyncio.gather(*sold)]
        assert sorted(held(one)[0] > 0 for one in answers) == [False] * 9 + [True] * 3
    flagged = [one for one in await queue(shop, pattern="member_rate") if one["merchant"] == "burst"]
    assert len(flagged) == 9
    first = await shop.client.get(
        "/v1/reviews", params={"limit": 4}, headers=shop.headers("finance", merchant="burst")
    )
    assert {one["merchant"] for one in first.json()["items"]} == {"burst"}
    assert first.json()["next_cursor"] is not None


async def test_what_was_counted_is_dropped_when_no_bill_can_come_that_it_is_counted_with(shop: Shop) -> None:
    member = await shop.member("guarded")
    await till(shop, "old")
    sold = {}
    for day in (1, 21):
        _, answer = await sale(
            shop, "old", member, 1_000 + day, occurred_at=f"2026-11-{day:02}T10:00:00+03:00"
        )
        sold[day] = UUID(answer["bill_id"])
    stranger = somebody()
    late = bill(stranger, merchant="old", terminal="T1", occurred_at="2026-11-10T10:00:00+03:00")
    waits = (await shop.post(late)).json()["bill_id"]
    kept = "SELECT bill_id FROM earn.sightings WHERE merchant = 'old' ORDER BY occurred_at"

    async def left(days: int) -> list[UUID]:
        shop.at(autumn_2026() + timedelta(days=days))
        await asyncio.gather(thin_sightings(shop.runtime), thin_sightings(shop.runtime))
        return [row[0] for row in await shop.auditor.fetch(kept)]

    assert await left(0) == list(sold.values())
    # 30 days of backdating, 31 of the longest window and a day of grace; but a bill of the tenth of November waits.
    assert await left(30 + 30) == list(sold.values())
    assert await left(200) == list(sold.values())
    await shop.hear(shop.enrolment(stranger, "guarded"))
    await settled(shop, waits, "earned")
    assert await left(30 + 30) == [sold[21]]


BY_HAND = (
    "currency = 'sar'", "currency = 'ZZZ'", "point_value = '0'", "point_value = '-0.10'", "point_value = '1e3'",
    "point_value = 'NaN'", "occurred_at = '0044-03-15 BC'", "flagged_at = 'infinity'", "occurred_at = '20260-01-01'",
    "patterns = '{whim}'", "patterns = '{own_card,NULL}'", "patterns = '{{own_card},{duplicate}}'",
)  # fmt: skip


async def test_no_hand_makes_a_review_that_the_queue_cannot_show(shop: Shop, settings: Settings) -> None:
    member = await shop.member("guarded")
    await till(shop, "hand", c1=member.member_id)
    await sale(shop, "hand", member, cashier="c1")
    db = await open_books(settings, shop.code)
    let_in = []
    for change in BY_HAND:
        try:
            await db.execute(f"UPDATE earn.reviews SET {change} WHERE merchant = 'hand'")
            let_in.append(change)
        except asyncpg.CheckViolationError:
            pass
    law = await db.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'reviews_money_can_be_told'"
    )
    await db.close()
    [review] = [one for one in await queue(shop) if one["merchant"] == "hand"]
    assert (let_in, review["held"], review["patterns"]) == (
        [],
        {"points": 100, "money": {"amount_minor": 1_000, "currency": "SAR"}},
        ["own_card"],
    )
    assert set(re.findall(r"\b[A-Z]{3}\b", law.partition("currency")[2])) == CURRENCIES.keys()


SPOILT = {
    "a bill that guards forgot": ("DELETE FROM earn.sightings WHERE merchant = 'own'", {"guards:counted"}),
    "sightings that were dropped too early": (
        "DELETE FROM earn.sightings WHERE merchant = 'crowd'",
        {"guards:counted"},
    ),
    "a review that is gone": ("DELETE FROM earn.reviews WHERE merchant = 'own'", {"reviews:kept"}),
    "a review for another pattern": (
        "UPDATE earn.reviews SET patterns = '{many_cards}' WHERE merchant = 'own'",
        {"reviews:kept"},
    ),
    "a review in another programme's money": (
        "UPDATE earn.reviews SET currency = 'KWD', point_value = '0.2' WHERE merchant = 'own'",
        {"reviews:kept"},
    ),
    "a cancellation that was never asked for": (
        "UPDATE earn.reviews SET request_id = gen_random_uuid() WHERE merchant = 'twice'",
        {"reviews:asked"},
    ),
    "a verdict that was another's": (
        "UPDATE earn.reviews SET decided_by = 'somebody' WHERE state <> 'open'",
        {"decisions:audited"},
    ),
    "stamps that a cancelled review left": (
        "UPDATE earn.stamps SET taken_back = taken_back - 1 WHERE taken_back = 3",
        {"stamps:taken"},
    ),
    "a flag that was taken off": (
        """
        UPDATE earn.decisions SET decision = replace(decision::text, '["own_card",1,0]', '["own_card",0,0]')::json
        WHERE decision::text LIKE '%["own_card",1,0]%'
        """,
        {"bills:decisions", "reviews:kept"},
    ),
}


async def test_the_oracle_agrees_and_finds_what_is_spoilt(shop: Shop, settings: Settings) -> None:
    """After the others: over the books that they left."""
    db = await open_books(settings, shop.code)
    redis = Redis.from_url(settings.redis_url)

    async def broken() -> dict[str, list[str]]:
        report = Report(shop.code)
        copies = await heads(redis, settings.cell, shop.code)
        await check_all(report, Snapshot(db), redis, copies, journal=None, progress=lambda _: None)
        assert {check.name for check in report if check.name in CHECKS and not check.compared} == set()
        return {check.name: check.examples for check in report.broken if check.name in CHECKS}

    outer = db.transaction()
    await outer.start()
    try:
        assert await broken() == {}
        for name, (sql, wanted) in SPOILT.items():
            inner = db.transaction()
            await inner.start()
            assert not (await db.execute(sql)).endswith(" 0"), name
            assert wanted <= (await broken()).keys(), name
            await inner.rollback()
    finally:
        await outer.rollback()
        await db.close()
        await redis.aclose()
