"""What a programme lets a member spend: each limit refuses with its own code, exactly, and a quote says all of it beforehand."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.events import TierChanged, encode_event
from shared.ids import uuid7
from shared.messaging import FromJob, Item
from tests.integration.redeem.conftest import Bank, Member, accrued, asks, worth
from tests.support.facts import AT, activated
from tests.support.http import assert_problem

RULES = {"consumption": "oldest_earned", "minimum_points": 1, "step_points": 1}


async def programme(bank: Bank, **rules: Any) -> str:
    code = f"p-{secrets.token_hex(4)}"
    await bank.hear(activated(code, redemption={**RULES, **rules}))
    return code


async def quoted(bank: Bank, member: Member, **asked: Any) -> dict[str, Any]:
    answer: httpx.Response = await bank.client.post(
        "/v1/redemption-quotes", json=asks(member, **asked), headers=bank.headers("till")
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def refused(bank: Bank, member: Member, code: str, **asked: Any) -> None:
    """That it is refused with this code, that this is kept, that nothing moved, and that a quote said so."""
    before, key = await bank.wallet(member.wallet_id), secrets.token_hex(8)
    said = await quoted(bank, member, **asked)
    assert said["refusal"]["code"] == code
    status = 422 if code == "bill_total_required" else 409
    problem = assert_problem(await bank.redeem(asks(member, **asked), key=key), status, code)
    assert problem["detail"] == said["refusal"]["detail"]
    again = await bank.redeem(asks(member, **asked), key=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (status, "true")
    assert await bank.wallet(member.wallet_id) == before


def standing(member: Member, code: str, tier: str, sequence: int, until: datetime | None = None) -> Item[Any]:
    told = TierChanged(
        wallet_id=member.wallet_id, member_id=member.member_id, programme=code, programme_version=1, from_=None, to=tier,
        name={"en": tier}, benefits=(), metric="points", numbers={}, effective_at=AT, until=until,
    )  # fmt: skip
    payload = encode_event(
        told,
        event_id=uuid7(),
        subject=str(member.wallet_id),
        time=AT,
        tenant="t",
        request_id="r",
        sequence=sequence,
    )
    return Item(told, FromJob("test"), request_id="r", actor="/tiers", payload=payload)


async def test_points_pay_for_a_share_of_the_bill_only(bank: Bank) -> None:
    code = await programme(bank, max_bill_share="0.5", minimum_points=50)
    member = await bank.member(5_000, programme=code)
    asked = {"programme": code, "bill_total_minor": 2_015}
    await refused(bank, member, "bill_total_required", programme=code, points=60)
    await refused(bank, member, "bill_share_exceeded", points=101, **asked)
    # Half of 20.15 is 10.07: worth 100.7 points.
    said = await quoted(bank, member, **asked)
    assert (said["most"], said["redeemed"], said["takes"]) == (worth(100), None, [])
    assert [(one["code"], one["binding"]) for one in said["limits"]] == [
        ("bill_share_exceeded", True),
        ("insufficient_points", False),
    ]
    paid = await bank.redeem(asks(member, money={"amount_minor": 1_007, "currency": "SAR"}, **asked))
    assert paid.json()["redeemed"] == {"points": 101, "money": {"amount_minor": 1007, "currency": "SAR"}}
    tiny = await quoted(bank, member, programme=code, bill_total_minor=200)
    assert tiny["most"] == worth(0)
    assert [one["code"] for one in tiny["limits"] if one["binding"]] == ["amount_out_of_range"]


async def test_no_more_than_the_bill_is_paid_where_its_total_is_said(bank: Bank) -> None:
    member = await bank.member(100)
    await refused(bank, member, "bill_share_exceeded", points=11, bill_total_minor=100)
    assert (await bank.redeem(asks(member, points=10, bill_total_minor=100))).status_code == 201


async def test_the_share_of_a_bill_is_not_exceeded_by_paying_in_parts(bank: Bank) -> None:
    code = await programme(bank, max_bill_share="0.5")
    member, other = await bank.member(500, programme=code), await bank.member(500, programme=code)
    bill = {"programme": code, "bill_ref": f"B-{code}", "bill_total_minor": 2_000}
    aside = (await bank.redeem(asks(member, points=60, capture="later", **bill))).json()
    await refused(bank, other, "bill_share_exceeded", points=41, **bill)
    path = f"/v1/redemptions/{aside['redemption_id']}/void"
    assert (await bank.client.post(path, headers=bank.headers("till"))).status_code == 200
    answers = await asyncio.gather(*[bank.redeem(asks(member, points=30, **bill)) for _ in range(8)])
    paid = [answer.json() for answer in answers if answer.status_code == 201]
    assert (len(paid), {answer.json()["code"] for answer in answers if answer.status_code != 201}) == (
        3,
        {"bill_share_exceeded"},
    )
    assert (await quoted(bank, other, **bill))["most"] == worth(10)
    back = {"return_ref": secrets.token_hex(4), "points": 5}
    path = f"/v1/redemptions/{paid[0]['redemption_id']}/returns"
    assert (await bank.client.post(path, json=back, headers=bank.headers("till"))).status_code == 201
    assert (await bank.redeem(asks(other, points=15, **bill))).status_code == 201
    await refused(bank, other, "bill_share_exceeded", points=1, **bill)


async def test_what_was_held_against_one_bill_is_captured_for_no_other(bank: Bank) -> None:
    code = await programme(bank, max_bill_share="0.5")
    member = await bank.member(500, programme=code)

    async def captured(named: str, **asked: Any) -> tuple[int, str]:
        aside = await bank.redeem(asks(member, points=60, capture="later", programme=code, **asked))
        path = f"/v1/redemptions/{aside.json()['redemption_id']}/capture"
        answer = await bank.client.post(path, json={"bill_ref": named}, headers=bank.headers("till"))
        return answer.status_code, answer.json().get("code", "")

    large = {"bill_ref": f"L-{code}", "bill_total_minor": 2_000}
    assert await captured(f"S-{code}", **large) == (409, "bill_share_exceeded")
    assert (await bank.wallet(member.wallet_id))["reserved"] == 60
    # Who said no bill named it to nobody: each is held against the share by itself.
    assert await captured(f"N-{code}", bill_total_minor=2_000) == (200, "")
    free = await programme(bank)
    code, member = free, await bank.member(500, programme=free)
    assert await captured(f"S-{code}", bill_ref=f"L-{code}", bill_total_minor=2_000) == (200, "")


async def test_a_members_limit_is_exact_when_many_spend_at_once(bank: Bank) -> None:
    code = await programme(
        bank, member_limits=[{"points": 100, "per": "month"}, {"points": 50, "per": "day"}]
    )
    member = await bank.member(*[50] * 10, programme=code)
    answers = await asyncio.gather(
        *[
            bank.redeem(asks(member, points=7, programme=code, capture="later" if number % 2 else "now"))
            for number in range(32)
        ]
    )
    assert sum(answer.status_code == 201 for answer in answers) == 7
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} == {
        "period_limit_exceeded"
    }
    said = await quoted(bank, member, programme=code)
    assert {(one["code"], one["most"]["points"], one["binding"]) for one in said["limits"]} == {
        ("period_limit_exceeded", 51, False),
        ("period_limit_exceeded", 1, True),
        ("insufficient_points", 451, False),
    }
    # What is voided, or returned, counts no more.
    ids = [answer.json() for answer in answers if answer.status_code == 201]
    later = [one["redemption_id"] for one in ids if one["status"] == "authorised"]
    at_once = [one["redemption_id"] for one in ids if one["status"] == "captured"]
    assert later
    await bank.client.post(f"/v1/redemptions/{later[0]}/void", headers=bank.headers("till"))
    room = 8
    if at_once:
        body = {"return_ref": secrets.token_hex(4), "points": 5}
        await bank.client.post(
            f"/v1/redemptions/{at_once[0]}/returns", json=body, headers=bank.headers("till")
        )
        room += 5
    await refused(bank, member, "period_limit_exceeded", points=room + 1, programme=code)
    assert (await bank.redeem(asks(member, points=room, programme=code))).status_code == 201


async def test_what_can_not_be_captured_any_more_counts_no_more(bank: Bank) -> None:
    code = await programme(bank, member_limits=[{"points": 10, "per": "week"}])
    member = await bank.member(100, programme=code)
    held = (await bank.redeem(asks(member, points=10, programme=code, capture="later"))).json()
    await refused(bank, member, "period_limit_exceeded", points=1, programme=code)
    await end(bank, held, timedelta(seconds=-6))
    assert (await bank.redeem(asks(member, points=10, programme=code))).status_code == 201


async def end(bank: Bank, held: dict[str, Any], after: timedelta) -> None:
    """An authorisation can be captured for so long from now."""
    db = await bank.administrator()
    await db.execute(
        "UPDATE redeem.reservations SET expires_at = now() + $2 WHERE redemption_id = $1",
        UUID(held["redemption_id"]),
        after,
    )
    await db.close()


async def test_what_a_process_can_still_capture_counts_for_another_whose_clock_is_ahead(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await programme(bank, member_limits=[{"points": 10, "per": "month"}])
    member = await bank.member(100, programme=code)
    held = (await bank.redeem(asks(member, points=10, programme=code, capture="later"))).json()
    await end(bank, held, timedelta(seconds=15))
    with monkeypatch.context() as ahead:
        for clock in (bank.runtime, bank.runtime.writer):
            ahead.setattr(clock, "clock", lambda: datetime.now(UTC) + timedelta(seconds=16))
        await refused(bank, member, "period_limit_exceeded", points=1, programme=code)
    path = f"/v1/redemptions/{held['redemption_id']}/capture"
    captured = await bank.client.post(path, headers=bank.headers("till"))
    assert (captured.status_code, captured.json()["redeemed"]) == (200, worth(10))
    await refused(bank, member, "period_limit_exceeded", points=1, programme=code)


async def test_velocity_counts_every_redemption_of_the_last_minutes(bank: Bank) -> None:
    code = await programme(bank, velocity=[{"redemptions": 2, "minutes": 10}])
    member = await bank.member(100, programme=code)
    first = (await bank.redeem(asks(member, points=1, programme=code, capture="later"))).json()
    await bank.client.post(f"/v1/redemptions/{first['redemption_id']}/void", headers=bank.headers("till"))
    assert (await bank.redeem(asks(member, points=1, programme=code))).status_code == 201
    await refused(bank, member, "velocity_exceeded", points=1, programme=code)
    db = await bank.administrator()
    await db.execute(
        "UPDATE redeem.redemptions SET effective_at = effective_at - interval '10 minutes' WHERE redemption_id = $1",
        UUID(first["redemption_id"]),
    )
    await db.close()
    assert (await bank.redeem(asks(member, points=1, programme=code))).status_code == 201


async def test_only_some_tiers_spend_as_tiers_told_last(bank: Bank) -> None:
    code = await programme(bank, tiers=["silver", "gold"])
    member = await bank.member(100, programme=code)
    await refused(bank, member, "tier_not_eligible", points=1, programme=code)
    lane = bank.runtime.lane
    await lane.submit(standing(member, code, "gold", 2))
    await lane.submit(standing(member, code, "blue", 1))  # late: the latest holds
    assert (await bank.redeem(asks(member, points=1, programme=code))).status_code == 201
    await lane.submit(standing(member, code, "gold", 3, until=datetime.now(UTC)))
    await refused(bank, member, "tier_not_eligible", points=1, programme=code)


async def test_a_quote_takes_what_the_redemption_takes_and_writes_nothing(bank: Bank) -> None:
    member = await bank.member()
    soon, gone = datetime.now(UTC) + timedelta(days=1), datetime.now(UTC) - timedelta(seconds=1)
    lots = [
        accrued(member.wallet_id, 100, at=AT, expires_at=gone),
        accrued(member.wallet_id, 30, at=AT + timedelta(days=1), expires_at=soon),
        accrued(member.wallet_id, 40, at=AT + timedelta(days=2)),
    ]
    await bank.hear(*lots)
    rows = await bank.lines(member.wallet_id)
    said = await quoted(bank, member, money={"amount_minor": 495, "currency": "SAR"})
    assert said["redeemed"] == {"points": 50, "money": {"amount_minor": 495, "currency": "SAR"}}
    assert (said["refusal"], said["most"], said["balance"]["available"]) == (None, worth(70), worth(70))
    assert await bank.lines(member.wallet_id) == rows
    assert [(one["lot_id"], one["points"]) for one in said["takes"]] == [
        (str(lots[1].lots[0].lot_id), 30),
        (str(lots[2].lots[0].lot_id), 20),
    ]
    await bank.redeem(asks(member, money={"amount_minor": 495, "currency": "SAR"}))
    spent = [line for line in await bank.lines(member.wallet_id) if line["kind"] == "redeem"]
    assert [(str(line["lot_id"]), line["points"]) for line in spent] == [
        (one["lot_id"], one["points"]) for one in said["takes"]
    ]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"points": 71}, "insufficient_points"),
        ({"money": {"amount_minor": 10, "currency": "USD"}}, "currency_mismatch"),
    ],
)
async def test_a_quote_says_what_a_redemption_would_be_refused_with(
    bank: Bank, change: dict[str, Any], code: str
) -> None:
    said = await quoted(bank, await bank.member(70), **change)
    assert (said["refusal"]["code"], said["takes"], said["most"]) == (code, [], worth(70))


async def test_a_quote_of_unknown_parties_is_refused_like_the_redemption(bank: Bank) -> None:
    member = await bank.member(1)
    for change, code in (
        ({"merchant": "nowhere"}, "merchant_unknown"),
        ({"programme": "nothing"}, "programme_unknown"),
    ):
        answer = await bank.client.post(
            "/v1/redemption-quotes", json=asks(member, **change), headers=bank.headers("till")
        )
        assert_problem(answer, 422, code)
