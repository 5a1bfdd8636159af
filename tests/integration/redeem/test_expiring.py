"""Points at the end of their life: swept once, told of before, ended by silence where a programme says so."""

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from dateutil.relativedelta import relativedelta
from typer.testing import CliRunner

from pointbank.cli.app import app
from pointbank.desk import open_desk
from pointbank.jobs.expiring import expire_tenant
from services.redeem.domain.acts import Reinstate, Transfer
from services.redeem.domain.sweep import Swept, ToExpire
from services.redeem.jobs.sweeping import dry_run, walk
from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Refused
from tests.integration.redeem.conftest import Bank, Member, accrued, adjustment, asks
from tests.integration.redeem.test_asked import answers, moved, release
from tests.integration.redeem.test_returns import give_back, redeemed
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import activated
from tests.support.http import assert_problem
from tests.support.tenants import as_environment, new_tenant

RIYADH = ZoneInfo("Asia/Riyadh")
NOW = datetime.now(UTC).replace(microsecond=0)
TELLS = {"policy": "months_after_earning", "months": 1, "notice_days": [7]}
GONE, LATER = NOW - timedelta(days=1), NOW + timedelta(days=100)


async def do(bank: Bank, *commands: Any) -> list[Any]:
    items = [Item(one, FromJob("test"), request_id=str(uuid7()), actor="test") for one in commands]
    return await bank.runtime.lane.submit_many(items)


async def owner(bank: Bank, programme: str, *points: int, **accrual: Any) -> Member:
    """Somebody with points in a programme, each number an accrual."""
    return await bank.member(*points, programme=programme, **accrual)


async def programme(bank: Bank, code: str, **expiry: Any) -> None:
    await bank.hear(activated(code, expiry=expiry))


async def expired(bank: Bank, wallet_id: UUID) -> list[tuple[int, datetime]]:
    return [
        (line["points"], line["effective_at"])
        for line in await bank.lines(wallet_id)
        if line["kind"] == "expire"
    ]


async def test_a_sweep_expires_each_lot_at_its_own_instant_as_its_dry_run_said_and_once(
    bank: Bank, settings: Settings
) -> None:
    """Vectors C12, C13, C16, C18 and C20, on the real ledger."""
    await programme(bank, "swept", policy="never")
    earlier = NOW - timedelta(days=2)
    c13 = await owner(bank, "swept", 100, expires_at=GONE)
    await bank.hear(accrued(c13.wallet_id, 50, member_id=c13.member_id, programme="swept", expires_at=LATER))
    c16 = await owner(bank, "swept", 100, expires_at=earlier)
    await bank.hear(accrued(c16.wallet_id, 60, member_id=c16.member_id, programme="swept", expires_at=GONE))
    c18 = await owner(bank, "swept", 150)
    others = [await owner(bank, "swept", 7, expires_at=GONE) for _ in range(6)]

    foreseen = await dry_run(bank.runtime, step=2)
    looked = await expire_tenant(settings, bank.code, only_look=True)
    assert looked == [foreseen["swept"]]
    # The service and the command line at once, each with a lane and connections of its own.
    ours, theirs = await asyncio.gather(
        walk(bank.runtime, step=2), expire_tenant(settings, bank.code, only_look=False)
    )
    done = [*ours.values(), *theirs]
    assert foreseen["swept"] == Swept("swept", "SAR", wallets=8, lots=9, points=302, amount_minor=3020)
    assert [sum(getattr(one, name) for one in done) for name in ("wallets", "lots", "points")] == [8, 9, 302]
    assert await walk(bank.runtime) == await dry_run(bank.runtime) == {}

    assert await expired(bank, c13.wallet_id) == [(100, GONE)]
    assert await expired(bank, c16.wallet_id) == [(100, earlier), (60, GONE)]
    assert await expired(bank, c18.wallet_id) == []
    assert [await expired(bank, one.wallet_id) for one in others] == [[(7, GONE)]] * 6
    [told] = await answers(bank, c16.wallet_id, "points.expired.v1")
    assert (told["expired"]["points"], [lot["points"] for lot in told["lots"]]) == (160, [100, 60])
    balance = (await bank.get(f"/v1/wallets/{c13.wallet_id}/balance")).json()
    assert balance["available"]["points"] == 50


