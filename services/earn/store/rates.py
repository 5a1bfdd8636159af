"""Rates between currencies: learned, and found for bills in another currency than a programme's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from services.earn.domain.bill import RecordBill
from services.earn.domain.conversion import Rate
from services.earn.domain.judge import RateKey
from services.earn.domain.versions import Versions
from services.earn.store.sql import rates as queries
from shared.db import Connection
from shared.events import RatePublished


async def learn_rates(db: Connection, published: Sequence[RatePublished]) -> None:
    """Rates, for ever."""
    await queries.learn_rates(
        db,
        from_currencies=[one.from_currency for one in published],
        to_currencies=[one.to_currency for one in published],
        numbers=[one.number for one in published],
        rates=[one.rate for one in published],
        valid_froms=[one.valid_from for one in published],
        sources=[one.source for one in published],
    )


async def rates_for(
    db: Connection, bills: Collection[RecordBill], programmes: Mapping[str, Versions]
) -> dict[RateKey, Rate]:
    """The rates that these bills may need: asks for nothing where no programme accepts another currency that one is in."""
    accepting = {
        (currency, version.currency)
        for versions in programmes.values()
        for _, version in versions
        for currency in version.accepts
    }
    if not accepting:
        return {}
    wanted: set[tuple[str, str, datetime]] = {
        (one, other, bill.occurred_at) for bill in bills for one, other in accepting if bill.currency == one
    }
    if not wanted:
        return {}
    from_currencies, to_currencies, ats = zip(*wanted, strict=True)
    rows = await queries.rates_at(db, from_currencies=from_currencies, to_currencies=to_currencies, ats=ats)
    return {(row[0], row[1], row[2]): Rate(*tuple(row)[3:]) for row in rows}
