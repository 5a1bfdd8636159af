"""Two processes that do the same at the same moment: each meets the other at the row that decides, and it happens once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import httpx
import pytest
import pytest_asyncio
from msgspec.structs import replace

from services.redeem.domain.codes import benefit_code
from services.redeem.handlers.asked import SettleAsked
from shared.clock import real_clock
from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, accrued, asks, opened
from tests.integration.redeem.gift_cards import Cards
from tests.integration.redeem.test_acts import EVIDENCE, approver, asked, post
from tests.integration.redeem.test_asked import release
from tests.integration.redeem.test_authorisations import authorised, capture
from tests.integration.redeem.test_giving import answers, back, benefit_of, stock
from tests.integration.redeem.test_giving import asked as asks_for
from tests.integration.redeem.test_offline import allowed, programme, reported
from tests.integration.redeem.test_offline import use as spent
from tests.integration.redeem.test_returns import requested
from tests.integration.redeem.test_rewards import put, use
from tests.support.facts import activated
from tests.support.gift_cards import GIFTS
from tests.support.meeting import Meeting, gate

pytestmark = pytest.mark.asyncio(loop_scope="module")


Two: TypeAlias = Meeting[Bank]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(
    settings: Settings, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Two]:
    keys = tmp_path_factory.mktemp("keys")
    async with (
        opened(settings, tenant, keys) as one,
        opened(settings, tenant, keys) as other,
        gate(settings.admin_dsn(), tenant.database) as met,
    ):
        yield Two(one, other, met)


def codes(answers: Iterable[httpx.Response]) -> list[tuple[int, str]]:
    """What each was answered: its status, and the code that it was refused with."""
    return [(one.status_code, one.json().get("code", "")) for one in answers]


async def test_the_last_of_a_reward_is_sold_once(two: Two) -> None:
    await put(two.first, "met", stock=1)
    one, other = [await two.first.member(50) for _ in range(2)]
    met = await two.gate.met(
        "redeem.rewards",
        "reward = 'met'",
        two.first.redeem(asks(one, reward="met")),
        two.second.redeem(asks(other, reward="met")),
    )
    assert codes(met) == [(201, ""), (409, "reward_sold_out")]
    assert await stock(two.first, "met") == 1


async def test_a_reward_whose_time_ends_while_its_stock_is_waited_for_is_not_sold(two: Two) -> None:
    shown = [datetime.now(UTC)]
    closes = shown[0] + timedelta(hours=1)
    await put(two.first, "closing", stock=5, windows=[{"until": closes.isoformat()}])
    member, writer = await two.first.member(50), two.first.runtime.writer

    async def it_closes() -> None:
        shown[0] = closes

    writer.clock = lambda: shown[0]
    try:
        buy = two.first.redeem(asks(member, reward="closing"))
        refused, _ = await two.gate.met("redeem.rewards", "reward = 'closing'", buy, it_closes())
    finally:
        writer.clock = real_clock
    assert isinstance(refused, httpx.Response)
    assert codes([refused]) == [(409, "reward_unavailable")]
    assert await stock(two.first, "closing") == 0


async def test_a_benefit_is_used_at_one_of_two_tills(two: Two) -> None:
    await put(two.first, "shared")
    sold = await two.first.redeem(asks(await two.first.member(50), reward="shared"))
    benefit = sold.json()["benefit"]
    met = await two.gate.met(
        "redeem.benefits",
        f"benefit_id = '{benefit['benefit_id']}'",
        use(two.first, benefit["code"], bill_ref="B1"),
        use(two.second, benefit["code"], bill_ref="B2"),
    )
    assert codes(met) == [(200, ""), (409, "benefit_consumed")]


async def test_what_is_used_while_it_is_asked_back_stays_used(two: Two) -> None:
    await put(two.first, "back", stock=5, restock=True)
    ask = asks_for(await two.first.member(), "back")
    await two.first.hear(ask)
    benefit_id = (await benefit_of(two.first, ask))["benefit_id"]
    code = benefit_code(two.first.runtime.tenant.identity_key, benefit_id)
    gone = back(ask)
    await two.gate.met(
        "redeem.benefits", f"benefit_id = '{benefit_id}'", use(two.first, code), two.second.outcomes(gone)
    )
    assert await answers(two.first, gone) == [("used_already", None)]
    assert await stock(two.first, "back") == 1


async def test_a_request_that_is_delivered_to_two_is_answered_once(two: Two) -> None:
    await put(two.first, "asked", stock=5)
    ask = asks_for(await two.first.member(), "asked")
    await two.first.hear(back(ask))  # it waits for what it takes back
    met = await two.gate.met(
        "redeem.benefit_asks",
        f"effect_id = '{ask.effect_id}'",
        two.first.outcomes(ask),
        two.second.outcomes(ask),
    )
    assert met == [[Done()], [Done(replayed=True)]]
    assert await answers(two.first, ask) == [("refused", "benefit_withdrawn")]


async def test_a_gift_card_pays_no_more_than_is_on_it_at_two_tills(two: Two) -> None:
    await two.first.hear(activated("gifts", gift_cards=GIFTS))
    cards, others = Cards(two.first), Cards(two.second)
    card = await cards.sold(10_000)
    met = await two.gate.met(
        "redeem.gift_cards", f"card_id = '{card['card_id']}'", cards.use(card, 6_000), others.use(card, 6_000)
    )
    assert [one.status_code for one in met] == [201, 201]
    assert [one.json()["applied"]["amount_minor"] for one in met] == [6_000, 4_000]
    assert await cards.buckets(card) == (-10_000, 0, 10_000, 0)


async def test_an_adjustment_is_rejected_or_approved_and_never_both(two: Two) -> None:
    wallets = [(await two.first.member(10)).wallet_id for _ in range(2)]
    request = (await post(two.first, "adjustments", asked((wallets[0], 5), (wallets[1], -5)))).json()
    path = f"adjustments/{request['adjustment_id']}"
    met = await two.gate.met(
        "redeem.adjustments",
        f"adjustment_id = '{request['adjustment_id']}'",
        approver(two.first, f"{path}/reject", {"note": "no letter"}),
        approver(two.second, f"{path}/approve"),
    )
    assert codes(met) == [(200, ""), (409, "adjustment_decided")]
    assert [(await two.first.wallet(one))["available"] for one in wallets] == [10, 10]


async def test_a_dispute_is_rejected_or_upheld_and_never_both(two: Two) -> None:
    member = await two.first.member(100)
    [line] = await two.first.lines(member.wallet_id)
    body = {
        "posting_id": str(line["posting_id"]),
        "points": 40,
        "reason": "too-little",
        "evidence": EVIDENCE,
    }
    dispute = (await post(two.first, "disputes", body)).json()
    path = f"disputes/{dispute['dispute_id']}"
    met = await two.gate.met(
        "redeem.disputes",
        f"dispute_id = '{dispute['dispute_id']}'",
        approver(two.first, f"{path}/reject", {"note": "it was right"}),
        approver(two.second, f"{path}/uphold"),
    )
    assert codes(met) == [(200, ""), (409, "dispute_not_open")]
    assert (await two.first.wallet(member.wallet_id))["available"] == 100


async def test_a_dispute_that_two_uphold_is_corrected_once(two: Two) -> None:
    member = await two.first.member(100)
    [line] = await two.first.lines(member.wallet_id)
    body = {"posting_id": str(line["posting_id"]), "points": 40, "reason": "too-little", "evidence": EVIDENCE}
    dispute = (await post(two.first, "disputes", body)).json()
    path = f"disputes/{dispute['dispute_id']}"
    met = await two.gate.met(
        "redeem.disputes",
        f"dispute_id = '{dispute['dispute_id']}'",
        approver(two.first, f"{path}/uphold"),
        approver(two.second, f"{path}/uphold"),
    )
    assert codes(met) == [(200, ""), (409, "dispute_not_open")]
    assert (await two.first.wallet(member.wallet_id))["available"] == 140


async def test_a_request_that_waited_is_done_by_one_of_two(two: Two) -> None:
    """Two that both found its accrual there by now: nothing but the request's lock keeps them apart."""
    accrual = accrued(uuid7(), 100, kind="earn_held")
    request = release(accrual, 40)
    await two.first.hear(request)

    def settle() -> Item[Any]:
        return Item(SettleAsked(request.request_id), FromJob("test"), request_id=uuid7().hex, actor="tester")

    await two.gate.met(
        "redeem.asked",
        f"request_id = '{request.request_id}'",
        two.first.hear(accrual),
        two.first.runtime.lane.submit(settle()),
        two.second.runtime.lane.submit(settle()),
    )
    told = [
        event for event in await two.first.told(accrual.wallet_id) if event["type"] == "points.released.v1"
    ]
    assert [event["data"]["request_id"] for event in told] == [str(request.request_id)]


