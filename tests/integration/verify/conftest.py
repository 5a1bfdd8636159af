"""A town whose books are whole, and a way to spoil them that leaves them whole."""

from __future__ import annotations

import asyncio
import copy
import itertools
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from dateutil.relativedelta import relativedelta
from redis.asyncio import Redis

from pointbank.api import Call
from pointbank.desk import open_desk
from pointbank.files.segments import move_members
from pointbank.generate import Bill
from pointbank.verify import Report, Trust
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.streams import heads
from pointbank.verify.till.journal import Journal
from pointbank.verify.walks import check_all
from services.redeem.jobs.telling_expiry import tell_of_expiry
from shared.config import Settings
from shared.db import Connection, connect, database_of
from shared.tenants.provision import prepare_control
from tests.support.books import open_books
from tests.support.copies import copy_tenant
from tests.support.gift_cards import GIFTS, sar
from tests.support.processes import ALL, Fleet
from tests.support.programmes import SHOPS
from tests.support.town import Town, Trade, found_town

TREAT = {
    "programme": "shops",
    "kind": "voucher",
    "name": {"en": "A treat"},
    "price": {"points": 9},
    "unit_cost_minor": 5,
}
CAMPAIGN = {
    "code": "treats",
    "starts_at": "2020-01-01T00:00:00Z",
    "ends_at": "2040-01-01T00:00:00Z",
    "effect": {"issue": {"reward": "treat", "value_minor": 100}},
    "when": {"member.bills": {"lt": 30}},
    "budget": {"money_minor": 20_000},
    "member_caps": {"year": 12},
}
PROGRAMME = copy.deepcopy(SHOPS)
PROGRAMME["expiry"] = {
    "policy": "birth_month_end",
    "years": 0,
    "notice_days": [366],
}
PROGRAMME["earning"] |= {
    "campaigns": [CAMPAIGN],
    "acts": [{"code": "survey", "points": 20}],
    "stamp_cards": [{"code": "visits", "count": "visit", "stamps": 3, "reward": "treat"}],
}
PROGRAMME["gift_cards"] = GIFTS


async def _trade(fleet: Fleet) -> Town:
    """Bills, also one of a stranger, redemptions, and an entry that is no bill."""
    # In the coming months: no birthday is told while the tests run.
    month = datetime.now(UTC).date().replace(year=1990, day=1)
    birthdays = [month + relativedelta(months=1 + k % 10) for k in range(20)]
    town = await found_town(
        fleet, "verified", members=20, document=PROGRAMME, birthdays=birthdays, make=copy_tenant
    )
    async with town.open() as trade:
        made = await trade.call(Call("PUT", "/v1/rewards/treat", TREAT, key="reward-0", role="marketer"))
        assert made.status == 201, made.body
        await trade.till.offer([town.offer(bill) for bill in town.bills(200)])
        await trade.till.place(b"not json")
        await trade.till.wait(settled=True, timeout_s=60)
        await town.settled()
        pay = await _sell_gift_card(trade)
        use_id = (await pay("use", amount=sar(600)))["use_id"]
        await _seal(trade, 1)
        for card in town.cards[:5]:
            assert (await trade.call(town.redemption(card, 10))).status in {201, 409}
        ids = [town.cards[0].person.external_id, "nobody"]
        for out in (False, True, False):
            assert await move_members(trade.api, "vip", ids, out=out) == (1, ["nobody"])
        for path, body in (("", PROGRAMME), ("/shops/versions/2/activate", None)):
            answer = await trade.call(Call("POST", f"/v1/programmes{path}", body, f"version{path}"))
            assert answer.status in {200, 201}, answer.body
        assert (await trade.call(town.enrolment())).status == 201
        await _buy_rewards(town, trade)
        await _buy_gift_cards(town, trade)
        await _redeem_later(town, trade)
        await _answer_a_survey(town, trade)
        await _put_right(town, trade)
        for bill in town.bills(200)[:4]:
            await trade.till.offer([town.offer(bill)])
            await trade.till.wait(settled=True, timeout_s=60)
            assert (await trade.call(town.refund(bill, amount_minor=100))).status == 202
            assert (await trade.call(town.refund(bill, all=True))).status == 202
        await _be_refused(town, trade, bill)
        async with open_desk(town.settings, town.tenant) as desk:
            assert await tell_of_expiry(desk) > 0
        await pay(f"uses/{use_id}/refunds", refund_ref="R-1", amount=sar(400))
        await pay("use", amount=sar(300))
        await town.settled()
        await _seal(trade, 2)
        # What was posted last is younger than the last seal.
        statuses = [(await trade.call(town.redemption(card, 1))).status for card in town.cards[5:10]]
        assert statuses[-1] == 201, statuses
    await town.verified()
    return town


