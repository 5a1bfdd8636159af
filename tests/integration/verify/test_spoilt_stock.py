"""Stock that was counted: the oracle judges it again."""

from datetime import UTC, datetime, timedelta

from pointbank.verify import Report
from pointbank.verify.books import Books
from pointbank.verify.database import Snapshot
from pointbank.verify.spending.stock import Stock
from shared.db import Connection
from tests.integration.verify.conftest import spoilt
from tests.support.town import Town

ROW = """
    INSERT INTO redeem.reconciliation_differences (difference_id, kind, subject, expected, found, first_seen, last_seen)
    VALUES (gen_random_uuid(), 'stock', 'stock/shops/coffee', '', '', now(), now())
"""


async def broken_of(town: Town, db: Connection) -> dict[str, list[str]]:
    """What is broken of the stock as this connection sees it: check -> examples."""
    report = Report(town.tenant)
    books = Books(town.tenant, Snapshot(db), report, lambda _: None)
    await books.load()
    await Stock(books).walk()
    assert all(check.compared for check in report if check.name.startswith("stock:"))
    return {check.name: check.examples for check in report.broken}


async def test_a_count_is_judged_again(town: Town) -> None:
    day = (datetime.now(UTC) - timedelta(days=2)).date()
    async with spoilt(town) as db:
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
        assert await broken_of(town, db) == {
            "stock:judged": ["stock/shops/coffee: 4 counted, 5 by the books, and no difference"]
        }
        await db.execute(ROW)
        assert await broken_of(town, db) == {}
        await db.execute(
            "UPDATE redeem.stock_counts SET on_hand = 2 WHERE location = 'shop' AND day = $1", day
        )
        assert await broken_of(town, db) == {
            "stock:judged": ["stock/shops/coffee: 5 counted, as by the books, and a difference stands"]
        }
        # What lies at a terminal is not its merchant's too.
        await db.execute("UPDATE redeem.stock_counts SET location = 'depot/T1' WHERE location = 'shop'")
        assert (await broken_of(town, db))["stock:judged"][0] == (
            f"stock/shops/coffee: 3 counted at depot and 2 at depot/T1 on {day}"
        )
        await db.execute("UPDATE redeem.stock_counts SET location = 'shop' WHERE location = 'depot/T1'")
        await db.execute("DELETE FROM redeem.reconciliation_differences WHERE kind = 'stock'")
        await db.execute("UPDATE redeem.reward_supplies SET supplied = 9 WHERE reward = 'coffee'")
        assert (await broken_of(town, db)).keys() == {"stock:supplied", "stock:judged"}