@pytest.mark.parametrize("refund_first", [True, False])
async def test_what_is_told_of_while_its_bill_is_refunded_comes_back_once(
    two: Two, refund_first: bool
) -> None:
    """Neither sees a wallet or a redemption of the other, and the first has read when the second begins: nothing but the bill keeps
    them apart."""
    code = await programme(two.first)
    member = await two.first.member(100, programme=code)
    one, bill = await allowed(two.first, member, code), f"MET-{refund_first}"
    half = requested(bill, 2_500)
    await two.first.hear(half)
    refund = two.first.hear(replace(requested(bill, 10_000), bill_id=half.bill_id))
    report = reported(two.second, one, spent("R-1", 130, bill_ref=bill))
    if refund_first:
        await two.gate.met("redeem.bill_events", f"bill_id = '{half.bill_id}'", refund, report)
    else:
        await two.gate.met("redeem.allowances", f"allowance_id = '{one['allowance_id']}'", report, refund)
    wallet = await two.first.wallet(member.wallet_id)
    assert (wallet["available"], wallet["debt"], wallet["redeemed"]) == (100, 0, 0)
    told = [one for one in await two.first.told(member.wallet_id) if one["type"] == "points.returned.v1"]
    assert [(one["data"]["returned"]["points"], one["data"]["late"]) for one in told] == (
        [(130, True)] if refund_first else [(32, True), (98, False)]
    )


