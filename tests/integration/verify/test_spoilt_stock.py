"""Stock that was counted: the oracle judges it again."""

from datetime import UTC, datetime, timedelta

from tests.integration.verify.conftest import report_of, spoilt
from tests.support.town import Town

ROW = """
    INSERT INTO redeem.reconciliation_differences (difference_id, kind, subject, expected, found, first_seen, last_seen)
    VALUES (gen_random_uuid(), 'stock', 'stock/shops/coffee', '', '', now(), now())
"""


async def test_a_count_is_judged_again(town: Town) -> None:
    day = (datetime.now(UTC) - timedelta(days=2)).date()
    async with spoilt(town) as db:

        async def broken() -> dict[str, list[str]]:
            return {check.name: check.examples for check in (await report_of(town, db)).broken}

        # Five were supplied, and none was sold then.
        await db.execute("UPDATE redeem.reward_supplies SET since = '-infinity'")
        for location, on_hand in (("depot", 3), ("shop", 1)):
            await db.execute(
                "INSERT INTO redeem.stock_counts VALUES ('shops', 'coffee', $1, $2, $3, NULL, now())", day, location, on_hand
            )  # fmt: skip
        # A day on which one of the two is missing is not judged.
        await db.execute(
            "INSERT INTO redeem.stock_counts VALUES ('shops', 'coffee', $1, 'shop', 9, NULL, now())",
            day + timedelta(days=1),
        )
        assert await broken() == {
            "stock:judged": ["stock/shops/coffee: 4 counted, 5 by the books, and no difference"]
        }
        await db.execute(ROW)
        assert await broken() == {}
        await db.execute(
            "UPDATE redeem.stock_counts SET on_hand = 2 WHERE location = 'shop' AND day = $1", day
        )
        assert await broken() == {
            "stock:judged": ["stock/shops/coffee: 5 counted, as by the books, and a difference stands"]
        }
        await db.execute("DELETE FROM redeem.reconciliation_differences WHERE kind = 'stock'")
        await db.execute("UPDATE redeem.reward_supplies SET supplied = 9 WHERE reward = 'coffee'")
        assert (await broken()).keys() == {"stock:supplied", "stock:judged"}
