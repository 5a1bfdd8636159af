"""Referrals: both members get something when the first bill of the referred one reaches the minimum; once, never for oneself."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio

from services.earn.handlers import AskActAgain
from shared.config import Settings
from shared.db import Connection
from shared.events import EnrolledWallet, MemberMerged, MergedWallet
from shared.ids import uuid7
from shared.messaging import Done
from tests.integration.earn.conftest import Member, Shop, bill, somebody
from tests.integration.earn.oracle import noticed, objections, one_moment, reported
from tests.integration.earn.test_refunds import Bank, post, refund
from tests.support.facts import AT, activated, autumn_2026
from tests.support.programmes import SHOPS, Document

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRIENDS: Document = {
    "code": "friends",
    "on": "referral",
    "points_each": {"referrer": 500, "referred": 200},
    "minimum_minor": 10_000,
    "member_caps": {"year": 1200},
}
EARNING = {**SHOPS["earning"], "acts": [FRIENDS]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def befriended(running_shop: Shop) -> Shop:
    await running_shop.hear(activated("circle", earning=EARNING))
    return running_shop


@pytest.fixture(autouse=True)
def noon(running_shop: Shop) -> None:
    running_shop.at(autumn_2026())


def referred(shop: Shop, member: Member, by: Member) -> Any:
    return msgspec.structs.replace(shop.enrolment(member, "circle"), referred_by=by.member_id)


async def friend_of(shop: Shop, by: Member) -> Member:
    member = somebody()
    await shop.hear(referred(shop, member, by))
    return member


async def outcome(shop: Shop, member: Member) -> str | None:
    said: str | None = await shop.auditor.fetchval(
        "SELECT outcome FROM earn.referrals WHERE member_id = $1", member.member_id
    )
    return said


async def given(shop: Shop, referred_: Member, *, settled: bool = True) -> dict[str, int]:
    """Points by role, when nothing of it is due any more."""
    for _ in range(400):
        due = await shop.auditor.fetchval(
            "SELECT count(*) FROM earn.referrals WHERE due AND member_id = $1", referred_.member_id
        )
        waits = await shop.auditor.fetchval(
            "SELECT count(*) FROM earn.act_waiting JOIN earn.acts USING (act_id) WHERE act_ref LIKE $1",
            f"{referred_.member_id}/%",
        )
        if not due and not (settled and waits):
            break
        await asyncio.sleep(0.02)
    rows = await shop.auditor.fetch(
        """SELECT split_part(a.act_ref, '/', 3), c.points FROM earn.acts AS a JOIN earn.act_accruals AS c USING (act_id)
        WHERE a.source = 'engine:referral' AND a.act_ref LIKE $1""",
        f"{referred_.member_id}/%",
    )
    found = {row[0]: row[1] for row in rows}
    assert len(found) == len(rows)
    return found


async def test_both_get_something_once_when_the_first_bill_reaches_the_minimum(befriended: Shop) -> None:
    by = await befriended.member("circle")
    friend = await friend_of(befriended, by)
    body = bill(friend)
    entry = befriended.event(body)
    posts = [
        befriended.post(body),
        befriended.post(body),
        befriended.post(bill(friend)),
        befriended.post(bill(friend)),
    ]
    await asyncio.gather(befriended.offer(entry), *posts)
    await befriended.hear(referred(befriended, friend, by))
    assert await given(befriended, friend) == {"referrer": 500, "referred": 200}
    await befriended.post(bill(friend))
    assert await given(befriended, friend) == {"referrer": 500, "referred": 200}
    wallets = await befriended.auditor.fetch(
        """SELECT c.wallet_id FROM earn.act_accruals AS c JOIN earn.acts USING (act_id)
        WHERE act_ref LIKE $1 ORDER BY act_ref""",
        f"{friend.member_id}/%",
    )
    assert [row[0] for row in wallets] == [friend.wallet_id, by.wallet_id]


async def test_why_names_the_bill(befriended: Shop) -> None:
    by = await befriended.member("circle")
    friend = await friend_of(befriended, by)
    body = bill(friend)
    await befriended.post(body)
    await given(befriended, friend)
    [(act_id,)] = await befriended.auditor.fetch(
        "SELECT act_id::text FROM earn.act_keys WHERE act_ref = $1", f"{friend.member_id}/circle/referrer"
    )
    [one] = (await befriended.get(f"/v1/acts/{act_id}/why")).json()["judgements"]
    assert one["words"][1:] == [
        f"It is for the referrer, because of bill {await befriended.bill_id(body['bill_ref'])}, the first of the referred member.",
        "The bill came to 10500; 10000 is the least that it has to come to.",
        "It is worth 500 points.",
        "Of the member's 1200 points a year, 0 had been given since 2026-01-01.",
        "It gives 500 points.",
    ]


async def test_a_first_bill_below_the_minimum_is_the_last_word(befriended: Shop) -> None:
    friend = await friend_of(befriended, await befriended.member("circle"))
    await befriended.post(bill(friend, total_minor=9999, lines=[{"line_id": "1", "amount_minor": 9999}]))
    await befriended.post(bill(friend))
    assert (await outcome(befriended, friend), await given(befriended, friend)) == ("below", {})


async def test_a_bill_that_comes_before_the_enrolment_waits_for_it_and_counts(befriended: Shop) -> None:
    by, friend = somebody(), somebody()
    answered = await befriended.post(bill(friend))
    assert answered.json()["status"] == "waiting"
    await befriended.hear(referred(befriended, friend, by))
    for _ in range(400):
        if await outcome(befriended, friend) == "reached":
            break
        await asyncio.sleep(0.02)
    assert await given(befriended, friend, settled=False) == {
        "referred": 200
    }  # the referrer is not known yet
    await befriended.hear(befriended.enrolment(by, "circle"))
    assert await given(befriended, friend) == {"referrer": 500, "referred": 200}


async def test_caps_of_the_referrer_hold_over_many_friends_at_once(befriended: Shop) -> None:
    by = await befriended.member("circle")
    friends = [await friend_of(befriended, by) for _ in range(4)]
    await asyncio.gather(*[befriended.post(bill(one)) for one in friends])
    every = [await given(befriended, one) for one in friends]
    assert sorted(one.get("referrer", 0) for one in every) == [0, 200, 500, 500]
    assert [one["referred"] for one in every] == [200] * 4


async def reversals(shop: Shop, member: Member, *, wait_for: int) -> list[dict[str, Any]]:
    """What the bank was asked to take back of a referral, when that was looked at."""
    found: list[dict[str, Any]] = []
    for _ in range(400):
        acts = await shop.auditor.fetch(
            "SELECT act_id::text FROM earn.act_keys WHERE act_ref LIKE $1 ORDER BY act_ref",
            f"{member.member_id}/%",
        )
        found = [
            one
            for (act_id,) in acts
            for one in await shop.told(act_id)
            if one["type"] == "points.reversal_requested.v1"
        ]
        review = await shop.auditor.fetchval(
            "SELECT review FROM earn.referrals WHERE member_id = $1", member.member_id
        )
        if len(found) == wait_for and not review:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(found)


async def test_refunds_below_the_minimum_take_both_back_once_and_give_back_to_caps(befriended: Shop) -> None:
    by = await befriended.member("circle")
    friend = await friend_of(befriended, by)
    body = bill(friend)
    await befriended.post(body)
    await given(befriended, friend)
    bank, bill_id = Bank(befriended), await befriended.bill_id(body["bill_ref"])
    await post(befriended, refund(body, amount_minor=500))  # 100.00 is left: as much as it has to be
    await bank.serve(bill_id)
    assert await reversals(befriended, friend, wait_for=0) == []
    await asyncio.gather(
        post(befriended, refund(body, amount_minor=1)), post(befriended, refund(body, amount_minor=1))
    )
    asked = await reversals(befriended, friend, wait_for=2)
    assert [one["data"]["reverse_through"] for one in asked] == [200, 500]
    assert [one["data"]["wallet_id"] for one in asked] == [str(friend.wallet_id), str(by.wallet_id)]
    for one in asked:
        await bank.asked(one["subject"])
    answers = [bank.answer(one["data"]) for one in asked]
    await befriended.hear(*answers, *answers)
    await befriended.hear(*answers)
    await bank.serve(bill_id)
    await reversals(befriended, friend, wait_for=2)
    rows = await befriended.auditor.fetch(
        "SELECT decided, given_back FROM earn.caps WHERE campaign = 'act:friends' AND wallet_id = ANY($1) ORDER BY decided",
        [by.wallet_id, friend.wallet_id],
    )
    assert [tuple(row) for row in rows] == [(200, 200), (500, 500)]


async def test_what_the_bank_does_not_answer_is_asked_again_and_what_it_refuses_stays_with_the_member(
    befriended: Shop,
) -> None:
    by = await befriended.member("circle")
    friend = await friend_of(befriended, by)
    body = bill(friend)
    await befriended.post(body)
    await given(befriended, friend)
    await post(befriended, refund(body, all=True))
    first = await reversals(befriended, friend, wait_for=2)
    ids = [UUID(one["data"]["request_id"]) for one in first]

    async def ask_again(before: datetime) -> None:
        for request_id in (*ids, *ids):
            await befriended.runtime.do(AskActAgain(request_id, before), job="test")

    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    await ask_again(long_ago)  # was asked after that
    assert await reversals(befriended, friend, wait_for=2) == first
    await ask_again(datetime.now(UTC) + timedelta(seconds=1))
    again = await reversals(befriended, friend, wait_for=6)
    assert [one["data"] for one in again if int(one["sequence"]) > 3][::2] == [one["data"] for one in first]
    for act_id in {one["subject"] for one in first}:
        told = [int(one["sequence"]) for one in await befriended.told(act_id)]
        assert told == list(range(1, len(told) + 1))

    # The referrer has spent the bonus: under `block` it stays, and gives nothing back.
    bank = Bank(befriended)
    answers = []
    for one in first:
        await bank.asked(one["subject"])
        bank.spent = 500 if one["data"]["wallet_id"] == str(by.wallet_id) else 0
        answers.append(bank.answer(one["data"]))
    await befriended.hear(*answers, *reversed(answers))
    stand = "SELECT wallet_id, status, code, through FROM earn.act_reversals WHERE request_id = ANY($1)"
    assert {tuple(row) for row in await befriended.auditor.fetch(stand, ids)} == {
        (friend.wallet_id, "reversed", None, 200),
        (by.wallet_id, "refused", "points_spent", 0),
    }
    caps = "SELECT wallet_id, decided, given_back FROM earn.caps WHERE campaign = 'act:friends' AND wallet_id = ANY($1)"
    rows = await befriended.auditor.fetch(caps, [by.wallet_id, friend.wallet_id])
    assert {tuple(row) for row in rows} == {(friend.wallet_id, 200, 200), (by.wallet_id, 500, 0)}
    await ask_again(datetime.now(UTC) + timedelta(seconds=1))  # answered
    assert len(await reversals(befriended, friend, wait_for=6)) == 6


async def test_a_refund_before_the_referrer_is_known_is_looked_at_when_that_is(befriended: Shop) -> None:
    by, friend = somebody(), somebody()
    await befriended.hear(referred(befriended, friend, by))
    body = bill(friend)
    await befriended.post(body)
    await post(befriended, refund(body, all=True))
    assert await given(befriended, friend, settled=False) == {"referred": 200}
    await befriended.hear(befriended.enrolment(by, "circle"))
    assert len(await reversals(befriended, friend, wait_for=2)) == 2


async def test_refunds_outside_of_the_window_of_its_own_programme_take_no_referral_back(
    befriended: Shop, settings: Settings
) -> None:
    """Another programme of the bill has a longer window: the refund moves something there, and counts for nothing here."""
    brisk = {**EARNING, "refund_window_days": 1}
    await befriended.hear(
        activated("brisk", earning=brisk),
        activated("patient", earning={**SHOPS["earning"], "refund_window_days": 90}),
    )
    by, friend, bank = await befriended.member("brisk"), somebody(), Bank(befriended)
    told = befriended.enrolment(friend, "brisk", "patient")
    await befriended.hear(msgspec.structs.replace(told, referred_by=by.member_id))
    body, in_time, late = bill(friend), "2026-11-22T09:00:00Z", "2026-12-01T09:00:00Z"
    await befriended.post(body)
    assert await given(befriended, friend) == {"referrer": 500, "referred": 200}
    befriended.at(datetime.fromisoformat("2026-12-02T09:00:00Z"))
    answers = []
    for amount, occurred_at in ((9_000, late), (400, in_time)):
        answers.append(
            (await post(befriended, refund(body, amount_minor=amount, occurred_at=occurred_at))).json()
        )
        await bank.serve(answers[-1]["bill_id"])
    assert [one.get("code") for one in answers] == [None, None]
    assert await reversals(befriended, friend, wait_for=0) == []
    async with one_moment(settings, befriended) as db:
        assert await objections(settings, befriended, db, {"referrals:decided"}) == {}
    last = (await post(befriended, refund(body, all=True, occurred_at=in_time))).json()
    assert len(await reversals(befriended, friend, wait_for=2)) == 2
    because = await befriended.auditor.fetch(
        "SELECT DISTINCT refund_id FROM earn.act_reversals WHERE bill_id = $1", UUID(last["bill_id"])
    )
    assert [str(row[0]) for row in because] == [last["refund_id"]]
    async with one_moment(settings, befriended) as db:
        assert await objections(settings, befriended, db, {"referrals:decided"}) == {}


async def test_nobody_refers_oneself(befriended: Shop) -> None:
    member = somebody()
    await befriended.hear(referred(befriended, member, member))
    await befriended.post(bill(member))
    assert (await outcome(befriended, member), await given(befriended, member)) == (None, {})


async def test_a_member_who_had_bills_before_anything_was_given_for_referrals_is_no_new_one(
    befriended: Shop,
) -> None:
    friend = somebody()
    told = befriended.enrolment(friend, "late")
    await befriended.hear(
        msgspec.structs.replace(told, referred_by=(await befriended.member("late")).member_id)
    )
    await befriended.hear(activated("late", earning=SHOPS["earning"]))
    await befriended.post(bill(friend))
    second = activated("late", version=2, earning=EARNING)
    await befriended.hear(msgspec.structs.replace(second, activated_at=datetime(2026, 11, 1, tzinfo=UTC)))
    assert await outcome(befriended, friend) is None
    [done] = await befriended.offer(befriended.event(bill(friend)))
    assert isinstance(done, Done)
    assert (await outcome(befriended, friend), await given(befriended, friend)) == ("not_first", {})


# ---- what the oracle says of it, when it is whole and when it is spoilt ------------------------

CHECKS = {
    "referrals:asked",
    "referrals:requests",
    "referrals:decided",
    "referrals:given",
    "acts:keys",
    "acts:decisions",
    "acts:told",
    "accruals:told",
    "caps:counted",
}
REACHED = (
    "(SELECT member_id FROM earn.referrals WHERE outcome = 'reached' AND NOT due ORDER BY member_id LIMIT 1)"
)
UNDECIDED = """WITH known AS (UPDATE earn.heirs SET since = since - interval '5 minutes'),
    began AS (UPDATE earn.migrations SET at = {began} WHERE name LIKE '%/0090_referrals_of_one_person.sql')
