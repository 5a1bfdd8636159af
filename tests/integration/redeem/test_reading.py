"""Balances on both clocks, and the ledger by page."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from shared.config import Settings
from shared.db import connect
from shared.http.cursors import encode_cursor
from shared.ids import uuid7
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, accrued, asks, worth
from tests.integration.redeem.test_acts import asked, post
from tests.integration.redeem.test_asked import release, reversal
from tests.integration.redeem.test_merges import merging
from tests.integration.redeem.test_returns import give_back, redeemed
from tests.support.facts import AT
from tests.support.http import assert_problem

NOTHING = {"points": 0, "money": {"amount_minor": 0, "currency": "SAR"}}
DAY = timedelta(days=1)
TAKEN = {"reverse", "owe", "cancel_hold", "repay"}


async def available(bank: Bank, wallet_id: UUID, **query: Any) -> int:
    answer = await bank.get(f"/v1/wallets/{wallet_id}/balance", **query)
    assert answer.status_code == 200, answer.text
    points: int = answer.json()["available"]["points"]
    return points


async def test_a_balance_tells_what_may_be_spent_and_when_it_expires(bank: Bank) -> None:
    member = await bank.member()
    soon, later = datetime(2030, 11, 30, 21, tzinfo=UTC), datetime(2031, 11, 30, 21, tzinfo=UTC)
    await bank.hear(
        accrued(member.wallet_id, 5, expires_at=later),
        accrued(member.wallet_id, 10, expires_at=soon),
        accrued(member.wallet_id, 20, expires_at=soon),
        accrued(member.wallet_id, 40),
        accrued(member.wallet_id, 80, kind="earn_held", expires_at=soon),
        accrued(member.wallet_id, 160, expires_at=datetime.now(UTC) - timedelta(seconds=1)),
    )
    asked_at = datetime.now(UTC)
    answer = await bank.get(f"/v1/wallets/{member.wallet_id}/balance")
    body = answer.json()
    assert asked_at <= datetime.fromisoformat(body.pop("at")) <= datetime.now(UTC)
    assert body == {
        "wallet_id": str(member.wallet_id),
        "programme": "shops",
        "clock": "effective",
        "available": worth(75),
        "held": worth(80),
        "reserved": NOTHING,
        "debt": NOTHING,
        "expiring": [
            {"expires_at": "2030-11-30T21:00:00Z", **worth(30)},
            {"expires_at": "2031-11-30T21:00:00Z", **worth(5)},
        ],
    }


async def test_a_past_balance_differs_by_the_clock(bank: Bank) -> None:
    member = await bank.member()
    await bank.hear(accrued(member.wallet_id, 100, at=AT))
    between = (await bank.lines(member.wallet_id))[-1]["posted_at"]
    await bank.hear(accrued(member.wallet_id, 20, at=AT + DAY), accrued(member.wallet_id, 3, at=AT + 2 * DAY))
    assert [
        await available(bank, member.wallet_id, clock="effective", at=at.isoformat())
        for at in (AT - DAY, AT, AT + DAY, AT + 2 * DAY)
    ] == [0, 100, 120, 123]
    assert [
        await available(bank, member.wallet_id, clock="posted", at=at.isoformat())
        for at in (AT + 2 * DAY, between, datetime.now(UTC))
    ] == [0, 100, 123]


async def test_a_past_balance_counts_what_was_not_expired_then(bank: Bank) -> None:
    member = await bank.member()
    await bank.hear(
        accrued(member.wallet_id, 100, expires_at=AT + 2 * DAY), accrued(member.wallet_id, 10, at=AT + DAY)
    )

    async def seen() -> list[int]:
        return [
            await available(bank, member.wallet_id, at=at.isoformat())
            for at in (AT, AT + DAY, AT + 2 * DAY, AT + 3 * DAY)
        ]

    assert await seen() == [100, 110, 10, 10]
    await bank.redeem(asks(member, points=1))  # sweeps the expired lot
    assert [line["kind"] for line in await bank.lines(member.wallet_id)][2:] == ["expire", "redeem"]
    assert await seen() == [100, 110, 10, 10]
    assert await available(bank, member.wallet_id) == 9


async def test_the_ledger_comes_by_page_newest_first(bank: Bank) -> None:
    member = await bank.member(10, 20, 30)
    redeemed = (await bank.redeem(asks(member, points=15))).json()
    path = f"/v1/wallets/{member.wallet_id}/ledger"
    first = (await bank.get(path, limit=2)).json()
    rest = (await bank.get(path, limit=4, cursor=first["next_cursor"])).json()
    assert rest["next_cursor"] is None
    items = first["items"] + rest["items"]
    assert [(line["seq"], line["kind"], line["points"]) for line in items] == [
        (5, "redeem", 5),
        (4, "redeem", 10),
        (3, "earn", 30),
        (2, "earn", 20),
        (1, "earn", 10),
    ]
    lines = await bank.lines(member.wallet_id)
    assert items[0] == {
        "seq": 5,
        "posting_id": str(lines[4]["posting_id"]),
        "kind": "redeem",
        "from": "available",
        "to": "redeemed",
        "points": 5,
        "money": {"amount_minor": 50, "currency": "SAR"},
        "lot_id": str(lines[1]["lot_id"]),
        "source": {"redemption_id": redeemed["redemption_id"]},
        "effective_at": redeemed["effective_at"],
        "posted_at": lines[4]["posted_at"].isoformat().replace("+00:00", "Z"),
        "balance": {"available": worth(45), "held": NOTHING, "reserved": NOTHING},
        "hash": lines[4]["hash"].hex(),
    }
    assert items[4]["source"] == {"bill_id": str(lines[0]["source_id"])}


async def test_the_ledger_is_filtered_by_kind_and_by_time_on_either_clock(bank: Bank) -> None:
    member = await bank.member(1, at=AT)
    await bank.hear(*[accrued(member.wallet_id, 2**k, at=AT + k * DAY) for k in (1, 2, 3)])
    await bank.hear(accrued(member.wallet_id, 100, at=AT, kind="earn_held"))
    await bank.redeem(asks(member, points=3))
    path = f"/v1/wallets/{member.wallet_id}/ledger"

    async def seen(**query: Any) -> list[tuple[str, int]]:
        answer = await bank.get(path, **query)
        assert answer.status_code == 200, answer.text
        return [(line["kind"], line["points"]) for line in answer.json()["items"]]

    assert await seen(kind=["earn_held", "redeem"]) == [("redeem", 2), ("redeem", 1), ("earn_held", 100)]
    assert await seen(kind="earn", since=(AT + DAY).isoformat(), until=(AT + 3 * DAY).isoformat()) == [
        ("earn", 4),
        ("earn", 2),
    ]
    lines = await bank.lines(member.wallet_id)
    assert await seen(
        clock="posted", since=lines[1]["posted_at"].isoformat(), until=lines[3]["posted_at"].isoformat()
    ) == [("earn", 4), ("earn", 2)]
    first = (await bank.get(path, kind="earn", limit=3)).json()
    assert [line["points"] for line in first["items"]] == [8, 4, 2]
    assert await seen(kind="earn", cursor=first["next_cursor"]) == [("earn", 1)]
    assert_problem(await bank.get(path, kind="stolen"), 422, "field_type")


async def test_lots_are_told_with_what_is_left_of_them_and_where_they_came_from(bank: Bank) -> None:
    member = await bank.member(10, at=AT + DAY)
    await bank.hear(
        accrued(member.wallet_id, 5, at=AT, expires_at=datetime(2031, 1, 1, tzinfo=UTC)),
        accrued(member.wallet_id, 40, 50, at=AT + 2 * DAY, kind="earn_held"),
    )
    await bank.redeem(asks(member, points=8))
    path = f"/v1/wallets/{member.wallet_id}/lots"
    lines = await bank.lines(member.wallet_id)
    first = (await bank.get(path, limit=2)).json()
    rest = (await bank.get(path, cursor=first["next_cursor"])).json()
    assert rest["next_cursor"] is None
    opened = first["items"] + rest["items"]
    assert [(lot["remaining"], lot["held"]) for lot in opened] == [
        (worth(7), NOTHING),
        (worth(40), worth(40)),
        (worth(50), worth(50)),
    ]
    assert opened[0] == {
        "lot_id": str(lines[0]["lot_id"]),
        "accrual_id": str(lines[0]["posting_id"]),
        "kind": "earn",
        "source": {"bill_id": str(lines[0]["source_id"])},
        "parent_lot": None,
        "earned_at": "2026-06-02T09:00:00Z",
        "expires_at": None,
        "points": worth(10),
        "remaining": worth(7),
        "held": NOTHING,
        "reserved": NOTHING,
    }
    newest = (await bank.get(path, which="all", limit=3)).json()
    oldest = (await bank.get(path, which="all", cursor=newest["next_cursor"])).json()
    assert oldest["next_cursor"] is None
    everything = newest["items"] + oldest["items"]
    assert [lot["points"]["points"] for lot in everything] == [50, 40, 5, 10]
    assert (everything[2]["remaining"], everything[2]["expires_at"]) == (NOTHING, "2031-01-01T00:00:00Z")
    # A cursor of the one list is none of the other.
    assert_problem(await bank.get(path, cursor=newest["next_cursor"]), 422, "field_type")


async def test_a_point_that_was_spent_is_traced_to_the_bill_that_earned_it_through_a_gift(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    giver, member = await bank.member(30), await bank.member(7)
    [earned], [own] = await bank.lines(giver.wallet_id), await bank.lines(member.wallet_id)
    # What a transfer leaves behind, written by hand: the receiver's lot names the giver's.
    given = uuid7()
    db = await connect(settings.admin_dsn(), database=tenant.database)
    await db.execute(
        "INSERT INTO redeem.postings (posting_id, wallet_id, points, kind) VALUES ($1, $2, 30, 'transfer')",
        given,
        member.wallet_id,
    )
    await db.execute(
        """
        INSERT INTO redeem.lots (lot_id, wallet_id, accrual_id, parent_lot, earned_at, points, remaining)
        VALUES ($1, $2, $1, $3, $4, 30, 30)
        """,
        given,
        member.wallet_id,
        earned["lot_id"],
        AT - DAY,
    )
    await db.execute(
        "UPDATE redeem.wallets SET available = 37, transferred = -30 WHERE wallet_id = $1", member.wallet_id
    )
    await db.close()
    await bank.redeem(asks(member, points=35))
    path = f"/v1/wallets/{member.wallet_id}/ledger"

    through_a_gift = (await bank.get(f"{path}/2/trace")).json()
    assert (through_a_gift["line"]["kind"], through_a_gift["line"]["points"]) == ("redeem", 30)
    assert [(lot["wallet_id"], lot["lot_id"], lot["kind"], lot["parent_lot"]) for lot in through_a_gift["lots"]] == [
        (str(member.wallet_id), str(given), "transfer", str(earned["lot_id"])),
        (str(giver.wallet_id), str(earned["lot_id"]), "earn", None),
    ]  # fmt: skip
    assert through_a_gift["earned_by"] == {"bill_id": str(earned["source_id"])}
    straight = (await bank.get(f"{path}/3/trace")).json()
    assert (straight["line"]["points"], straight["earned_by"]) == (5, {"bill_id": str(own["source_id"])})
    for seq in (0, 4, 2**63):
        assert_problem(await bank.get(f"{path}/{seq}/trace"), 404, "not_found")


@pytest.mark.parametrize("what", ["balance", "ledger", "ledger/1/trace", "lots"])
async def test_an_unknown_wallet_is_not_found(bank: Bank, what: str) -> None:
    assert_problem(await bank.get(f"/v1/wallets/{uuid7()}/{what}"), 404, "not_found")


async def test_a_wallet_whose_programme_is_not_known_yet_is_not_yet_consistent(bank: Bank) -> None:
    wallet_id = uuid7()
    await bank.hear(accrued(wallet_id, 10, programme="unheard-of"))
    assert_problem(await bank.get(f"/v1/wallets/{wallet_id}/balance"), 409, "not_yet_consistent")


@pytest.mark.parametrize("at", ["yesterday", "2026-11-22T08:31:04", "0001-01-01T00:00:00Z"])
async def test_what_is_no_moment_is_refused(bank: Bank, at: str) -> None:
    member = await bank.member()
    answer = await bank.get(f"/v1/wallets/{member.wallet_id}/balance", at=at)
    assert_problem(answer, 422, "field_type")


async def test_a_cursor_that_names_no_line_there_could_be_is_refused(bank: Bank) -> None:
    class Forged(msgspec.Struct):
        seq: int

    member = await bank.member()
    answer = await bank.get(f"/v1/wallets/{member.wallet_id}/ledger", cursor=encode_cursor(Forged(2**63)))
    assert_problem(answer, 422, "field_type")


async def test_lines_and_lots_name_the_act_that_earned_them_and_never_as_a_bill(bank: Bank) -> None:
    wallet_id, act_id = uuid7(), uuid7()
    by_act = msgspec.structs.replace(accrued(wallet_id, 20), bill_id=None, act_id=act_id)
    by_bill = accrued(wallet_id, 7)
    again = msgspec.structs.replace(
        by_act, accrual_id=uuid7(), wallet_id=uuid7(), lots=accrued(wallet_id, 20).lots
    )
    await bank.hear(by_act, by_bill, again)  # an act may earn in two wallets
    await bank.hear(msgspec.structs.replace(again, accrual_id=uuid7(), lots=accrued(wallet_id, 20).lots))

    path = f"/v1/wallets/{wallet_id}"
    shown = (await bank.get(f"{path}/ledger")).json()["items"]
    named = [{"bill_id": str(by_bill.bill_id)}, {"act_id": str(act_id)}]
    assert [(line["points"], line["source"]) for line in shown] == [(7, named[0]), (20, named[1])]
    lots = (await bank.get(f"{path}/lots", which="all")).json()["items"]
    assert [lot["source"] for lot in lots] == named
    traced = [(await bank.get(f"{path}/ledger/{seq}/trace")).json()["earned_by"] for seq in (2, 1)]
    assert traced == named
    assert (await bank.lines(wallet_id))[0]["source_id"] == act_id


async def test_each_line_says_what_asked_for_it(bank: Bank) -> None:
    member, receiver = await bank.member(100), await bank.member()
    held = accrued(member.wallet_id, 40, member_id=member.member_id, kind="earn_held")
    await bank.hear(held, release(held, 40))
    gift = {"from_wallet": str(member.wallet_id), "to_wallet": str(receiver.wallet_id), "points": 10}
    given = await post(bank, "transfers", gift, role="ecommerce")
    assert given.status_code == 201, given.text
    ends = datetime.now(UTC) + timedelta(hours=1)
    item = {"wallet_id": str(member.wallet_id), "points": 5, "expires_at": ends.isoformat()}
    put_right = (await post(bank, "adjustments", asked(items=[item]))).json()
    bank.passes(timedelta(hours=2))
    assert (await bank.redeem(asks(member, points=1))).status_code == 201
    lines = (await bank.get(f"/v1/wallets/{member.wallet_id}/ledger")).json()["items"]
    sources = {line["kind"]: line["source"] for line in lines}
    assert sources["release"] == sources["earn_held"] == {"bill_id": str(held.bill_id)}
    assert sources["transfer"] == {"transfer_id": given.json()["transfer_id"]}
    assert sources["adjust"] == sources["expire"] == {"adjustment_id": put_right["adjustment_id"]}


async def test_what_is_taken_back_and_what_is_repaid_say_the_bill_too(bank: Bank) -> None:
    """A reversal says its refund and the bill that had earned; a repayment what brought the points: a bill, a redemption that was
    given back, a merge."""
    member, other = await bank.member(), await bank.member()
    first, held = [
        accrued(member.wallet_id, points, member_id=member.member_id, kind=kind)
        for points, kind in ((100, "earn"), (40, "earn_held"))
    ]
    await bank.hear(first, held)
    spent = await redeemed(bank, member, points=90)
    whole, cancelled = reversal(first, 100, on_spent="debt"), reversal(held, 40)
    await bank.hear(whole, cancelled)
    later = accrued(member.wallet_id, 20, member_id=member.member_id)
    await bank.hear(later)
    await give_back(bank, spent, points=30)
    act = accrued(other.wallet_id, 50, member_id=other.member_id)
    await bank.hear(act, merging(other, member))
    lines = (await bank.get(f"/v1/wallets/{member.wallet_id}/ledger")).json()["items"]
    assert [
        (one["kind"], one["points"], one["source"]) for one in reversed(lines) if one["kind"] in TAKEN
    ] == [
        ("reverse", 10, {"refund_id": str(whole.refund_id), "bill_id": str(first.bill_id)}),
        ("owe", 90, {"refund_id": str(whole.refund_id), "bill_id": str(first.bill_id)}),
        ("cancel_hold", 40, {"refund_id": str(cancelled.refund_id), "bill_id": str(held.bill_id)}),
        ("repay", 20, {"bill_id": str(later.bill_id)}),
        ("repay", 30, {"redemption_id": spent}),
        (
            "repay",
            40,
            {"merge_id": next(one["source"]["merge_id"] for one in lines if one["kind"] == "merge")},
        ),
    ]
