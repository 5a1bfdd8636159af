"""From a refund to points taken back, a tier that is lost, and books that hold: by stream and by HTTP, and past a death."""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from pointbank.api import Api
from pointbank.journal import REFUND
from pointbank.till import BillToOffer
from tests.flows.test_purchase import SOURCE, bill, offer, worth
from tests.support.processes import Fleet
from tests.support.returns import answered
from tests.support.town import Town

pytestmark = answered


def refund(of: dict[str, Any], **asked: Any) -> dict[str, Any]:
    return {
        "bill": {"merchant": of["merchant"], "bill_ref": of["bill_ref"]},
        "refund_ref": f"R-{secrets.token_hex(6)}",
        "merchant": of["merchant"],
        "occurred_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "currency": "SAR",
        **asked,
    }


async def member(town: Town, api: Api) -> tuple[dict[str, str], str]:
    """Somebody new: the card, and the wallet."""
    answer = await api.call(
        "POST",
        "/v1/members",
        {
            "email": f"{secrets.token_hex(6)}@example.com",
            "channel": "store",
            "consent": {"accepted": True, "terms_version": "2026-01", "accepted_at": "2026-11-20T09:00:00Z"},
        },
        key=secrets.token_hex(8),
        role="crm",
    )
    [wallet] = answer["wallets"]
    await town.settled()
    return {"card_number": wallet["card"]["card_number"]}, wallet["wallet_id"]


async def test_a_refund_takes_points_and_tier_back_and_a_spent_point_blocks_only_the_points(
    town: Town,
) -> None:
    async with town.open() as trade:
        api, till = trade.api, trade.till
        card, wallet_id = await member(town, api)
        first = bill(f"refund-{secrets.token_hex(4)}", card)  # 600.00 earns 600: silver
        early = refund(first, lines=[{"line_id": "1", "amount_minor": 15_000}])
        await till.offer(
            [
                BillToOffer(
                    SOURCE, early["refund_ref"], msgspec.json.encode(early), "2026-11-22T08:31:04Z", REFUND
                )
            ]
        )
        await till.wait(timeout_s=30)
        told = till.answer_to(SOURCE, early["refund_ref"])
        assert told is not None
        assert told.status == "waiting_for_bill"
        await till.offer([offer(first)])
        await till.wait(settled=True, timeout_s=60)
        told = till.answer_to(SOURCE, early["refund_ref"])
        assert told is not None
        assert (told.event, told.status) == ("refund.settled.v1", "completed")
        await town.settled()
        balance = await api.call("GET", f"/v1/wallets/{wallet_id}/balance", role="till")
        assert balance["available"] == worth(450)
        standing = await api.call("GET", f"/v1/tiers/{wallet_id}")
        assert (standing["tier"]["code"], standing["numbers"]["points"]) == ("blue", 450)

        spent = {"programme": "shops", "member": card, "points": 100, "merchant": "riyadh-mall"}
        await api.call("POST", "/v1/redemptions", spent, key=secrets.token_hex(8), role="till")
        rest = refund(first, all=True)
        await api.call("POST", "/v1/refunds", rest, key=rest["refund_ref"], role="till")
        await town.settled()
        blocked = await api.call("POST", "/v1/refunds", rest, key=secrets.token_hex(8), role="till")
        assert (blocked["status"], blocked["code"], blocked["refunded_minor"]) == (
            "refused",
            "points_spent",
            46_500,
        )
        assert blocked["reversals"][0]["shortfall"] == worth(100)
        balance = await api.call("GET", f"/v1/wallets/{wallet_id}/balance", role="till")
        assert balance["available"] == worth(350)
    await town.verified()


@pytest.mark.parametrize("victim", ["redeem", "earn"])
async def test_refunds_settle_exactly_when_a_service_dies_between_request_and_answer(
    fleet: Fleet, town: Town, victim: str
) -> None:
    names = [name for name in fleet.replicas if name.startswith((victim, "all"))]
    if victim == "earn" and any(name.startswith("all") for name in names):
        pytest.skip("one process is all of them: it dies as redeem")
    async with town.open() as trade:
        bills = town.bills(30)
        await trade.till.offer([town.offer(one) for one in bills])
        await trade.till.wait(settled=True, timeout_s=60)
        await town.settled()
        refunds = [refund(town.body(one), all=True) for one in bills]
        offers = [
            BillToOffer(SOURCE, one["refund_ref"], msgspec.json.encode(one), "2026-11-22T08:31:04Z", REFUND)
            for one in refunds
        ]
        await trade.till.offer(offers)
        for name in names:
            fleet.kill(name)
        for name in names:
            await asyncio.to_thread(fleet.start, name)
        await asyncio.to_thread(fleet.wait_ready, town.tenant)
        await trade.till.wait(settled=True, timeout_s=120)
        statuses = [trade.till.answer_to(SOURCE, one["refund_ref"]) for one in refunds]
        assert {one.status for one in statuses if one is not None} <= {"completed", "refused"}
        assert None not in statuses
    report = await town.verified()
    assert report["refunds:computed"].compared >= 30
