"""The nightly job that holds what merchants and banks said of their days against the bills."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import structlog

from services.earn.domain.settlement import Checked, Compared, Keep, unspoken, with_foreign
from services.earn.domain.versions import every
from services.earn.store import settlements as store
from services.earn.store.facts import known_programmes
from shared.db import Connection
from shared.messaging import Done
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

DAYS = 62
"""How far back a night looks: bills come late, and deposits later."""
SILENT_DAYS = 2
"""How long a merchant may take to say what a day came to before it is missed."""
AT_ONCE = 1_000
"""Days of merchants that are kept in one transaction."""
EVERY_S = 86_400.0

_decode = msgspec.json.Decoder(Checked).decode


async def check(runtime: TenantRuntime, *, first: date, last: date, job: str = "settlement") -> Checked:
    """Compares every day of this time that lines name, or that has bills of which no line speaks, and keeps what varies. Read
    outside the lane: the scan of the bills holds nobody up."""
    async with runtime.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
        found = await _compared(db, runtime, first, last)
    done = Checked(0, 0, 0)
    for k in range(0, len(found), AT_ONCE):
        looked_at = (first, last) if k + AT_ONCE >= len(found) else None
        done = together(done, await _keep(runtime, Keep(tuple(found[k : k + AT_ONCE]), looked_at), job))
    return done


async def _compared(db: Connection, runtime: TenantRuntime, first: date, last: date) -> list[Compared]:
    said = await store.compared(db, first, last)
    versions = await known_programmes(db, runtime.cache, every())
    accepts = {
        code: [(since, version.accepts) for since, version in known]
        for code, known in versions.items()
        if any(version.accepts for _, version in known)
    }
    totals = [one for one in said if one.kind == "total" and one.programme in accepts]
    foreign = await store.foreign(db, totals) if totals else []
    found, counted = with_foreign(said, foreign, accepts)
    spoken_by = runtime.clock().date() - timedelta(days=SILENT_DAYS)
    sold = await store.sold(db, first, min(last, spoken_by))
    return [*found, *unspoken(sold, said, counted)]


async def _keep(runtime: TenantRuntime, found: Keep, job: str) -> Checked:
    outcome = await runtime.do(found, job=job)
    assert isinstance(outcome, Done), outcome
    return _decode(outcome.body)


def together(one: Checked, other: Checked) -> Checked:
    """Both."""
    return Checked(one.compared + other.compared, one.variances + other.variances, one.closed + other.closed)


async def check_days(runtime: TenantRuntime) -> None:
    """One night's check."""
    today = runtime.clock().date()
    done = await check(runtime, first=today - timedelta(days=DAYS), last=today)
    if done.compared:
        log.info("settlement checked", tenant=runtime.code, compared=done.compared, variances=done.variances)
