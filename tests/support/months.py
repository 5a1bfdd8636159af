"""Months of the ledger that are over: partitions that were made in time, with lines as years of trade leave them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.redeem.domain.months import month_after


def months_back(months: int) -> list[datetime]:
    """The first instants of so many months before the present one, the oldest first; and of the present one."""
    now = datetime.now(UTC)
    number = now.year * 12 + now.month - 1
    return [datetime(n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(number - months, number + 1)]


async def make_partitions(db: asyncpg.Connection[Any], months: list[datetime]) -> None:
    """The ledger's partitions of these months, as housekeeping would have made them."""
    for month in months:
        name = f"redeem.ledger_{month:%Y%m}"
        await db.execute(
            f"""
            CREATE TABLE {name} (LIKE redeem.ledger INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE);
            CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {name} FOR EACH STATEMENT EXECUTE FUNCTION redeem.refuse_change();
            ALTER TABLE redeem.ledger ATTACH PARTITION {name}
                FOR VALUES FROM ('{month.isoformat()}') TO ('{month_after(month).isoformat()}');
            """
        )


# In each month each wallet opens three lots and spends those of the month before; a line is a few seconds late, one in seven
# up to a month, one in fifty up to two years; and one a little early, across the month's end. Points and hashes are
# of no wallet that a bank would have: what is asked here is where lines are found, and how they add up.
TRADE = """
SELECT setseed(0.4);
INSERT INTO redeem.ledger (
    wallet_id, seq, posting_id, posted_at, effective_at, points, money_minor, available_after, held_after, reserved_after,
    debt_after, lot_id, source_id, kind, from_bucket, to_bucket, hash
)
SELECT
    w.wallet_id, (m.n - 1) * 6 + k, gen_random_uuid(), t.posted_at,
    CASE
        WHEN k = 6 AND m.n % 3 = 0 THEN m.ends + interval '2 minutes'
        WHEN t.dice < 0.02 THEN t.posted_at - random() * interval '700 days'
        WHEN t.dice < 0.15 THEN t.posted_at - random() * interval '30 days'
        ELSE t.posted_at - random() * interval '9 seconds'
    END,
    10, 100, 10, 0, 0, 0,
    md5(w.wallet_id || ':' || CASE WHEN k % 2 = 1 THEN (m.n - 1) * 6 + k ELSE greatest(m.n - 2, 0) * 6 + k - 1 END)::uuid,
    NULL,
    CASE WHEN k % 2 = 1 THEN 'earn' ELSE 'redeem' END::redeem.posting_kind,
    CASE WHEN k % 2 = 1 THEN 'issued' ELSE 'available' END::redeem.bucket,
    CASE WHEN k % 2 = 1 THEN 'available' ELSE 'redeemed' END::redeem.bucket,
    sha256('x')
FROM (SELECT wallet_id, row_number() OVER (ORDER BY wallet_id) AS n FROM unnest($1::uuid[]) AS u (wallet_id)) AS w
CROSS JOIN unnest($2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS m (begins, ends, n)
CROSS JOIN generate_series(1, 6) AS k
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN k = 6 THEN m.ends - interval '1 minute' ELSE m.begins + k * interval '4 days' END + w.n * interval '1 ms'
            AS posted_at,
        random() AS dice
    WHERE w.n > 0 AND k > 0 AND m.n > 0
) AS t;
"""
LOTS = """
INSERT INTO redeem.lots (lot_id, wallet_id, accrual_id, earned_at, expires_at, points, remaining)
SELECT DISTINCT ON (lot_id) lot_id, wallet_id, posting_id, effective_at, effective_at + interval '1 year', 10, 0
FROM redeem.ledger
ON CONFLICT DO NOTHING
"""
WALLETS = """
INSERT INTO redeem.wallets (wallet_id, programme, member_id, seq)
SELECT wallet_id, 'shops', gen_random_uuid(), (SELECT max(seq) FROM redeem.ledger AS e WHERE e.wallet_id = u.wallet_id)
FROM unnest($1::uuid[]) AS u (wallet_id)
"""


async def trade(db: asyncpg.Connection[Any], wallets: list[UUID], months: list[datetime]) -> None:
    """Lines of these wallets in each of these months; their lots and their rows."""
    seed, insert = TRADE.strip().rstrip(";").split(";", 1)
    await db.execute(seed)
    await db.execute(insert, wallets, months, [month_after(month) for month in months])
    await db.execute(LOTS)
    await db.execute(WALLETS, wallets)
