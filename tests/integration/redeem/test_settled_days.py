"""Days tile a programme's time: each redemption is in one day's statement, and a settled day stays as it was."""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

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


async def written_at(bank: Bank, redemption_id: str, at: datetime) -> None:
    administrator = await bank.administrator()
    try:
        await administrator.execute(
            "UPDATE redeem.redemptions SET recorded_at = $2 WHERE redemption_id = $1", redemption_id, at
        )
    finally:
        await administrator.close()


async def statement(bank: Bank, code: str, day: date) -> Any:
    answer = await bank.client.get(
        "/v1/merchants/riyadh-mall/statements",
        params={"day": str(day), "programme": code},
        headers=bank.headers("finance"),
    )
    assert answer.status_code == 200, answer.text
    [found] = answer.json()["items"]
    return found