UPDATE earn.referrals SET outcome = NULL, bill_id = NULL, occurred_at = NULL, version = NULL, amount_minor = NULL,
minimum_minor = NULL, review = false
WHERE outcome = 'reached' AND member_id IN (
    SELECT w.member_id FROM earn.wallets AS w JOIN earn.heirs AS h ON h.wallet_id = w.wallet_id
    WHERE NOT EXISTS (SELECT FROM earn.accruals AS a WHERE a.wallet_id = w.wallet_id)
)"""
SPOILT = {
    "something taken back that was not to be": (
        "DELETE FROM earn.refunds WHERE refunded_minor = 500",
        {"referrals:decided"},
    ),
    "points that never went back": (
        "DELETE FROM earn.act_reversals WHERE status = 'reversed'",
        {"referrals:decided", "referrals:asked", "caps:counted"},
    ),
    "a pair that lost one of its acts": (
        "DELETE FROM earn.acts WHERE act_ref LIKE '%/referred'",
        {"referrals:given", "acts:keys"},
    ),
    "a bonus for somebody else": (
        f"UPDATE earn.referrals SET referrer_id = gen_random_uuid() WHERE member_id = {REACHED}",
        {"referrals:given", "acts:decisions"},
    ),
    "a bonus for a bill below the minimum": (
        "UPDATE earn.referrals SET outcome = 'reached', amount_minor = minimum_minor WHERE outcome = 'below'",
        {"referrals:decided", "referrals:given"},
    ),
    "a first bill that decided nothing": (
        f"""UPDATE earn.referrals SET outcome = NULL, bill_id = NULL, occurred_at = NULL, version = NULL, amount_minor = NULL,
        minimum_minor = NULL WHERE member_id = {REACHED}""",
        {"referrals:decided", "referrals:given"},
    ),
    "a second friend who was the first one": (
        """WITH before AS (
            UPDATE earn.decisions SET recorded_at = recorded_at - interval '5 minutes'
            WHERE bill_id IN (SELECT bill_id FROM earn.referrals WHERE outcome = 'reached')
        ),
        known AS (UPDATE earn.heirs SET since = since - interval '5 minutes')
        UPDATE earn.referrals SET outcome = 'reached', minimum_minor = 10000
        WHERE outcome = 'not_first' AND member_id IN (
            SELECT w.member_id FROM earn.wallets AS w JOIN earn.heirs AS h ON h.wallet_id = w.wallet_id
        )""",
        {"referrals:decided", "referrals:given"},
    ),
    "a friend who was merged, and whose bill decided nothing": (
        UNDECIDED.format(began="at - interval '5 minutes'"),
        {"referrals:decided", "referrals:given"},
    ),
    "both referrals of one person": (
        """UPDATE earn.referrals AS r SET outcome = 'reached', minimum_minor = 10000
        WHERE r.outcome = 'not_first' AND EXISTS (
            SELECT FROM earn.referrals AS o WHERE o.bill_id = r.bill_id AND o.outcome = 'reached'
        )""",
        {"referrals:decided", "referrals:given"},
    ),
    "a bill that was not the first": (
        f"""UPDATE earn.referrals SET bill_id = (
            SELECT bill_id FROM earn.referrals WHERE outcome = 'reached' ORDER BY member_id DESC LIMIT 1
        ) WHERE member_id = {REACHED}""",
        {"referrals:decided", "referrals:given"},
    ),
}


async def test_who_is_merged_with_a_referrer_or_a_buyer_is_no_new_friend(befriended: Shop) -> None:
    """Referred by oneself, or a first bill that is the person's second: nobody gets anything."""
    by, buyer = await befriended.member("circle"), await befriended.member("circle")
    oneself, old = await friend_of(befriended, by), await friend_of(befriended, by)
    await befriended.post(bill(buyer))
    await befriended.hear(merged(by, oneself), merged(buyer, old))
    for member in (oneself, old):
        await befriended.post(bill(member))
    assert [await outcome(befriended, member) for member in (oneself, old)] == [None, "not_first"]
    assert [await given(befriended, member) for member in (oneself, old)] == [{}, {}]
    # What was given to two friends stays theirs, whoever they become.
    friend, somebody_else = await friend_of(befriended, by), await befriended.member("circle")
    await befriended.post(bill(friend))
    assert await given(befriended, friend) == {"referrer": 500, "referred": 200}
    await befriended.hear(merged(friend, somebody_else))


