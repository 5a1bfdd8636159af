"""The oracle over the books of a bank that no other service tells anything: of its checks those that it answers for alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from pointbank.verify import Report
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.streams import heads
from pointbank.verify.walks import check_all
from shared.config import Settings
from tests.support.books import open_books

# What earn would know of the programmes: the oracle takes currencies, time zones and the value of a point from there.
LEARN = (
    "INSERT INTO earn.programmes (programme, version, document, activated_at)"
    " SELECT programme, version, document::text::json, activated_at FROM redeem.programmes"
)


async def assert_whole_until_spoilt(
    settings: Settings, tenant: str, names: frozenset[str], spoilt: Mapping[str, tuple[str, set[str]]]
) -> None:
    """The named checks hold, each over something; and after each change, which is rolled back, those that it names do not."""
    db = await open_books(settings, tenant)
    outer = db.transaction()
    await outer.start()
    try:
        await db.execute(LEARN)
        broken = await _broken(settings, tenant, db, names)
        assert not broken, broken
        for name, (sql, found) in spoilt.items():
            transaction = db.transaction()
            await transaction.start()
            done = await db.execute(sql)
            assert not done.endswith(" 0"), name
            broken = await _broken(settings, tenant, db, names)
            assert found <= broken.keys(), (name, broken)
            await transaction.rollback()
    finally:
        await outer.rollback()
        await db.close()


async def _broken(settings: Settings, tenant: str, db: Any, names: frozenset[str]) -> dict[str, Any]:
    report = Report(tenant)
    redis = Redis.from_url(settings.redis_url)
    try:
        copies = await heads(redis, settings.cell, tenant)
        await check_all(report, Snapshot(db), redis, copies, journal=None, progress=lambda _: None)
    finally:
        await redis.aclose()
    checks = {check.name: check for check in report if check.name in names}
    assert checks.keys() == names
    empty = {name for name, check in checks.items() if not check.compared}
    assert not empty, f"nothing was compared by {sorted(empty)}"
    return {check.name: check.examples for check in report.broken if check.name in names}
