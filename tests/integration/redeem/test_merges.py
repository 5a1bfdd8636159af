"""Wallets of one person become one: nothing is lost or taken twice, and what was begun for the one goes on in the other."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from pointbank.jobs.releasing import release as release_overdue
from services.redeem.domain.acts import Reinstate
from services.redeem.jobs.sweeping import walk
from shared.config import Settings
from shared.events import CardIssued, EnrolledWallet, HashedIdentity, MemberMerged, MergedWallet
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Refused
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, Member, accrued, asks, opened
from tests.integration.redeem.test_acts import EVIDENCE, approver, asked, post
from tests.integration.redeem.test_asked import answers, release, reversal
from tests.integration.redeem.test_authorisations import authorised, capture, overdue
from tests.integration.redeem.test_rewards import put
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import AT, activated
from tests.support.http import assert_problem
from tests.support.patience import PATIENCE_S

OURS = frozenset(
    {
        "ledger:chain", "ledger:balances", "ledger:lots", "ledger:money", "transfers", "postings:once", "postings:told",
        "requests:told", "requests:targets", "redemptions", "redemptions:told", "redemptions:lots", "redemptions:kept",
        "returns", "returns:told",
        "reservations", "reservations:told", "merges:moved", "merges:kept", "wallets:blocked", "sequence:redeem", "cuts:redeem",
        "adjustments:posted", "adjustments:allowed", "disputes", "wallets:found",
    }
)  # fmt: skip
LEFT_BEHIND = (
    "UPDATE redeem.lots SET wallet_id = w.wallet_id FROM redeem.wallets AS w"
    " WHERE w.merged_into = lots.wallet_id AND lots.remaining = 0"
)
WAITING = (
    "SELECT count(DISTINCT l.pid) FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid"
    " WHERE NOT l.granted AND a.datname = current_database()"
)
ONE_MORE = (
    "UPDATE redeem.ledger SET points = points + 1 WHERE kind = 'merge' AND from_bucket = 'transferred'"
    " AND to_bucket = 'held'"
)
FOUND_NOWHERE = (
    "DELETE FROM redeem.member_wallets AS f USING redeem.merged_members AS m WHERE f.member_id = m.member_id"
)
SPOILT: dict[str, tuple[str, set[str]]] = {
    "a spent lot that the merge left behind": (LEFT_BEHIND, {"ledger:lots"}),
    "a merged member who is found nowhere": (FOUND_NOWHERE, {"wallets:found"}),
    "an heir that got more than there was": (ONE_MORE, {"merges:moved", "ledger:chain", "ledger:balances"}),
}


def merging(
    ended: Member, heir: Member, *, identities: tuple[HashedIdentity, ...] = (), programme: str = "shops"
) -> MemberMerged:
    return MemberMerged(
        merge_id=uuid7(),
        member_id=ended.member_id,
        merged_into=heir.member_id,
        reason="duplicate",
        wallets=(MergedWallet(programme=programme, wallet_id=ended.wallet_id, merged_into=heir.wallet_id),),
        survivor_wallets=(EnrolledWallet(programme=programme, wallet_id=heir.wallet_id),),
        identities=identities,
        merged_at=AT,
    )


async def merge(bank: Bank, ended: Member, heir: Member, *, programme: str = "shops") -> MemberMerged:
    told = merging(ended, heir, identities=(bank.identity("mobile", ended.mobile),), programme=programme)
    await bank.hear(told)
    return told


async def joined(bank: Bank, member: Member, programme: str) -> UUID:
    """A member takes part in another programme from now on."""
    wallet_id = uuid7()
    card = CardIssued(
        member_id=member.member_id,
        wallet_id=wallet_id,
        programme=programme,
        card_id=uuid7(),
        identities=(),
        issued_at=AT,
    )
    await bank.hear(card)
    return wallet_id


async def wallet_named(bank: Bank, member: Member, programme: str) -> str:
    """The wallet that a till finds which names the member by its id."""
    body = {"programme": programme, "member": {"member_id": str(member.member_id)}, "points": 1}
    answer = await bank.client.post(
        "/v1/redemption-quotes",
        json={**body, "merchant": "riyadh-mall", "channel": "store"},
        headers=bank.headers("till"),
    )
    found: str = answer.json().get("wallet_id", answer.json().get("code"))
    return found


async def waiting(bank: Bank, n: int) -> None:
    """Returns when so many wait for a lock in the bank's database."""
    async with asyncio.timeout(PATIENCE_S):
        while await bank.auditor.fetchval(WAITING) < n:
            await asyncio.sleep(0.02)