async def test_a_run_over_http_goes_on_where_it_was_and_a_repeat_gets_the_same_answer(bank: Bank) -> None:
    await programme(bank, "stepped", policy="never")
    members = [await owner(bank, "stepped", 10, expires_at=GONE) for _ in range(3)]

    async def step(key: str, **body: Any) -> Any:
        headers = bank.headers("operator", key)
        return await bank.client.post("/v1/expiry-runs", json=body, headers=headers)

    dry = (await step("dry", dry_run=True)).json()
    assert dry["swept"][0] | {"programme": ""} == {
        "programme": "",
        "currency": "SAR",
        "wallets": 3,
        "lots": 3,
        "points": 30,
        "amount_minor": 300,
    }
    first = await step("first", step=2)
    assert (first.status_code, first.json()["swept"][0]["points"]) == (200, 20)
    again = await step("first", step=2)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    second = (await step("second", step=2, cursor=first.json()["next_cursor"])).json()
    assert (second["swept"][0]["points"], second["next_cursor"]) == (10, None)
    assert [await expired(bank, one.wallet_id) for one in members] == [[(10, GONE)]] * 3
    forbidden = await bank.client.post("/v1/expiry-runs", json={}, headers=bank.headers("till"))
    assert_problem(forbidden, 403, "scope_missing")
    assert_problem(await step("odd", cursor="nonsense"), 422, "field_type")


async def postings_of_expiry(bank: Bank, programme: str) -> list[tuple[Any, ...]]:
    """What really expired: wallet by wallet, how many lots, points and minor units."""
    rows = await bank.auditor.fetch(
        """
        SELECT l.wallet_id, count(DISTINCT l.lot_id) AS lots, sum(l.points)::bigint AS points, sum(l.money_minor)::bigint AS money
        FROM redeem.ledger AS l
        JOIN redeem.wallets AS w USING (wallet_id)
        WHERE w.programme = $1 AND l.kind = 'expire'
        GROUP BY l.wallet_id, l.posting_id
        ORDER BY l.wallet_id
        """,
        programme,
    )
    return [tuple(row) for row in rows]


async def test_a_dry_run_says_of_each_wallet_what_the_real_run_then_posts(
    bank: Bank, settings: Settings
) -> None:
    await programme(bank, "each", policy="never")
    members = [await owner(bank, "each", *points, expires_at=GONE) for points in ((10, 20), (7,), (5,), (6,))]
    await owner(bank, "each", 9, expires_at=LATER)
    asked, by_call, cursor = {"dry_run": True, "step": 2}, list[dict[str, Any]](), None
    while cursor is not None or not by_call:
        body = asked | ({"cursor": cursor} if cursor else {})
        step = (await bank.client.post("/v1/expiry-runs", json=body, headers=bank.headers("operator"))).json()
        assert sum(one["points"] for one in step["to_expire"]) == sum(one["points"] for one in step["swept"])
        by_call, cursor = by_call + step["to_expire"], step["next_cursor"]
    looked: list[ToExpire] = []
    await expire_tenant(settings, bank.code, only_look=True, say_to_expire=looked.extend)
    assert by_call == [msgspec.to_builtins(one) for one in looked]
    assert {one["member_id"] for one in by_call} >= {str(one.member_id) for one in members}
    await walk(bank.runtime)
    foreseen = [
        (UUID(one["wallet_id"]), one["lots"], one["points"], one["amount_minor"])
        for one in by_call
        if one["programme"] == "each"
    ]
    assert sorted(foreseen) == await postings_of_expiry(bank, "each")
    assert sum(one[2] for one in foreseen) == 48


async def test_held_points_die_only_where_the_programme_says_so(bank: Bank) -> None:
    kept, dying = "kept", "dying"
    await programme(bank, kept, policy="months_after_earning", months=1)
    await programme(bank, dying, policy="months_after_earning", months=1, holds="expire")
    wallets = {}
    for code in (kept, dying):
        member = await owner(bank, code, 40, expires_at=GONE, kind="earn_held")
        wallets[code] = member.wallet_id
    assert (await dry_run(bank.runtime)).keys() == {dying}
    await walk(bank.runtime)
    assert [(await bank.wallet(wallets[code]))["held"] for code in (kept, dying)] == [40, 0]
    assert await moved(bank, wallets[dying]) == [
        ("earn_held", "issued", "held", 40),
        ("expire", "held", "expired", 40),
    ]


