"""What was told of a day, by earn's accruals and by the ledger: the oracle counts both again."""

import hashlib
import json
from datetime import UTC, datetime

from tests.integration.verify.conftest import report_of, spoilt
from tests.support.town import Town

TOLD = "INSERT INTO earn.told_days (day, sequence, programmes) VALUES ($1, 1, $2::jsonb)"
HEARD = (
    "INSERT INTO redeem.told_days (day, sequence, n, programmes, compared) VALUES ($1, 1, 0, $2::jsonb, 1)"
)
ROW = """
    INSERT INTO redeem.reconciliation_differences (difference_id, kind, subject, expected, found, first_seen, last_seen)
    VALUES (gen_random_uuid(), 'accruals', $1, '', '', now(), now())
"""


async def test_a_day_is_counted_again_in_both_books(town: Town) -> None:
    async with spoilt(town) as db:
        days: dict[datetime, dict[str, list[int]]] = {}
        for row in await db.fetch(
            "SELECT accrual_id, points, programme FROM (SELECT accrual_id, wallet_id, points FROM earn.accruals"
            " UNION ALL SELECT accrual_id, wallet_id, points FROM earn.act_accruals) AS a"
            " JOIN earn.wallets USING (wallet_id) WHERE points > 0"
        ):
            made = datetime.fromtimestamp((row["accrual_id"].int >> 80) / 1000, UTC)
            day = made.replace(hour=0, minute=0, second=0, microsecond=0)
            of_day = days.setdefault(day, {}).setdefault(row["programme"], [0, 0, 0])
            digest = hashlib.sha256(row["accrual_id"].bytes + row["points"].to_bytes(8, "big")).digest()
            of_day[0] += 1
            of_day[1] += row["points"]
            of_day[2] += int.from_bytes(digest[:16], "big")
        for day, programmes in days.items():
            said = [
                {"programme": code, "accruals": n, "points": points, "digest": f"{digest % 2**128:032x}"}
                for code, (n, points, digest) in sorted(programmes.items())
            ]
            for sql in (TOLD, HEARD):
                await db.execute(sql, day.date(), json.dumps(said))
        report = await report_of(town, db)
        # Right sums, and nobody ever said them: nothing else is broken.
        assert {check.name for check in report.broken} == {"days:told", "sequence:earn"}
        assert [report[f"days:{what}"].compared for what in ("counted", "heard", "compared")] == [
            len(days)
        ] * 3

        # A day was told since, so the one before was looked at again: earn's sums are not its accruals'; nor are the ledger's.
        first = min(days)
        await db.execute(TOLD, datetime(2999, 1, 1, tzinfo=UTC).date(), "[]")
        await db.execute("UPDATE earn.told_days SET programmes = '[]' WHERE day = $1", first.date())
        report = await report_of(town, db)
        assert {check.name for check in report.broken} == {
            "days:told",
            "sequence:earn",
            "days:counted",
            "days:heard",
        }
        await db.execute("UPDATE redeem.told_days SET programmes = '[]' WHERE day = $1", first.date())
        report = await report_of(town, db)
        assert {check.name for check in report.broken} == {
            "days:told",
            "sequence:earn",
            "days:counted",
            "days:compared",
        }
        for code in days[first]:
            await db.execute(ROW, f"accruals/{first.date()}/{code}")
        report = await report_of(town, db)
        assert report["days:compared"].verdict == "holds"
        assert report["days:compared"].notes
