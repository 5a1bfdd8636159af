"""What is owed to members: to the last point, now and at a moment that is over."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest
from typer.testing import CliRunner, Result

from pointbank.cli.app import app
from pointbank.cli.failures import expected
from pointbank.reports.liability import Owed, read_liability
from services.redeem.store.sql import liability
from shared.errors import Refusal
from tests.integration.redeem.conftest import Bank, Member, asks, worth
from tests.integration.redeem.gift_cards import Cards
from tests.support.facts import activated
from tests.support.gift_cards import GIFTS
from tests.support.http import assert_problem
from tests.support.tenants import as_administrator


@pytest.fixture
def programme() -> str:
    return f"p-{secrets.token_hex(4)}"


async def owed(bank: Bank, programme: str, at: datetime | None = None, **more: Any) -> Owed:
    found = await read_liability(bank.settings, bank.code, programme=programme, at=at, **more)
    [one] = found
    return one


async def spent(bank: Bank, member: Member, programme: str, points: int, **more: Any) -> None:
    answer = await bank.redeem(asks(member, programme=programme, points=points, **more))
    assert answer.status_code == 201, answer.text


async def test_what_is_owed_is_what_members_may_still_spend_or_get(bank: Bank, programme: str) -> None:
    await bank.hear(activated(programme, gift_cards=GIFTS))
    one, other = await bank.member(5_003, 40, programme=programme), await bank.member(7, programme=programme)
    await bank.member(600, programme=programme, kind="earn_held")
    await spent(bank, one, programme, 120)
    await spent(bank, other, programme, 7)
    await spent(bank, one, programme, 50, capture="later")
    cards = Cards(bank)
    card = await cards.sold(10_000, programme)
    assert (await cards.use(card, 2_500)).status_code == 201
    await cards.issued(900, programme)  # nobody paid for it yet

    found = await owed(bank, programme)
    assert (found.currency, found.version, found.point_value) == ("SAR", 1, "0.10")
    assert found.points == {"available": 4_873, "held": 600, "reserved": 50, "debt": 0}
    assert found.owed_points == 5_523
    assert found.minor == {"points": 55_230, "gift_cards": 7_500, "benefits": 0, "debt": 0}
    assert found.owed_minor == 62_730
    assert found.settled is False


async def test_a_moment_that_is_over_says_the_same_whatever_came_after(bank: Bank, programme: str) -> None:
    await bank.hear(activated(programme))
    member = await bank.member(1_000, programme=programme)
    await spent(bank, member, programme, 100)
    moment = await bank.auditor.fetchval("SELECT clock_timestamp()")
    before = await owed(bank, programme, moment)
    assert (before.owed_points, before.owed_minor) == (900, 9_000)

    dearer = msgspec.structs.replace(activated(programme, 2), activated_at=datetime.now(UTC))
    dearer.document["programme"]["point_value"] = "0.20"
    await bank.hear(dearer)
    await spent(bank, member, programme, 400)
    late = await bank.member(50, programme=programme)
    assert await owed(bank, programme, moment) == before
    after = await owed(bank, programme)
    assert (after.version, after.owed_points, after.owed_minor) == (2, 550, 11_000)
    assert {str(member.wallet_id), str(late.wallet_id)} == {row[1] for row in await wallets(bank, programme)}
    assert (await owed(bank, programme, moment - timedelta(days=1))).owed_points == 0


async def wallets(bank: Bank, programme: str, at: datetime | None = None) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    await read_liability(bank.settings, bank.code, programme=programme, at=at, each=rows.extend)
    return [(row[0], str(row[1]), *row[3:]) for row in rows]


async def test_a_part_of_a_minor_unit_is_not_owed_and_debts_are_not_taken_off(
    bank: Bank, programme: str
) -> None:
    document = activated(programme)
    document.document["programme"]["point_value"] = "0.005"
    offline = {"points": 500, "hours": 24, "report_days": 7}
    document = msgspec.structs.replace(
        document, document={**document.document, "redemption": {"offline": offline}}
    )
    await bank.hear(document)
    await bank.member(33, programme=programme)
    member = await bank.member(20, programme=programme)
    await overdrawn(bank, member, programme, 31)
    found = await owed(bank, programme)
    assert found.points == {"available": 33, "held": 0, "reserved": 0, "debt": -11}
    assert found.minor == {"points": 16, "gift_cards": 0, "benefits": 0, "debt": -5}
    assert found.owed_minor == 16


async def overdrawn(bank: Bank, member: Member, programme: str, points: int) -> None:
    """A till lets the member spend more than there is, while it can't ask."""
    body = {
        "programme": programme,
        "member": {"mobile": member.mobile},
        "merchant": "riyadh-mall",
        "terminal": "T03",
    }
    given = await bank.client.post("/v1/redemption-allowances", json=body, headers=bank.headers("till"))
    use = {"redemption_ref": "T03-1", "points": points, "occurred_at": datetime.now(UTC).isoformat()}
    report = {"allowance": given.json()["allowance"], "redemptions": [use]}
    told = await bank.client.post("/v1/offline-redemptions", json=report, headers=bank.headers("till"))
    assert told.json()["redemptions"][0]["outcome"] == "posted", told.text


