"""What merchants accepted on a day, read in one snapshot."""

from __future__ import annotations

from datetime import date
from itertools import groupby
from zoneinfo import ZoneInfo

from services.redeem.domain.statement import Row, Statement, bounds, statement, yesterday
from services.redeem.store.sql import statements
from shared.db import Connection
from shared.errors import NotFound, ProgrammeUnknown


async def statements_of(
    db: Connection,
    *,
    merchant: str | None,
    programme: str | None,
    day: date | None,
) -> list[Statement]:
    """The statements of a day, by programme and merchant: of one merchant (also where nothing moved) or of all that moved anything.
    Without a day, of the last that is over in each programme's time zone. What is over, PostgreSQL's clock says, by which all of it
    was written. Also of programmes that only a later release can read. Refuses an unknown merchant or programme."""
    now = await statements.clock(db)
    if merchant is not None and not await statements.merchant_known(db, merchant=merchant):
        raise NotFound(f"There is no merchant {merchant}.")
    programmes = await statements.programmes(db, programme=programme)
    if programme is not None and not programmes:
        raise ProgrammeUnknown(f"There is no programme {programme}.", pointer="/programme")
    found: list[Statement] = []
    for code, currency, time_zone in programmes:
        zone = ZoneInfo(time_zone)
        of_day = day or yesterday(now, zone)
        since, until = bounds(of_day, zone)
        rows = [
            Row(*row)
            for row in await statements.statement(
                db, programme=code, merchant=merchant, since=since, until=until
            )
        ]
        by_merchant = {name: list(own) for name, own in groupby(rows, key=lambda row: row.merchant)}
        if merchant is not None:
            by_merchant.setdefault(merchant, [])
        found += [
            statement(name, own, programme=code, currency=currency, day=of_day, zone=zone, now=now)
            for name, own in by_merchant.items()
        ]
    return found
