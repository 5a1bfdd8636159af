"""What was spent offline before it expired, and is told after the sweep: as if no sweep had come by."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from services.redeem.jobs.sweeping import walk
from shared.config import Settings
from tests.integration.redeem.conftest import Bank, Member, accrued, worth
from tests.integration.redeem.test_asked import answers
from tests.integration.redeem.test_merges import merge
from tests.integration.redeem.test_offline import (
    OFFLINE,
    RULES,
    allowed,
    body_of,
    moved,
    post,
    programme,
    reported,
    use,
)
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import activated

HOUR = 3600.0
BOTH = pytest.mark.parametrize("swept", [False, True])
BOOKS = frozenset({
    "ledger:chain", "ledger:balances", "ledger:lots", "postings:once", "postings:told", "redemptions", "redemptions:told",
    "redemptions:revived",

})  # fmt: skip


async def owner(bank: Bank, code: str, *lots: tuple[int, float | None]) -> Member:
    """A member with lots of so many points that ended so many hours ago (None: never), the oldest first."""
    member, now = await bank.member(programme=code), datetime.now(UTC)
    for k, (points, ago) in enumerate(lots):
        ends = None if ago is None else now - timedelta(hours=ago)
        at = now - timedelta(days=20 - k)
        earned = accrued(
            member.wallet_id, points, member_id=member.member_id, programme=code, at=at, expires_at=ends
        )
        await bank.hear(earned)
    return member


async def before(bank: Bank, member: Member, code: str) -> dict[str, Any]:
    """An allowance of ten hours ago."""
    one = await allowed(bank, member, code)
    await moved(bank, one, issued_at=datetime.now(UTC) - timedelta(hours=10))
    return one


async def stands(bank: Bank, member: Member) -> tuple[dict[str, int], list[tuple[int, int]]]:
    """Its buckets, and what is left and expired of its lots, the oldest first."""
    row = await bank.wallet(member.wallet_id)
    buckets = {name: row[name] for name in ("available", "redeemed", "expired", "debt")}
    lots = await bank.auditor.fetch(
        "SELECT remaining, expired FROM redeem.lots WHERE wallet_id = $1 ORDER BY earned_at", member.wallet_id
    )
    return buckets, [tuple(lot) for lot in lots]


async def past(bank: Bank, member: Member, *, hours_ago: float) -> int:
    then = (datetime.now(UTC) - timedelta(hours=hours_ago)).isoformat()
    answer = (await bank.get(f"/v1/wallets/{member.wallet_id}/balance", at=then, clock="effective")).json()
    points: int = answer["available"]["points"]
    return points


@BOTH
async def test_what_expired_since_it_was_spent_pays_whether_a_sweep_came_by_or_not(
    bank: Bank, settings: Settings, swept: bool
) -> None:
    code = await programme(bank)
    member = await owner(bank, code, (1000, 1))
    one = await before(bank, member, code)
    spent = use("R-1", 300, ago_s=3 * HOUR)
    if swept:
        assert (await walk(bank.runtime))[code].points == 1000
    said = await reported(bank, one, spent)
    assert [use["overdrawn"] for use in said["redemptions"]] == [worth(0)]
    assert said["balance"] == {
        "available": worth(0),
        "held": worth(0),
        "reserved": worth(0),
        "debt": worth(0),
    }
    again = await reported(bank, one, spent)
    assert again["redemptions"][0]["outcome"] == "repeated"
    await walk(bank.runtime)
    kept = {"available": 0, "redeemed": 300, "expired": 700, "debt": 0}
    assert await stands(bank, member) == (kept, [(0, 700)])
    told = await answers(bank, member.wallet_id, "points.reinstated.v1")
    assert [(one["reason"], one["redemption_id"], one["reinstated"]["points"]) for one in told] == (
        [("spent_offline", said["redemptions"][0]["redemption_id"], 300)] if swept else []
    )
    # The past reads alike, and at no moment below zero.
    assert [await past(bank, member, hours_ago=ago) for ago in (5, 2, 0.5)] == [1000, 700, 0]
    lines = (await bank.get(f"/v1/wallets/{member.wallet_id}/ledger")).json()["items"]
    sources = [line["source"] for line in lines if line["kind"] == "reinstate"]
    assert sources == ([{"redemption_id": said["redemptions"][0]["redemption_id"]}] if swept else [])
    if swept:
        await assert_whole_until_spoilt(settings, bank.code, BOOKS, SPOILT)


SPOILT: dict[str, tuple[str, set[str]]] = {
    name: (f"UPDATE redeem.ledger SET {change} WHERE kind = '{kind}'", {"redemptions:revived"})
    for name, kind, change in (
        ("more came back than was spent", "reinstate", "points = points + 1"),
        ("it came back before it had expired", "reinstate", "effective_at = effective_at - interval '1 second'"),
        ("it had expired before it was spent", "redeem", "effective_at = now()"),
    )
}  # fmt: skip
SPOILT["no till had been offline"] = "DELETE FROM redeem.offline_redemptions", {"redemptions:revived"}


class Case(NamedTuple):
    """Lots and uses, each so many points and hours ago (None: never); what each use owes, what is left and expired of each lot."""

    order: str
    lots: list[tuple[int, float | None]]
    uses: list[tuple[int, float]]
    owed: list[int]
    left: list[tuple[int, int]]


ORDERS = {
    "the older lot pays, gone or not": Case(
        "oldest_earned", [(100, None), (500, 1)], [(300, 3)], [0], [(0, 0), (0, 300)],
    ),
    "the ending lot pays first": Case(
        "earliest_expiry", [(100, None), (500, 1)], [(300, 3)], [0], [(100, 0), (0, 200)],
    ),
    "what was over before it was spent pays nothing": Case(
        "oldest_earned", [(200, 4), (100, 1)], [(150, 3)], [50], [(0, 200), (0, 0)],
    ),
    "of two uses the first takes what the second can't": Case(
        "oldest_earned", [(200, 4), (100, 1)], [(150, 5), (140, 3)], [0, 40], [(0, 50), (0, 0)],
    ),
    "there is no more than there was": Case(
        "oldest_earned", [(120, 1), (80, 2)], [(300, 3)], [100], [(0, 0), (0, 0)],
    ),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("case", ORDERS)
async def test_the_lots_pay_that_would_have_paid(bank: Bank, case: str, swept: bool) -> None:
    order, lots, uses, owed, left = ORDERS[case]
    code = await programme(bank, consumption=order)
    member = await owner(bank, code, *lots)
    one = await before(bank, member, code)
    if swept:
        await walk(bank.runtime)
    told = [use(f"R-{k}", points, ago_s=ago * HOUR) for k, (points, ago) in enumerate(uses)]
    said = await reported(bank, one, *told)
    assert [use["overdrawn"]["points"] for use in said["redemptions"]] == owed
    await walk(bank.runtime)
    assert (await stands(bank, member))[1] == left


@BOTH
async def test_each_report_finds_what_the_one_before_left(bank: Bank, swept: bool) -> None:
    """Three reports of one lot that ended: what of it came back and was spent does not come back again."""
    code = await programme(bank)
    member = await owner(bank, code, (250, 1))
    one = await before(bank, member, code)
    if swept:
        await walk(bank.runtime)
    owed = []
    for ref in range(3):
        said = await reported(bank, one, use(f"R-{ref}", 100, ago_s=3 * HOUR))
        owed.append(said["redemptions"][0]["overdrawn"]["points"])
    assert owed == [0, 0, 50]
    buckets = {"available": 0, "redeemed": 300, "expired": 0, "debt": -50}
    assert await stands(bank, member) == (buckets, [(0, 0)])


@BOTH
async def test_what_expired_as_it_came_back_from_an_authorisation_pays_nothing(
    bank: Bank, swept: bool
) -> None:
    code = await programme(bank)
    ends = datetime.now(UTC) + timedelta(hours=1)
    member = await bank.member(programme=code)
    await bank.hear(
        accrued(member.wallet_id, 100, member_id=member.member_id, programme=code, expires_at=ends)
    )
    asked = body_of(member, code, points=60, capture="later", bill_ref=secrets.token_hex(4))
    authorised = (await post(bank, "redemptions", asked)).json()
    one = await allowed(bank, member, code)
    spent = use("R-1", 50)
    bank.passes(timedelta(hours=2))
    if swept:
        await walk(bank.runtime)
    voided = await post(bank, f"redemptions/{authorised['redemption_id']}/void", {})
    assert voided.status_code == 200, voided.text
    said = await reported(bank, one, spent)
    assert said["redemptions"][0]["overdrawn"] == worth(10)
    buckets = {"available": 0, "redeemed": 50, "expired": 60, "debt": -10}
    assert await stands(bank, member) == (buckets, [(0, 60)])


@BOTH
async def test_what_was_swept_of_a_wallet_that_was_merged_since_pays_from_its_heir(
    bank: Bank, settings: Settings, swept: bool
) -> None:
    code = await programme(bank)
    member = await owner(bank, code, (200, 1))
    heir = await bank.member(programme=code)
    one = await before(bank, member, code)
    if swept:
        await walk(bank.runtime)
    await merge(bank, member, heir, programme=code)
    said = await reported(bank, one, use("R-1", 150, ago_s=3 * HOUR))
    assert said["redemptions"][0]["overdrawn"] == worth(0)
    kept = {"available": 0, "redeemed": 150, "expired": 50, "debt": 0}
    assert await stands(bank, heir) == (kept, [(0, 50)])
    await assert_whole_until_spoilt(settings, bank.code, BOOKS, {})


async def test_what_silence_ended_pays_too_and_does_not_live_on(bank: Bank, settings: Settings) -> None:
    """It would where no sweep had come by (docs/decisions/0061)."""
    silence = {"policy": "inactivity", "months": 48}
    code = f"p-{secrets.token_hex(4)}"
    await bank.hear(activated(code, redemption={**RULES, "offline": OFFLINE}, expiry=silence))
    today = (datetime.now(UTC) + timedelta(hours=3)).replace(hour=0, minute=0, second=0, microsecond=0)
    ended, last = today - timedelta(hours=3), today - timedelta(hours=15)
    member = await bank.member(programme=code)
    long_ago = last.replace(year=last.year - 4)
    await bank.hear(accrued(member.wallet_id, 1000, member_id=member.member_id, programme=code, at=long_ago))
    one = await allowed(bank, member, code)
    await moved(bank, one, issued_at=ended - timedelta(hours=3))
    assert (await walk(bank.runtime))[code].points == 1000
    spent = {**use("R-1", 300), "occurred_at": (ended - timedelta(hours=1)).isoformat()}
    said = await reported(bank, one, spent)
    assert said["redemptions"][0]["overdrawn"] == worth(0)
    kept = {"available": 0, "redeemed": 300, "expired": 700, "debt": 0}
    assert await stands(bank, member) == (kept, [(0, 700)])
    await assert_whole_until_spoilt(settings, bank.code, BOOKS | {"ledger:silence"}, {})


@BOTH
async def test_its_member_was_last_active_when_they_spent_it_and_not_when_it_expired(
    bank: Bank, settings: Settings, swept: bool
) -> None:
    """By which silence ends the rest of a balance."""
    code = await programme(bank, consumption="earliest_expiry")
    member = await owner(bank, code, (500, None), (100, 1))
    one = await before(bank, member, code)
    if swept:
        await walk(bank.runtime)
    spent = use("R-1", 60, ago_s=3 * HOUR)
    await reported(bank, one, spent)
    active_at = await bank.auditor.fetchval(
        "SELECT last_active_at FROM redeem.wallets WHERE wallet_id = $1", member.wallet_id
    )
    assert active_at == datetime.fromisoformat(spent["occurred_at"])
    await assert_whole_until_spoilt(settings, bank.code, BOOKS - {"redemptions:revived"}, {})