async def test_of_two_friends_who_are_one_the_first_bill_of_either_is_the_first(befriended: Shop) -> None:
    """A bill may still be judged for who was merged: it was on its way. It is the person's second. Who was enrolled first is the
    friend whom it brings something for."""
    by = await befriended.member("circle")
    ended, heir, third = [await friend_of(befriended, by) for _ in range(3)]
    await befriended.hear(merged(ended, heir), merged(third, heir))
    await befriended.post(bill(heir))
    await asyncio.gather(*[befriended.post(bill(member)) for member in (ended, third)])
    said = [(await outcome(befriended, one), await given(befriended, one)) for one in (heir, ended, third)]
    assert said == [("not_first", {}), ("reached", {"referrer": 500, "referred": 200}), ("not_first", {})]


async def wallets_given(shop: Shop, friend: Member) -> dict[str, Any]:
    """The wallet that each of both got something in."""
    rows = await shop.auditor.fetch(
        """SELECT split_part(act_ref, '/', 3), c.wallet_id FROM earn.act_accruals AS c JOIN earn.acts USING (act_id)
        WHERE act_ref LIKE $1""",
        f"{friend.member_id}/%",
    )
    return {row[0]: row[1] for row in rows}


async def test_a_friend_who_was_merged_before_the_first_bill_is_one_by_the_first_bill_of_who_goes_on(
    befriended: Shop,
) -> None:
    """Merged twice, the referrer too: a bill by what named the friend is judged for who goes on, and goes back from there."""
    by, by_heir, between, heir = [await befriended.member("circle") for _ in range(4)]
    friend = await friend_of(befriended, by)
    await befriended.hear(
        led(befriended, friend, between), led(befriended, by, by_heir), led(befriended, between, heir)
    )
    body = bill(friend)
    await befriended.post(body)
    assert await outcome(befriended, friend) == "reached"
    assert await given(befriended, friend) == {"referrer": 500, "referred": 200}
    both = {"referrer": by_heir.wallet_id, "referred": heir.wallet_id}
    assert await wallets_given(befriended, friend) == both
    await befriended.post(bill(heir))
    assert await given(befriended, friend) == {"referrer": 500, "referred": 200}
    await post(befriended, refund(body, all=True))
    asked = await reversals(befriended, friend, wait_for=2)
    assert {one["data"]["wallet_id"]: one["data"]["reverse_through"] for one in asked} == {
        str(heir.wallet_id): 200,
        str(by_heir.wallet_id): 500,
    }


