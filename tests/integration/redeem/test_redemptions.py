"""Points are spent over HTTP: exactly, once, at known places, by every identity."""

import asyncio
import re
import secrets
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.redeem.api import redemptions as api
from services.redeem.domain.expiring import consumption_order
from services.redeem.domain.redemption import Redeem
from services.redeem.store import meeting, postings
from shared.config import Settings
from shared.events import CardIssued, MerchantChanged
from shared.ids import uuid7
from shared.messaging import FromJob, Item
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, accrued, asks, worth
from tests.support.facts import AT, activated, heard
from tests.support.http import assert_problem
from tests.support.patience import PATIENCE_S

NOTHING = {"points": 0, "money": {"amount_minor": 0, "currency": "SAR"}}
MOST_LOTS = 100
"""Open lots of a wallet that `meet` looks through."""


async def test_a_redemption_answers_as_the_contract_says(bank: Bank) -> None:
    member = await bank.member(1250)
    before = datetime.now(UTC)
    answer = await bank.redeem(asks(member, points=300, cashier="c117", bill_ref="RM-T03-20261122-00842"))
    assert answer.status_code == 201
    body = answer.json()
    assert list(body) == [
        "redemption_id",
        "status",
        "programme",
        "wallet_id",
        "effective_at",
        "redeemed",
        "balance",
    ]
    assert body | {"redemption_id": "", "effective_at": ""} == {
        "redemption_id": "",
        "status": "captured",
        "programme": "shops",
        "wallet_id": str(member.wallet_id),
        "effective_at": "",
        "redeemed": worth(300),
        "balance": {"available": worth(950), "held": NOTHING, "reserved": NOTHING},
    }
    assert before <= datetime.fromisoformat(body["effective_at"]) <= datetime.now(UTC)
    assert body["effective_at"].endswith("Z")

    row = await bank.auditor.fetchrow(
        "SELECT * FROM redeem.redemptions WHERE redemption_id = $1", UUID(body["redemption_id"])
    )
    assert row is not None
    assert (row["points"], row["money_minor"], row["merchant"], row["terminal"], row["cashier"]) == (
        300,
        3000,
        "riyadh-mall",
        "T03",
        "c117",
    )
    assert (row["status"], row["programme_version"], row["bill_ref"]) == (
        "captured",
        1,
        "RM-T03-20261122-00842",
    )
    [_, line] = await bank.lines(member.wallet_id)
    assert (line["kind"], line["points"], line["money_minor"], line["posting_id"], line["source_id"]) == (
        "redeem",
        300,
        3000,
        row["posting_id"],
        row["redemption_id"],
    )
    [_, event] = await bank.told(member.wallet_id)
    assert (event["type"], event["sequence"]) == ("points.redeemed.v1", "000000000002")
    data = event["data"]
    assert (data["redemption_id"], data["member_id"]) == (body["redemption_id"], str(member.member_id))
    assert (data["redeemed"], data["lots"]) == (worth(300), [{"lot_id": str(line["lot_id"]), "points": 300}])
    audit = await bank.auditor.fetchrow(
        "SELECT * FROM redeem.audit WHERE object = $1 AND action = 'points.redeem'",
        f"wallet/{member.wallet_id}",
    )
    assert audit is not None
    assert (audit["actor"], audit["place"]) == ("test-till", "203.0.113.7/T03")
    assert audit["request_id"] == answer.headers["x-request-id"] == event["requestid"]


async def test_money_takes_the_points_that_are_worth_it_rounded_up(bank: Bank) -> None:
    member = await bank.member(200)
    answer = await bank.redeem(asks(member, money={"amount_minor": 1005, "currency": "SAR"}))
    body = answer.json()
    assert body["redeemed"] == {"points": 101, "money": {"amount_minor": 1005, "currency": "SAR"}}
    assert body["balance"]["available"] == worth(99)


async def test_lots_are_spent_oldest_earned_first_and_named(bank: Bank) -> None:
    member = await bank.member()
    january, march = AT - timedelta(days=90), AT - timedelta(days=30)
    newer, older = accrued(member.wallet_id, 150, at=march), accrued(member.wallet_id, 100, at=january)
    await bank.hear(newer, older)
    await bank.redeem(asks(member, points=120))
    spent = [(line["lot_id"], line["points"]) for line in await bank.lines(member.wallet_id)][2:]
    assert spent == [(older.lots[0].lot_id, 100), (newer.lots[0].lot_id, 20)]
    left = await bank.auditor.fetch(
        "SELECT lot_id, remaining FROM redeem.lots WHERE wallet_id = $1 ORDER BY earned_at", member.wallet_id
    )
    assert [tuple(row) for row in left] == [(older.lots[0].lot_id, 0), (newer.lots[0].lot_id, 130)]


