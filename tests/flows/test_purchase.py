"""From a purchase to points, a tier, a message and a reply: by stream and by HTTP, in one process and in ten."""

import asyncio
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pointbank.api import Call
from pointbank.generate.shop import MERCHANTS
from pointbank.opening import open_merchants, open_programme
from pointbank.till import BillToOffer
from pointbank.tills import allow_tills
from pointbank.verify import wait_until_settled
from shared.tenants.provision import create_tenant
from tests.support.processes import Fleet
from tests.support.programmes import SHOPS
from tests.support.town import Town, Trade, leave

SOURCE = "/pos/riyadh-mall/T03"


def bill(ref: str, member: dict[str, str] | None, *, amount_minor: int = 60_000) -> dict[str, Any]:
    """Coffee, and a delivery that earns nothing."""
    made: dict[str, Any] = {
        "merchant": "riyadh-mall",
        "terminal": "T03",
        "cashier": "c117",
        "bill_ref": ref,
        "channel": "store",
        "occurred_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "currency": "SAR",
        "total_minor": amount_minor + 1500,
        "lines": [
            {"line_id": "1", "sku": "ARB-250", "categories": ["coffee"], "amount_minor": amount_minor},
            {"line_id": "2", "sku": "DELIVERY", "categories": ["service-fee"], "amount_minor": 1500},
        ],
    }
    return made if member is None else {**made, "member": member}


def offer(body: dict[str, Any]) -> BillToOffer:
    return BillToOffer(SOURCE, body["bill_ref"], msgspec.json.encode(body), "2026-11-22T08:31:04Z")


def worth(points: int) -> dict[str, Any]:
    return {"points": points, "money": {"amount_minor": points * 10, "currency": "SAR"}}


async def buy(trade: Trade, body: dict[str, Any], way: str) -> tuple[str, int, str]:
    """(status, points, bill_id) as the till is told."""
    if way == "HTTP":
        answer = await trade.api.call("POST", "/v1/bills", body, key=body["bill_ref"], role="till")
        [accrual] = answer["accruals"]
        return answer["status"], accrual["available"]["points"], answer["bill_id"]
    await trade.till.offer([offer(body)])
    await trade.till.wait(timeout_s=30)
    told = trade.till.answer_to(SOURCE, body["bill_ref"])
    assert told is not None
    assert told.bill_id is not None
    return told.status, told.points, told.bill_id


@pytest.mark.parametrize("way", ["stream", "HTTP"])
async def test_a_purchase_becomes_points_a_tier_and_messages(town: Town, way: str) -> None:
    async with town.open() as trade:  # its journal witnesses for whoever verifies this town next
        api = trade.api
        member = await api.call(
            "POST",
            "/v1/members",
            {
                "email": f"noor-{way.lower()}@example.com",
                "locale": "ar",
                "channel": "store",
                "consent": {
                    "accepted": True,
                    "terms_version": "2026-01",
                    "accepted_at": "2026-11-20T09:00:00Z",
                },
            },
            key=f"enrol-noor-{way}",
            role="crm",
        )
        [wallet] = member["wallets"]
        wallet_id, card = wallet["wallet_id"], {"card_number": wallet["card"]["card_number"]}
        await town.settled()  # or a bill that comes first would wait for the member

        status, points, bill_id = await buy(trade, bill(f"{way}-1", card), way)
        assert (status, points) == ("earned", 600)  # 600.00; the delivery is skipped
        await town.settled()
        standing = await api.call("GET", f"/v1/tiers/{wallet_id}")
        assert standing["tier"]["code"] == "silver"
        assert standing["numbers"]["points"] == 600
        assert standing["next"]["missing"] == {"points": 400}

        status, points, _ = await buy(trade, bill(f"{way}-2", card, amount_minor=10_000), way)
        assert (status, points) == ("earned", 110)  # 100.00 at silver's 1.1
        paid = await api.call(
            "POST",
            "/v1/redemptions",
            {
                "programme": "shops",
                "member": card,
                "points": 300,
                "merchant": "riyadh-mall",
                "terminal": "T03",
            },
            key=f"pay-{way}",
            role="till",
        )
        assert paid["redeemed"] == worth(300)
        await town.settled()
        balance = await api.call("GET", f"/v1/wallets/{wallet_id}/balance", role="till")
        assert balance["available"] == worth(410)
        basket = {
            name: value for name, value in bill("", card).items() if name not in {"bill_ref", "cashier"}
        }
        quoted = (await api.call("POST", "/v1/quotes", basket, role="till"))["accruals"][0]
        assert quoted["redeemable_unknown"] is None
        could = quoted["redeemable"]
        assert (could["most"], could["available"]) == (worth(410), worth(410))
        assert [one["code"] for one in could["bounds"]] == ["insufficient_points"]
        ledger = await api.call("GET", f"/v1/wallets/{wallet_id}/ledger", role="till")
        lines = [(line["seq"], line["kind"], line["points"]) for line in ledger["items"]]
        assert sorted(lines) in (
            [(1, "earn", 600), (2, "earn", 110), (3, "redeem", 300)],
            [
                (1, "earn", 600),
                (2, "redeem", 300),
                (3, "earn", 110),
            ],  # the accrual is an event: it may arrive later
        )
        why = await api.call("GET", f"/v1/bills/{bill_id}/why", role="support")
        [judgement] = why["judgements"]
        assert judgement["status"] == "earned"
        assert any("600" in said for said in judgement["words"]), judgement["words"]
        messages = await api.call("GET", f"/v1/messages?wallet_id={wallet_id}", role="support")
        told = sorted((one["template"], one["locale"], one["state"]) for one in messages["items"])
        assert told == [("earned", "ar", "delivered")] * 2 + [("reached", "ar", "delivered")]


