"""Why a redemption was allowed can be asked for ever: what decided it is kept with it, whatever was told since."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from shared.config import Settings
from tests.integration.redeem.conftest import Bank, asks
from tests.integration.redeem.test_authorisations import authorised, capture
from tests.integration.redeem.test_limits import programme, standing
from tests.integration.redeem.test_offline import OFFLINE, allowed, reported
from tests.integration.redeem.test_offline import use as spent
from tests.integration.redeem.test_rewards import put
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import activated
from tests.support.http import assert_problem

INSERTED = """
    INSERT INTO tiers.history (
        wallet_id, sequence, to_tier, direction, rule, programme, programme_version, numbers, effective_at, cause
    )
    SELECT wallet_id, 2, 'blue', 'entry', '{{}}', programme, 1, '{{}}', effective_at, 'x'
    FROM redeem.redemptions WHERE redemption_id = '{}'
"""


async def why(bank: Bank, redemption_id: str, role: str = "support", **token: Any) -> Any:
    return await bank.client.get(f"/v1/redemptions/{redemption_id}/why", headers=bank.headers(role, **token))


def sar(minor: int) -> dict[str, Any]:
    return {"amount_minor": minor, "currency": "SAR"}


async def test_who_redeemed_as_gold_and_was_demoted_is_told_that_gold_allowed_it(bank: Bank) -> None:
    code = await programme(bank, tiers=["gold"])
    member = await bank.member(100, programme=code)
    await bank.runtime.lane.submit(standing(member, code, "gold", 2))
    made = (await bank.redeem(asks(member, points=10, programme=code))).json()
    await bank.runtime.lane.submit(standing(member, code, "blue", 3))
    assert_problem(await bank.redeem(asks(member, points=10, programme=code)), 409, "tier_not_eligible")
    await bank.hear(activated(code, 2))

    answer = (await why(bank, made["redemption_id"])).json()
    assert answer == {
        "redemption_id": made["redemption_id"],
        "status": "captured",
        "programme": code,
        "programme_version": 1,
        "wallet_id": str(member.wallet_id),
        "merchant": "riyadh-mall",
        "terminal": "T03",
        "channel": "store",
        "bill_ref": None,
        "effective_at": made["effective_at"],
        "asked": {"points": 10, "money": sar(100)},
        "reward": None,
        "allowance_id": None,
        "decisions": [
            {
                "step": "redeem",
                "tier": {
                    "tier": "gold",
                    "tiers": ["gold"],
                    "told": {"tier": "gold", "until": None, "sequence": 2},
                },
                "bill": None,
                "counted": [],
                "had": None,
            }
        ],
    }


async def test_what_a_limit_had_counted_and_what_was_said_of_the_bill_is_kept_with_the_redemption(
    bank: Bank,
) -> None:
    code = await programme(
        bank,
        max_bill_share="0.5",
        member_limits=[{"per": "month", "points": 1_000}],
        velocity=[{"redemptions": 9, "minutes": 60}],
        acceptance=[{"merchant": "riyadh-mall", "categories": ["coffee"]}],
    )
    member, other = await bank.member(500, programme=code), await bank.member(500, programme=code)
    bill = {
        "programme": code,
        "bill_ref": f"B-{code}",
        "bill_total_minor": 2_000,
        "bill_categories": {"fuel": 500, "coffee": 1_500},
    }
    first = (await bank.redeem(asks(member, points=30, **bill))).json()
    await bank.redeem(asks(other, points=25, **bill))
    second = (await bank.redeem(asks(member, points=40, **bill))).json()

    [decided] = (await why(bank, second["redemption_id"])).json()["decisions"]
    assert decided["tier"] is None
    assert decided["bill"] == {
        "bill_ref": bill["bill_ref"],
        "total": sar(2_000),
        "categories": {"coffee": 1_500, "fuel": 500},
        "most": sar(1_000),
        "paid": sar(550),
    }
    month, hour = decided["counted"]
    assert (month["per"], month["points"], month["redemptions"], month["most_points"]) == (
        "month",
        30,
        1,
        1_000,
    )
    assert (hour["minutes"], hour["points"], hour["redemptions"], hour["most_redemptions"]) == (60, 30, 1, 9)
    at = datetime.fromisoformat(second["effective_at"])
    assert at - datetime.fromisoformat(hour["since"]) == timedelta(hours=1) - timedelta(microseconds=1)
    riyadh = datetime.fromisoformat(month["since"]).astimezone(ZoneInfo("Asia/Riyadh"))
    assert (riyadh.day, riyadh.hour, riyadh.minute) == (1, 0, 0)
    [before] = (await why(bank, first["redemption_id"])).json()["decisions"]
    assert (before["bill"]["paid"], [one["points"] for one in before["counted"]]) == (sar(0), [0, 0])


async def test_redemptions_of_one_batch_count_each_other_and_say_so(bank: Bank) -> None:
    code = await programme(bank, velocity=[{"redemptions": 9, "minutes": 60}])
    member = await bank.member(500, programme=code)
    made = await asyncio.gather(*[bank.redeem(asks(member, points=10, programme=code)) for _ in range(5)])
    counted = [(await why(bank, one.json()["redemption_id"])).json()["decisions"][0] for one in made]
    assert sorted((one["counted"][0]["redemptions"], one["counted"][0]["points"]) for one in counted) == [
        (0, 0),
        (1, 10),
        (2, 20),
        (3, 30),
        (4, 40),
    ]


async def test_what_is_authorised_says_what_decided_it_and_then_its_capture(bank: Bank) -> None:
    code = await programme(bank, max_bill_share="0.5")
    member, other = await bank.member(500, programme=code), await bank.member(500, programme=code)
    bill_ref = f"B-{code}"
    one = await authorised(bank, member, points=60, programme=code, bill_total_minor=2_000)
    await bank.redeem(asks(other, points=30, programme=code, bill_total_minor=2_000, bill_ref=bill_ref))
    assert (await capture(bank, one, {"bill_ref": bill_ref})).status_code == 200
    said = (await why(bank, one["redemption_id"])).json()
    assert (said["status"], said["bill_ref"]) == ("captured", bill_ref)
    assert [(one["step"], one["bill"]["most"], one["bill"]["paid"]) for one in said["decisions"]] == [
        ("redeem", sar(1_000), None),
        ("capture", sar(1_000), sar(300)),
    ]


async def test_a_reward_says_the_tier_that_priced_it_and_how_many_were_had(bank: Bank) -> None:
    code = await programme(bank)
    member = await bank.member(500, programme=code)
    await put(
        bank,
        "mug",
        programme=code,
        price={"points": 50},
        tier_prices={"gold": {"points": 40}},
        limit={"most": 2, "per": "year"},
    )
    await bank.runtime.lane.submit(standing(member, code, "gold", 5))
    first = (await bank.redeem(asks(member, programme=code, reward="mug"))).json()
    await bank.runtime.lane.submit(standing(member, code, "blue", 6))
    second = (await bank.redeem(asks(member, programme=code, reward="mug", capture="later"))).json()
    found = []
    for one in (first, second):
        said = (await why(bank, one["redemption_id"])).json()
        [decided] = said["decisions"]
        told = decided["tier"]["told"]
        found.append(
            (
                said["reward"],
                said["asked"]["points"],
                decided["tier"]["tier"],
                told["sequence"],
                decided["had"],
            )
        )
    assert found == [("mug", 40, "gold", 5, 0), ("mug", 50, "blue", 6, 1)]


async def test_what_was_spent_offline_says_who_was_given_leave(bank: Bank) -> None:
    code = await programme(bank, tiers=["gold"], offline=OFFLINE)
    member = await bank.member(500, programme=code)
    until = datetime.now(UTC) + timedelta(days=1)
    await bank.runtime.lane.submit(standing(member, code, "gold", 7, until=until))
    one = await allowed(bank, member, code)
    await bank.runtime.lane.submit(standing(member, code, "blue", 8))
    [told] = (await reported(bank, one, spent("T-1", 20)))["redemptions"]
    said = (await why(bank, told["redemption_id"])).json()
    assert said["allowance_id"] == one["allowance_id"]
    [decided] = said["decisions"]
    assert (decided["step"], decided["tier"]["tier"], decided["tier"]["told"]["sequence"]) == (
        "allowance",
        "gold",
        7,
    )
    assert datetime.fromisoformat(decided["tier"]["told"]["until"]) == until


async def test_a_plain_redemption_keeps_nothing_beside_itself_and_is_shown_at_its_merchant_alone(
    bank: Bank,
) -> None:
    member = await bank.member(100)
    made = (await bank.redeem(asks(member, points=10, bill_ref="B-plain"))).json()
    redemption_id = made["redemption_id"]
    said = (await why(bank, redemption_id)).json()
    assert (said["decisions"], said["bill_ref"], said["asked"]) == (
        [],
        "B-plain",
        {"points": 10, "money": sar(100)},
    )
    kept = "SELECT count(*) FROM redeem.redemption_inputs WHERE subject_id = $1"
    assert await bank.auditor.fetchval(kept, UUID(redemption_id)) == 0
    assert (await why(bank, redemption_id, merchant="riyadh-mall")).status_code == 200
    assert_problem(await why(bank, redemption_id, merchant="elsewhere"), 404, "not_found")
    assert_problem(await why(bank, str(member.wallet_id)), 404, "not_found")
    assert_problem(await why(bank, redemption_id, "marketer"), 403, "scope_missing")


async def test_the_books_are_whole_until_what_decided_says_something_else(
    bank: Bank, settings: Settings
) -> None:
    code = await programme(
        bank,
        tiers=["gold"],
        max_bill_share="0.5",
        member_limits=[{"per": "week", "points": 500}],
        velocity=[{"redemptions": 2, "minutes": 60}],
        acceptance=[{"merchant": "riyadh-mall", "categories": ["coffee"], "max_bill_share": "0.4"}],
    )
    member = await bank.member(500, programme=code)
    await bank.runtime.lane.submit(standing(member, code, "gold", 2))
    said = {"programme": code, "bill_total_minor": 2_000, "bill_categories": {"coffee": 1_500}}
    await bank.redeem(asks(member, points=30, bill_ref=f"B-{code}", **said))
    aside = await authorised(bank, member, points=20, **said)
    assert (await capture(bank, aside, {"bill_ref": f"B-{code}"})).status_code == 200

    of_it = f"subject_id = '{aside['redemption_id']}'"
    changed = "UPDATE redeem.redemption_inputs SET {} WHERE {} AND step = '{}'".format
    # Of what was written in the same seconds nobody can say whether it was counted.
    earlier = (
        "WITH earlier AS (UPDATE redeem.redemptions SET recorded_at = recorded_at - interval '1 minute' "
        f"WHERE programme = '{code}' AND redemption_id <> '{aside['redemption_id']}') "
    )
    found = {"redemptions:decided"}
    await assert_whole_until_spoilt(
        settings,
        bank.code,
        frozenset(found),
        {
            "a tier that spends nothing": (changed("tier = 'silver'", of_it, "redeem"), found),
            "a tier that nobody told": (changed("told_tier = 'silver'", of_it, "redeem"), found),
            "a word that was over": (changed("told_until = '2020-01-01'", of_it, "redeem"), found),
            "another word of tiers than their history has": (
                INSERTED.format(aside["redemption_id"]),
                found,
            ),
            "a bill that came to more": (
                changed("bill_categories = '{\"coffee\": 1600}'", of_it, "redeem"),
                found,
            ),
            "a larger share than was set aside for": (
                changed("most_minor = most_minor + 1", of_it, "capture"),
                found,
            ),
            "more that was paid before": (changed("paid_minor = 401", of_it, "capture"), found),
            "more that was spent before": (
                changed("counted = jsonb_set(counted, '{0,points}', '481')", of_it, "redeem"),
                found,
            ),
            "more that were made before": (
                changed("counted = jsonb_set(counted, '{1,redemptions}', '2')", of_it, "redeem"),
                found,
            ),
            "a week that began when it did not": (
                changed(
                    """counted = jsonb_set(counted, '{0,since}', '"2026-01-01T00:00:00Z"')""", of_it, "redeem"
                ),
                found,
            ),
            "minutes that were more": (
                changed(
                    """counted = jsonb_set(counted, '{1,since}', '"2026-01-01T00:00:00Z"')""", of_it, "redeem"
                ),
                found,
            ),
            "more that was spent before, within the limit": (
                changed("counted = jsonb_set(counted, '{0,points}', '400')", of_it, "redeem"),
                found,
            ),
            "less that was spent before": (
                earlier + changed("counted = jsonb_set(counted, '{0,points}', '0')", of_it, "redeem"),
                found,
            ),
            "fewer that were made before": (
                earlier + changed("counted = jsonb_set(counted, '{1,redemptions}', '0')", of_it, "redeem"),
                found,
            ),
            "a limit that is not counted": (changed("counted = counted - 1", of_it, "redeem"), found),
            "what decided nothing": (changed("subject_id = gen_random_uuid()", of_it, "capture"), found),
        },
    )
