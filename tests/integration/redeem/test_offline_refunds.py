"""What tills report after the refund of its bill: the refund's share comes back with the report, as it would have before."""

from __future__ import annotations

import itertools
import random
import secrets
from datetime import UTC, datetime, timedelta

from shared.config import Settings
from tests.integration.redeem.conftest import Bank, Member, worth
from tests.integration.redeem.test_asked import answers
from tests.integration.redeem.test_offline import allowed, broken, programme, reported, use
from tests.integration.redeem.test_returns import give_back, lots_of, requested
from tests.support.facts import activated


def ref() -> str:
    return f"B-{secrets.token_hex(4)}"


async def shown(bank: Bank, member: Member) -> tuple[int, int, int]:
    """What the member can spend, owes, and has spent."""
    wallet = await bank.wallet(member.wallet_id)
    return wallet["available"], wallet["debt"], wallet["redeemed"]


async def test_the_share_of_a_bill_that_was_refunded_comes_back_with_the_report(bank: Bank) -> None:
    member = await bank.member(60, 40, programme=(code := await programme(bank)))
    one = await allowed(bank, member, code)
    whole, part, plain = ref(), ref(), ref()
    asked, thirds = requested(whole, 10_000), [requested(part, minor) for minor in (3_333, 6_667)]
    await bank.hear(asked, *reversed(thirds))
    uses = (
        use("R-1", 40, ago_s=9, bill_ref=whole), use("R-2", 33, ago_s=6, bill_ref=part),
        use("R-3", 47, ago_s=3, bill_ref=whole), use("R-4", 5, bill_ref=plain),
    )  # fmt: skip
    said = await reported(bank, one, *uses)
    assert [(told["outcome"], told["overdrawn"]["points"], told.get("returned")) for told in said["redemptions"]] == [
        ("posted", 0, worth(40)), ("posted", 0, worth(22)), ("posted", 20, worth(47)), ("posted", 5, None),
    ]  # fmt: skip
    # All were spent as they happened, then it came back: of 22, 47 and 40, 25 pay what the last two owe.
    assert await shown(bank, member) == (84, 0, 16)
    assert said["balance"] == {
        "available": worth(84), "held": worth(0), "reserved": worth(0), "debt": worth(0)
    }  # fmt: skip
    back = await answers(bank, member.wallet_id, "points.returned.v1")
    assert [
        (told["request_id"], told["refund_id"], told["returned"]["points"], told["late"], told["parts"])
        for told in back
    ] == [
        (str(one.request_id), str(one.refund_id), points, True, 1)
        for one, points in ((asked, 40), (thirds[1], 22), (asked, 47))
    ]
    assert [told["redemption_id"] for told in back] == [
        told["redemption_id"] for told in said["redemptions"][:3]
    ]

    again = await reported(bank, one, *uses)
    assert [(told["outcome"], told.get("returned")) for told in again["redemptions"]] == [
        ("repeated", back) for back in (worth(40), worth(22), worth(47), None)
    ]
    assert await shown(bank, member) == (84, 0, 16), "nothing comes back twice"
    await bank.hear(*thirds, asked, requested(part, 10_000), requested(plain, 5_000))
    assert await shown(bank, member) == (97, 0, 3), "the next refund is a total, as ever"
    rest = said["redemptions"][3]["redemption_id"]
    assert (await give_back(bank, rest, points=3)).json()["returned_in_all"] == worth(5)
    assert (await give_back(bank, said["redemptions"][0]["redemption_id"], points=1)).status_code == 409
    assert await shown(bank, member) == (100, 0, 0)
    assert await lots_of(bank, member) == [(60, 35), (40, 40), (20, 20), (2, 2), (3, 3)]


