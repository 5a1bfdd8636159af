"""Members who are one person: whatever names any of them names who goes on."""

import pytest

from shared.config import Settings
from shared.events import HashedIdentity, MemberMerged, MergedWallet
from shared.events.members import EnrolledWallet
from shared.ids import uuid7
from tests.integration.earn.conftest import Member, Shop, bill
from tests.integration.earn.oracle import objections, one_moment
from tests.support.facts import autumn_2026

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
