"""A merge in a programme that the bank has not heard of yet: it waits for it, and nobody waits for the merge."""

import asyncio
import secrets

from shared.events import EventData
from tests.integration.redeem.conftest import Bank, Member
from tests.integration.redeem.test_merges import merging
from tests.support.facts import activated
from tests.support.patience import PATIENCE_S


async def heir_of(bank: Bank, member: Member) -> object:
    return (await bank.wallet(member.wallet_id))["merged_into"]


async def test_a_programme_that_begins_between_two_merges_holds_nobody_up(bank: Bank) -> None:
    """The lane takes a batch's merges together, that in the new programme before its activation."""
    code = f"new-{secrets.token_hex(3)}"
    ended, heir = await bank.member(60), await bank.member(60)
    other, others_heir = await bank.member(programme=code), await bank.member(programme=code)
    batch: list[EventData] = [
        merging(ended, heir),
        activated(code),
        merging(other, others_heir, programme=code),
    ]
    async with asyncio.timeout(PATIENCE_S):
        await bank.hear(*batch)
    assert await heir_of(bank, ended) == heir.wallet_id
    assert await heir_of(bank, other) == others_heir.wallet_id
    assert (await bank.wallet(heir.wallet_id))["available"] == 120
