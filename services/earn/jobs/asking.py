"""From when on the bank is asked again for what it has not answered."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.earn.store import days
from shared.db import Connection
from shared.runtime import TenantRuntime


async def asked_long_ago(runtime: TenantRuntime, db: Connection) -> datetime:
    """What was asked before is asked again; by PostgreSQL's clock, which said when it was."""
    return await days.clock(db) - timedelta(seconds=runtime.settings.ask_again_s)