async def sums(bank: Bank, *members: Member) -> dict[str, int]:
    """Each bucket over these wallets."""
    rows = [await bank.wallet(one.wallet_id) for one in members]
    names = ("issued", "held", "available", "reserved", "redeemed", "expired", "reversed", "adjusted", "debt")
    return {name: sum(row[name] for row in rows) for name in names}


async def test_what_waits_for_a_second_person_is_decided_in_the_heir_whole_or_not_at_all(bank: Bank) -> None:
    ended, heir = await bank.member(60), await bank.member(60)
    [line] = await bank.lines(ended.wallet_id)
    both = await post(bank, "adjustments", asked((ended.wallet_id, -60), (heir.wallet_id, -60)))
    many = await post(bank, "adjustments", asked((ended.wallet_id, 7), (heir.wallet_id, -2)))
    wrong = {"posting_id": str(line["posting_id"]), "points": -50, "reason": "too-much", "evidence": EVIDENCE}
    dispute = await post(bank, "disputes", wrong)
    assert (await bank.redeem(asks(ended, points=30))).status_code == 201
    await merge(bank, ended, heir)

    # Each of the two can be taken of what the heir has, but not both.
    path = f"adjustments/{both.json()['adjustment_id']}"
    assert_problem(await approver(bank, f"{path}/approve"), 409, "insufficient_points")
    assert (await bank.get(f"/v1/{path}")).json()["status"] == "pending"
    assert (await bank.wallet(heir.wallet_id))["available"] == 90
    posted = await approver(bank, f"adjustments/{many.json()['adjustment_id']}/approve")
    assert (posted.status_code, (await bank.wallet(heir.wallet_id))["available"]) == (200, 95)
    upheld = await approver(bank, f"disputes/{dispute.json()['dispute_id']}/uphold")
    assert (upheld.status_code, (await bank.wallet(heir.wallet_id))["available"]) == (200, 45)
    assert_problem(await post(bank, "disputes", wrong), 409, "dispute_exists")
    assert (await approver(bank, f"{path}/reject")).json()["status"] == "rejected"
    assert [len(await answers(bank, one.wallet_id, "points.adjusted.v1")) for one in (ended, heir)] == [0, 3]


async def test_what_one_person_opens_in_a_merged_wallet_counts_in_its_heir(bank: Bank) -> None:
    ended, heir = await bank.member(), await bank.member()
    body = {
        "opening_ref": "before",
        "wallet_id": str(ended.wallet_id),
        "points": 200,
        "earned_at": "2024-03-01T07:00:00Z",
    }
    before = await approver(bank, "openings", body)
    assert before.status_code == 201
    await merge(bank, ended, heir)
    again = await approver(bank, "openings", body)
    assert (again.status_code, again.json()["opened"]) == (200, before.json()["opened"])
    for wallet_id, ref, points, status in (
        (ended.wallet_id, "a", 500, 201),
        (ended.wallet_id, "b", 501, 409),
        (heir.wallet_id, "c", 501, 409),
    ):
        more = {**body, "opening_ref": ref, "wallet_id": str(wallet_id), "points": points}
        answer = await approver(bank, "openings", more)
        assert answer.status_code == status, (ref, answer.json())
        if status == 409:
            assert_problem(answer, 409, "adjustment_needs_second_person")


async def test_an_opening_is_known_by_whatever_names_its_wallet_after_every_merge(bank: Bank) -> None:
    """A file names members by their identities: these name the heir by then."""
    first, second, last = [await bank.member() for _ in range(3)]
    body = {"opening_ref": "moved-in", "points": 7, "earned_at": "2024-03-01T07:00:00Z"}
    opened = await approver(bank, "openings", {**body, "wallet_id": str(first.wallet_id)})
    assert opened.status_code == 201
    await merge(bank, first, second)
    await merge(bank, second, last)
    for one in (first, second, last):
        again = await approver(bank, "openings", {**body, "wallet_id": str(one.wallet_id)})
        assert (again.status_code, again.json()["wallet_id"]) == (200, str(last.wallet_id)), again.json()
        assert again.json()["balance"]["available"]["points"] == 7
    other = await bank.member()
    differs = {**body, "wallet_id": str(other.wallet_id)}
    assert_problem(await approver(bank, "openings", differs), 409, "opening_conflict")


