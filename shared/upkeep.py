"""What each service does for a tenant now and then: it forgets what it was to keep no longer, looks at its server, and compares the
clocks of both."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from shared.clock import TenantClock, real_clock
from shared.config import Settings
from shared.db import Pool
from shared.http.runtime import Check
from shared.metrics import Metrics
from shared.sql import load

queries = load("shared", "upkeep.sql")
log = structlog.get_logger(__name__)

EVERY_S = 600.0
CLOCKS_EVERY_S = 60.0


@dataclass(slots=True)
class Upkeep:
    """One tenant's, in one service's process; it may run beside another process's."""

    pool: Pool
    settings: Settings
    tenant: str
    clock: TenantClock
    metrics: Metrics | None = None
    """None in a command, which nobody scrapes."""
    survives_its_server: bool | None = None
    """Whether a second PostgreSQL has every commit; None before anybody looked."""

    async def turn(self) -> None:
        """Everything that is due."""
        async with self.pool.acquire() as db:
            emptied = await queries.forget_closed(db, days=self.settings.dead_letter_retention_days)
            self.survives_its_server = await queries.survives_its_server(db)
        if emptied:
            log.info("closed dead letters were emptied", tenant=self.tenant, dead_letters=emptied)

    async def compare_clocks(self) -> None:
        """Puts the tenant's clock right, where this machine's is wrong, and says so."""
        async with self.pool.acquire() as db:
            before = real_clock()
            theirs = await queries.clock(db)
            self.clock.compare(theirs, before=before, after=real_clock())
        if self.metrics is not None:
            self.metrics.clock_ahead(self.tenant, self.clock.ahead.total_seconds())
        if self.clock.is_wrong:
            log.error("clock_wrong", tenant=self.tenant, what=self._clock_said)

    def checks(self) -> list[Check]:
        """What /readyz tells. Production without a synchronous standby is said, and so is a clock that is not PostgreSQL's; neither
        is a reason to send calls elsewhere: which of two clocks is right nobody knows here."""
        found = []
        if self.settings.environment == "production" and self.survives_its_server is False:
            said = "PostgreSQL has no synchronous standby: what its server loses is lost"
            found.append(Check(f"standby:{self.tenant}", ok=True, detail=said, tenant=self.tenant))
        if self.clock.is_wrong:
            found.append(Check(f"clock:{self.tenant}", ok=True, detail=self._clock_said, tenant=self.tenant))
        return found

    @property
    def _clock_said(self) -> str:
        ahead_s = self.clock.ahead.total_seconds()
        apart = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'}"
        return f"this machine's clock is {apart} PostgreSQL's, and the tenant's is PostgreSQL's here: set one of the two right"
