"""Days tile a programme's time: each redemption is in one day's statement, and a settled day stays as it was."""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from pointbank.reports.statements import read_statements
from shared.config import Settings
from tests.integration.redeem.conftest import Bank, asks
from tests.support.facts import activated
from tests.support.programmes import SHOPS


async def test_each_redemption_is_in_one_day_and_a_settled_day_says_the_same_under_another_version(
    bank: Bank,
) -> None:
    code = f"p-{secrets.token_hex(4)}"
    await bank.hear(activated(code))
    member = await bank.member(5_000, programme=code)
    first = datetime.now(UTC).date() - timedelta(days=6)
    midnight = datetime.combine(first, datetime.min.time(), tzinfo=UTC)
    # Around where days begin in Riyadh (21:00 UTC) and in UTC: what a zone that changed counted twice, or never.
    for hours, points in ((20.9, 1), (21.1, 20), (21.5, 300), (24, 4_000)):
        made = (await bank.redeem(asks(member, programme=code, points=points))).json()
        await written_at(bank, made["redemption_id"], midnight + timedelta(hours=hours))

    before = [await statement(bank, code, first + timedelta(days=k)) for k in range(3)]
    assert all(one["settled"] for one in before)
    assert [one["until"] for one, _ in pairwise(before)] == [later["since"] for _, later in pairwise(before)]
    assert [one["total"]["accepted"]["points"] for one in before] == [1, 4_320, 0]

    second = activated(code, 2, redemption={**SHOPS["redemption"], "minimum_points": 7})
    second.document["programme"]["point_value"] = "0.20"
    await bank.hear(second)
    assert [await statement(bank, code, first + timedelta(days=k)) for k in range(3)] == before


async def test_a_day_is_over_by_postgresqls_clock_whatever_that_of_the_process_says(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"p-{secrets.token_hex(4)}"
    await bank.hear(activated(code))
    member = await bank.member(100, programme=code)
    assert (await bank.redeem(asks(member, programme=code, points=7))).status_code == 201
    today = (await bank.auditor.fetchval("SELECT clock_timestamp() AT TIME ZONE 'Asia/Riyadh'")).date()

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=1)

    monkeypatch.setattr("shared.clock.datetime", Ahead)
    running = await statement(bank, code, today)
    assert (running["settled"], running["total"]["accepted"]["points"]) == (False, 7)
    assert (await statement(bank, code))["day"] == str(today - timedelta(days=1))
    [told] = await read_statements(settings, bank.code, merchant="riyadh-mall", programme=code, day=today)
    assert told.settled is False
    [last] = await read_statements(settings, bank.code, merchant="riyadh-mall", programme=code, day=None)
    assert last.day == today - timedelta(days=1)


async def written_at(bank: Bank, redemption_id: str, at: datetime) -> None:
    administrator = await bank.administrator()
    try:
        await administrator.execute(
            "UPDATE redeem.redemptions SET recorded_at = $2 WHERE redemption_id = $1", redemption_id, at
        )
    finally:
        await administrator.close()


async def statement(bank: Bank, code: str, day: date | None = None) -> Any:
    answer = await bank.client.get(
        "/v1/merchants/riyadh-mall/statements",
        params={"programme": code} | ({} if day is None else {"day": str(day)}),
        headers=bank.headers("finance"),
    )
    assert answer.status_code == 200, answer.text
    [found] = answer.json()["items"]
    return found
