"""The oracle beside a running earn: what it objects to in the books as they are, and as they are spoilt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from pointbank.verify import Report
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.streams import heads
from pointbank.verify.walks import check_all
from shared.config import Settings
from shared.db import Connection
from tests.integration.earn.conftest import Shop
from tests.support.books import open_books


@asynccontextmanager
async def one_moment(settings: Settings, shop: Shop) -> AsyncIterator[Connection]:
    """The books in a transaction in which everything can be changed, and nothing stays."""
    db = await open_books(settings, shop.code)
    transaction = db.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        yield db
    finally:
        await transaction.rollback()
        await db.close()


async def reported(settings: Settings, shop: Shop, db: Connection) -> Report:
    """All that the oracle says. Only earn is there: what it says of other services is nothing."""
    report = Report(shop.code)
    copies = await heads(shop.runtime.redis, settings.cell, shop.code)
    await check_all(report, Snapshot(db), shop.runtime.redis, copies, journal=None, progress=lambda _: None)
    return report


async def objections(
    settings: Settings, shop: Shop, db: Connection, checks: Collection[str]
) -> dict[str, list[str]]:
    """What of these checks fails, each of which had something to compare."""
    report = await reported(settings, shop, db)
    assert {check.name for check in report if check.compared and check.name in checks} == set(checks)
    return {check.name: check.examples for check in report.broken if check.name in checks}


async def noticed(
    settings: Settings, shop: Shop, db: Connection, sql: str, checks: Collection[str]
) -> dict[str, list[str]]:
    """The same after something was spoilt, which is undone."""
    inner = db.transaction()
    await inner.start()
    try:
        done = await db.execute(sql)
        assert not done.endswith(" 0"), done
        return await objections(settings, shop, db, checks)
    finally:
        await inner.rollback()
