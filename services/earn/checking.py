"""The nightly job that holds what merchants and banks said of their days against the bills."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import structlog

from services.earn.domain.settlement import Checked, Compared, Keep
from services.earn.store import settlements as store
from shared.messaging import Done
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

DAYS = 62
"""How far back a night looks: bills come late, and deposits later."""
AT_ONCE = 1_000
"""Days of merchants that are kept in one transaction."""
EVERY_S = 86_400.0

_decode = msgspec.json.Decoder(Checked).decode


async def check(runtime: TenantRuntime, *, first: date, last: date, job: str = "settlement") -> Checked:
    """Compares every day of this time that lines name, and keeps what varies. Read outside the lane: the scan of the bills holds
    nobody up."""
    async with runtime.read() as db:
        found = await store.compared(db, first, last)
    done = Checked(0, 0, 0)
    for k in range(0, len(found), AT_ONCE):
        done = together(done, await _keep(runtime, found[k : k + AT_ONCE], job))
    return done


async def _keep(runtime: TenantRuntime, found: list[Compared], job: str) -> Checked:
    outcome = await runtime.do(Keep(tuple(found)), job=job)
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