async def test_a_friend_who_goes_on_as_the_referrer_or_as_a_buyer_brings_nothing(befriended: Shop) -> None:
    by, buyer = await befriended.member("circle"), await befriended.member("circle")
    await befriended.post(bill(buyer))
    oneself, old = [await friend_of(befriended, by) for _ in range(2)]
    await befriended.hear(led(befriended, oneself, by), led(befriended, old, buyer))
    for member in (oneself, old):
        await befriended.post(bill(member))
    assert [await outcome(befriended, member) for member in (oneself, old)] == [None, "not_first"]
    assert [await given(befriended, member) for member in (oneself, old)] == [{}, {}]


async def test_of_two_friends_who_are_one_the_referrer_of_who_was_enrolled_first_has_the_bonus(
    befriended: Shop,
) -> None:
    """Whichever of them goes on; not where that one refers oneself by now."""
    first_by, second_by = await befriended.member("circle"), await befriended.member("circle")
    earlier, later = somebody(), somebody()
    told = referred(befriended, earlier, first_by)
    await befriended.hear(referred(befriended, later, second_by))
    await befriended.hear(msgspec.structs.replace(told, enrolled_at=AT - timedelta(days=1)))
    await befriended.hear(led(befriended, earlier, later))
    await befriended.post(bill(later))
    said = [(await outcome(befriended, one), await given(befriended, one)) for one in (earlier, later)]
    assert said == [("reached", {"referrer": 500, "referred": 200}), ("not_first", {})]
    oneself, friend = await friend_of(befriended, first_by), await friend_of(befriended, second_by)
    await befriended.hear(led(befriended, first_by, friend), led(befriended, oneself, friend))
    await befriended.post(bill(oneself))
    assert [await outcome(befriended, one) for one in (oneself, friend)] == [None, "reached"]
    assert await given(befriended, friend) == {"referrer": 500, "referred": 200}


