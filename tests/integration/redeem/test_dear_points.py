"""Points that are worth much: an act moves no more of them than a line can hold the worth of."""

from __future__ import annotations

from tests.integration.redeem.conftest import Bank
from tests.integration.redeem.test_acts import EVIDENCE, approver, asked, post
from tests.support.facts import activated
from tests.support.http import assert_problem

MOST = (2**63 - 1) // 100_000
"""At a thousand riyals a point."""


async def test_what_a_line_can_not_hold_the_worth_of_is_refused_where_it_is_asked(bank: Bank) -> None:
    dear = activated(
        "dear",
        expiry={"policy": "never"},
        adjustments={"reasons": ["goodwill"], "second_person_above": 10**15},
    )
    dear.document["programme"]["point_value"] = "1000"
    await bank.hear(dear)
    member = await bank.member(1, programme="dear")
    [line] = await bank.lines(member.wallet_id)

    def opening(points: int) -> dict[str, object]:
        return {
            "opening_ref": f"dear-{points}",
            "wallet_id": str(member.wallet_id),
            "points": points,
            "earned_at": "2024-03-01T10:00:00+03:00",
        }

    def dispute(points: int) -> dict[str, object]:
        return {
            "posting_id": str(line["posting_id"]),
            "points": points,
            "reason": "too-little",
            "evidence": EVIDENCE,
        }

    assert_problem(await post(bank, "disputes", dispute(0)), 422, "amount_out_of_range")
    over = MOST + 1
    for answer, pointer in (
        (await approver(bank, "openings", opening(over)), "/points"),
        (
            await post(bank, "adjustments", asked((member.wallet_id, over), programme="dear")),
            "/items/0/points",
        ),
        (await post(bank, "disputes", dispute(over)), "/points"),
    ):
        refused = assert_problem(answer, 422, "amount_out_of_range")
        assert [one["pointer"] for one in refused["errors"]] == [pointer]
    assert (await approver(bank, "openings", opening(MOST))).status_code == 201
    assert (
        await post(bank, "adjustments", asked((member.wallet_id, -MOST), programme="dear"))
    ).status_code == 201
    assert (await bank.wallet(member.wallet_id))["available"] == 1
