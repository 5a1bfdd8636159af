"""A version that ends balances sooner: members are told first, and what ends says by which version."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from services.redeem.domain.redemption import Redeem
from services.redeem.jobs.sweeping import walk
from services.redeem.jobs.telling_expiry import tell_of_expiry
from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import FromJob, Item, Refused
from tests.integration.redeem.conftest import Bank, accrued, asks
from tests.integration.redeem.test_asked import answers
from tests.integration.redeem.test_expiring import NOW, expired, owner
from tests.integration.redeem.test_merges import merge
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import activated, heard

YESTERDAY, LONG_AGO = NOW - timedelta(days=1), NOW - timedelta(days=250)
RIYADH = timedelta(hours=3)


async def says(bank: Bank, code: str, version: int, *, at: datetime, months: int | None, **more: Any) -> None:
    """A version comes that ends balances after so much silence; None: none."""
    silence = {"policy": "inactivity", "months": months} if months is not None else {"policy": "never"}
    event = activated(code, version, expiry={**silence, **more})
    await bank.hear(replace(event, activated_at=at))


def midnight(at: datetime, days: int) -> datetime:
    """The first instant, in Riyadh, of the day that lies so many after that moment's."""
    local = (at + RIYADH).replace(hour=0, minute=0, second=0, microsecond=0)
    return local + timedelta(days=days) - RIYADH


async def audited(bank: Bank, wallet_id: Any) -> list[Any]:
    rows = await bank.auditor.fetch(
        "SELECT after FROM redeem.audit WHERE action = 'points.expire' AND object = $1 ORDER BY id",
        f"wallet/{wallet_id}",
    )
    return [json.loads(row["after"]).get("programme_version") for row in rows]


async def available(bank: Bank, wallet_id: Any, **at: Any) -> int:
    answer = (await bank.get(f"/v1/wallets/{wallet_id}/balance", **at)).json()
    points: int = answer["available"]["points"]
    return points


async def test_a_shorter_silence_ends_nothing_before_its_members_could_be_told(bank: Bank) -> None:
    """Twelve months before, six since yesterday, after eight of silence."""
    await says(bank, "shortened", 1, at=NOW - timedelta(days=400), months=12)
    member = await owner(bank, "shortened", 1000, at=LONG_AGO)
    await says(bank, "shortened", 2, at=YESTERDAY, months=6, notice_days=[30, 7])
    ends = midnight(YESTERDAY, 31)
    assert await walk(bank.runtime) == {}
    assert await available(bank, member.wallet_id) == 1000
    then = (NOW - timedelta(days=40)).isoformat()
    assert await available(bank, member.wallet_id, at=then, clock="effective") == 1000
    assert await available(bank, member.wallet_id, at=ends.isoformat(), clock="effective") == 0
    assert await tell_of_expiry(bank.runtime) == 1
    [told] = await answers(bank, member.wallet_id, "points.expiring.v1")
    assert (told["days"], told["expiring"]["points"]) == (30, 1000)
    assert datetime.fromisoformat(told["expires_at"]) == ends


async def test_what_silence_ended_says_by_which_version(bank: Bank, settings: Settings) -> None:
    """One balance under the first version, one under the second when its notices were over, one by an end of its own."""
    since = NOW - timedelta(days=60)
    await says(bank, "explained", 1, at=NOW - timedelta(days=700), months=12)
    first = await owner(bank, "explained", 100, at=NOW - timedelta(days=600))
    second = await owner(bank, "explained", 100, at=LONG_AGO)
    lot = await owner(bank, "explained", 100, at=NOW, expires_at=NOW - timedelta(hours=1))
    awake = await owner(bank, "explained", 100, at=NOW - timedelta(days=100))
    assert (await bank.redeem(asks(awake, programme="explained", points=40))).status_code == 201
    await says(bank, "explained", 2, at=since, months=6, notice_days=[30])
    assert (await walk(bank.runtime))["explained"].wallets == 3
    assert [ended_at for _, ended_at in await expired(bank, second.wallet_id)] == [midnight(since, 31)]
    assert [ended_at < since for _, ended_at in await expired(bank, first.wallet_id)] == [True]
    for member, version in ((first, 1), (second, 2), (lot, None)):
        [told] = await answers(bank, member.wallet_id, "points.expired.v1")
        assert told.get("programme_version") == version
        assert await audited(bank, member.wallet_id) == [version]
    spoilt = {
        "a balance that ended before its member could be told": (
            """
            UPDATE redeem.ledger SET effective_at = effective_at - interval '1 second'
            WHERE kind = 'expire' AND wallet_id = '{second}'
            """,
            {"ledger:silence"},
        ),
        "a balance that a version ended before it was activated": (
            """
            UPDATE earn.programmes SET activated_at = now() - interval '20 days'
            WHERE programme = 'explained' AND version = 2
            """,
            {"ledger:silence"},
        ),
        "a balance of a member who was active": (
            """
            UPDATE redeem.ledger SET effective_at = now() WHERE kind = 'earn' AND wallet_id = '{first}'
            """,
            {"ledger:silence"},
        ),
        "points that were spent after silence had ended them": (
            """
            UPDATE redeem.ledger SET effective_at = effective_at - interval '300 days'
            WHERE kind = 'earn' AND wallet_id = '{awake}'
            """,
            {"ledger:silence"},
        ),
    }
    ids = {"first": first.wallet_id, "second": second.wallet_id, "awake": awake.wallet_id}
    filled = {name: (sql.format(**ids), found) for name, (sql, found) in spoilt.items()}
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"ledger:silence"}), filled)


