"""What notifier hears of merges: whose the wallets are that they bore, in whatever order it comes to that."""

import asyncio
from uuid import UUID

from services.notifier.store import member_of
from shared.events import EnrolledWallet, EventData, MemberMerged, MergedWallet
from shared.ids import uuid7
from shared.messaging import Done
from shared.runtime import TenantRuntime
from tests.support.facts import AT, credited, enrolled, heard
from tests.support.patience import PATIENCE_S


def merged(ended: UUID, survivor: UUID, *, born: UUID) -> MemberMerged:
    """A merge that bore the survivor a wallet."""
    return MemberMerged(
        merge_id=uuid7(),
        member_id=ended,
        merged_into=survivor,
        reason="duplicate",
        wallets=(MergedWallet(programme="shops", wallet_id=uuid7(), merged_into=born, born=True),),
        survivor_wallets=(EnrolledWallet(programme="shops", wallet_id=born),),
        identities=(),
        merged_at=AT,
    )


async def test_who_is_enrolled_between_two_merges_holds_nobody_up(notifier: TenantRuntime) -> None:
    """The lane takes a batch's merges together, that into a member of the same batch before the enrolment: it is not waited for
    by what it waits for."""
    first, second, early, late = uuid7(), uuid7(), uuid7(), uuid7()
    await notifier.lane.submit(heard(enrolled(first, uuid7())))
    batch: list[EventData] = [
        merged(uuid7(), first, born=early),
        enrolled(second, uuid7()),
        merged(uuid7(), second, born=late),
        credited(late, 9, member_id=second),
    ]
    async with asyncio.timeout(PATIENCE_S):
        assert await notifier.lane.submit_many([heard(one) for one in batch]) == [Done()] * 4
    async with notifier.read() as db:
        assert [await member_of(db, wallet) for wallet in (early, late)] == [first, second]