async def test_expired_lots_are_expired_on_touch_told_and_never_spent(bank: Bank) -> None:
    member = await bank.member()
    gone = datetime.now(UTC) - timedelta(seconds=1)
    dead, alive = (
        accrued(member.wallet_id, 100, expires_at=gone),
        accrued(member.wallet_id, 50, at=AT + timedelta(1)),
    )
    await bank.hear(dead, alive)
    answer = await bank.redeem(asks(member, points=60))
    assert_problem(answer, 409, "insufficient_points")
    assert (await bank.wallet(member.wallet_id))["expired"] == 0, "a refusal leaves nothing behind"

    answer = await bank.redeem(asks(member, points=50))
    assert answer.json()["balance"]["available"] == NOTHING
    lines = await bank.lines(member.wallet_id)
    assert [(line["kind"], line["points"], line["effective_at"]) for line in lines[2:3]] == [
        ("expire", 100, gone)
    ]
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["expired"], wallet["redeemed"], wallet["seq"]) == (0, 100, 50, 4)
    told = await bank.told(member.wallet_id)
    assert [event["type"] for event in told[2:]] == ["points.expired.v1", "points.redeemed.v1"]
    assert told[2]["data"]["expired"] == worth(100)


async def test_not_enough_points_is_said_with_what_there_is(bank: Bank) -> None:
    member = await bank.member(1250)
    problem = assert_problem(await bank.redeem(asks(member, points=5000)), 409, "insufficient_points")
    assert (
        problem["detail"] == "The wallet has 1250 available points; 5000 were asked. Ask for 1250 or fewer."
    )
    assert problem["errors"] == [
        {
            "pointer": "/points",
            "code": "insufficient_points",
            "detail": "5000 is more than the 1250 available.",
        }
    ]


async def test_a_repeat_gets_the_first_answer_and_spends_nothing(bank: Bank) -> None:
    member, key = await bank.member(100), secrets.token_hex(8)
    first = await bank.redeem(asks(member, points=60), key=key)
    again = await bank.redeem(asks(member, points=60), key=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert_problem(await bank.redeem(asks(member, points=61), key=key), 422, "idempotency_key_reused")
    assert (await bank.wallet(member.wallet_id))["available"] == 40


async def test_a_refusal_is_frozen_under_its_key(bank: Bank) -> None:
    member, key = await bank.member(10), secrets.token_hex(8)
    assert_problem(await bank.redeem(asks(member, points=60), key=key), 409, "insufficient_points")
    await bank.hear(accrued(member.wallet_id, 100))
    again = await bank.redeem(asks(member, points=60), key=key)
    assert_problem(again, 409, "insufficient_points")
    assert again.json()["detail"].startswith("The wallet has 10 available points")


async def test_many_at_once_spend_a_wallet_exactly(bank: Bank) -> None:
    member = await bank.member(*[10] * 10)
    answers = await asyncio.gather(*[bank.redeem(asks(member, points=7)) for _ in range(40)])
    before = "SELECT count(*) FROM redeem.ledger WHERE wallet_id = $1 AND effective_at > posted_at"
    assert await bank.auditor.fetchval(before, member.wallet_id) == 0
    spent = [answer.json() for answer in answers if answer.status_code == 201]
    assert len(spent) == 14
    assert {answer.status_code for answer in answers} == {201, 409}
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["redeemed"]) == (2, 98)
    assert len({body["redemption_id"] for body in spent}) == 14


@pytest.mark.parametrize("kind", ["mobile", "member_id", "card_number", "card_id"])
async def test_every_identity_finds_the_same_wallet(bank: Bank, kind: str) -> None:
    member, card_id = await bank.member(10), uuid7()
    number = with_luhn(f"627015{secrets.randbelow(10**9):09}")
    await bank.hear(
        CardIssued(
            member_id=member.member_id,
            wallet_id=member.wallet_id,
            programme="shops",
            card_id=card_id,
            identities=(bank.identity("card_id", str(card_id)), bank.identity("card_number", number)),
            issued_at=AT,
        )
    )
    value = {
        "mobile": member.mobile,
        "member_id": str(member.member_id),
        "card_number": number,
        "card_id": str(card_id),
    }[kind]
    answer = await bank.redeem({**asks(member, points=1), "member": {kind: value}})
    assert (answer.status_code, answer.json().get("wallet_id")) == (201, str(member.wallet_id))