async def test_the_time_of_held_points_may_run_from_their_release(bank: Bank) -> None:
    await programme(bank, "held", policy="months_after_earning", months=1, counts_from="release")
    accrual = accrued(uuid7(), 40, kind="earn_held", programme="held", expires_at=GONE)
    await bank.hear(accrual, release(accrual, 10, effective_at=NOW))
    [row] = await bank.auditor.fetch("SELECT * FROM redeem.lots WHERE wallet_id = $1", accrual.wallet_id)
    assert row["expires_at"] > NOW + timedelta(days=28)
    assert (row["opened_expires_at"], row["held"]) == (GONE, 30)
    assert await walk(bank.runtime) == {}


async def spendable_of(bank: Bank, wallet_id: UUID) -> int:
    points: int = (await bank.get(f"/v1/wallets/{wallet_id}/balance")).json()["available"]["points"]
    return points


async def test_a_release_brings_nothing_of_its_lot_back_that_has_expired_whether_a_sweep_came_by_or_not(
    bank: Bank, settings: Settings
) -> None:
    for swept in (True, False):
        code = f"anew-{swept}".lower()
        await programme(bank, code, policy="months_after_earning", months=1, counts_from="release")
        long_ago = NOW - timedelta(days=61)
        accrual = accrued(uuid7(), 40, kind="earn_held", programme=code, at=long_ago)
        await bank.hear(accrual, release(accrual, 10, effective_at=NOW - timedelta(days=60)))
        assert await spendable_of(bank, accrual.wallet_id) == 0
        if swept:
            await walk(bank.runtime)
        await bank.hear(release(accrual, 20, effective_at=NOW))
        assert await spendable_of(bank, accrual.wallet_id) == 10
        assert [line[::3] for line in await moved(bank, accrual.wallet_id)] == [
            ("earn_held", 40),
            ("release", 10),
            ("expire", 10),
            ("release", 10),
        ]
        [told] = await answers(bank, accrual.wallet_id, "points.expired.v1")
        assert told["expired"]["points"] == 10

    spoilt = {
        "a point that lived again with the rest of its lot": (
            """
            UPDATE redeem.ledger SET points = 9
            WHERE kind = 'expire' AND wallet_id IN (SELECT wallet_id FROM redeem.wallets WHERE programme = 'anew-true')
            """,
            {"ledger:revived"},
        ),
        "points that were released although they had died": (
            """
            UPDATE earn.programmes SET document = jsonb_set(document::jsonb, '{expiry,holds}', '"expire"')::json
            WHERE programme = 'anew-false'
            """,
            {"ledger:revived"},
        ),
    }
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"ledger:revived"}), spoilt)


@pytest.mark.parametrize("counts_from", ["earning", "release"])
async def test_held_points_that_have_died_are_not_released_whether_a_sweep_came_by_or_not(
    bank: Bank, counts_from: str
) -> None:
    for swept in (True, False):
        code = f"dead-{counts_from}-{swept}".lower()
        dies = {"holds": "expire", "counts_from": counts_from}
        await programme(bank, code, policy="months_after_earning", months=1, **dies)
        accrual = accrued(uuid7(), 40, kind="earn_held", programme=code, expires_at=GONE)
        await bank.hear(accrual)
        if swept:
            await walk(bank.runtime)
        # The delivery was before its end, and is told after it.
        await bank.hear(release(accrual, 30, effective_at=GONE - timedelta(hours=1)))
        await bank.hear(release(accrual, 40, effective_at=NOW))
        told = await answers(bank, accrual.wallet_id, "points.released.v1")
        assert [(one["released"]["points"], one["released_through"]) for one in told] == [(0, 0), (0, 0)]
        assert await spendable_of(bank, accrual.wallet_id) == 0
        assert await expired(bank, accrual.wallet_id) == [(40, GONE)]


async def test_held_points_outlive_their_lot_until_they_are_released_and_no_more_is_told_than_can_be_spent(
    bank: Bank,
) -> None:
    """Where they are kept past the end of their lot and their time ran from earning, they are over when they are due: none of them
    can be spent, and earn is told of none."""
    for swept in (True, False):
        code = f"kept-{swept}".lower()
        await programme(bank, code, policy="months_after_earning", months=1)
        accrual = accrued(uuid7(), 40, kind="earn_held", programme=code, expires_at=GONE)
        await bank.hear(accrual)
        if swept:
            await walk(bank.runtime)
        assert (await bank.wallet(accrual.wallet_id))["held"] == 40, "kept"
        await bank.hear(release(accrual, 0, effective_at=NOW))
        assert (await bank.wallet(accrual.wallet_id))["held"] == 40, "nothing was due"
        await bank.hear(release(accrual, 30, effective_at=NOW), release(accrual, 40, effective_at=NOW))
        told = await answers(bank, accrual.wallet_id, "points.released.v1")
        assert [(one["released"]["points"], one["released_through"]) for one in told] == [(0, 0)] * 3
        assert await spendable_of(bank, accrual.wallet_id) == 0
        assert await expired(bank, accrual.wallet_id) == [(40, GONE)]


