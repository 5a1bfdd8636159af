"""Stock that is counted where it lies: imported once, held against the books, and a difference until a later count agrees."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from pointbank.cli.app import app
from shared.config import Settings
from shared.db import connect
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, Member, asks
from tests.integration.redeem.test_reconciliation import listed
from tests.integration.redeem.test_rewards import put, use
from tests.support.http import assert_problem
from tests.support.tenants import as_environment

ZONE = timedelta(hours=3)  # Riyadh


def today() -> date:
    """Now: a run that began yesterday has read this file yesterday."""
    return (datetime.now(UTC) + ZONE).date()


DAYS = [today() - timedelta(days=back) for back in (5, 4, 3, 2, 1)]


def count(location: str, day: date, on_hand: int, used: int | None = None, **more: Any) -> dict[str, Any]:
    said = {"programme": "shops", "reward": "mug", "location": location, "day": str(day), "on_hand": on_hand}
    return {**said, **({} if used is None else {"used": used}), **more}


async def counted(bank: Bank, *counts: dict[str, Any], **token: Any) -> httpx.Response:
    return await bank.client.post(
        "/v1/stock-counts", json={"counts": counts}, headers=bank.headers("marketer", **token)
    )


async def backdated(bank: Bank, moments: dict[str, datetime]) -> None:
    """The books of a few days ago, by an administrator's hand: what was bought was bought then."""
    db = await connect(bank.settings.admin_dsn(), database=bank.runtime.tenant.database)
    try:
        await db.execute("SET session_replication_role = replica; SET search_path = redeem")
        await db.execute("UPDATE reward_supplies SET since = $1", moments["supplied"])
        if "issued" in moments:
            await db.execute("UPDATE benefits SET issued_at = $1", moments["issued"])
        if "used" in moments:
            await db.execute(
                "UPDATE benefits SET consumed_at = $1 WHERE consumed_at IS NOT NULL", moments["used"]
            )
    finally:
        await db.close()


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC) - ZONE


async def bought(bank: Bank, member: Member) -> str:
    answer = await bank.redeem(asks(member, reward="mug"))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["benefit"]["code"])