async def test_what_an_heir_spends_and_loses_is_held_against_the_silence_of_all_who_became_it(
    bank: Bank, settings: Settings
) -> None:
    """One heir was never active itself; the points of another, who was, would have ended but for who was merged into it."""
    at = {"long": NOW - timedelta(days=170), "later": NOW - timedelta(days=100)}
    await says(bank, "family", 1, at=NOW - timedelta(days=700), months=6)
    first, never = await owner(bank, "family", 100, at=at["later"]), await owner(bank, "family")
    second, once = [await owner(bank, "family", 100, at=at[when]) for when in ("later", "long")]
    third, left = await owner(bank, "family", 100, at=at["later"]), await owner(bank, "family")
    for ended, heir in ((first, never), (second, once), (third, left)):
        await merge(bank, ended, heir, programme="family")
    bank.passes(timedelta(days=30))
    for heir in (never, once):
        assert (await bank.redeem(asks(heir, programme="family", points=40))).status_code == 201
    bank.passes(timedelta(days=120))
    await walk(bank.runtime)
    assert [points for points, _ in await expired(bank, left.wallet_id)] == [100]
    spoilt = {
        f"what {who} spent after the silence of both": (
            f"""
            UPDATE redeem.ledger SET effective_at = effective_at - interval '300 days'
            WHERE kind = 'earn' AND wallet_id = ANY('{{{ids}}}'::uuid[])
            """,
            {"ledger:silence"},
        )
        for who, ids in (
            ("an heir that was never active", first.wallet_id),
            ("an heir that was", f"{second.wallet_id},{once.wallet_id}"),
        )
    }
    spoilt["what ended too soon after who was merged was active"] = (
        f"""
        UPDATE redeem.ledger SET effective_at = effective_at - interval '1 second'
        WHERE kind = 'expire' AND wallet_id = '{left.wallet_id}'
        """,
        {"ledger:silence"},
    )
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"ledger:silence"}), spoilt)


async def test_what_had_ended_before_a_version_came_stays_ended_swept_or_not(bank: Bank) -> None:
    """Six months until yesterday, and for ever since."""
    await says(bank, "forever", 1, at=NOW - timedelta(days=700), months=6)
    ended = await owner(bank, "forever", 100, at=LONG_AGO)
    alive = await owner(bank, "forever", 100, at=NOW - timedelta(days=100))
    await says(bank, "forever", 2, at=YESTERDAY, months=None)
    for _ in range(2):
        assert await available(bank, ended.wallet_id) == 0
        assert await available(bank, alive.wallet_id) == 100
        await walk(bank.runtime)
    [told] = await answers(bank, ended.wallet_id, "points.expired.v1")
    assert told["programme_version"] == 1
    assert datetime.fromisoformat(told["effective_at"]).astimezone(UTC) < YESTERDAY


async def test_first_points_that_had_ended_when_they_were_told_are_spent_in_no_batch(bank: Bank) -> None:
    """A bill that waited for months, and a redemption right behind it: as if a batch lay between them."""
    await says(bank, "waited", 1, at=NOW - timedelta(days=700), months=1)
    member = await owner(bank, "waited")
    bill = accrued(member.wallet_id, 100, member_id=member.member_id, programme="waited", at=LONG_AGO)
    spend = Redeem(
        programme="waited",
        member_id=member.member_id,
        identity_kind=None,
        identity_hash=None,
        points=40,
        money=None,
        merchant="riyadh-mall",
        terminal=None,
        cashier=None,
        channel=None,
        bill_ref=None,
    )
    behind = Item(spend, FromJob("test"), request_id=str(uuid7()), actor="test")
    _, refused = await bank.runtime.lane.submit_many([heard(bill), behind])
    assert isinstance(refused, Refused)
    assert refused.refusal.code == "insufficient_points"
    assert (await bank.wallet(member.wallet_id))["available"] == 100
    await walk(bank.runtime)
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["redeemed"], wallet["expired"]) == (0, 0, 100)