async def test_what_counts_anew_ends_with_its_members_birth_month_as_the_dry_run_said(bank: Bank) -> None:
    await bank.hear(
        activated(
            "born",
            expiry={"policy": "birth_month_end", "years": 0, "counts_from": "release"},
            redemption={"restore": "renewed"},
        )
    )
    at = NOW - timedelta(days=40)
    this_month = at.astimezone(RIYADH).replace(day=1, hour=0, minute=0, second=0)
    past, ahead = this_month + relativedelta(months=1), this_month + relativedelta(months=3)
    members = [
        await bank.member(programme="born", birth_month=(one - timedelta(days=1)).month)
        for one in (past, ahead)
    ]
    held = [
        accrued(one.wallet_id, 40, kind="earn_held", programme="born", expires_at=GONE) for one in members
    ]
    await bank.hear(*held, *(release(one, 10, effective_at=at) for one in held))

    foreseen = await dry_run(bank.runtime)
    assert foreseen["born"] == Swept("born", "SAR", wallets=1, lots=1, points=10, amount_minor=100)
    assert await walk(bank.runtime) == foreseen
    assert await walk(bank.runtime) == {}
    assert await expired(bank, members[0].wallet_id) == [(10, past)]
    still = members[1]
    await bank.hear(accrued(still.wallet_id, 20, programme="born", expires_at=NOW + timedelta(days=1)))
    one = await redeemed(bank, still, points=20, programme="born")
    assert (await give_back(bank, one, all=True)).status_code == 201
    ends = await bank.auditor.fetch(
        "SELECT remaining, expires_at FROM redeem.lots WHERE wallet_id = $1 AND open ORDER BY lot_id",
        still.wallet_id,
    )
    # 10 of the first lot were spent, and came back to it: it lives as long already.
    assert [tuple(row) for row in ends] == [(40, ahead), (10, NOW + timedelta(days=1)), (10, ahead)]


async def test_a_balance_that_was_left_alone_expires_whole_and_an_act_before_its_end_wakes_it(
    bank: Bank,
) -> None:
    await programme(bank, "idle", policy="inactivity", months=3)
    long_ago, a_while_ago = NOW - timedelta(days=200), NOW - timedelta(days=150)
    swept, touched, woken, active = [await owner(bank, "idle", 100, at=long_ago) for _ in range(4)]
    for one in (touched, woken, active):
        assert (await bank.get(f"/v1/wallets/{one.wallet_id}/balance")).json()["available"]["points"] == 0
    # A past moment says the same, before the sweep as after it.
    days_ago = {0: (0, 0), 60: (0, 0), 150: (100, 1)}
    for clock, days in itertools.product(("effective", "posted"), days_ago):
        then = {"at": (NOW - timedelta(days=days)).isoformat(), "clock": clock}
        past = (await bank.get(f"/v1/wallets/{touched.wallet_id}/balance", **then)).json()
        said = past["available"]["points"], len(past["expiring"])
        assert said == (days_ago[days] if clock == "effective" else (0, 0)), (clock, days)
    asked = asks(touched, points=10) | {"programme": "idle"}
    assert_problem(await bank.redeem(asked), 409, "insufficient_points")
    quote = await bank.client.post("/v1/redemption-quotes", json=asked, headers=bank.headers("till"))
    assert quote.json()["refusal"]["code"] == "insufficient_points"
    assert (quote.json()["most"]["points"], quote.json()["balance"]["available"]["points"]) == (0, 0)
    whose = {name: asked[name] for name in ("programme", "member")}
    can = await bank.client.post("/v1/rewards/affordable", json=whose, headers=bank.headers("till"))
    assert can.json()["available"]["points"] == 0
    assert await expired(bank, touched.wallet_id) == []  # a refusal leaves nothing behind

    def bill(member: Member, at: datetime) -> Any:
        return accrued(member.wallet_id, 5, member_id=member.member_id, programme="idle", at=at)

    # Told late, but it happened before the end; then one after the end that was moved by it.
    await bank.hear(bill(woken, a_while_ago), bill(active, NOW))
    ended = (await expired(bank, active.wallet_id))[0][1]
    assert ended - long_ago < timedelta(days=94)
    assert [line[0] for line in await moved(bank, active.wallet_id)] == ["earn", "expire", "earn"]
    assert await expired(bank, woken.wallet_id) == []
    assert (await walk(bank.runtime))["idle"].wallets == 3
    assert await expired(bank, swept.wallet_id) == [(100, ended)]
    assert [points for points, _ in await expired(bank, woken.wallet_id)] == [100, 5]
    assert (await bank.wallet(active.wallet_id))["available"] == 5
    assert (await bank.redeem(asks(active, points=5) | {"programme": "idle"})).status_code == 201