def with_luhn(digits: str) -> str:
    total = sum(sum(divmod(int(d) * (2 - k % 2), 10)) for k, d in enumerate(reversed(digits)))
    return digits + str(-total % 10)


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"programme": "nowhere"}, 422, "programme_unknown", "/programme"),
        ({"merchant": "nowhere"}, 422, "merchant_unknown", "/merchant"),
        ({"terminal": "T99"}, 422, "terminal_unknown", "/terminal"),
        ({"member": {"mobile": "+966500000000"}}, 422, "member_unknown", "/member"),
        ({"member": {"member_id": "01a1f82f-1e80-7e31-ab64-3c44f7a0ec82"}}, 422, "member_unknown", "/member"),
        ({"member": {}}, 422, "identity_ambiguous", "/member"),
        ({"member": {"mobile": "12"}}, 422, "identity_malformed", "/member/mobile"),
        ({"member": {"card_number": "6270158304941179"}}, 422, "card_check_digit", "/member/card_number"),
        ({"points": 0}, 422, "amount_out_of_range", "/points"),
        ({"points": -5}, 422, "amount_out_of_range", "/points"),
        ({"points": 10**30}, 422, "amount_out_of_range", "/points"),
        ({"points": 1.5}, 422, "field_type", "/points"),
        ({"points": "5"}, 422, "field_type", "/points"),
        ({"points": None}, 422, "field_missing", ""),
        ({"money": {"amount_minor": 1, "currency": "SAR"}}, 422, "field_unknown", ""),
        (
            {"points": None, "money": {"amount_minor": 100, "currency": "USD"}},
            422,
            "currency_mismatch",
            "/money/currency",
        ),
        ({"capture": "never"}, 422, "field_type", "/capture"),
        ({"tip": 1}, 422, "field_unknown", "/tip"),
    ],
)
async def test_bad_input_has_its_code_and_moves_nothing(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    monkeypatch.setattr(api, "PATIENCE_S", 0.0)
    member = await bank.member(100)
    problem = assert_problem(await bank.redeem({**asks(member, points=5), **change}), status, code)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert (await bank.wallet(member.wallet_id))["seq"] == 1


async def test_a_programmes_minimum_and_step_hold(bank: Bank) -> None:
    code = f"p-{secrets.token_hex(4)}"
    rules = {"consumption": "oldest_earned", "minimum_points": 500, "step_points": 100}
    await bank.hear(activated(code, redemption=rules))
    member = await bank.member(1000, programme=code)
    for points in (400, 550):
        body = asks(member, programme=code, points=points)
        assert_problem(await bank.redeem(body), 422, "amount_out_of_range")
    assert (await bank.redeem(asks(member, programme=code, points=600))).status_code == 201


async def test_the_newest_version_of_a_programme_sets_the_terms(bank: Bank) -> None:
    code = f"p-{secrets.token_hex(4)}"
    second = {"consumption": "oldest_earned", "minimum_points": 50, "step_points": 1}
    await bank.hear(activated(code, 2, redemption=second), activated(code, 1))
    member = await bank.member(100, programme=code)
    assert_problem(await bank.redeem(asks(member, programme=code, points=10)), 422, "amount_out_of_range")


async def test_an_older_state_of_a_merchant_never_replaces_a_newer_one(bank: Bank) -> None:
    merchant = f"m-{secrets.token_hex(4)}"
    member = await bank.member(10)
    await bank.hear(MerchantChanged(merchant=merchant, version=2, terminals=("T9",)))
    await bank.hear(MerchantChanged(merchant=merchant, version=1, terminals=("T1",)))
    answer = await bank.redeem({**asks(member, points=1), "merchant": merchant, "terminal": "T9"})
    assert answer.status_code == 201


async def test_a_blocked_wallet_earns_but_does_not_spend(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    member = await bank.member(100)
    # Nothing of redeem's blocks a wallet yet, and so it has no right to.
    owner = await asyncpg.connect(settings.postgres_dsn, database=tenant.database)
    await owner.execute("UPDATE redeem.wallets SET status = 'blocked' WHERE wallet_id = $1", member.wallet_id)
    await owner.close()
    assert_problem(await bank.redeem(asks(member, points=1)), 409, "wallet_blocked")
    await bank.hear(accrued(member.wallet_id, 5))
    assert (await bank.wallet(member.wallet_id))["available"] == 105


async def test_a_member_who_is_told_of_while_the_till_waits_is_served(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PATIENCE_S", PATIENCE_S)
    card, member = await bank.member(10), await bank.member(10)
    late = f"+9665{secrets.randbelow(10**8):08}"
    waiting = asyncio.create_task(bank.redeem({**asks(member, points=1), "member": {"mobile": late}}))
    await asyncio.sleep(0.2)
    await bank.hear(
        CardIssued(
            member_id=card.member_id,
            wallet_id=card.wallet_id,
            programme="shops",
            card_id=uuid7(),
            identities=(bank.identity("mobile", late),),
            issued_at=AT,
        )
    )
    answer = await waiting
    assert (answer.status_code, answer.json().get("wallet_id")) == (201, str(card.wallet_id))


async def test_an_unknown_member_is_refused_for_good_after_the_wait(bank: Bank) -> None:
    member, key = await bank.member(10), secrets.token_hex(8)
    body = {**asks(member, points=1), "member": {"mobile": "+966500000001"}}
    began = time.monotonic()
    assert_problem(await bank.redeem(body, key=key), 422, "member_unknown")
    waited = time.monotonic() - began
    again = await bank.redeem(body, key=key)
    assert_problem(again, 422, "member_unknown")
    assert again.headers["idempotent-replayed"] == "true"
    assert waited >= api.PATIENCE_S


async def test_a_token_of_a_merchant_spends_there_only(bank: Bank) -> None:
    member = await bank.member(10)
    answer = await bank.redeem(asks(member, points=1), merchant="other-mall")
    assert_problem(answer, 403, "scope_missing")
    assert (await bank.redeem(asks(member, points=1), merchant="riyadh-mall")).status_code == 201


@pytest.mark.parametrize("consumption", ["oldest_earned", "earliest_expiry"])
async def test_a_wallet_of_many_lots_is_spent_in_order(bank: Bank, consumption: str) -> None:
    # More than come with the wallet at once: the others are asked for.
    wallet_id, soon = uuid7(), datetime(2040, 1, 1, tzinfo=UTC)
    count = MOST_LOTS + 50
    gone = datetime.now(UTC) - timedelta(seconds=1)
    last = AT + timedelta(days=1)
    await bank.hear(
        *[accrued(wallet_id, 10, at=AT + timedelta(seconds=n)) for n in range(count)],
        accrued(wallet_id, 7, at=last, expires_at=gone),
        accrued(wallet_id, 5, at=last, expires_at=soon),
    )
    async with bank.runtime.read() as db, db.transaction():
        asked = [meeting.Asked("nowhere", uuid7(), None, None, "riyadh-mall", None)]
        parties, wallets, lacking = await meeting.meet(db, asked, [wallet_id], now=gone)
        assert (parties[0].wallet_id, wallets[wallet_id].lots, lacking) == (None, [], set())
        await postings.load_lots(db, wallets, [(wallet_id, 25, consumption)], datetime.now(UTC))
    order = consumption_order(consumption)
    lots = sorted(wallets[wallet_id].lots, key=order)
    expected = {"oldest_earned": [10, 10, 10, 7], "earliest_expiry": [7, 5, 10, 10]}
    assert [lot.points for lot in lots] == expected[consumption]
    assert [lot.earned_at for lot in lots if lot.points == 10] == [
        AT + timedelta(seconds=n) for n in range(expected[consumption].count(10))
    ]


async def test_a_batch_reads_of_many_lots_what_it_spends(bank: Bank) -> None:
    member = await bank.member(*[10] * (MOST_LOTS + 50))
    gone, last = datetime.now(UTC) - timedelta(seconds=1), AT + timedelta(days=1)
    await bank.hear(accrued(member.wallet_id, 7, at=last, expires_at=gone))
    asked = [meeting.Asked("shops", member.member_id, None, None, "riyadh-mall", None)] * 3

    async def met(*needed: int | None) -> tuple[list[int], bool]:
        async with bank.runtime.read() as db, db.transaction():
            _, wallets, lacking = await meeting.meet(db, asked, (), now=gone, needed=needed)
        lots = wallets[member.wallet_id].lots
        return [lot.points for lot in sorted(lots, key=consumption_order("oldest_earned"))], bool(lacking)

    assert await met(15, 30, 5) == (
        [10] * 5 + [7],
        False,
    )  # what has expired is behind them all, and comes too
    assert (await met(10 * MOST_LOTS, 30, 5))[1]
    assert (await met(15, None, 5))[1]

    answers = [await bank.redeem(asks(member, points=15))]
    answers += await asyncio.gather(*[bank.redeem(asks(member, points=points)) for points in (15, 30, 5)])
    assert [answer.status_code for answer in answers] == [201] * 4
    lines = [line for line in await bank.lines(member.wallet_id) if line["kind"] != "earn"]
    assert [(line["kind"], line["points"]) for line in lines[:2]] == [("expire", 7), ("redeem", 10)]
    open_lots = await bank.auditor.fetch(
        "SELECT remaining FROM redeem.lots WHERE wallet_id = $1 AND open ORDER BY earned_at, lot_id",
        member.wallet_id,
    )
    assert [row["remaining"] for row in open_lots] == [5] + [10] * (MOST_LOTS + 43)


async def test_lots_come_anew_where_a_version_changes_their_order(bank: Bank) -> None:
    code, soon = f"p-{secrets.token_hex(4)}", datetime(2040, 1, 1, tzinfo=UTC)

    def rules(consumption: str) -> dict[str, Any]:
        return {"consumption": consumption, "minimum_points": 1, "step_points": 1}

    await bank.hear(activated(code, 1, redemption=rules("oldest_earned")))
    member = await bank.member(10, programme=code)
    await bank.hear(accrued(member.wallet_id, 10, at=AT + timedelta(days=1), expires_at=soon, programme=code))
    assert (await bank.redeem(asks(member, programme=code, points=1))).status_code == 201
    await bank.hear(activated(code, 2, redemption=rules("earliest_expiry")))
    assert (await bank.redeem(asks(member, programme=code, points=4))).status_code == 201
    assert [line["available_after"] for line in await bank.lines(member.wallet_id)] == [10, 20, 19, 15]
    open_lots = await bank.auditor.fetch(
        "SELECT remaining FROM redeem.lots WHERE wallet_id = $1 AND open ORDER BY earned_at", member.wallet_id
    )
    assert [row["remaining"] for row in open_lots] == [9, 6]


async def test_a_member_with_many_lots_spends_them_all(bank: Bank) -> None:
    count = MOST_LOTS + 20
    member = await bank.member(*[3] * count)
    assert_problem(await bank.redeem(asks(member, points=3 * count + 1)), 409, "insufficient_points")
    first = await bank.redeem(asks(member, points=4))
    rest = await bank.redeem(asks(member, points=3 * count - 4))
    assert (first.status_code, rest.status_code) == (201, 201)
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["redeemed"]) == (0, 3 * count)


async def test_accruals_and_redemptions_of_one_batch_count_in_their_order(bank: Bank) -> None:
    member = await bank.member(10)

    def redemption(points: int) -> Item[Redeem]:
        return Item(
            Redeem(
                programme="shops",
                member_id=member.member_id,
                identity_kind=None,
                identity_hash=None,
                points=points,
                money=None,
                merchant="riyadh-mall",
                terminal=None,
                cashier=None,
                channel=None,
                bill_ref=None,
            ),
            FromJob("test"),
            request_id="r",
            actor="test",
        )

    items: list[Item[Any]] = [
        redemption(15),
        heard(accrued(member.wallet_id, 20)),
        redemption(15),
        redemption(16),
        redemption(15),
    ]
    outcomes = await bank.runtime.lane.submit_many(items)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Refused", "Done", "Done", "Refused", "Done"]
    assert [line["points"] for line in await bank.lines(member.wallet_id)] == [10, 20, 10, 5, 15]
    assert (await bank.wallet(member.wallet_id))["available"] == 0


async def test_points_are_counted_by_kind_once_they_are_committed(bank: Bank) -> None:
    before = await counted(bank)
    member = await bank.member(100, 50)
    assert (await bank.redeem(asks(member, points=120))).status_code == 201
    assert (await bank.redeem(asks(member, points=120))).status_code == 409
    assert await counted(bank) - before == Counter(earn=150, redeem=120)


async def counted(bank: Bank) -> Counter[str]:
    """The points that this process says it has posted, by kind: those of tests before are among them."""
    shown = (await bank.client.get("/metrics")).text
    of = f'pointbank_ledger_points_total{{service="redeem",tenant="{bank.code}",kind='
    said = re.findall(re.escape(of) + r'"(\w+)"} ([\d.e+]+)$', shown, re.MULTILINE)
    return Counter({kind: int(float(points)) for kind, points in said})