async def test_overdrawn_points_come_back_as_of_the_refund_and_live_as_if_earned_then(bank: Bank) -> None:
    """To who was born in a month whose end counts; and never before they were spent."""
    code = f"p-{secrets.token_hex(4)}"
    now = datetime.now(UTC)
    offline = {"points": 300, "hours": 24, "report_days": 2}
    await bank.hear(
        activated(
            code,
            expiry={"policy": "birth_month_end", "years": 1},
            redemption={
                "consumption": "oldest_earned",
                "minimum_points": 1,
                "step_points": 1,
                "offline": offline,
            },
        )
    )
    member = await bank.member(10, programme=code, birth_month=1)
    one = await allowed(bank, member, code)
    bills = ref(), ref()
    at = now - timedelta(seconds=20)
    await bank.hear(
        requested(bills[0], 10_000, at=at), requested(bills[1], 10_000, at=now - timedelta(days=300))
    )
    uses = use("R-1", 30, ago_s=60, bill_ref=bills[0]), use("R-2", 5, ago_s=60, bill_ref=bills[1])
    await reported(bank, one, *uses)
    assert await shown(bank, member) == (10, 0, 0)
    told = await answers(bank, member.wallet_id, "points.returned.v1")
    assert [datetime.fromisoformat(one["effective_at"]) for one in told] == [
        at, datetime.fromisoformat(uses[1]["occurred_at"])
    ]  # fmt: skip
    [*_, first, last] = await bank.auditor.fetch(
        "SELECT earned_at, expires_at FROM redeem.lots WHERE wallet_id = $1 ORDER BY lot_id", member.wallet_id
    )
    assert first["earned_at"] == at
    assert {one["expires_at"].astimezone(UTC).strftime("%m-%d %H") for one in (first, last)} == {"01-31 21"}


async def test_in_whatever_order_refunds_and_reports_come_as_much_has_come_back(
    bank: Bank, settings: Settings
) -> None:
    """Three uses of two bills, one of which is refunded in two steps. Then the oracle, over all books of this file."""
    code = await programme(bank)
    orders = list(itertools.permutations(range(5)))
    for order in random.Random(207).sample(orders, 6):
        member = await bank.member(60, 40, programme=code)
        one, bills = await allowed(bank, member, code), (ref(), ref())
        uses = (
            use("R-1", 70, ago_s=9, bill_ref=bills[0]), use("R-2", 45, ago_s=6, bill_ref=bills[1]),
            use("R-3", 33, ago_s=3, bill_ref=bills[0]),
        )  # fmt: skip
        refunds = requested(bills[0], 3_333), requested(bills[0], 6_667)
        for k in order:
            if k < len(uses):
                await reported(bank, one, uses[k])
            else:
                await bank.hear(refunds[k - len(uses)])
        # Two thirds of 70 and of 33, rounded down each: 46 and 22.
        assert await shown(bank, member) == (20, 0, 80), order
    assert await broken(bank, settings) == {}


async def test_the_oracle_misses_what_did_not_come_back_and_what_nobody_asked_back(
    bank: Bank, settings: Settings
) -> None:
    member = await bank.member(100, programme=(code := await programme(bank)))
    one = await allowed(bank, member, code)
    bill = ref()
    await bank.hear(requested(bill, 5_000))
    said = await reported(bank, one, use("R-1", 40, bill_ref=bill))
    assert said["redemptions"][0]["returned"] == worth(20)
    spoilt = await bank.administrator()
    own = f"redemption_id = '{said['redemptions'][0]['redemption_id']}'"
    for sql in (
        f"UPDATE redeem.redemptions SET returned_points = 0, returned_minor = 0 WHERE {own}",
        f"UPDATE redeem.return_requests SET returned_minor = 4000 WHERE bill_ref = '{bill}'",
    ):
        outer = spoilt.transaction()
        await outer.start()
        await spoilt.execute("SET session_replication_role = replica")
        await spoilt.execute(sql)
        assert "returns:refunds" in await broken(bank, settings, spoilt), sql
        await outer.rollback()
    await spoilt.close()