async def test_a_bill_that_waited_for_a_friend_who_was_merged_meanwhile_is_the_first(
    befriended: Shop,
) -> None:
    by, heir = await befriended.member("circle"), await befriended.member("circle")
    friend = somebody()
    answered = await befriended.post(bill(friend))
    assert answered.json()["status"] == "waiting"
    await befriended.hear(referred(befriended, friend, by), led(befriended, friend, heir))
    for _ in range(400):
        if await outcome(befriended, friend) == "reached":
            break
        await asyncio.sleep(0.02)
    assert await given(befriended, friend) == {"referrer": 500, "referred": 200}
    assert await wallets_given(befriended, friend) == {"referrer": by.wallet_id, "referred": heir.wallet_id}


def led(shop: Shop, ended: Member, heir: Member) -> MemberMerged:
    """The same as `merged`; what named the one names the other."""
    return msgspec.structs.replace(merged(ended, heir), identities=(shop.identity("mobile", ended.mobile),))


def merged(ended: Member, heir: Member) -> MemberMerged:
    return MemberMerged(
        merge_id=uuid7(),
        member_id=ended.member_id,
        merged_into=heir.member_id,
        reason="duplicate",
        wallets=(MergedWallet(programme="circle", wallet_id=ended.wallet_id, merged_into=heir.wallet_id),),
        survivor_wallets=(EnrolledWallet(programme="circle", wallet_id=heir.wallet_id),),
        identities=(),
        merged_at=autumn_2026(),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(settings: Settings, befriended: Shop) -> AsyncIterator[Connection]:
    """One moment of the books, in which everything can be changed and nothing stays."""
    async with one_moment(settings, befriended) as db:
        yield db


async def test_the_oracle_works_out_the_same(settings: Settings, befriended: Shop, books: Connection) -> None:
    assert await objections(settings, befriended, books, CHECKS) == {}


async def test_a_bill_is_judged_when_it_was_and_not_when_it_began_to_wait(
    settings: Settings, befriended: Shop, books: Connection
) -> None:
    """The bill of a merged friend that waited for long is no earlier one of who goes on."""
    waited = """WITH known AS (UPDATE earn.heirs SET since = since - interval '10 minutes')
        UPDATE earn.decisions SET recorded_at = recorded_at - interval '5 minutes' WHERE status = 'waiting'"""
    assert await noticed(settings, befriended, books, waited, {"referrals:decided"}) == {}


async def test_what_was_judged_before_bills_decided_for_who_is_one_with_the_member_is_no_objection(
    settings: Settings, befriended: Shop, books: Connection
) -> None:
    objection = "a bill of who is one with the member was judged by one that gives for referrals, and did not decide it"

    async def objected(began: str) -> bool:
        found = await noticed(
            settings, befriended, books, UNDECIDED.format(began=began), {"referrals:decided"}
        )
        return any(objection in example for example in found["referrals:decided"])

    assert await objected("at - interval '5 minutes'")
    assert not await objected("clock_timestamp()")


async def test_the_bill_that_decides_is_no_earlier_one_of_who_is_one_with_the_member(
    settings: Settings, befriended: Shop, books: Connection
) -> None:
    """A friend who was merged, whom the first bill of who goes on brought nothing."""
    spoilt = """UPDATE earn.referrals AS r SET outcome = 'not_first', minimum_minor = NULL, review = false
        FROM earn.wallets AS w
        JOIN earn.heirs AS h ON h.wallet_id = w.wallet_id
        WHERE r.outcome = 'reached' AND w.member_id = r.member_id AND w.programme = r.programme
            AND EXISTS (SELECT FROM earn.accruals AS a WHERE a.wallet_id = h.heir AND a.bill_id = r.bill_id)
            AND NOT EXISTS (SELECT FROM earn.referrals AS b WHERE b.bill_id = r.bill_id AND b.member_id <> r.member_id)
            AND NOT EXISTS (
                SELECT
                FROM earn.heirs AS o
                JOIN earn.accruals AS a ON a.wallet_id IN (o.wallet_id, o.heir)
                WHERE o.heir = h.heir AND a.bill_id <> r.bill_id
            )"""
    found = await noticed(settings, befriended, books, spoilt, {"referrals:decided"})
    assert found["referrals:decided"][0].endswith("no other bill of the member was judged before")


async def test_what_takes_a_referral_back_is_no_cancelled_review(
    settings: Settings, befriended: Shop, books: Connection
) -> None:
    report = await reported(settings, befriended, books)
    assert (report["referrals:asked"].compared > 0, report["reviews:asked"].broken) == (True, 0)


MERGED = f"""WITH went AS (
    UPDATE earn.identities SET member_id = '{{heir}}' WHERE member_id = {REACHED} RETURNING 1
)
INSERT INTO redeem.merged_members (member_id, merged_into) SELECT {REACHED}, '{{heir}}' FROM went LIMIT 1"""


async def test_a_referred_member_may_have_been_merged_since(
    settings: Settings, befriended: Shop, books: Connection
) -> None:
    heir = (await befriended.member("circle")).member_id
    assert await noticed(settings, befriended, books, MERGED.format(heir=heir), CHECKS) == {}


@pytest.mark.parametrize(("sql", "checks"), SPOILT.values(), ids=SPOILT)
async def test_the_oracle_notices(
    settings: Settings, befriended: Shop, books: Connection, sql: str, checks: set[str]
) -> None:
    broken = await noticed(settings, befriended, books, sql, CHECKS)
    assert checks <= broken.keys(), broken
