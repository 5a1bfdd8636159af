"""What earn asks of the bank: released and taken back through a target, answered once, in any order of arrival."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import pytest
from asyncpg.exceptions import UniqueViolationError

from pointbank.desk import open_desk
from services.redeem.domain.acts import Transfer
from services.redeem.store.postings import COPY_FROM
from services.redeem.store.sql import moving
from shared.config import Settings
from shared.db import connect, database_of
from shared.events import PointsAccrued, ReleaseRequested, ReversalRequested
from shared.events.asking import OnSpent
from shared.ids import uuid7
from shared.messaging import Done, Refused
from tests.integration.redeem.conftest import Bank, accrued, asks
from tests.support.facts import AT


def release(accrual: PointsAccrued, through: int, **more: Any) -> ReleaseRequested:
    return ReleaseRequested(
        **{
            "request_id": uuid7(),
            "bill_id": accrual.bill_id,
            "accrual_id": accrual.accrual_id,
            "wallet_id": accrual.wallet_id,
            "programme": accrual.programme,
            "release_through": through,
            "effective_at": AT,
            "decided_at": AT,
            **more,
        }
    )


def reversal(
    accrual: PointsAccrued, through: int, *, on_spent: OnSpent = "block", **more: Any
) -> ReversalRequested:
    return ReversalRequested(
        **{
            "request_id": uuid7(),
            "refund_id": uuid7(),
            "bill_id": accrual.bill_id,
            "accrual_id": accrual.accrual_id,
            "wallet_id": accrual.wallet_id,
            "programme": accrual.programme,
            "currency": "SAR",
            "point_value": "0.10",
            "reverse_through": through,
            "on_spent": on_spent,
            "effective_at": AT,
            "decided_at": AT,
            **more,
        }
    )


async def answers(bank: Bank, wallet_id: UUID, *types: str) -> list[dict[str, Any]]:
    """What was said about a wallet, of these types."""
    return [event["data"] for event in await bank.told(wallet_id) if event["type"] in types]


async def moved(bank: Bank, wallet_id: UUID) -> list[tuple[str, str, str, int]]:
    return [
        (line["kind"], line["from_bucket"], line["to_bucket"], line["points"])
        for line in await bank.lines(wallet_id)
    ]


async def test_a_release_moves_the_difference_and_a_lower_target_nothing(bank: Bank) -> None:
    accrual = accrued(uuid7(), 100, kind="earn_held")
    first = release(accrual, 40)
    await bank.hear(accrual, first)
    await bank.hear(release(accrual, 30))
    await bank.hear(release(accrual, 70))
    again = await bank.outcomes(first)
    assert again == [Done(replayed=True)]
    wallet = await bank.wallet(accrual.wallet_id)
    assert (wallet["held"], wallet["available"]) == (30, 70)
    told = await answers(bank, accrual.wallet_id, "points.released.v1")
    assert [(one["released"]["points"], one["released_through"]) for one in told] == [
        (40, 40),
        (0, 40),
        (30, 70),
    ]
    assert told[0]["released"]["money"] == {"amount_minor": 400, "currency": "SAR"}
    assert told[1]["posting_id"] is None
    assert told[0]["request_id"] == str(first.request_id)
    events = await bank.told(accrual.wallet_id)
    assert [event["sequence"] for event in events] == [f"{n:012}" for n in range(1, 5)]


async def test_a_reversal_takes_the_held_first_and_beats_a_release(bank: Bank) -> None:
    accrual = accrued(uuid7(), 100, kind="earn_held")
    await bank.hear(accrual, release(accrual, 40), reversal(accrual, 70))
    assert await moved(bank, accrual.wallet_id) == [
        ("earn_held", "issued", "held", 100),
        ("release", "held", "available", 40),
        ("cancel_hold", "held", "reversed", 60),
        ("reverse", "available", "reversed", 10),
    ]
    [told] = await answers(bank, accrual.wallet_id, "points.reversed.v1")
    assert (told["reversed"]["points"], told["hold_cancelled"]["points"], told["reversed_through"]) == (
        10,
        60,
        70,
    )
    await bank.hear(release(accrual, 100))
    assert (await bank.wallet(accrual.wallet_id))["available"] == 30
    [row] = await bank.auditor.fetch(
        "SELECT reversed, remaining FROM redeem.lots WHERE wallet_id = $1", accrual.wallet_id
    )
    assert tuple(row) == (70, 30)


async def spent_bill(bank: Bank) -> tuple[PointsAccrued, UUID]:
    """A bill of 100 points, 80 of them spent."""
    member = await bank.member()
    accrual = accrued(member.wallet_id, 100, member_id=member.member_id)
    await bank.hear(accrual)
    assert (await bank.redeem(asks(member, points=80))).status_code == 201
    return accrual, member.wallet_id


async def test_points_that_were_spent_block_a_reversal_and_nothing_moves(bank: Bank) -> None:
    accrual, wallet_id = await spent_bill(bank)
    refused = reversal(accrual, 50)
    await bank.hear(refused)
    [told] = await answers(bank, wallet_id, "points.reversal_refused.v1")
    assert (told["code"], told["shortfall"]["points"]) == ("points_spent", 30)
    assert told["detail"] == "30 of the 50 points to take back were spent."
    assert (await bank.wallet(wallet_id))["available"] == 20
    # A refusal stands, whatever comes back later; another request is another matter.
    await bank.hear(refused)
    await bank.hear(reversal(accrual, 20))
    assert len(await answers(bank, wallet_id, "points.reversal_refused.v1")) == 1
    assert (await bank.wallet(wallet_id))["reversed"] == 20


async def test_partial_takes_what_is_left_and_tells_the_shortfall(bank: Bank) -> None:
    accrual, wallet_id = await spent_bill(bank)
    await bank.hear(reversal(accrual, 50, on_spent="partial"))
    await bank.hear(reversal(accrual, 60, on_spent="partial"))
    told = await answers(bank, wallet_id, "points.reversed.v1")
    assert [
        (one["reversed"]["points"], one["shortfall"]["points"], one["reversed_through"]) for one in told
    ] == [
        (20, 30, 20),
        (0, 10, 20),
    ]
    assert (await bank.wallet(wallet_id))["debt"] == 0


async def test_debt_names_the_spent_lot_and_later_accruals_repay_it_first(bank: Bank) -> None:
    accrual, wallet_id = await spent_bill(bank)
    await bank.hear(reversal(accrual, 100, on_spent="debt"))
    wallet = await bank.wallet(wallet_id)
    assert (wallet["available"], wallet["debt"], wallet["reversed"]) == (0, -80, 100)
    [told] = await answers(bank, wallet_id, "points.reversed.v1")
    assert (told["owed"]["points"], told["reversed_through"]) == (80, 100)
    owe = (await bank.lines(wallet_id))[-1]
    assert (owe["kind"], owe["lot_id"], owe["debt_after"]) == ("owe", accrual.lots[0].lot_id, -80)

    small, act_id = accrued(wallet_id, 50), uuid7()
    large = msgspec.structs.replace(accrued(wallet_id, 40), bill_id=None, act_id=act_id)
    await bank.hear(small, large)
    wallet = await bank.wallet(wallet_id)
    assert (wallet["available"], wallet["debt"]) == (10, 0)
    repaid = await answers(bank, wallet_id, "points.repaid.v1")
    assert [(one["repaid"]["points"], one["debt"]["points"], one["lots"][0]["lot_id"]) for one in repaid] == [
        (50, 30, str(small.lots[0].lot_id)),
        (30, 0, str(large.lots[0].lot_id)),
    ]
    sources = [line["source_id"] for line in await bank.lines(wallet_id) if line["kind"] == "repay"]
    assert sources == [small.bill_id, act_id]


async def test_a_large_batch_with_a_debt_is_told_in_the_order_of_its_lines(bank: Bank) -> None:
    accrual, wallet_id = await spent_bill(bank)
    await bank.hear(reversal(accrual, 100, on_spent="debt"))
    before = (await bank.wallet(wallet_id))["event_sequence"]
    mine = [accrued(wallet_id, 50) for _ in range(3)]
    others = [accrued(uuid7(), 7) for _ in range(COPY_FROM)]

    await bank.hear(*mine, *others)

    wallet = await bank.wallet(wallet_id)
    assert (wallet["available"], wallet["debt"], wallet["event_sequence"]) == (70, 0, before + 5)
    told = (await bank.told(wallet_id))[-5:]
    assert [(event["type"], int(event["sequence"]) - before) for event in told] == [
        ("points.credited.v1", 1),
        ("points.repaid.v1", 2),
        ("points.credited.v1", 3),
        ("points.repaid.v1", 4),
        ("points.credited.v1", 5),
    ]
    assert [event["data"]["balance"]["available"]["points"] for event in told] == [50, 0, 50, 20, 70]
    lots = await bank.auditor.fetch(
        "SELECT remaining FROM redeem.lots WHERE lot_id = ANY($1) ORDER BY lot_id",
        [one.lots[0].lot_id for one in mine],
    )
    assert [lot["remaining"] for lot in lots] == [0, 20, 50]
    for other in others:
        assert (await bank.wallet(other.wallet_id))["available"] == 7


async def test_of_a_large_batch_only_the_one_that_cannot_be_written_is_not(bank: Bank) -> None:
    there = accrued(uuid7(), 10)
    await bank.hear(there)
    good = [accrued(uuid7(), 7) for _ in range(COPY_FROM)]
    bad = msgspec.structs.replace(accrued(uuid7(), 10), lots=there.lots)  # of a lot that another opened

    with pytest.raises(UniqueViolationError):
        await bank.outcomes(*good[:40], bad, *good[40:])

    assert await bank.auditor.fetchval(
        "SELECT count(*) FROM redeem.ledger WHERE posting_id = ANY($1)", [one.accrual_id for one in good]
    ) == len(good)
    assert await bank.lines(bad.wallet_id) == []


async def test_released_points_repay_a_debt_too(bank: Bank) -> None:
    accrual, wallet_id = await spent_bill(bank)
    held = accrued(wallet_id, 30, kind="earn_held")
    await bank.hear(reversal(accrual, 100, on_spent="debt"), held)
    assert (await bank.wallet(wallet_id))["debt"] == -80
    await bank.hear(release(held, 30))
    wallet = await bank.wallet(wallet_id)
    assert (wallet["available"], wallet["held"], wallet["debt"]) == (0, 0, -50)


@pytest.mark.parametrize("order", ["apart", "together"])
async def test_a_request_about_an_accrual_that_did_not_come_is_kept_and_done(
    bank: Bank, settings: Settings, order: str
) -> None:
    """Apart, in one process; or together from two, where either may commit last."""
    accrual = accrued(uuid7(), 100, kind="earn_held")
    takes_back = reversal(accrual, 30)
    early = (takes_back, release(accrual, 100))
    if order == "apart":
        await bank.hear(*early)
        states = "SELECT state FROM redeem.asked WHERE accrual_id = $1"
        assert [row["state"] for row in await bank.auditor.fetch(states, accrual.accrual_id)] == [
            "waiting"
        ] * 2
        await bank.hear(accrual)
    else:
        async with open_desk(settings, bank.code) as desk:
            await asyncio.gather(*[desk.do(one, job="test") for one in early], bank.hear(accrual))
    for _ in range(100):
        if len(await bank.told(accrual.wallet_id)) == 3:
            break
        await asyncio.sleep(0.05)
    wallet = await bank.wallet(accrual.wallet_id)
    assert (wallet["held"], wallet["available"], wallet["reversed"]) == (0, 70, 30)
    [told] = await answers(bank, accrual.wallet_id, "points.reversed.v1")
    assert told["request_id"] == str(takes_back.request_id)


async def test_another_request_under_a_used_id_is_a_dead_letter(bank: Bank) -> None:
    accrual = accrued(uuid7(), 100)
    asked = reversal(accrual, 10)
    await bank.hear(accrual, asked)
    [refused, below] = await bank.outcomes(
        reversal(accrual, 20, request_id=asked.request_id), reversal(accrual, -1)
    )
    assert isinstance(refused, Refused)
    assert isinstance(below, Refused)
    assert (refused.refusal.code, below.refusal.code) == ("id_reused", "amount_out_of_range")
    assert (await bank.wallet(accrual.wallet_id))["reversed"] == 10


async def test_the_same_requests_at_once_in_any_order_post_once(bank: Bank, settings: Settings) -> None:
    accrual = accrued(uuid7(), 100)
    await bank.hear(accrual)
    asked = [reversal(accrual, through) for through in (10, 30, 20)]
    async with open_desk(settings, bank.code) as desk:
        await asyncio.gather(
            bank.outcomes(*asked),
            *[desk.do(one, job="test") for one in asked[::-1]],
            bank.outcomes(*asked[::-1]),
        )
    wallet = await bank.wallet(accrual.wallet_id)
    assert (wallet["reversed"], len(await bank.told(accrual.wallet_id))) == (30, 4)


async def test_a_reversal_follows_what_a_merge_moved_and_not_what_was_given(
    bank: Bank, settings: Settings
) -> None:
    """What a merge leaves behind, made of a transfer by hand."""
    giver, heir = await bank.member(), await bank.member()
    accrual = accrued(giver.wallet_id, 100, member_id=giver.member_id)
    await bank.hear(accrual)
    transfer = Transfer(transfer_id=uuid7(), giver=giver.wallet_id, receiver=heir.wallet_id, points=100)
    await bank.runtime.do(transfer, job="test")
    await bank.hear(reversal(accrual, 10))
    [refused] = await answers(bank, giver.wallet_id, "points.reversal_refused.v1")
    assert refused["shortfall"]["points"] == 10  # given away is spent

    db = await connect(settings.admin_dsn(), database=database_of(bank.code))
    try:
        await db.execute(
            "UPDATE redeem.wallets SET status = 'merged', merged_into = $2 WHERE wallet_id = $1",
            giver.wallet_id,
            heir.wallet_id,
        )
        heirs = "INSERT INTO redeem.heirs (wallet_id, heir) VALUES ($1, $2)"
        await db.execute(heirs, giver.wallet_id, heir.wallet_id)
        await db.execute("UPDATE redeem.lots SET given = false WHERE wallet_id = $1", heir.wallet_id)
    finally:
        await db.close()
    await bank.hear(reversal(accrual, 60))
    assert await moved(bank, heir.wallet_id) == [
        ("transfer", "transferred", "available", 100),
        ("reverse", "available", "reversed", 60),
    ]
    [told] = await answers(bank, heir.wallet_id, "points.reversed.v1")
    assert (told["accrual_id"], told["reversed"]["points"]) == (str(accrual.accrual_id), 60)


async def test_the_lots_of_an_accrual_are_found_by_keys_in_the_month_in_which_it_was_posted(
    bank: Bank,
) -> None:
    async with bank.runtime.read() as db, db.transaction():
        await db.execute("SET LOCAL enable_bitmapscan = off")
        text = moving.texts()["accrual_lots"]
        accrual = accrued(uuid7(), 10)
        await bank.hear(accrual)
        [found] = msgspec.json.decode(
            await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", [accrual.accrual_id])
        )

    def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
        return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]

    scans = [node for node in nodes(found["Plan"]) if "Relation Name" in node]
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
    read = [node for node in scans if node["Relation Name"].startswith("ledger_") and node["Actual Loops"]]
    assert len(read) <= 2  # the others were pruned: a day around the posting lies in two months at most