async def test_who_was_merged_finds_every_wallet_of_who_goes_on_whenever_that_joined(bank: Bank) -> None:
    """Tills go on naming members by the ids that they know."""
    code, later = [f"joined-{secrets.token_hex(3)}" for _ in range(2)]
    await bank.hear(activated(code), activated(later))
    first, second, last = [await bank.member() for _ in range(3)]
    wallets = {code: await joined(bank, last, code)}
    await merge(bank, first, second)
    told = merging(second, last)
    survivor = (*told.survivor_wallets, EnrolledWallet(programme=code, wallet_id=wallets[code]))
    await bank.hear(msgspec.structs.replace(told, survivor_wallets=survivor))
    wallets[later] = await joined(bank, last, later)
    for programme, wallet_id in wallets.items():
        named = [await wallet_named(bank, one, programme) for one in (first, second, last)]
        assert named == [str(wallet_id)] * 3, programme


async def test_of_two_who_are_merged_into_one_at_the_same_time_each_finds_what_the_other_brought(
    bank: Bank, settings: Settings, tenant: Tenant, tmp_path: Path
) -> None:
    """Two processes hear of two duplicates of one member; each merge is told with the wallets that there were after it."""
    code = f"brought-{secrets.token_hex(3)}"
    await bank.hear(activated(code))
    one, other, heir = await bank.member(), await bank.member(programme=code), await bank.member()
    born = uuid7()
    first = merging(one, heir, identities=(bank.identity("mobile", one.mobile),))
    second = msgspec.structs.replace(
        merging(other, Member(heir.member_id, born, heir.mobile), programme=code),
        survivor_wallets=(
            EnrolledWallet(programme=code, wallet_id=born),
            EnrolledWallet(programme="shops", wallet_id=heir.wallet_id),
        ),
    )
    db = await bank.administrator()
    try:
        async with (
            opened(settings, tenant, tmp_path) as beside,
            asyncio.TaskGroup() as both,
            db.transaction(),
        ):
            # The last that a merge writes: it has found everything, and can't end.
            await db.execute(
                "SELECT FROM redeem.identities WHERE hash = $1 FOR UPDATE",
                bytes.fromhex(bank.identity("mobile", one.mobile).hash),
            )
            both.create_task(bank.hear(first))
            await waiting(bank, 1)
            both.create_task(beside.hear(second))
            await waiting(bank, 2)
    finally:
        await db.close()
    for programme, wallet_id in (("shops", heir.wallet_id), (code, born)):
        named = [await wallet_named(bank, member, programme) for member in (one, other, heir)]
        assert named == [str(wallet_id)] * 3, programme


async def test_what_was_begun_for_the_one_goes_on_in_the_other(bank: Bank, settings: Settings) -> None:
    ended, heir = await bank.member(), await bank.member(70)
    stolen, other = await bank.member(5), await bank.member()
    why = {"reason": "fraud"}
    assert (await post(bank, f"wallets/{stolen.wallet_id}/block", why, role="support")).status_code == 200
    alone = await post(bank, "adjustments", asked((stolen.wallet_id, 600)), role="support")
    await merge(bank, stolen, other)
    assert (await bank.wallet(other.wallet_id))["status"] == "blocked"
    more = await post(bank, "adjustments", asked((other.wallet_id, 600)), role="support")
    assert (alone.status_code, more.status_code) == (201, 202), "one person gives a member 1,000 alone"
    bill = accrued(ended.wallet_id, 100, member_id=ended.member_id)
    whole = accrued(ended.wallet_id, 20, member_id=ended.member_id)
    held = accrued(ended.wallet_id, 50, member_id=ended.member_id, kind="earn_held")
    await bank.hear(whole)
    spent = (await bank.redeem(asks(ended, points=20, capture="now"))).json()
    await bank.hear(bill, held, reversal(bill, 10))
    paid = (await bank.redeem(asks(ended, points=30, capture="now", bill_ref="M-1"))).json()
    one, _ = await authorised(bank, ended, points=25), await authorised(bank, ended, points=10)
    gift = {"from_wallet": str(ended.wallet_id), "to_wallet": str(heir.wallet_id), "points": 5}
    assert (await post(bank, "transfers", gift, role="ecommerce")).status_code == 201
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
            105,
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


async def test_a_merged_wallet_names_the_one_that_has_its_points_through_every_merge(bank: Bank) -> None:
    first, second, last = await bank.member(60), await bank.member(), await bank.member()
    await merge(bank, first, second)
    await merge(bank, second, last)
    for wallet_id in (first.wallet_id, second.wallet_id):
        for path in (f"/v1/wallets/{wallet_id}", f"/v1/wallets/{wallet_id}/balance"):
            assert (await bank.get(path)).json()["merged_into"] == str(last.wallet_id), path
    assert (await bank.get(f"/v1/wallets/{last.wallet_id}/balance")).json()["available"]["points"] == 60


