"""The ten invariants, each by the means that can see it."""

from __future__ import annotations

from pathlib import Path

from pointbank.demo.table import Invariant
from pointbank.demo.trespass import trespass
from pointbank.figures import queries
from pointbank.running import Deployment
from pointbank.verify import Check, verify

NAMES = {
    1: "what was acknowledged is there, what was repeated counts once",
    2: "no bucket is negative, each wallet's buckets sum to zero",
    3: "every redeemed, expired or reversed point names its lot",
    4: "seq is gapless per wallet, the hash chain verifies",
    5: "no event without its fact, no fact without its event",
    6: "Redis may lose everything: what it holds is in PostgreSQL",
    7: "no service reads another's tables, no tenant another's anything",
    8: "every decision can be explained and comes out the same again",
    9: "a bad message stops nobody but itself",
    10: "any process may be killed at any instant",
}


async def prove(
    deployment: Deployment, tenant: str, *, neighbour: str, journal: Path, poison: str, answered: bool
) -> list[Invariant]:
    """1 to 6 and 8 by the oracle, 7 by trying, 9 by the entry `poison`; 10 is not for a demo."""
    checks = await verify(deployment.settings, tenant, journal=journal)
    found = [_by_oracle(number, checks) for number in (1, 2, 3, 4, 5, 6)]
    found.append(await _by_trying(deployment, tenant, neighbour))
    found.append(_by_oracle(8, checks))
    found.append(await _by_poison(deployment, tenant, poison, answered=answered))
    found.append(Invariant(10, NAMES[10], "elsewhere", "see tests/faults"))
    return found


def _by_oracle(number: int, checks: list[Check]) -> Invariant:
    mine = [check for check in checks if check.invariant == number]
    compared, broken = sum(check.compared for check in mine), sum(check.broken for check in mine)
    told = f"{broken:,} of {compared:,}"
    if broken:
        told += ": " + "; ".join(example for check in mine for example in check.examples[:1])
    if not compared:
        return Invariant(number, NAMES[number], "not checked", "; ".join(check.why_not for check in mine))
    return Invariant(number, NAMES[number], "broken" if broken else "holds", told)


async def _by_trying(deployment: Deployment, tenant: str, neighbour: str) -> Invariant:
    result = await trespass(deployment.settings, tenant, neighbour=neighbour)
    told = f"{len(result.let_through):,} of {result.tried:,} tries were let through"
    if result.let_through:
        told += ": " + "; ".join(result.let_through[:3])
    return Invariant(7, NAMES[7], "broken" if result.let_through else "holds", told)


async def _by_poison(deployment: Deployment, tenant: str, poison: str, *, answered: bool) -> Invariant:
    db = await deployment.auditor(tenant)
    try:
        letters = [row["code"] for row in await queries.dead_letters(db) if row["entry_id"] == poison]
    finally:
        await db.close()
    told = f"entry {poison} is {len(letters)} dead letter ({', '.join(letters)}), its neighbours are answered"
    return Invariant(9, NAMES[9], "holds" if letters == ["not_json"] and answered else "broken", told)