async def test_what_is_counted_and_what_the_books_say_differ_until_a_later_count_agrees(bank: Bank) -> None:
    assert (await put(bank, "mug", stock=20)).status_code == 201
    member = await bank.member(1_000)
    codes = [await bought(bank, member) for _ in range(4)]
    for code in codes[:3]:
        assert (await use(bank, code)).status_code == 200
    # Supplied and sold on the first day; three of the four handed out at T01 on the second.
    await backdated(bank, {"supplied": at(DAYS[0], 8), "issued": at(DAYS[0], 9), "used": at(DAYS[1], 10)})

    first = (count("riyadh-mall/T01", DAYS[0], 12, 0), count("warehouse", DAYS[0], 8))
    done = await counted(bank, *first)
    assert done.status_code == 201, done.text
    assert {name: done.json()[name] for name in ("counted", "known", "differences", "closed")} == {
        "counted": 2, "known": 0, "differences": 0, "closed": 0,
    }  # fmt: skip
    again = await counted(bank, *first)
    assert (again.status_code, again.json()["counted"], again.json()["known"]) == (200, 0, 2)

    # One mug is gone, and the shop says that it handed out two.
    second = (count("riyadh-mall/T01", DAYS[1], 8, 2), count("warehouse", DAYS[1], 8))
    assert (await counted(bank, second[0])).json()["differences"] == 0, "the warehouse is still to come"
    told = (await counted(bank, second[1])).json()
    assert [(one["subject"], one["found"], one["agrees"]) for one in told["judged"]] == [
        ("stock/shops/mug/riyadh-mall/T01", f"used 2 by the end of {DAYS[1]}", False),
        ("stock/shops/mug", f"on hand 16 at the end of {DAYS[1]} at 2 locations", False),
    ]
    rows = {row["subject"]: row for row in await listed(bank)}
    assert rows["stock/shops/mug"]["expected"] == (
        f"on hand 17 at the end of {DAYS[1]}: supplied 20, used 3, expired 0, taken back 0"
    )
    assert {(row["kind"], row["state"]) for row in rows.values()} == {("stock", "open")}
    shown = bank.runtime.metrics.registry.get_sample_value(
        "pointbank_reconciliation_differences", {"service": "redeem", "tenant": bank.code, "kind": "stock"}
    )
    assert shown == 2
    explained = {"owner": "noor@example.com", "state": "explained", "reason": "Broken, ticket 7."}
    path = f"/v1/reconciliation/differences/{rows['stock/shops/mug']['difference_id']}"
    assert (await bank.client.post(path, json=explained, headers=bank.headers("finance"))).status_code == 200
    stock = (
        await bank.client.get(
            "/v1/rewards/mug", params={"programme": "shops"}, headers=bank.headers("marketer")
        )
    ).json()
    assert stock["stock"] == {"supplied": 20, "issued": 4, "held": 0, "left": 16}, "nothing was repaired"

    # An older day that comes late judges nothing; the next day agrees, and closes both by a note.
    assert (await counted(bank, count("kiosk", DAYS[0], 0))).json()["differences"] == 2
    third = await counted(bank, count("riyadh-mall/T01", DAYS[2], 9, 3), count("warehouse", DAYS[2], 8))
    assert (third.json()["differences"], third.json()["closed"]) == (0, 2)
    closed = {row["subject"]: row for row in await listed(bank, state="closed")}
    assert closed["stock/shops/mug"]["owner"] == "noor@example.com"
    assert closed["stock/shops/mug"]["reason"] == (
        f"Broken, ticket 7. Counted again, and equal: on hand 17 at the end of {DAYS[2]} at 2 locations."
    )
    assert await listed(bank) == []
    page = await bank.client.get(
        "/v1/stock-counts", params={"programme": "shops", "limit": 2}, headers=bank.headers("marketer")
    )
    assert [(one["location"], one["on_hand"]) for one in page.json()["items"]] == [
        ("warehouse", 8),
        ("riyadh-mall/T01", 9),
    ]
    assert page.json()["next_cursor"] is not None


async def test_one_wrong_count_keeps_all_of_them_out_and_all_mistakes_are_told(bank: Bank) -> None:
    await put(bank, "mug", stock=20)
    await put(bank, "endless")
    await backdated(bank, {"supplied": at(DAYS[3], 8)})
    right = count("somewhere", DAYS[3], 5)
    refused = await counted(
        bank,
        right,
        count("somewhere", today(), 5),
        count("nowhere", DAYS[3], 5, 1),
        count("riyadh-mall/T99", DAYS[3], 5, 1),
        count("somewhere", DAYS[3], 5, reward="spoon"),
        count("somewhere", DAYS[3], 5, reward="endless"),
        count("somewhere", DAYS[3], 6),
        count("somewhere", DAYS[3], 5, programme="none"),
        count("somewhere", date(9999, 12, 29), 5),
        count("somewhere", DAYS[2], 0),
    )
    assert_problem(refused, 422, "stock_counts_invalid")
    assert [(one["pointer"], one["code"]) for one in refused.json()["errors"]] == [
        ("/counts/1/day", "occurred_in_future"),
        ("/counts/2/location", "merchant_unknown"),
        ("/counts/3/location", "terminal_unknown"),
        ("/counts/4/reward", "reward_unknown"),
        ("/counts/5/reward", "stock_unlimited"),
        ("/counts/6/on_hand", "stock_count_conflict"),
        ("/counts/7/programme", "programme_unknown"),
        ("/counts/8/day", "occurred_in_future"),
        # There was no such reward by the end of that day: no books to hold it against.
        ("/counts/9/day", "stock_count_too_early"),
    ]
    rows = await bank.auditor.fetch("SELECT FROM redeem.stock_counts WHERE location = 'somewhere'")
    assert rows == []
    assert_problem(await counted(bank, right, merchant="riyadh-mall"), 403, "scope_missing")
    # Two at once with one count: it is kept once.
    both = await asyncio.gather(*[counted(bank, right) for _ in range(8)])
    assert sorted(one.status_code for one in both) == [200] * 7 + [201]