@pytest.mark.parametrize("refund_first", [True, False])
async def test_a_capture_that_first_names_its_bill_meets_the_bills_refund(
    two: Two, refund_first: bool
) -> None:
    """The refund does not find the authorisation by its bill, and locks no wallet."""
    member = await two.first.member(100)
    one, bill = await authorised(two.first, member, points=40), f"NAMED-{refund_first}"
    half = requested(bill, 2_500)
    await two.first.hear(half)
    refund = two.first.hear(replace(requested(bill, 10_000), bill_id=half.bill_id))
    captured = capture(two.second, one, {"bill_ref": bill})
    if refund_first:
        await two.gate.met("redeem.bill_events", f"bill_id = '{half.bill_id}'", refund, captured)
    else:
        of_it = f"redemption_id = '{one['redemption_id']}'"
        await two.gate.met("redeem.redemptions", of_it, captured, refund)
    wallet = await two.first.wallet(member.wallet_id)
    assert (wallet["available"], wallet["reserved"], wallet["redeemed"]) == (100, 0, 0)


@pytest.mark.parametrize("reward", [True, False])
async def test_what_was_captured_for_something_else_as_its_bill_was_refunded_stays_paid(
    two: Two, reward: bool
) -> None:
    """The refund has found the authorisation by its bill, and waits for its wallet."""
    await put(two.first, "kept")
    member, bill = await two.first.member(50), f"KEPT-{reward}"
    asked_for = {"reward": "kept"} if reward else {"points": 50}
    one = await authorised(two.first, member, bill_ref=bill, **asked_for)
    captured = capture(two.first, one, None if reward else {"bill_ref": "ANOTHER"})
    refund = two.second.hear(requested(bill, 10_000))
    await two.gate.met("redeem.wallets", f"wallet_id = '{member.wallet_id}'", captured, refund)
    wallet = await two.first.wallet(member.wallet_id)
    kept = (10, 0, 40) if reward else (0, 0, 50)
    assert (wallet["available"], wallet["reserved"], wallet["redeemed"]) == kept


async def test_what_is_set_aside_and_captured_while_its_bill_is_refunded_comes_back(two: Two) -> None:
    """The refund found nothing by the bill, and is not committed when it is there."""
    member, bill = await two.first.member(100), "QUICK"
    half = requested(bill, 2_500)
    await two.first.hear(half)

    async def spend() -> None:
        one = await authorised(two.second, member, points=40, bill_ref=bill)
        assert (await capture(two.second, one)).status_code == 200

    refund = two.first.hear(replace(requested(bill, 10_000), bill_id=half.bill_id))
    await two.gate.met("redeem.bill_events", f"bill_id = '{half.bill_id}'", refund, spend())
    wallet = await two.first.wallet(member.wallet_id)
    assert (wallet["available"], wallet["reserved"], wallet["redeemed"]) == (100, 0, 0)