async def test_a_merge_opens_no_new_limits_and_leaves_no_benefit_out_of_the_list(bank: Bank) -> None:
    code = f"p-{secrets.token_hex(4)}"
    limited = {"minimum_points": 1, "step_points": 1, "member_limits": [{"points": 100, "per": "month"}]}
    await bank.hear(activated(code, redemption={"consumption": "oldest_earned", **limited}))
    await put(bank, f"{code}-one", programme=code, price={"points": 10}, limit={"most": 1, "per": "ever"})
    first, second, heir = [await bank.member(200, programme=code) for _ in range(3)]

    async def bought(member: Member, **more: Any) -> str:
        answer = await bank.redeem(asks(member, programme=code, reward=f"{code}-one", **more))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["redemption_id"])

    mine = [await bought(first), await bought(second)]
    await bank.redeem(asks(second, programme=code, points=50))
    await merge(bank, first, second, programme=code)
    await merge(bank, second, heir, programme=code)

    over = asks(heir, programme=code, points=31)  # 10 + 10 + 50 are spent of 100
    assert_problem(await bank.redeem(over), 409, "period_limit_exceeded")
    quote = await bank.client.post("/v1/redemption-quotes", json=over, headers=bank.headers("till"))
    assert quote.json()["refusal"]["code"] == "period_limit_exceeded"
    again = asks(heir, programme=code, reward=f"{code}-one")
    assert_problem(await bank.redeem(again), 409, "reward_limit_reached")
    assert (await bank.redeem(asks(heir, programme=code, points=30))).status_code == 201

    listed = []
    for one in (heir, first):
        query, reader = {"wallet_id": str(one.wallet_id)}, bank.headers("ecommerce")
        page = (await bank.client.get("/v1/benefits", params=query, headers=reader)).json()
        listed.append([each["redemption_id"] for each in page["items"]])
    assert listed == [mine[::-1], mine[:1]]


async def test_a_dry_release_says_what_it_would_give_back_of_merged_wallets(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await release_overdue(settings, tenant.code, dry_run=False)  # what other tests left
    ended, heir = await bank.member(20), await bank.member(20)
    for member in (ended, heir):
        await overdue(bank, await authorised(bank, member, points=8))
    await merge(bank, ended, heir)

    dry = await release_overdue(settings, tenant.code, dry_run=True)
    done = await release_overdue(settings, tenant.code, dry_run=False)
    assert (dry.reservations, done.reservations) == (2, 2)
    assert dry.programmes == done.programmes
    assert (await bank.wallet(heir.wallet_id))["available"] == 40


async def test_a_code_of_a_merged_wallet_is_as_good_as_using_it_says(bank: Bank) -> None:
    ended, heir = await bank.member(20), await bank.member()
    one, other = [await authorised(bank, ended, points=8) for _ in range(2)]
    await merge(bank, ended, heir)

    async def said(made: dict[str, Any]) -> tuple[Any, ...]:
        asked = {"code": made["code"], "merchant": "riyadh-mall"}
        answer = await bank.client.post(
            "/v1/redemption-codes/validate", json=asked, headers=bank.headers("till")
        )
        return tuple(answer.json()[name] for name in ("usable", "refusal", "wallet_id"))

    assert await said(one) == (True, None, str(heir.wallet_id))
    assert (await capture(bank, one)).status_code == 200
    why = {"reason": "fraud"}
    assert (await post(bank, f"wallets/{heir.wallet_id}/block", why, role="support")).status_code == 200
    assert await said(other) == (False, "wallet_blocked", str(heir.wallet_id))
    assert_problem(await capture(bank, other), 409, "wallet_blocked")


async def test_a_lot_that_somebody_brought_back_before_the_merge_ends_as_was_said_then(
    bank: Bank, settings: Settings
) -> None:
    await bank.hear(activated("brought", expiry={"policy": "never"}))
    now = datetime.now(UTC)
    over, later = now - timedelta(days=1), now + timedelta(days=100)
    member, friend = (
        await bank.member(100, programme="brought", expires_at=over),
        await bank.member(programme="brought"),
    )
    await walk(bank.runtime)
    lot_id = await bank.auditor.fetchval(
        "SELECT lot_id FROM redeem.lots WHERE wallet_id = $1", member.wallet_id
    )
    brought = Reinstate(
        reinstatement_id=uuid7(), wallet_id=member.wallet_id, lot_id=lot_id, points=60, expires_at=later, reason="goodwill"
    )  # fmt: skip
    item = Item(brought, FromJob("test"), request_id=str(uuid7()), actor="test")
    assert type(await bank.runtime.lane.submit(item)) is Done
    await merge(bank, member, friend, programme="brought")
    assert (await bank.wallet(friend.wallet_id))["available"] == 60
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"ledger:revived"}), {})