async def asked(bank: Bank, role: str = "finance", **parameters: str) -> httpx.Response:
    return await bank.client.get("/v1/liability", params=parameters, headers=bank.headers(role))


async def test_a_call_says_what_the_command_says_with_money_beside_points(bank: Bank, programme: str) -> None:
    await bank.hear(activated(programme, gift_cards=GIFTS))
    one = await bank.member(5_003, 40, programme=programme)
    await bank.member(600, programme=programme, kind="earn_held")
    await spent(bank, one, programme, 120)
    await spent(bank, one, programme, 50, capture="later")
    await Cards(bank).sold(10_000, programme)
    moment = await bank.auditor.fetchval("SELECT clock_timestamp()")
    await spent(bank, one, programme, 73)

    answer = await asked(bank, programme=programme, at=moment.isoformat())
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "items": [
            {
                "programme": programme,
                "at": moment.isoformat().replace("+00:00", "Z"),
                "settled": False,
                "version": 1,
                "point_value": "0.10",
                "available": worth(4_873),
                "held": worth(600),
                "reserved": worth(50),
                "debt": worth(0),
                "points": worth(5_523),
                "gift_cards": {"amount_minor": 10_000, "currency": "SAR"},
                "benefits": {"amount_minor": 0, "currency": "SAR"},
                "owed": {"amount_minor": 65_230, "currency": "SAR"},
            }
        ]
    }
    command = await owed(bank, programme, moment)
    assert (command.owed_points, command.owed_minor) == (5_523, 65_230)
    [now] = (await asked(bank, programme=programme)).json()["items"]
    assert (now["at"], now["settled"], now["points"]) == (None, False, worth(5_450))


async def test_a_day_begins_where_the_programme_lives_and_a_moment_that_is_long_over_is_settled(
    bank: Bank, programme: str
) -> None:
    await bank.hear(activated(programme))
    await bank.member(30, programme=programme)
    [found] = (await asked(bank, programme=programme, at="2026-01-01")).json()["items"]
    assert (found["at"], found["settled"], found["owed"]["amount_minor"]) == ("2025-12-31T21:00:00Z", True, 0)


@pytest.mark.parametrize(
    ("parameters", "code", "said"),
    [
        (
            {"at": "2999-01-01T00:00:00Z"},
            "occurred_in_future",
            "2999-01-01 00:00:00+00:00 is still to come. Name an earlier moment.",
        ),
        (
            {"programme": "nothing"},
            "programme_unknown",
            "There is no programme nothing that was ever active.",
        ),
        ({"at": "soon"}, "field_type", "/at: this must be a text as 2026-11-22."),
        ({"at": "0001-01-01"}, "field_type", "/at: this time lies outside the calendar."),
    ],
)
async def test_a_call_that_has_no_answer_says_why(
    bank: Bank, parameters: dict[str, str], code: str, said: str
) -> None:
    problem = assert_problem(await asked(bank, **parameters), 422, code)
    assert problem["detail"] == said


async def test_what_all_owe_is_told_to_finance_and_auditors_of_all_merchants(
    bank: Bank, programme: str
) -> None:
    await bank.hear(activated(programme))
    assert (await asked(bank, "auditor", programme=programme)).status_code == 200
    for headers in (
        bank.headers("support"),
        bank.headers("operator"),
        bank.headers("finance", merchant="m1"),
    ):
        assert_problem(await bank.client.get("/v1/liability", headers=headers), 403, "scope_missing")


async def test_one_call_of_a_tenant_at_a_time_reads_the_whole_ledger(bank: Bank, programme: str) -> None:
    await bank.hear(activated(programme))
    both = await asyncio.gather(*(asked(bank, programme=programme) for _ in range(2)))
    assert sorted(one.status_code for one in both) == [200, 429]
    assert (await asked(bank, programme=programme)).status_code == 200


