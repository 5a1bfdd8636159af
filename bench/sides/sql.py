"""Bare SQL: the same rows as a posting of the bank's needs, by the fastest functions we could write (`bench/bare.sql`)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from uuid import UUID

from bench import bare
from bench.sides import Db, Numbers, Pick
from bench.timing import at_once, rate


class BareSql:
    """A wallet for each member."""

    accruals = "bare"
    redemption = "bare_redemption"

    def __init__(self, connections: list[Db], wallets: list[UUID]) -> None:
        self._connections, self._wallets = connections, wallets

    @classmethod
    async def install(cls, connections: list[Db], *, members: int) -> BareSql:
        """Into an empty database."""
        return cls(connections, await bare.prepare(connections[0], count=members))

    async def accrue(self, drawn: Sequence[list[int]]) -> float:
        """A call of the function for each batch."""
        db, rng = self._connections[0], random.Random(0)
        batches = [bare.bills([self._wallets[k] for k in members], rng) for members in drawn]
        return await rate(batches, lambda batch: bare.post(db, batch), size=len(drawn[0]))

    async def redeem(self, pick: Pick, *, concurrency: int, calls: int, seed: int) -> Numbers:
        """The function for one redemption, by so many connections, of wallets with points."""
        rich = await bare.rich(self._connections[0])
        asked = [rich[k % len(rich)] for k in pick(random.Random(seed), calls)]
        timed = await at_once(self._connections[:concurrency], asked, bare.redeem)
        return {"s": timed.rate, "_p50_ms": timed.p50_ms}
