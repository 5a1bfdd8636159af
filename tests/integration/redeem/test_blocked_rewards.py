"""What was bought from a wallet that was blocked since is used by nobody: whoever stole the phone has its codes."""

from __future__ import annotations

from tests.integration.redeem.conftest import Bank, asks
from tests.integration.redeem.test_acts import approver, frozen, post
from tests.integration.redeem.test_merges import merge
from tests.integration.redeem.test_rewards import put, use
from tests.support.http import assert_problem


async def test_a_reward_of_a_blocked_wallet_is_used_once_it_is_unblocked_and_an_heirs_too(bank: Bank) -> None:
    bought, given = [await bank.member(100) for _ in range(2)]
    await put(bank, "coffee", valid_days=30)
    benefit, other = [
        (await bank.redeem(asks(one, reward="coffee"))).json()["benefit"] for one in (bought, given)
    ]
    await merge(bank, given, bought)
    why = {"reason": "stolen-phone"}
    await post(bank, f"wallets/{bought.wallet_id}/block", why)
    for one in (benefit, other):
        here = {"code": one["code"], "merchant": "riyadh-mall"}
        await frozen(bank, 409, "wallet_blocked", "benefits/use", here, role="till")
        seen = (await post(bank, "benefits/validate", {"code": one["code"]}, role="till")).json()
        assert (seen["usable"], seen["refusal"], seen["status"]) == (False, "wallet_blocked", "issued")
    await approver(bank, f"wallets/{bought.wallet_id}/unblock", why)
    for one in (benefit, other):
        assert (await use(bank, one["code"])).status_code == 200
    await post(bank, f"wallets/{bought.wallet_id}/block", why)
    assert_problem(await use(bank, benefit["code"]), 409, "benefit_consumed")