async def spent_long_ago(bank: Bank, programme: str, *, at: datetime) -> dict[str, tuple[Member, str]]:
    """Members who spent points of 100, the last ones with an authorisation: an administrator's hand makes it long ago."""
    made, db = {}, await bank.administrator()
    for act, points, capture in (("returns", 40, "now"), ("capture", 40, "later"), ("void", 100, "later")):
        member = await owner(bank, programme, 100, at=NOW)
        answer = await bank.redeem(asks(member, points=points, programme=programme, capture=capture))
        assert answer.status_code == 201, answer.text
        await db.execute(
            "UPDATE redeem.wallets SET last_active_at = $2 WHERE wallet_id = $1", member.wallet_id, at
        )
        made[act] = member, answer.json()["redemption_id"]
    await db.close()
    return made


async def test_what_comes_to_a_balance_that_has_ended_does_not_wake_it_and_does_not_end_with_it(
    bank: Bank,
) -> None:
    await programme(bank, "quiet", policy="inactivity", months=3)
    long_ago = NOW - timedelta(days=200)
    given, released, adjusted = [await owner(bank, "quiet", 100, at=long_ago) for _ in range(3)]
    giver = await owner(bank, "quiet", 50, at=NOW)
    spent = await spent_long_ago(bank, "quiet", at=long_ago)
    held = accrued(released.wallet_id, 40, kind="earn_held", programme="quiet", at=long_ago)
    await bank.hear(held, release(held, 10, effective_at=long_ago))
    transfer = Transfer(transfer_id=uuid7(), giver=giver.wallet_id, receiver=given.wallet_id, points=7)
    adjust = adjustment(adjusted.wallet_id, 7, programme="quiet")
    assert [one.status for one in await do(bank, transfer, adjust)] == [201, 201]
    await bank.hear(release(held, 17, effective_at=NOW))
    back = {"return_ref": "R-quiet", "points": 7}
    for act, body in (("returns", back), ("capture", {"points": 33}), ("void", None)):
        path = f"/v1/redemptions/{spent[act][1]}/{act}"
        answer = await bank.client.post(path, json=body, headers=bank.headers("till"))
        assert answer.status_code in {200, 201}, answer.text
    assert await walk(bank.runtime) == {}
    voided, _ = spent.pop("void")
    assert [points for points, _ in await expired(bank, voided.wallet_id)] == [100]
    spenders = [(member, [60]) for member, _ in spent.values()]
    for member, gone in ((given, [100]), (adjusted, [100]), (released, [100, 10]), *spenders):
        assert (await bank.wallet(member.wallet_id))["available"] == 7
        assert [points for points, _ in await expired(bank, member.wallet_id)] == gone
    assert (await bank.wallet(released.wallet_id))["held"] == 23


async def test_expired_points_come_back_to_their_lot_and_no_more_than_expired(bank: Bank) -> None:
    await programme(bank, "back", policy="never")
    member = await owner(bank, "back", 100, expires_at=GONE)
    await walk(bank.runtime)
    [lot] = await bank.auditor.fetch("SELECT lot_id FROM redeem.lots WHERE wallet_id = $1", member.wallet_id)

    def reinstated(points: int, **more: Any) -> Reinstate:
        return Reinstate(
            **{
                "reinstatement_id": uuid7(),
                "wallet_id": member.wallet_id,
                "lot_id": lot["lot_id"],
                "points": points,
                "expires_at": LATER,
                "reason": "goodwill",
                **more,
            }
        )

    first = reinstated(60)
    done, replayed, too_many, at_once = await do(
        bank, first, first, reinstated(41), reinstated(1, expires_at=GONE)
    )
    assert (done.status, replayed) == (201, Done(replayed=True))
    assert isinstance(too_many, Refused)
    assert isinstance(at_once, Refused)
    assert (too_many.refusal.code, at_once.refusal.code) == ("amount_out_of_range", "amount_out_of_range")
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["expired"]) == (60, 40)
    [told] = await answers(bank, member.wallet_id, "points.reinstated.v1")
    assert (told["lots"][0]["points"], told["lots"][0]["expires_at"][:10]) == (60, f"{LATER:%Y-%m-%d}")
    assert (await walk(bank.runtime)) == {}


