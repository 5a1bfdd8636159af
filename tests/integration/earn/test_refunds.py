"""Refunds: recorded once by whatever way, one at a time for each bill, closed by what the bank answers."""

import asyncio
import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.earn.handlers import AskAgain
from services.earn.jobs.refunding import keep_refunds_going
from services.earn.store import refunds as store
from shared.clock import real_clock
from shared.config import Settings
from shared.db import connect
from shared.events import Balance, EventData, PointsReturned, PointsReversed, ReversalRefused
from shared.ids import uuid7
from shared.messaging import Done
from shared.money import worth
from tests.integration.earn.conftest import Member, Shop, bill, somebody
from tests.support.facts import AT, activated
from tests.support.patience import PATIENCE_S
from tests.support.skew import clock_off

pytestmark = pytest.mark.asyncio(loop_scope="module")


def points(number: int) -> Any:
    return worth(number, "0.10", "SAR")


NOTHING = Balance(available=points(0), held=points(0), reserved=points(0))


def refund(of: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A refund of half of what the first line came to."""
    made = {
        "bill": {"merchant": of["merchant"], "bill_ref": of["bill_ref"]},
        "refund_ref": f"RM-T01-{secrets.token_hex(6)}",
        "occurred_at": "2026-11-22T12:00:00+03:00",
        "merchant": of["merchant"],
        "terminal": "T01",
        "channel": "store",
        "currency": "SAR",
        "lines": [{"line_id": "1", "amount_minor": 4500}],
    }
    made.update(more)
    if "amount_minor" in more or "all" in more:
        del made["lines"]
    return made


class Bank:
    """Answers what earn asks, as the bank would: `spent` of each accrual is not there any more; or all of it is `held`."""

    def __init__(self, shop: Shop, spent: int = 0, *, held: bool = False) -> None:
        self.shop, self.spent, self.held = shop, spent, held
        self.taken: dict[str, int] = {}
        self.points: dict[str, int] = {}
        self.seen: set[str] = set()

    async def asked(self, bill_id: str) -> list[dict[str, Any]]:
        """The requests about the bill, each once, in order."""
        found = []
        for event in await self.shop.told(bill_id):
            if event["type"] == "points.accrued.v1":
                self.points[event["data"]["accrual_id"]] = event["data"]["points"]
            if event["type"].endswith("_requested.v1") and event["data"]["request_id"] not in self.seen:
                found.append(event["data"])
        return found

    def answer(self, asked: dict[str, Any]) -> EventData:
        self.seen.add(asked["request_id"])
        common: dict[str, Any] = {
            "request_id": UUID(asked["request_id"]),
            "refund_id": UUID(asked["refund_id"]) if asked["refund_id"] else None,
        }
        if "returned_minor" in asked:
            return PointsReturned(
                posting_id=None, redemption_id=None, wallet_id=None, member_id=None, programme=None,
                effective_at=AT, posted_at=None, returned=None, lots=(), balance=None, **common,
            )  # fmt: skip
        accrual, had = asked["accrual_id"], self.taken.get(asked["accrual_id"], 0)
        wanted, left = (
            max(asked["reverse_through"] - had, 0),
            self.points[asked["accrual_id"]] - self.spent - had,
        )
        common |= {
            "bill_id": UUID(asked["bill_id"]), "accrual_id": UUID(accrual), "wallet_id": UUID(asked["wallet_id"]),
            "member_id": uuid7(), "programme": asked["programme"],
        }  # fmt: skip
        if wanted > left and asked["on_spent"] == "block":
            return ReversalRefused(
                code="points_spent", detail="They are spent.", shortfall=points(wanted - left), **common
            )
        moved = min(wanted, left)
        self.taken[accrual] = had + moved
        return PointsReversed(
            posting_id=uuid7(), effective_at=AT, posted_at=AT, reversed=points(0 if self.held else moved),
            hold_cancelled=points(moved if self.held else 0),
            owed=points(0), shortfall=points(wanted - moved), reversed_through=had + moved, lots=(), balance=NOTHING,
            **common,
        )  # fmt: skip

    async def serve(self, bill_id: str) -> list[dict[str, Any]]:
        """Answers all that is asked about the bill, and what is asked then."""
        served: list[dict[str, Any]] = []
        while asked := await self.asked(bill_id):
            await self.shop.hear(*[self.answer(one) for one in asked])
            served += asked
        return served


async def sale(shop: Shop, **more: Any) -> tuple[dict[str, Any], str, Member]:
    member = await shop.member()
    body = bill(member, **more)
    answer = await shop.post(body)
    assert answer.status_code == 201
    return body, answer.json()["bill_id"], member


async def post(
    shop: Shop, body: Any, *, bill_id: str = "", prefer: str = "", key: str | None = None
) -> httpx.Response:
    path = f"/v1/bills/{bill_id}/refunds" if bill_id else "/v1/refunds"
    headers = shop.headers("till", key) | ({"Prefer": prefer} if prefer else {})
    return await shop.client.post(path, json=body, headers=headers)


async def stands(shop: Shop, refund_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await shop.get(f"/v1/refunds/{refund_id}")).json()
    return found


def event(shop: Shop, body: dict[str, Any], **more: Any) -> bytes:
    return shop.event(body, event_id=body["refund_ref"], type="bill.refunded.v1", **more)


async def test_a_refund_asks_the_bank_and_is_completed_by_its_answers(shop: Shop) -> None:
    body, bill_id, member = await sale(shop)
    answer = await post(shop, refund(body))
    told = answer.json()
    assert (answer.status_code, told["status"], told["refunded_minor"]) == (202, "pending", 4500)
    assert answer.headers["location"] == f"/v1/refunds/{told['refund_id']}"
    bank = Bank(shop)
    reversal, back = await bank.asked(bill_id)
    assert (reversal["reverse_through"], reversal["on_spent"]) == (45, "block")
    assert (back["returned_minor"], back["total_minor"], back["bill_ref"]) == (4500, 10500, body["bill_ref"])
    await shop.hear(bank.answer(reversal))
    assert (await stands(shop, told["refund_id"]))["status"] == "pending"
    await shop.hear(bank.answer(back))
    closed = await stands(shop, told["refund_id"])
    [moved] = closed["reversals"]
    assert closed == {**told, "status": "completed", "reversals": [moved]}
    assert (moved["wallet_id"], moved["reversed"]) == (
        str(member.wallet_id),
        {"points": 45, "money": {"amount_minor": 450, "currency": "SAR"}},
    )
    assert [one["type"] for one in await shop.told(told["refund_id"])] == [
        "refund.recorded.v1",
        "refund.settled.v1",
    ]
    about = await shop.told(bill_id)
    assert [int(one["sequence"]) for one in about] == [1, 2, 3, 4]
    await shop.hear(bank.answer(reversal), bank.answer(back))  # again: nothing more
    assert len(await shop.told(told["refund_id"])) == 2


@pytest.mark.parametrize("hours", [2, -2])
async def test_a_bill_is_refunded_by_its_id_whatever_the_clock_was_of_who_recorded_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    with monkeypatch.context() as wrong:
        clock_off(wrong, timedelta(hours=hours))
        body, bill_id, _ = await sale(shop)
    answer = await post(shop, refund(body, bill=None), bill_id=bill_id)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert [
        one["reverse_through"] for one in await Bank(shop).asked(bill_id) if "reverse_through" in one
    ] == [45]


async def test_one_refund_of_a_bill_is_in_flight_and_the_next_is_computed_from_its_answer(shop: Shop) -> None:
    body, bill_id, _ = await sale(shop)
    bank = Bank(shop, spent=60)
    first, second, third = [
        (await post(shop, refund(body, lines=[{"line_id": "1", "amount_minor": minor}]), bill_id=way)).json()[
            "refund_id"
        ]
        if not way
        else ""
        for minor, way in ((2000, ""), (5000, ""), (1000, ""))
    ]
    assert len(await bank.asked(bill_id)) == 2  # of the first alone
    served = await bank.serve(bill_id)
    # The second would need 70 of 90, and 60 are spent: refused, and so not counted for the third.
    assert [one["reverse_through"] for one in served if "reverse_through" in one] == [20, 70, 30]
    assert [one["returned_minor"] for one in served if "returned_minor" in one] == [2000, 7000, 8000]
    stand = [await stands(shop, one) for one in (first, second, third)]
    assert [(one["status"], one.get("code")) for one in stand] == [
        ("completed", None),
        ("refused", "points_spent"),
        ("completed", None),
    ]
    sequences = [int(one["sequence"]) for one in await shop.told(bill_id)]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_a_call_that_prefers_to_wait_is_answered_by_the_row(shop: Shop) -> None:
    body, bill_id, _ = await sale(shop)
    bank = Bank(shop)

    async def bank_answers() -> None:
        while not await bank.serve(bill_id):
            await asyncio.sleep(0.01)

    asked = {name: value for name, value in refund(body, all=True).items() if name != "bill"}
    answer, _ = await asyncio.gather(post(shop, asked, bill_id=bill_id, prefer="wait=5"), bank_answers())
    assert (answer.status_code, answer.json()["status"]) == (201, "completed")
    assert answer.json()["reversals"][0]["reversed"]["points"] == 90
    assert answer.headers["preference-applied"] == "wait=5"
    late = await post(shop, refund((await sale(shop))[0]), prefer="wait=0")
    assert late.status_code == 202


async def test_a_refund_by_stream_gets_its_replies_and_a_repeat_the_last_one_again(shop: Shop) -> None:
    body, bill_id, _ = await sale(shop)
    asked = refund(body, amount_minor=10500)
    assert await shop.offer(event(shop, asked), event(shop, asked)) == [Done(), Done(replayed=True)]
    before = len(await shop.replies())
    bank = Bank(shop)
    await bank.serve(bill_id)
    refund_id = str(
        await shop.auditor.fetchval(
            "SELECT refund_id::text FROM earn.refund_keys WHERE refund_ref = $1", asked["refund_ref"]
        )
    )
    recorded, settled = await shop.told(refund_id)
    assert (recorded["data"]["event_id"], recorded["data"]["status"]) == (asked["refund_ref"], "pending")
    assert settled["data"]["status"] == "completed"
    assert await shop.offer(event(shop, asked)) == [Done(replayed=True)]
    again = (await shop.replies())[before:]
    assert [(one["type"], one["id"], one["data"]) for one in again] == [
        (settled["type"], settled["id"], settled["data"])
    ]
    by_http = await post(shop, asked)
    assert (by_http.status_code, by_http.json()["status"]) == (200, "completed")
    other = await post(shop, {**asked, "amount_minor": 1})
    assert (other.status_code, other.json()["code"]) == (409, "refund_conflict")
    assert await shop.code_of(
        event(shop, refund(body, amount_minor=1) | {"refund_ref": asked["refund_ref"]})
    ) in {
        "id_reused",
        "refund_conflict",
    }


async def test_a_refund_that_comes_before_its_bill_waits_and_is_begun_when_the_bill_is_judged(
    shop: Shop,
) -> None:
    member = somebody()
    body = bill(member)
    answer = await post(shop, refund(body, all=True))
    told = answer.json()
    assert (answer.status_code, told["status"], told["bill_id"]) == (202, "waiting_for_bill", None)
    too_much = (await post(shop, refund(body, amount_minor=10501))).json()["refund_id"]
    bill_id = (await shop.post(body)).json()["bill_id"]  # which waits for its member
    await asyncio.sleep(0.7)
    assert (await stands(shop, told["refund_id"]))["status"] == "waiting_for_bill"
    await shop.hear(shop.enrolment(member))
    bank = Bank(shop)
    async with asyncio.timeout(PATIENCE_S):
        while (await stands(shop, told["refund_id"]))["status"] != "completed":
            await bank.serve(bill_id)
            await asyncio.sleep(0.02)
    assert sum(bank.taken.values()) == 90
    refused = await stands(shop, too_much)  # it was answered: it can't be rejected any more
    assert (refused["status"], refused["code"]) == ("refused", "refund_exceeds_bill")


async def test_what_the_bill_does_not_have_is_refused_frozen_and_nothing_moves(shop: Shop) -> None:
    body, bill_id, _ = await sale(shop)
    before = [await shop.count(table) for table in ("refunds", "refund_keys", "refund_requests", "sagas")]
    by_id = {name: value for name, value in refund(body).items() if name != "bill"}
    tries = [
        (refund(body, amount_minor=10501), "", 409, "refund_exceeds_bill"),
        (refund(body, lines=[{"line_id": "9"}]), "", 422, "line_unknown"),
        (refund(body, currency="KWD"), "", 422, "currency_mismatch"),
        (refund(body, merchant="dubai-mall"), "", 422, "merchant_mismatch"),
        ({**by_id, "merchant": "dubai-mall"}, bill_id, 422, "merchant_mismatch"),
        (by_id, str(uuid7()), 404, "not_found"),
        (refund(body, occurred_at="2027-01-01T00:00:00Z"), "", 422, "occurred_in_future"),
        (refund(body, occurred_at="0001-01-01T00:00:00Z"), "", 422, "occurred_too_early"),
        (refund(body, occurred_at="1969-12-31T23:59:59Z"), "", 422, "occurred_too_early"),
    ]
    for asked, way, status, code in tries:
        key = secrets.token_hex(8)
        first, again = [await post(shop, asked, bill_id=way, key=key) for _ in range(2)]
        assert (first.status_code, first.json()["code"]) == (status, code)
        assert (again.json()["code"], again.headers["idempotent-replayed"]) == (code, "true")
    assert await shop.code_of(event(shop, refund(body, amount_minor=10501))) == "refund_exceeds_bill"
    assert await shop.code_of(event(shop, {**refund(body), "lines": []})) == "field_type"
    assert [
        await shop.count(table) for table in ("refunds", "refund_keys", "refund_requests", "sagas")
    ] == before
    rejected = await shop.told(f"riyadh-mall/{body['bill_ref']}")
    assert [(one["type"], one["data"]["code"]) for one in rejected] == [
        ("bill.rejected.v1", "refund_exceeds_bill"),
        ("bill.rejected.v1", "field_type"),
    ]


async def test_a_line_that_cost_nothing_is_refunded_with_the_others_and_alone(shop: Shop) -> None:
    member = await shop.member()
    lines = [
        {"line_id": "1", "categories": ["coffee"], "amount_minor": 9000},
        {"line_id": "2", "categories": ["cookie"], "amount_minor": 0},
    ]
    body = bill(member, lines=lines, total_minor=9000)
    bill_id = (await shop.post(body)).json()["bill_id"]
    alone = await post(shop, refund(body, lines=[{"line_id": "2"}]))
    assert (alone.status_code, alone.json()["status"], alone.json()["refunded_minor"]) == (
        201,
        "completed",
        0,
    )
    both = (await post(shop, refund(body, lines=[{"line_id": "1"}, {"line_id": "2"}]))).json()
    assert (both["status"], both["refunded_minor"]) == ("pending", 9000)
    bank = Bank(shop)
    await bank.serve(bill_id)
    assert list(bank.taken.values()) == [90]
    again = await post(shop, refund(body, lines=[{"line_id": "1"}, {"line_id": "2"}]))
    assert (again.status_code, again.json()["code"]) == (409, "refund_exceeds_bill")
    assert await shop.code_of(event(shop, refund(body, lines=[{"line_id": "2"}]))) == ""
    assert await shop.code_of(event(shop, refund(body, lines=[{"line_id": "1"}]))) == "refund_exceeds_bill"


async def test_outside_its_window_a_refund_is_recorded_and_moves_nothing(shop: Shop) -> None:
    windowed = {**activated("w").document["earning"], "refund_window_days": 1}
    await shop.hear(activated("windowed", earning=windowed))
    member = await shop.member("windowed")
    body = bill(member)
    bill_id = (await shop.post(body)).json()["bill_id"]
    answer = await post(shop, refund(body, occurred_at="2026-11-20T12:00:00Z"))
    assert answer.json()["status"] == "pending"
    shop.at(datetime.fromisoformat("2026-12-20T12:00:00Z"))
    answer = await post(shop, refund(body, amount_minor=6000, occurred_at="2026-12-20T12:00:00Z"))
    told = answer.json()
    assert (answer.status_code, told["status"], told.get("code")) == (202, "pending", None)
    await Bank(shop).serve(bill_id)
    closed = await stands(shop, told["refund_id"])
    assert (closed["status"], closed["code"], closed["reversals"]) == ("refused", "window_closed", [])
    left = await post(shop, refund(body, amount_minor=1, occurred_at="2026-12-20T12:00:00Z"))
    assert left.json()["code"] == "refund_exceeds_bill"  # its money was given back all the same


async def test_what_the_bank_does_not_answer_is_asked_again_under_the_same_id_and_listed(shop: Shop) -> None:
    body, bill_id, _ = await sale(shop)
    refund_id = (await post(shop, refund(body))).json()["refund_id"]
    bank = Bank(shop)
    first = await bank.asked(bill_id)
    between = real_clock()
    later = between + timedelta(seconds=1)
    await shop.runtime.do(AskAgain(UUID(refund_id), UUID(bill_id), later), job="test")
    async with shop.runtime.read() as db:
        owed = await store.owed_refunds(db, asked_before=between)
        overdue = await store.overdue_refunds(db, asked_before=between)
    # Asked a moment ago, and owed since it was asked first: what an alert must see for as long as there is no answer.
    assert (UUID(refund_id), UUID(bill_id)) not in overdue
    assert owed >= 1
    asked = await bank.asked(bill_id)
    assert sorted(one["request_id"] for one in asked) == sorted([one["request_id"] for one in first] * 2)
    assert all(one in first for one in asked)
    listed = (await shop.get("/v1/refunds", limit=200)).json()["items"]
    [mine] = [one for one in listed if one["refund_id"] == refund_id]
    assert (mine["status"], mine["times"]) == ("pending", 4)
    await bank.serve(bill_id)
    assert (await stands(shop, refund_id))["status"] == "completed"
    async with shop.runtime.read() as db:
        assert await store.owed_refunds(db, asked_before=between) == owed - 1
    listed = (await shop.get("/v1/refunds", limit=200)).json()["items"]
    assert refund_id not in [one["refund_id"] for one in listed]


async def test_when_the_bank_is_asked_again_is_no_matter_of_a_processs_clock(
    shop: Shop, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, bill_id, _ = await sale(shop)
    refund_id = (await post(shop, refund(body))).json()["refund_id"]

    async def times(off: timedelta) -> int:
        """How often it was asked, once the job has had a turn by such a clock."""
        with monkeypatch.context() as wrong:
            clock_off(wrong, off)
            await keep_refunds_going(shop.runtime)
        listed = (await shop.get("/v1/refunds", limit=200)).json()["items"]
        return next(int(one["times"]) for one in listed if one["refund_id"] == refund_id)

    assert await times(timedelta(hours=1)) == 2
    db = await connect(settings.admin_dsn(), database=shop.runtime.tenant.database)
    await db.execute("SET session_replication_role = replica")  # the table is append-only
    await db.execute("UPDATE earn.refund_asks SET asked_at = asked_at - interval '2 minutes'")
    await db.close()
    assert await times(timedelta(hours=-1)) == 4
    await Bank(shop).serve(bill_id)


async def test_a_bill_that_two_redemptions_paid_is_answered_when_both_are_heard(shop: Shop) -> None:
    body, bill_id, member = await sale(shop)
    refund_id = (await post(shop, refund(body, all=True))).json()["refund_id"]
    bank = Bank(shop)
    reversal, back = await bank.asked(bill_id)
    await shop.hear(bank.answer(reversal))

    def returned(number: int) -> PointsReturned:
        return PointsReturned(
            posting_id=uuid7(), request_id=UUID(back["request_id"]), refund_id=UUID(refund_id), redemption_id=uuid7(),
            wallet_id=member.wallet_id, member_id=member.member_id, programme="shops", effective_at=AT, posted_at=AT,
            returned=points(number), lots=(), balance=NOTHING, parts=2,
        )  # fmt: skip

    await shop.hear(returned(30))
    assert (await stands(shop, refund_id))["status"] == "pending"
    await shop.hear(returned(12))
    closed = await stands(shop, refund_id)
    assert (closed["status"], closed["reversals"][0]["returned"]) == (
        "completed",
        {"points": 42, "money": {"amount_minor": 420, "currency": "SAR"}},
    )


async def test_an_anonymous_bill_asks_only_for_what_had_paid_and_many_at_once_never_exceed_the_bill(
    shop: Shop,
) -> None:
    body = bill()
    bill_id = (await shop.post(body)).json()["bill_id"]
    answers = await asyncio.gather(*[post(shop, refund(body, amount_minor=3000)) for _ in range(6)])
    taken = [answer for answer in answers if answer.status_code == 202]
    assert len(taken) == 3
    assert {answer.json()["code"] for answer in answers if answer not in taken} == {"refund_exceeds_bill"}
    served = await Bank(shop).serve(bill_id)
    assert [one["returned_minor"] for one in served] == [3000, 6000, 9000]