async def _be_refused(town: Town, trade: Trade, refunded: Bill) -> None:
    """More points than anybody has, and more money than is left of a bill."""
    for call, code in (
        (town.redemption(town.cards[0], 1_000_000), "insufficient_points"),
        (town.refund(refunded, amount_minor=100), "refund_exceeds_bill"),
    ):
        answer = await trade.call(call)
        assert answer.code == code, answer


async def _redeem_later(town: Town, trade: Trade) -> None:
    """Authorisations that are captured in part, voided and left standing; returns of both kinds of redemption."""
    numbers = itertools.count(1)

    async def call(path: str, body: Any = None) -> Any:
        path = f"/v1/redemptions{path}"
        answer = await trade.call(Call("POST", path, body, key=f"later-{next(numbers)}", role="till"))
        assert answer.status in {200, 201}, answer.body
        return answer.json()["redemption_id"]

    asked = [town.redemption(town.cards[k], 12).body for k in range(4)]
    captured, _, voided, _ = [await call("", {**body, "capture": "later"}) for body in asked]
    at_once = await call("", asked[3])
    await call(f"/{captured}/capture", {"points": 9})
    await call(f"/{voided}/void")
    for redemption_id in (captured, at_once):
        await call(f"/{redemption_id}/returns", {"return_ref": f"R-{redemption_id}", "points": 4})


async def _answer_a_survey(town: Town, trade: Trade) -> None:
    """A member earns by an act, told twice."""
    asked = {
        "act": "survey",
        "act_ref": "S-1",
        "occurred_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "member": {"card_number": town.cards[15].card_number},
    }
    for key, status in (("survey-1", 201), ("survey-2", 200)):
        answer = await trade.call(Call("POST", "/v1/acts", asked, key, "till"))
        assert answer.status == status, answer.body


async def _put_right(town: Town, trade: Trade) -> None:
    """Adjustments by one person and by two, a dispute that is upheld, a wallet and a card that are blocked."""
    numbers = itertools.count(1)

    async def call(path: str, body: Any, role: str = "support") -> Any:
        answer = await trade.call(Call("POST", f"/v1/{path}", body, f"right-{next(numbers)}", role))
        assert answer.status in {200, 201, 202}, answer.body
        return answer.json()

    def asked(*cards: int) -> dict[str, Any]:
        items = [{"wallet_id": str(town.cards[k].wallet_id), "points": 3} for k in cards]
        return {"programme": "shops", "items": items, "reason": "goodwill", "evidence": {"reference": "C"}}

    one = await call("adjustments", asked(11))
    two = await call("adjustments", asked(11, 12))
    await call(f"adjustments/{two['adjustment_id']}/approve", {}, "finance")
    disputed = {"posting_id": one["items"][0]["posting_id"], "points": -1, "reason": "too-much"}
    dispute = await call("disputes", disputed)
    evidence = {"reference": "L-1", "sha256": "0" * 64}
    await call(f"disputes/{dispute['dispute_id']}/uphold", {"evidence": evidence}, "finance")
    await call(f"wallets/{town.cards[13].wallet_id}/block", {"reason": "stolen"})
    member = await trade.call(
        Call(
            "POST", "/v1/members/lookup", {"card_number": town.cards[14].card_number}, None, "crm", told=False
        )
    )
    [wallet] = member.json()["wallets"]
    await call(f"cards/{wallet['card']['card_id']}/block", {"reason": "lost", "replace": True}, "crm")


async def _seal(trade: Trade, no: int) -> None:
    answer = await trade.call(Call("POST", "/v1/ledger/seals", {}, f"seal-{no}", "operator", told=False))
    assert (answer.status, answer.json()["seal"]["no"]) == (201, no)


async def _buy_gift_cards(town: Town, trade: Trade) -> None:
    """Points buy two gift cards: one pays, the other is returned unused."""
    reward = {
        "programme": "shops",
        "kind": "gift_card",
        "name": {"en": "A card"},
        "price": {"points": 5},
        "loads": sar(500),
    }
    made = await trade.call(
        Call("PUT", "/v1/rewards/card", {**reward, "stock": 5, "restock": True}, "reward-2", "marketer")
    )
    assert made.status == 201, made.body
    for k in (16, 17):
        body = {**town.redemption(town.cards[k], 1).body, "reward": "card"}
        del body["points"]
        bought = await trade.call(
            Call("POST", "/v1/redemptions", body, f"card-reward-{k}", "till", told=False)
        )
        assert bought.status == 201, bought.body
        redemption, card = bought.json()["redemption_id"], bought.json()["gift_card"]
        if k == 16:
            shown = {"serial": card["serial"], "pin": card["pin"], "merchant": "riyadh-mall"}
            path, body = "/v1/gift-cards/use", {**shown, "amount": sar(200)}
        else:
            path, body = f"/v1/redemptions/{redemption}/returns", {"return_ref": "CARD-BACK", "all": True}
        done = await trade.call(Call("POST", path, body, f"card-end-{k}", "till", told=False))
        assert done.status == 201, done.body


