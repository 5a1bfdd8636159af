"""Points are taken where the programme says, in every way of spending them; and each merchant's day is what its lines say."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any
from uuid import UUID

from pointbank.reports.statements import read_statements
from services.redeem.domain.statement import Statement
from services.redeem.store.sql import statements
from shared.config import Settings
from shared.events import MerchantChanged
from tests.integration.redeem.conftest import Bank, asks
from tests.integration.redeem.test_authorisations import capture, post, void
from tests.integration.redeem.test_returns import give_back
from tests.integration.redeem.test_rewards import put
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import activated
from tests.support.http import assert_problem

RULES = {"consumption": "oldest_earned", "minimum_points": 1, "step_points": 1}
TAKES = [
    {"merchant": "riyadh-mall", "terminals": ["T03"], "categories": ["coffee"], "max_bill_share": "0.5"},
    {"merchant": "kiosk"},
]


async def test_points_are_taken_where_the_programme_says_and_a_day_adds_up_to_its_lines(
    bank: Bank, settings: Settings
) -> None:
    code = f"p-{secrets.token_hex(4)}"
    await bank.hear(
        activated(code, redemption={**RULES, "acceptance": TAKES}),
        MerchantChanged(merchant="kiosk", version=1, terminals=("K1",)),
        MerchantChanged(merchant="closed", version=1, terminals=("C1",)),
    )
    member = await bank.member(5_000, programme=code)
    await put(bank, "mug", programme=code, price={"points": 7})

    def at(merchant: str, terminal: str | None, **more: Any) -> dict[str, Any]:
        return {**asks(member, programme=code, merchant=merchant, **more), "terminal": terminal}

    coffee = {"bill_categories": {"coffee": 2_000, "fuel": 9_000}}
    for body, refusal in (
        (at("closed", "C1", points=10), "points_not_accepted"),
        (at("closed", "C1", reward="mug"), "points_not_accepted"),
        (at("riyadh-mall", "T01", points=10, **coffee), "points_not_accepted"),
        (at("riyadh-mall", None, points=10, **coffee), "points_not_accepted"),
        (at("riyadh-mall", "T03", points=10), "bill_categories_required"),
        (at("riyadh-mall", "T03", points=101, **coffee), "bill_share_exceeded"),
    ):
        status = 422 if refusal == "bill_categories_required" else 409
        assert_problem(await bank.redeem(body), status, refusal)
        if "reward" not in body:
            assert_problem(await bank.redeem({**body, "capture": "later"}), status, refusal)
            said = await post(bank, "redemption-quotes", {k: v for k, v in body.items() if k != "capture"})
            assert said.json()["refusal"]["code"] == refusal

    # A capture, and a code's use, at a terminal that takes none.
    one = (await bank.redeem(at("riyadh-mall", "T03", points=100, capture="later", **coffee))).json()
    assert_problem(await capture(bank, one, {"terminal": "T01"}), 409, "points_not_accepted")
    used = {"code": one["code"], "merchant": "riyadh-mall", "terminal": "T01"}
    assert_problem(await post(bank, "redemption-codes/use", used), 409, "points_not_accepted")
    assert (await capture(bank, one, {"points": 60})).status_code == 200

    # Money that is no whole number of points; a return of it; one that is voided; a reward, which pays for no bill.
    paid = (await bank.redeem(at("kiosk", "K1", money={"amount_minor": 1_005, "currency": "SAR"}))).json()
    assert paid["redeemed"]["points"] == 101
    await bank.redeem(at("kiosk", None, points=30))
    assert (await bank.redeem(at("kiosk", "K1", reward="mug"))).status_code == 201
    await void(bank, (await bank.redeem(at("kiosk", "K1", points=5, capture="later"))).json())
    half = {"money": {"amount_minor": 502, "currency": "SAR"}}
    assert (await give_back(bank, paid["redemption_id"], **half)).status_code == 201
    assert (await give_back(bank, one["redemption_id"], points=10)).status_code == 201

    today = (datetime.now(UTC) + timedelta(hours=3)).date()

    async def asked(merchant: str, **query: Any) -> Any:
        answer = await bank.client.get(
            f"/v1/merchants/{merchant}/statements",
            params={"day": str(today), "programme": code, **query},
            headers=bank.headers("finance"),
        )
        assert answer.status_code == 200, answer.text
        [found] = answer.json()["items"]
        return found

    kiosk, mall, closed = await asked("kiosk"), await asked("riyadh-mall"), await asked("closed")
    terminals = {of["terminal"]: of["figures"] for of in kiosk["terminals"]}
    assert terminals[None]["accepted"] == {"points": 30, "money": {"amount_minor": 300, "currency": "SAR"}}
    back = terminals["K1"]["returned"]["points"]
    assert terminals["K1"]["captured"] == {"points": 101, "money": {"amount_minor": 1_005, "currency": "SAR"}}
    assert terminals["K1"]["returned"]["money"]["amount_minor"] == 502
    assert terminals["K1"]["rewards"]["points"] == 7
    assert kiosk["total"]["accepted"]["money"]["amount_minor"] == 1_005 + 300 - 502
    assert (mall["total"]["captured"]["points"], mall["total"]["returned"]["points"]) == (60, 10)
    assert (mall["settled"], mall["total"]["captures"], mall["total"]["returns"]) == (False, 1, 1)
    assert (closed["terminals"], closed["total"]["accepted"]["points"]) == ([], 0)
    # The same from the ledger's own lines.
    lines = await bank.lines(member.wallet_id)
    moved = sum(
        line["points"] if line["kind"] == "redeem" else -line["points"]
        for line in lines
        if line["kind"] in {"redeem", "return"}
    )
    assert kiosk["total"]["accepted"]["points"] == 131 - back
    assert moved == sum(
        one["total"]["accepted"]["points"] + one["total"]["rewards"]["points"] for one in (kiosk, mall)
    )
    # The command line says the same, of all merchants.
    found = await read_statements(settings, bank.code, merchant=None, programme=code, day=today)
    assert [_accepted(one) for one in found] == [
        ("kiosk", 131 - back, 803),
        ("riyadh-mall", 50, 500),
    ]
    assert (
        await read_statements(
            settings, bank.code, merchant=None, programme=code, day=today - timedelta(days=1)
        )
        == []
    )

    # Whose statement it is.
    for role, token, status in (("finance", {"merchant": "kiosk"}, 403), ("marketer", {}, 403)):
        answer = await bank.client.get(
            "/v1/merchants/riyadh-mall/statements", headers=bank.headers(role, **token)
        )
        assert answer.status_code == status
    answer = await bank.client.get("/v1/merchants/nowhere/statements", headers=bank.headers("finance"))
    assert_problem(answer, 404, "not_found")

    names = frozenset({"redemptions:accepted", "redemptions:recorded", "redemptions", "redemptions:kept"})
    some = UUID(paid["redemption_id"])
    await assert_whole_until_spoilt(
        settings,
        bank.code,
        names,
        {
            "points that were taken at a terminal that takes none": (
                f"UPDATE redeem.redemptions SET terminal = 'T01' WHERE programme = '{code}' AND merchant = 'riyadh-mall'",
                {"redemptions:accepted"},
            ),
            "points that were taken where nobody takes any": (
                f"UPDATE redeem.redemptions SET merchant = 'closed' WHERE redemption_id = '{some}'",
                {"redemptions:accepted"},
            ),
            "a redemption on another day": (
                f"UPDATE redeem.redemptions SET recorded_at = recorded_at - interval '1 day' WHERE redemption_id = '{some}'",
                {"redemptions:recorded"},
            ),
            "a capture on another day": (
                "UPDATE redeem.reservations SET settled_at = settled_at + interval '1 day' WHERE ended = 'captured'",
                {"redemptions:recorded"},
            ),
            "a return on another day": (
                "UPDATE redeem.returns SET recorded_at = recorded_at + interval '1 day'",
                {"redemptions:recorded"},
            ),
        },
    )


async def test_what_was_spent_at_once_is_captured_whatever_a_capture_says(bank: Bank) -> None:
    code = f"p-{secrets.token_hex(4)}"
    await bank.hear(activated(code, redemption={**RULES, "acceptance": TAKES}))
    member = await bank.member(100, programme=code)
    said = {"points": 10, "bill_ref": "B-1", "bill_categories": {"coffee": 2_000}}
    spent = (await bank.redeem(asks(member, programme=code, **said))).json()
    for body in ({"terminal": "T01"}, {"bill_ref": "B-2"}, {}):
        assert_problem(await capture(bank, spent, body), 409, "redemption_captured")


async def test_a_day_is_found_by_when_its_rows_were_written_and_not_by_reading_the_years(bank: Bank) -> None:
    query = statements.texts()["statement"]
    async with bank.runtime.pool.acquire() as db, db.transaction(readonly=True):
        await db.execute("SET LOCAL enable_seqscan = off")
        day = datetime(2026, 3, 1, tzinfo=UTC)
        # Of the parameters two are texts, two are moments: each by its place in the query.
        given = {"merchant": None, "programme": "shops", "since": day, "until": day + timedelta(days=1)}
        names = sorted(given, key=_first)
        rows = await db.fetch(f"EXPLAIN {query}", *[given[name] for name in names])
    plan = "\n".join(row[0] for row in rows)
    for index in ("redemptions_recorded", "reservations_settled", "returns_recorded"):
        assert f"Bitmap Index Scan on {index}" in plan, plan


def _first(name: str) -> int:
    text = resources.files("services.redeem.store").joinpath("statements.sql").read_text(encoding="utf-8")
    return text[text.index("-- name: statement\n") :].index(f":{name}")


def _accepted(one: Statement) -> tuple[str, int, int]:
    return one.merchant, one.total.accepted.points, one.total.accepted.money.amount_minor
