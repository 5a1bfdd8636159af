"""Accruals reach wallets once, with their lots, lines and events, on real PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import GENESIS, Line, canonical
from shared.events.bills import AccruedLot
from shared.ids import uuid7
from shared.messaging import Done, Refused
from tests.integration.redeem.conftest import Bank, accrued
from tests.support.facts import AT

EXPIRES = datetime(2030, 6, 30, 21, tzinfo=UTC)


async def test_an_accrual_opens_its_lots_and_is_told(bank: Bank) -> None:
    wallet_id, member_id = uuid7(), uuid7()
    accrual = accrued(wallet_id, 100, 8, member_id=member_id, expires_at=EXPIRES)
    await bank.hear(accrual)

    wallet = await bank.wallet(wallet_id)
    assert (wallet["issued"], wallet["available"], wallet["seq"]) == (-108, 108, 2)
    lots = await bank.auditor.fetch(
        "SELECT * FROM redeem.lots WHERE wallet_id = $1 ORDER BY points DESC", wallet_id
    )
    assert [
        (lot["lot_id"], lot["accrual_id"], lot["source_id"], lot["points"], lot["remaining"], lot["open"])
        for lot in lots
    ] == [
        (accrual.lots[0].lot_id, accrual.accrual_id, accrual.bill_id, 100, 100, True),
        (accrual.lots[1].lot_id, accrual.accrual_id, accrual.bill_id, 8, 8, True),
    ]
    assert [(lot["earned_at"], lot["expires_at"]) for lot in lots] == [(AT, EXPIRES)] * 2

    [event] = await bank.told(wallet_id)
    assert (event["type"], event["source"], event["sequence"]) == (
        "points.credited.v1",
        "/redeem",
        "000000000001",
    )
    posted_at = (await bank.lines(wallet_id))[-1]["posted_at"]
    assert event["data"] == {
        "posting_id": str(accrual.accrual_id),
        "kind": "earn",
        "wallet_id": str(wallet_id),
        "member_id": str(member_id),
        "programme": "shops",
        "bill_id": str(accrual.bill_id),
        "effective_at": "2026-06-01T09:00:00Z",
        "posted_at": posted_at.isoformat().replace("+00:00", "Z"),
        "credited": {"points": 108, "money": {"amount_minor": 1080, "currency": "SAR"}},
        "lots": [
            {
                "lot_id": str(lot.lot_id),
                "points": lot.points,
                "money": {"amount_minor": lot.points * 10, "currency": "SAR"},
                "expires_at": "2030-06-30T21:00:00Z",
            }
            for lot in accrual.lots
        ],
        "balance": {
            "available": {"points": 108, "money": {"amount_minor": 1080, "currency": "SAR"}},
            "held": {"points": 0, "money": {"amount_minor": 0, "currency": "SAR"}},
            "reserved": {"points": 0, "money": {"amount_minor": 0, "currency": "SAR"}},
        },
    }
    [audit] = await bank.auditor.fetch("SELECT * FROM redeem.audit WHERE object = $1", f"wallet/{wallet_id}")
    assert (audit["actor"], audit["action"]) == ("/earn", "points.credit")
    assert msgspec.json.decode(audit["before"]) == {"seq": 0, "available": 0, "held": 0, "reserved": 0}
    assert msgspec.json.decode(audit["after"]) == {
        "posting_id": str(accrual.accrual_id),
        "seq": 2,
        "available": 108,
        "held": 0,
        "reserved": 0,
    }


async def test_held_points_stand_apart(bank: Bank) -> None:
    wallet_id = uuid7()
    await bank.hear(accrued(wallet_id, 40, kind="earn_held"))
    wallet = await bank.wallet(wallet_id)
    assert (wallet["issued"], wallet["held"], wallet["available"]) == (-40, 40, 0)
    [event] = await bank.told(wallet_id)
    assert (event["data"]["kind"], event["data"]["balance"]["held"]["points"]) == ("earn_held", 40)


async def test_the_same_accrual_posts_once_whatever_its_road(bank: Bank) -> None:
    wallet_id = uuid7()
    accrual = accrued(wallet_id, 70)
    twice = await bank.outcomes(accrual, accrual)
    later = await bank.outcomes(accrual)
    assert [*twice, *later] == [Done(), Done(replayed=True), Done(replayed=True)]
    assert [line["points"] for line in await bank.lines(wallet_id)] == [70]
    assert len(await bank.told(wallet_id)) == 1


async def test_two_processes_with_the_same_accrual_post_it_once(bank: Bank) -> None:
    wallet_id = uuid7()
    accruals = [accrued(wallet_id, 1) for _ in range(40)]
    await asyncio.gather(*[bank.outcomes(*order) for order in (accruals, accruals[::-1], accruals)])
    wallet = await bank.wallet(wallet_id)
    assert (wallet["available"], wallet["seq"], len(await bank.told(wallet_id))) == (40, 40, 40)


async def test_another_accrual_under_a_used_id_is_refused_and_moves_nothing(bank: Bank) -> None:
    wallet_id, other_id = uuid7(), uuid7()
    accrual = accrued(wallet_id, 70)
    await bank.hear(accrual)
    [stored] = await bank.outcomes(accrued(wallet_id, 71, accrual_id=accrual.accrual_id))
    [stolen] = await bank.outcomes(accrued(other_id, 70, accrual_id=accrual.accrual_id))
    assert isinstance(stored, Refused)
    assert isinstance(stolen, Refused)
    assert (stored.refusal.code, stolen.refusal.code) == ("id_reused", "id_reused")
    assert (await bank.wallet(wallet_id))["available"] == 70
    born = "SELECT EXISTS (SELECT FROM redeem.wallets WHERE wallet_id = $1)"
    assert not await bank.auditor.fetchval(born, other_id)


async def test_a_malformed_accrual_is_refused_and_its_neighbours_post(bank: Bank) -> None:
    wallet_id = uuid7()
    good, other = accrued(wallet_id, 10), accrued(wallet_id, 20)
    zero = AccruedLot(lot_id=uuid7(), points=0)
    bad = msgspec.structs.replace(accrued(wallet_id, 5), points=0, lots=(zero,))
    first, refused, last = await bank.outcomes(good, bad, other)
    assert (first, last) == (Done(), Done())
    assert isinstance(refused, Refused)
    assert refused.refusal.code == "amount_out_of_range"
    assert (await bank.wallet(wallet_id))["available"] == 30


async def test_lines_of_a_batch_are_gapless_and_chain(bank: Bank) -> None:
    wallet_id = uuid7()
    await bank.hear(*[accrued(wallet_id, n) for n in range(1, 30)])
    await bank.hear(*[accrued(wallet_id, n) for n in range(30, 60)])
    lines = await bank.lines(wallet_id)
    assert [line["seq"] for line in lines] == list(range(1, 60))
    moments = [line["posted_at"] for line in lines]
    assert moments == sorted(set(moments))
    head = GENESIS
    for line in lines:
        fields = [line[name] for name in Line.__struct_fields__ if name != "hash"]
        head = sha256(canonical(head, *fields)).digest()
        assert line["hash"] == head
    wallet = await bank.wallet(wallet_id)
    assert (wallet["head"], wallet["last_posted_at"], wallet["event_sequence"]) == (head, moments[-1], 59)
    assert [event["sequence"] for event in await bank.told(wallet_id)] == [f"{n:012}" for n in range(1, 60)]


async def test_posted_at_is_postgresqls_clock_after_the_lock(bank: Bank) -> None:
    wallet_id = uuid7()
    await bank.hear(accrued(wallet_id, 1))
    [line] = await bank.lines(wallet_id)
    now = await bank.auditor.fetchval("SELECT clock_timestamp()")
    assert timedelta(0) < now - line["posted_at"] < timedelta(seconds=5)


async def test_a_wallet_named_by_an_accrual_first_is_the_members_later(bank: Bank) -> None:
    member = await bank.member()
    wallet_id: UUID = member.wallet_id
    await bank.hear(accrued(wallet_id, 10, member_id=member.member_id))
    assert (await bank.wallet(wallet_id))["member_id"] == member.member_id
