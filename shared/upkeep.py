"""What each service does for a tenant now and then: it forgets what it was to keep no longer, and looks at its server."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from shared.config import Settings
from shared.db import Pool
from shared.http.runtime import Check
from shared.sql import load

queries = load("shared", "upkeep.sql")
log = structlog.get_logger(__name__)

EVERY_S = 600.0


@dataclass(slots=True)
class Upkeep:
    """One tenant's, in one service's process; it may run beside another process's."""

    pool: Pool
    settings: Settings
    tenant: str
    survives_its_server: bool | None = None
    """Whether a second PostgreSQL has every commit; None before anybody looked."""

    async def turn(self) -> None:
        """Everything that is due."""
        async with self.pool.acquire() as db:
            emptied = await queries.forget_closed(db, days=self.settings.dead_letter_retention_days)
            self.survives_its_server = await queries.survives_its_server(db)
        if emptied:
            log.info("closed dead letters were emptied", tenant=self.tenant, dead_letters=emptied)

    def checks(self) -> list[Check]:
        """What /readyz tells. Production without a synchronous standby is said, and no reason to send calls elsewhere."""
        if self.settings.environment != "production" or self.survives_its_server is not False:
            return []
        said = "PostgreSQL has no synchronous standby: what its server loses is lost"
        return [Check(f"standby:{self.tenant}", ok=True, detail=said, tenant=self.tenant)]