async def test_the_ledger_is_read_once_however_many_programmes_there_are(bank: Bank, programme: str) -> None:
    programmes = [f"{programme}-{k}" for k in range(3)]
    for code in programmes:
        await bank.hear(activated(code))
        await bank.member(10, programme=code)
    async with bank.auditor.transaction():
        await bank.auditor.execute("SET LOCAL search_path = redeem; SET LOCAL enable_nestloop = off")
        shown = await bank.auditor.fetchval(
            "EXPLAIN (ANALYZE, FORMAT JSON) " + liability.texts()["owed"], programmes, [None] * 3
        )
    [whole] = json.loads(shown)
    reads = list(reads_of(whole["Plan"], "ledger"))
    assert reads
    assert max(reads) == 1


def reads_of(plan: dict[str, Any], table: str) -> Iterator[int]:
    """How often a plan went through each part of a table."""
    if plan.get("Alias", "").rstrip("_0123456789") == "l" and plan["Relation Name"].startswith(table):
        yield plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from reads_of(part, table)


async def test_a_day_that_has_begun_for_some_is_refused_by_the_name_of_who_waits_for_it(
    bank: Bank, programme: str
) -> None:
    for code, zone in (
        (f"{programme}-east", "Pacific/Kiritimati"),
        (f"{programme}-west", "Pacific/Pago_Pago"),
    ):
        told = activated(code)
        told.document["programme"]["time_zone"] = zone
        await bank.hear(told)
    in_the_east = datetime.now(ZoneInfo("Pacific/Kiritimati")).date().isoformat()
    assert (await asked(bank, programme=f"{programme}-east", at=in_the_east)).status_code == 200
    problem = assert_problem(
        await asked(bank, programme=f"{programme}-west", at=in_the_east), 422, "occurred_in_future"
    )
    assert problem["detail"] == (
        f"{in_the_east} has not begun yet where {programme}-west lives (Pacific/Pago_Pago). Name an earlier day."
    )
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    problem = assert_problem(await asked(bank, at=tomorrow), 422, "occurred_in_future")
    assert problem["detail"].endswith(" is still to come. Name an earlier moment.")


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


async def test_the_command_tells_programmes_and_writes_each_wallet(
    bank: Bank, programme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await bank.hear(activated(programme))
    some = [await bank.member(points, programme=programme) for points in (300, 20, 1)]
    await spent(bank, some[2], programme, 1)
    as_administrator(bank.settings, monkeypatch)
    file = tmp_path / "wallets.csv"
    asked = ["liability", "--tenant", bank.code, "--programme", programme]
    told = await run(*asked, "--json", "--wallets", str(file))
    assert told.exit_code == 0, told.output
    [found] = json.loads(told.stdout)["items"]
    assert (found["owed"], found["owed_minor"], found["programme"]) == (320, 3_200, programme)
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert {row["wallet_id"]: int(row["available"]) for row in rows} == {
        str(some[0].wallet_id): 300,
        str(some[1].wallet_id): 20,
    }
    assert sum(int(row["owed"]) for row in rows) == found["owed"]

    table = " ".join((await run(*asked)).stdout.split())
    assert f"{programme}" in table
    assert "3,200 SAR" in table
    [head, row] = (await run(*asked, "--csv")).stdout.splitlines()
    assert dict(zip(head.split(","), row.split(","), strict=True))["owed_minor"] == "3200"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--at", "soon"), "soon is no day and no time, as 2026-12-01 or 2026-12-01T00:00:00+03:00"),
        (("--at", "2999-01-01"), "2999-01-01 has not begun yet"),
        (("--programme", "nothing"), "There is no programme nothing that was ever active"),
        (("--at", "0001-01-01"), "0001-01-01 is no day and no time"),
        (("--at", "9999-12-31T23:59:59-12:00"), "9999-12-31T23:59:59-12:00 is no day and no time"),
        (("--csv", "--json"), "only one of --csv, --json"),
    ],
)
async def test_what_can_not_be_told_is_said(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    as_administrator(bank.settings, monkeypatch)
    told = await run("liability", "--tenant", bank.code, *options)
    if isinstance(told.exception, Refusal):  # the entry point tells it
        assert said in (expected(told.exception) or "")
        return
    assert told.exit_code == 2
    assert said in " ".join(told.output.split())