async def _sell_gift_card(trade: Trade) -> Callable[..., Awaitable[Any]]:
    """A gift card of 10.00, activated; what is given pays with it, or gives back to it."""
    numbers = itertools.count(1)

    async def call(path: str, body: Any, role: str = "till") -> Any:
        key = f"card-{next(numbers)}"
        answer = await trade.call(Call("POST", f"/v1/gift-cards{path}", body, key, role, told=False))
        assert answer.status in {200, 201}, answer.body
        return answer.json()

    [card] = (await call("", {"programme": "shops", "amount": sar(1_000)}, "ecommerce"))["gift_cards"]
    await call("/activate", {"serial": card["serial"], "merchant": "riyadh-mall"})

    async def pay(path: str, **body: Any) -> Any:
        shown = {"serial": card["serial"], "pin": card["pin"], "merchant": "riyadh-mall"}
        return await call(f"/{path}", body if "refund_ref" in body else {**shown, **body})

    return pay


async def _buy_rewards(town: Town, trade: Trade) -> None:
    """A reward with a stock, bought three times and used once."""
    reward = {
        "programme": "shops",
        "kind": "voucher",
        "name": {"en": "A coffee"},
        "price": {"money": {"amount_minor": 35, "currency": "SAR"}},
        "unit_cost_minor": 20,
        "valid_days": 30,
        "limit": {"most": 2, "per": "ever"},
        "stock": 5,
    }
    made = await trade.call(Call("PUT", "/v1/rewards/coffee", reward, key="reward-1", role="marketer"))
    assert made.status == 201, made.body
    codes = []
    for k in range(3):
        body = {**town.redemption(town.cards[k], 1).body, "reward": "coffee"}
        del body["points"]
        bought = await trade.call(Call("POST", "/v1/redemptions", body, key=f"coffee-{k}", role="till"))
        assert bought.status == 201, bought.body
        codes.append(bought.json()["benefit"]["code"])
    merchant = town.redemption(town.cards[0], 1).body["merchant"]
    use = {"code": codes[0], "merchant": merchant, "bill_ref": "B-used"}
    used = await trade.call(Call("POST", "/v1/benefits/use", use, key="coffee-use", role="till"))
    assert used.status == 200, used.body


@pytest.fixture(scope="package")
def town(settings: Settings) -> Iterator[Town]:
    """A tenant with bills, points, tiers and messages; nobody serves it any more."""
    folder = Path(tempfile.mkdtemp(prefix="pointbank-verify-"))
    # A directory of its own: the town's services have no business with the session's other tenants.
    own = settings.model_copy(
        update={
            "control_database": f"pointbank_verify_{secrets.token_hex(4)}",
            "seal_folder": folder / "seals",
        }
    )
    exported = {"POINTBANK_SEAL_FOLDER": str(folder / "seals")}
    try:
        asyncio.run(prepare_control(own))
        with Fleet(
            own, folder, services=(ALL,), replicas=1, environment=exported, forked=True
        ).running() as fleet:
            made = asyncio.run(_trade(fleet))
        yield made
    finally:
        shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(town: Town) -> AsyncIterator[Connection]:
    """The town's books, for a module that spoils them many times."""
    db = await open_books(town.settings, town.tenant)
    yield db
    await db.close()


@asynccontextmanager
async def undone(db: Connection) -> AsyncIterator[Connection]:
    """A transaction in which everything can be changed, and that is rolled back."""
    transaction = db.transaction()
    await transaction.start()
    try:
        yield db
    finally:
        await transaction.rollback()


@asynccontextmanager
async def spoilt(town: Town) -> AsyncIterator[Connection]:
    """The same on a connection of its own."""
    db = await open_books(town.settings, town.tenant)
    try:
        async with undone(db):
            yield db
    finally:
        await db.close()


def change(town: Town, sql: str) -> None:
    """Changes the books for good."""

    async def run() -> None:
        db = await connect(town.settings.admin_dsn(), database=database_of(town.tenant))
        try:
            await db.execute(sql)
        finally:
            await db.close()

    asyncio.run(run())


async def report_of(town: Town, db: Connection) -> Report:
    """What the oracle says of the books as this connection sees them."""
    report = Report(town.tenant)
    redis = Redis.from_url(town.settings.redis_url)
    try:
        copies = await heads(redis, town.settings.cell, town.tenant)
        await check_all(
            report,
            Snapshot(db),
            redis,
            copies,
            journal=Journal.now(town.journal, town.tenant),
            progress=lambda _: None,
            trust=Trust.of(town.settings, town.tenant),
        )
    finally:
        await redis.aclose()
    return report