async def test_a_new_tenant_is_served_without_a_restart_and_its_early_bills_wait_for_what_they_lack(
    fleet: Fleet, tmp_path: Path
) -> None:
    before = [replica.pid for replica in fleet.replicas.values()]
    code = f"t{secrets.token_hex(3)}"
    await create_tenant(fleet.settings, code)
    await allow_tills(fleet.settings, code)
    await asyncio.to_thread(fleet.wait_ready, code)
    town = Town(
        fleet.settings, code, tmp_path / "till.jsonl", fleet.base_url, lambda role: fleet.token(role, code)
    )
    email = {"email": "early@example.com"}
    enrolment = {
        **email,
        "locale": "en",
        "channel": "app",
        "consent": {"accepted": True, "terms_version": "2026-01", "accepted_at": "2026-11-20T09:00:00Z"},
    }
    async with town.open(patience_s=5) as trade:
        till, api = trade.till, trade.api

        async def status(ref: str) -> str | None:
            await till.wait(timeout_s=20)
            told = till.answer_to(SOURCE, ref)
            return told.status if told else None

        # Nothing is known of this tenant yet.
        await till.offer([offer(bill("before-programme", email))])
        assert await status("before-programme") == "waiting"
        await open_programme(api, SHOPS)
        await till.offer([offer(bill("before-merchant", email))])
        assert await status("before-merchant") == "waiting"
        await open_merchants(api, MERCHANTS)
        await till.offer([offer(bill("before-member", email))])
        call = Call("POST", "/v1/bills", bill("by-http", email), key="k", role="till")
        posted = await trade.call(call)
        assert (posted.status, posted.json()["status"]) == (202, "waiting")
        assert await status("before-member") == "waiting"
        assert till.waiting == 3

        await api.call("POST", "/v1/members", enrolment, key="enrol", role="crm")
        await till.wait(settled=True, timeout_s=30)
        answers = [till.answer_to(SOURCE, f"before-{what}") for what in ("programme", "merchant", "member")]
        assert [(one.event, one.status, one.points) for one in answers if one] == [
            ("bill.settled.v1", "earned", 600)
        ] * 3
        again = await trade.call(call)
        assert again.body == posted.body  # the key's answer is the first one; the bill itself has gone on
        found = await api.call("GET", "/v1/bills?merchant=riyadh-mall&bill_ref=by-http", role="support")
        assert (found["status"], found["accruals"][0]["available"]) == ("earned", worth(600))
    await wait_until_settled(fleet.settings, code, journal=town.journal, timeout_s=30)
    assert (await town.books()).earned == 4 * 600
    await leave(town)
    assert [replica.pid for replica in fleet.replicas.values()] == before
