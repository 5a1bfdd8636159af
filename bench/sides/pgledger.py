"""pgledger: an amount moves between two accounts, by its array form or by its single call."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from bench.sides import Db, Numbers, Pick
from bench.timing import at_once, rate

Account = tuple[str, str]
"""What was issued to a member, and what the member has."""


class PgLedger:
    """pgledger with two accounts for each member."""

    accruals = "pgledger"
    redemption = "pgledger_redemption"

    def __init__(self, connections: list[Db], accounts: list[Account]) -> None:
        self._connections, self._accounts = connections, accounts

    @classmethod
    async def install(cls, connections: list[Db], folder: Path, *, members: int) -> PgLedger:
        """Into an empty database, its helpers first."""
        db = connections[0]
        helpers = folder / "vendor" / "scoville-pgsql-ulid"
        for path in (helpers / "uuid-to-ulid.sql", helpers / "ulid-to-uuid.sql", folder / "pgledger.sql"):
            await db.execute(path.read_text(encoding="utf-8"))
        accounts = []
        for k in range(members):
            issued = await db.fetchval("SELECT id FROM pgledger_create_account($1, 'PTS')", f"issued {k}")
            has = await db.fetchval(
                "SELECT id FROM pgledger_create_account($1, 'PTS', allow_negative_balance => false)",
                f"available {k}",
            )
            accounts.append((issued, has))
        return cls(connections, accounts)

    async def accrue(self, drawn: Sequence[list[int]]) -> float:
        """Its array form."""
        batches = [[(*self._accounts[k], Decimal(100)) for k in members] for members in drawn]
        return await rate(batches, self._create_transfers, size=len(drawn[0]))

    async def _create_transfers(self, asked: list[tuple[str, str, Decimal]]) -> None:
        await self._connections[0].fetch(
            "SELECT id FROM pgledger_create_transfers($1::transfer_request[])", asked
        )

    async def redeem(self, pick: Pick, *, concurrency: int, calls: int, seed: int) -> Numbers:
        """Its single call, by so many connections."""
        asked = [self._accounts[k] for k in pick(random.Random(seed), calls)]
        timed = await at_once(self._connections[:concurrency], asked, _create_transfer)
        return {"s": timed.rate, "_p50_ms": timed.p50_ms}


async def _create_transfer(db: Db, account: Account) -> None:
    issued, has = account
    await db.fetchval("SELECT id FROM pgledger_create_transfer($1, $2, $3)", has, issued, Decimal(1))
