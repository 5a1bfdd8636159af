"""Members who are one person: whatever names any of them names who goes on, and guards count the person."""

import pytest

from shared.config import Settings
from shared.events import HashedIdentity, MemberMerged, MergedWallet
from shared.events.members import EnrolledWallet
from shared.ids import uuid7
from tests.integration.earn.conftest import Member, Shop, bill, somebody
from tests.integration.earn.oracle import objections, one_moment
from tests.integration.earn.test_refunds import Bank, post, refund
from tests.integration.earn.test_reviews import held, queue, sale, till
from tests.support.facts import activated, autumn_2026
from tests.support.programmes import earning, rule

pytestmark = pytest.mark.asyncio(loop_scope="module")


def merged(ended: Member, heir: Member, programme: str, *identities: HashedIdentity) -> MemberMerged:
    return MemberMerged(
        merge_id=uuid7(),
        member_id=ended.member_id,
        merged_into=heir.member_id,
        reason="duplicate",
        wallets=(MergedWallet(programme=programme, wallet_id=ended.wallet_id, merged_into=heir.wallet_id),),
        survivor_wallets=(EnrolledWallet(programme=programme, wallet_id=heir.wallet_id),),
        identities=identities,
        merged_at=autumn_2026(),
    )


async def test_the_id_of_who_was_merged_twice_names_who_goes_on(shop: Shop, settings: Settings) -> None:
    """With a merge members tells what named the merged member, but no id: not this one's, nor that of the one before."""
    first, second, third = [await shop.member() for _ in range(3)]
    mobiles = [shop.identity("mobile", one.mobile) for one in (first, second)]
    await shop.hear(merged(first, second, "shops", mobiles[0]))
    await shop.hear(merged(second, third, "shops", *mobiles))
    named = [
        (await shop.post(bill(member={"member_id": str(one.member_id)}))).json()["accruals"][0]["wallet_id"]
        for one in (first, second, third)
    ]
    assert named == [str(third.wallet_id)] * 3
    async with one_moment(settings, shop) as books:
        assert await objections(settings, shop, books, {"merges:led"}) == {}
        led = "UPDATE earn.identities SET member_id = $2 WHERE kind = 'member_id' AND member_id = $1"
        await books.execute(led, third.member_id, second.member_id)
        assert len((await objections(settings, shop, books, {"merges:led"}))["merges:led"]) == 3


async def test_a_cashier_who_was_merged_still_rings_up_the_own_card(shop: Shop) -> None:
    cashier, heir, last = [await shop.member("guarded") for _ in range(3)]
    await till(shop, "relabelled", c9=cashier.member_id)
    await shop.hear(merged(cashier, heir, "guarded"), merged(heir, last, "guarded"))
    _, answer = await sale(shop, "relabelled", last, cashier="c9")
    assert held(answer) == (0, 100)
    [review] = [one for one in await queue(shop, pattern="own_card") if one["merchant"] == "relabelled"]
    assert review["patterns"] == ["own_card"]


async def test_bills_and_refunds_of_who_was_merged_are_counted_with_the_heirs(shop: Shop) -> None:
    await till(shop, "again")
    ended, heir = await shop.member("guarded"), await shop.member("guarded")
    for total in (1_000, 1_100, 1_200):
        assert held((await sale(shop, "again", ended, total))[1])[1] == 0
    await shop.hear(merged(ended, heir, "guarded"))
    _, same = await sale(shop, "again", heir, 1_200)
    _, last = await sale(shop, "again", heir, 5_000)
    assert (held(same), held(last)) == ((0, 12), (0, 50))
    found = {one["bill_id"]: one["patterns"] for one in await queue(shop) if one["merchant"] == "again"}
    assert found == {same["bill_id"]: ["member_rate", "duplicate"], last["bill_id"]: ["member_rate"]}

    await till(shop, "returns")
    ended, heir = await shop.member("guarded"), await shop.member("guarded")
    for total in (2_000, 2_100):
        body, answer = await sale(shop, "returns", ended, total)
        await post(shop, refund(body, all=True, occurred_at="2026-11-22T11:32:00+03:00"))
        await Bank(shop).serve(answer["bill_id"])
    await shop.hear(merged(ended, heir, "guarded"))
    _, answer = await sale(shop, "returns", heir, 3_000, occurred_at="2026-11-22T14:00:00+03:00")
    assert held(answer) == (0, 30)
    [review] = [one for one in await queue(shop) if one["merchant"] == "returns"]
    assert review["patterns"] == ["refund_loop"]


async def test_two_cards_of_one_person_are_one_member_at_a_terminal(shop: Shop) -> None:
    await till(shop, "queue")
    members = [await shop.member("guarded") for _ in range(5)]
    for n, one in enumerate(members[:4]):
        await sale(shop, "queue", one, 1_000 + n)
    await shop.hear(merged(members[0], members[1], "guarded"))
    _, answer = await sale(shop, "queue", members[4], 2_000)
    assert held(answer) == (20, 0), "four members, with five cards"


async def test_the_stamp_cards_of_who_was_merged_are_those_of_who_goes_on(shop: Shop) -> None:
    """In every programme: also where only the one who goes on takes part."""
    card = {"code": "coffees", "match": {"categories": ["coffee"]}, "stamps": 5, "reward": "free-coffee"}
    section = {**earning(rule()), "stamp_cards": [card]}
    await shop.hear(activated("here", earning=section), activated("there", earning=section))
    first, second, last = somebody(), somebody(), somebody()
    enrolments = [
        shop.enrolment(first, "here"),
        shop.enrolment(second, "here"),
        shop.enrolment(last, "here", "there"),
    ]
    await shop.hear(*enrolments)
    await shop.hear(merged(first, second, "here"), merged(second, last, "here"))
    wallets = {one.programme: str(one.wallet_id) for one in enrolments[2].wallets}
    for one in (first, second, last):
        shown = (await shop.get(f"/v1/members/{one.member_id}/stamp-cards")).json()["cards"]
        assert {each["programme"]: each["wallet_id"] for each in shown} == wallets