async def test_a_lot_that_is_brought_back_is_the_one_that_expires_and_is_taken_from_in_the_same_batch(
    bank: Bank,
) -> None:
    await programme(bank, "twice", policy="inactivity", months=3)
    idle, busy, emptied = [await owner(bank, "twice", 100, expires_at=GONE) for _ in range(3)]
    await walk(bank.runtime)
    lots = await bank.auditor.fetch("SELECT wallet_id, lot_id FROM redeem.lots")
    lot_ids = {lot["wallet_id"]: lot["lot_id"] for lot in lots}

    def back(member: Member, points: int) -> Reinstate:
        return Reinstate(
            reinstatement_id=uuid7(),
            wallet_id=member.wallet_id,
            lot_id=lot_ids[member.wallet_id],
            points=points,
            expires_at=LATER,
            reason="goodwill",
        )

    def less(member: Member, points: int) -> Any:
        return adjustment(member.wallet_id, -points, programme="twice")

    async def all_done(*commands: Any) -> None:
        assert [getattr(one, "status", one) for one in await do(bank, *commands)] == [201] * len(commands)

    await all_done(back(idle, 60), back(busy, 60))
    db = await bank.administrator()
    long_ago = NOW - timedelta(days=200)
    await db.execute(
        "UPDATE redeem.wallets SET last_active_at = $2 WHERE wallet_id = $1", idle.wallet_id, long_ago
    )
    await db.close()
    await all_done(back(idle, 30))
    await all_done(less(busy, 20), back(busy, 30))
    await all_done(back(emptied, 50), less(emptied, 20))
    kept = "SELECT remaining, expired FROM redeem.lots WHERE wallet_id = $1"
    for member, left in ((idle, (30, 70)), (busy, (70, 10)), (emptied, (30, 50))):
        [lot] = await bank.auditor.fetch(kept, member.wallet_id)
        assert tuple(lot) == left
        wallet = await bank.wallet(member.wallet_id)
        assert (wallet["available"], wallet["expired"]) == left


def test_the_command_says_what_would_expire_and_then_that_it_did_and_tells_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tenant = asyncio.run(new_tenant(settings))
    as_environment(settings, monkeypatch)
    file = tmp_path / "to-expire.jsonl"

    async def earn() -> None:
        async with open_desk(settings, tenant.code) as desk:
            await desk.do(activated("shops", expiry=TELLS), job="test")
            await desk.do(accrued(uuid7(), 1234, expires_at=GONE), job="test")
            await desk.do(accrued(uuid7(), 5, expires_at=NOW + timedelta(days=3)), job="test")

    def ran(command: str, *words: str) -> str:
        done = CliRunner().invoke(app, [command, "--tenant", tenant.code, *words])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    asyncio.run(earn())
    swept = [
        {
            "programme": "shops",
            "currency": "SAR",
            "wallets": 1,
            "lots": 1,
            "points": 1234,
            "amount_minor": 12340,
        }
    ]
    looked = ran("expire", "--dry-run", "--json", "--to-expire", str(file))
    assert json.loads(looked) == {"dry_run": True, "swept": swept}
    [row] = [json.loads(line) for line in file.read_text().splitlines()]
    assert {**row, **swept[0], "tenant": tenant.code} == {"wallets": 1} | row
    assert CliRunner().invoke(app, ["expire", "--to-expire", str(file)]).exit_code == 2
    assert json.loads(ran("expire", "--json")) == {"dry_run": False, "swept": swept}
    assert (ran("expire", "--dry-run"), ran("expire")) == ("Nothing is due.\n", "Nothing was due.\n")
    assert json.loads(ran("notices", "--dry-run", "--json")) == {"dry_run": True, "notices": 1}
    asyncio.run(earn())
    assert "1,234" in ran("expire")
