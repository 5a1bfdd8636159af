"""The same person enrolled twice, with bills, holds and money on both: merged while the shops are open, and the books hold."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pointbank.api import Api
from tests.flows.conftest import REPLICAS
from tests.flows.test_purchase import bill, worth
from tests.flows.test_refunds import member, refund
from tests.support.returns import answered
from tests.support.town import Town

pytestmark = [answered, pytest.mark.parametrize("fleet", [REPLICAS], indirect=True)]


async def post(api: Api, path: str, body: Any, role: str = "till") -> Any:
    return await api.call("POST", path, body, key=secrets.token_hex(8), role=role)


async def test_two_members_who_are_one_have_one_wallet_one_tier_and_one_history(town: Town) -> None:
    async with town.open() as trade:
        api = trade.api
        (ended, ended_wallet), (heir, heir_wallet) = await member(town, api), await member(town, api)
        bought = bill(f"merge-{secrets.token_hex(4)}", ended)  # 600.00 earns 600: silver
        await post(api, "/v1/bills", bought)
        await post(api, "/v1/bills", bill(f"merge-{secrets.token_hex(4)}", heir, amount_minor=45_000))
        await town.settled()
        spending = {
            "programme": "shops",
            "member": ended,
            "points": 100,
            "merchant": "riyadh-mall",
            "terminal": "T03",
        }
        set_aside = await post(api, "/v1/redemptions", {**spending, "capture": "later"})
        ids = [
            (await api.call("POST", "/v1/members/lookup", card, key=secrets.token_hex(8), role="crm"))[
                "member_id"
            ]
            for card in (ended, heir)
        ]
        early = bill(f"merge-{secrets.token_hex(4)}", ended, amount_minor=5_000)
        await post(api, "/v1/bills", early)  # in flight, maybe, while they are merged
        merged = await post(
            api, f"/v1/members/{ids[0]}/merge", {"into": ids[1], "reason": "duplicate"}, role="crm"
        )
        assert merged["merged_into"] == ids[1]
        await town.settled()

        standing = await api.call("GET", f"/v1/tiers/{heir_wallet}")
        assert (standing["tier"]["code"], standing["numbers"]["points"]) == ("gold", 1105)
        captured = await post(
            api, f"/v1/redemptions/{set_aside['redemption_id']}/capture", {"terminal": "T03"}
        )
        assert captured["wallet_id"] == heir_wallet
        after = bill(f"merge-{secrets.token_hex(4)}", ended, amount_minor=10_000)
        after["occurred_at"] = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()  # at the tier of both
        late = await post(api, "/v1/bills", after)
        [accrual] = late["accruals"]
        assert (accrual["wallet_id"], accrual["tier"]) == (heir_wallet, "gold")
        back = refund(bought, lines=[{"line_id": "1", "amount_minor": 30_000}])
        await post(api, "/v1/refunds", back)
        await town.settled()
        balance = await api.call("GET", f"/v1/wallets/{heir_wallet}/balance", role="till")
        assert balance["available"] == worth(600 + 450 + 55 - 100 + 120 - 300)
        emptied = await api.call("GET", f"/v1/wallets/{ended_wallet}/balance", role="till")
        assert (emptied["available"], emptied["merged_into"]) == (worth(0), heir_wallet)
    await town.verified()