async def test_counts_and_what_benefits_cost_are_not_empty_where_nobody_knows_what_is_asked_for(
    bank: Bank,
) -> None:
    async def asked(path: str, role: str = "marketer") -> httpx.Response:
        return await bank.client.get(path, headers=bank.headers(role))

    for path, role in (("/v1/stock-counts", "marketer"), ("/v1/benefits/liability", "finance")):
        assert_problem(await asked(f"{path}?programme=shoops", role), 422, "programme_unknown")
        assert (await asked(f"{path}?programme=shops", role)).status_code == 200
    unknown = await asked("/v1/stock-counts?programme=shops&reward=mugg")
    assert_problem(unknown, 422, "reward_unknown")


@pytest.mark.parametrize("day", ["1700006400", 1700006400, "2026-11-22T00:00:00Z", "9999-12-31"])
async def test_a_count_is_of_a_day_as_it_is_written(bank: Bank, day: Any) -> None:
    assert_problem(await counted(bank, count("warehouse", DAYS[0], 8) | {"day": day}), 422, "field_type")


async def test_what_lies_at_a_terminal_is_not_counted_at_its_merchant_too(bank: Bank) -> None:
    assert (await put(bank, "cap", stock=10)).status_code == 201
    await backdated(bank, {"supplied": at(DAYS[0], 8)})

    def caps(location: str, day: date, on_hand: int) -> dict[str, Any]:
        return count(location, day, on_hand, reward="cap")

    twice = await counted(bank, caps("riyadh-mall", DAYS[3], 10), caps("riyadh-mall/T03", DAYS[3], 4))
    told = assert_problem(twice, 409, "stock_count_conflict")
    assert [one["pointer"] for one in told["errors"]] == ["/counts/1/location"]
    assert "riyadh-mall counts 10" in told["detail"]
    # So it is where the one was counted before.
    assert (await counted(bank, caps("riyadh-mall", DAYS[3], 10))).json()["differences"] == 0
    later = await counted(bank, caps("riyadh-mall/T03", DAYS[3], 4))
    assert_problem(later, 409, "stock_count_conflict")
    # Where the merchant has none of its own, its terminals are counted from then on.
    apart = [caps("riyadh-mall", DAYS[4], 0), *(caps(f"riyadh-mall/T0{n}", DAYS[4], 5) for n in (1, 3))]
    done = await counted(bank, *apart)
    assert (done.status_code, done.json()["differences"]) == (201, 0)
    assert done.json()["judged"][0]["found"] == f"on hand 10 at the end of {DAYS[4]} at 3 locations"
    again = await counted(bank, *apart)
    assert (again.status_code, again.json()["known"]) == (200, 3)


def test_a_file_is_rehearsed_whole_and_its_mistakes_are_told_by_line(
    settings: Settings, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_environment(settings, monkeypatch)
    file = tmp_path / "counts.csv"

    def run(*words: str) -> tuple[int, Any]:
        done = CliRunner().invoke(
            app, ["stock", "import", str(file), "--tenant", tenant.code, "--json", *words]
        )
        return done.exit_code, json.loads(done.stdout)

    head = "programme,reward,location,day,on_hand,used\n"
    file.write_text(
        f"{head}shops,mug,shop,{DAYS[4]},9,\nshops,mug,shop,yesterday,9,\nshops,spoon,shop,{DAYS[4]},1,\nshops,mug,shop,{today()},1\n"
    )
    code, done = run()
    assert (code, [(one["line"], one["code"]) for one in done["mistakes"]]) == (
        1,
        [(3, "field_type"), (4, "reward_unknown"), (5, "field_missing")],
    )
    file.write_text(f"{head}shops,mug,shop,{DAYS[4]},15,\nshops,mug,depot,{DAYS[4]},2,\n")
    dry = run("--dry-run")
    assert (dry[1]["counted"], dry[1]["known"]) == (2, 0)
    real = run()
    assert real[0] == dry[0]
    assert {**real[1], "dry_run": True} == dry[1]
