"""Wallets of one person become one: nothing is lost or taken twice, and what was begun for the one goes on in the other."""

from shared.config import Settings
from shared.events import EnrolledWallet, HashedIdentity, MemberMerged, MergedWallet
from shared.ids import uuid7
from shared.messaging import Done, Refused
from tests.integration.redeem.conftest import Bank, Member, accrued, asks
from tests.integration.redeem.test_asked import answers, release, reversal
from tests.integration.redeem.test_authorisations import authorised, capture
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import AT

OURS = frozenset(
    {
        "ledger:chain", "ledger:balances", "ledger:lots", "ledger:money", "postings:once", "postings:told", "requests:told",
        "requests:targets", "redemptions", "redemptions:told", "redemptions:lots", "redemptions:kept", "returns", "returns:told",
        "reservations", "reservations:told", "merges:moved", "merges:kept", "sequence:redeem", "cuts:redeem",
    }
)  # fmt: skip
LEFT_BEHIND = (
    "UPDATE redeem.lots SET wallet_id = w.wallet_id FROM redeem.wallets AS w"
    " WHERE w.merged_into = lots.wallet_id AND lots.remaining = 0"
)
ONE_MORE = (
    "UPDATE redeem.ledger SET points = points + 1 WHERE kind = 'merge' AND from_bucket = 'transferred'"
    " AND to_bucket = 'held'"
)
SPOILT: dict[str, tuple[str, set[str]]] = {
    "a spent lot that the merge left behind": (LEFT_BEHIND, {"ledger:lots"}),
    "an heir that got more than there was": (ONE_MORE, {"merges:moved", "ledger:chain", "ledger:balances"}),
}


def merging(ended: Member, heir: Member, *, identities: tuple[HashedIdentity, ...] = ()) -> MemberMerged:
    return MemberMerged(
        merge_id=uuid7(),
        member_id=ended.member_id,
        merged_into=heir.member_id,
        reason="duplicate",
        wallets=(MergedWallet(programme="shops", wallet_id=ended.wallet_id, merged_into=heir.wallet_id),),
        survivor_wallets=(EnrolledWallet(programme="shops", wallet_id=heir.wallet_id),),
        identities=identities,
        merged_at=AT,
    )


async def merge(bank: Bank, ended: Member, heir: Member) -> MemberMerged:
    told = merging(ended, heir, identities=(bank.identity("mobile", ended.mobile),))
    await bank.hear(told)
    return told


async def sums(bank: Bank, *members: Member) -> dict[str, int]:
    """Each bucket over these wallets."""
    rows = [await bank.wallet(one.wallet_id) for one in members]
    names = ("issued", "held", "available", "reserved", "redeemed", "expired", "reversed", "adjusted", "debt")
    return {name: sum(row[name] for row in rows) for name in names}


async def test_what_was_begun_for_the_one_goes_on_in_the_other(bank: Bank, settings: Settings) -> None:
    ended, heir = await bank.member(), await bank.member(70)
    bill = accrued(ended.wallet_id, 100, member_id=ended.member_id)
    whole = accrued(ended.wallet_id, 20, member_id=ended.member_id)
    held = accrued(ended.wallet_id, 50, member_id=ended.member_id, kind="earn_held")
    await bank.hear(whole)
    spent = (await bank.redeem(asks(ended, points=20, capture="now"))).json()
    await bank.hear(bill, held, reversal(bill, 10))
    paid = (await bank.redeem(asks(ended, points=30, capture="now", bill_ref="M-1"))).json()
    one, _ = await authorised(bank, ended, points=25), await authorised(bank, ended, points=10)
    before = await sums(bank, ended, heir)

    told = await merge(bank, ended, heir)
    assert await sums(bank, heir) == before
    gone = await bank.wallet(ended.wallet_id)
    assert (gone["status"], gone["merged_into"]) == ("merged", heir.wallet_id)
    assert {name: gone[name] for name in before} == dict.fromkeys(before, 0)
    [given] = await answers(bank, ended.wallet_id, "points.merged.v1")
    [received] = await answers(bank, heir.wallet_id, "points.merged.v1")
    for side, direction in ((given, "given"), (received, "received")):
        assert (side["direction"], side["merged"]["points"], side["merge_id"]) == (
            direction,
            110,
            str(told.merge_id),
        )
    assert await bank.outcomes(told, merging(ended, heir)) == [Done(), Done()]
    assert len(await answers(bank, heir.wallet_id, "points.merged.v1")) == 1, "once for ever"

    captured = await capture(bank, one)
    assert (captured.status_code, captured.json()["wallet_id"]) == (200, str(heir.wallet_id))
    back = await bank.client.post(
        f"/v1/redemptions/{paid['redemption_id']}/returns",
        json={"points": 30, "return_ref": "R-1"},
        headers=bank.headers("till"),
    )
    assert back.status_code == 201, back.text
    await bank.hear(release(held, 50), reversal(held, 20), reversal(whole, 20, on_spent="debt"))
    late = accrued(ended.wallet_id, 5, member_id=ended.member_id)
    await bank.hear(late)
    assert await bank.outcomes(late) == [Done(replayed=True)]
    reused = await bank.outcomes(accrued(heir.wallet_id, 6, accrual_id=late.accrual_id))
    assert isinstance(reused[0], Refused)

    assert (await sums(bank, heir)) == {
        "issued": -245, "held": 0, "available": 155, "reserved": 10, "redeemed": 45, "expired": 0, "reversed": 50,
        "adjusted": 0, "debt": -15,
    }  # fmt: skip
    credited = [
        one
        for one in await answers(bank, heir.wallet_id, "points.credited.v1")
        if one["bill_id"] == str(late.bill_id)
    ]
    assert [(one["wallet_id"], one["resolved_wallet"]) for one in credited] == [
        (str(ended.wallet_id), str(heir.wallet_id))
    ]
    assert spent["status"] == "captured"
    await assert_whole_until_spoilt(settings, bank.code, OURS, SPOILT)
