"""One run: a new tenant, traffic, one to three faults, then everything settles and is checked."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from pointbank.tills import till_url
from shared.db import connect, database_of
from shared.messaging.keys import SERVICES
from shared.tenants.provision import dsn_for
from tests.soak.arena import Arena
from tests.soak.bounds import (
    FULL_RATE_S,
    LEAST_CALLS,
    LOOKED_S,
    MEETS,
    RESTARTS,
    STREAM_WINDOW_S,
    WINDOW_S,
    crossed,
    full_rate_again,
    usual_rate,
)
from tests.soak.memory import still_promised
from tests.soak.nemesis import AT_POINTS, FAULTS, Field, Missed, Skipped
from tests.soak.outcome import Felt, Outcome
from tests.soak.probes import worst, worst_paid
from tests.soak.traffic import Traffic
from tests.support.town import Town, found_town, leave

ASKED = "POINTBANK_SOAK_FAULTS"
MOST_FAULTS = 3
MEMBERS = 30
CALL_PATIENCE_S = 400.0
"""A caller asks again under its key for so long: longer than any fault lasts."""
CALM_S = 2.5
"""Before the first fault: what the rate of answers is held against."""
KEPT_LINES = 2_000


def drawn(seed: int, *, most: int = MOST_FAULTS) -> tuple[list[str], random.Random]:
    """The faults of a seed, and the dice that decide the rest: its own, so that how fast callers are answered changes nothing."""
    dice = random.Random(f"nemesis {seed}")
    return dice.sample(sorted(FAULTS), dice.randint(1, most)), dice


def usual_rates(field: Field) -> tuple[float, float]:
    """Calls, and bills by stream, that are answered a second."""
    return usual_rate(field.traffic.answered_at), usual_rate(field.traffic.told_at, STREAM_WINDOW_S)


async def suffer(field: Field, name: str, slow: list[str]) -> Felt:
    """One fault, and what was felt of it; bounds that it crossed are added to `slow`."""
    # After a fault what has piled up is answered in a burst: no rate that anybody need come back to.
    before = [min(rates) for rates in zip(usual_rates(field), field.calm, strict=True)]
    field.begin()
    acting = asyncio.create_task((FAULTS | AT_POINTS)[name](field))
    acting.add_done_callback(lambda _: field.undone() if field.undone_at is None else None)
    paying = asyncio.create_task(worst_paid(field, acting))
    try:
        answered, booked = await worst(field, name, acting)
        redeemed = await paying
        detail = await acting
    except Skipped as why:
        return Felt(name=name, skipped=str(why))
    except Missed as why:
        return Felt(name=name, missed=str(why))
    finally:
        for task in (acting, paying):
            task.cancel()
        await asyncio.gather(acting, paying, return_exceptions=True)
    if name in MEETS and not field.met.total():
        return Felt(name=name, missed="nobody met it")
    told = Felt(name=name, detail=detail or "", answered=round(answered, 2), booked=round(booked, 2))
    told.redeemed = round(redeemed, 2)
    told.met = {what: n for what, n in field.met.items() if n}
    if field.took_over:
        told.took_over = round(max(field.took_over), 2)
    told.full_rate = await _back(field, name, "calls", before[0], slow)
    told.stream_rate = await _back(field, name, "bills by stream", before[1], slow)
    slow += crossed(name, booked_s=booked, took_over_s=told.took_over)
    return told


async def _back(field: Field, name: str, what: str, before: float, slow: list[str]) -> float | None:
    """Seconds from the fault's end until so many are answered again; None where there were too few before, or it took too long."""
    if before < LEAST_CALLS:
        return None
    traffic, since = field.traffic, field.undone_at
    assert since is not None
    by_stream = what != "calls"
    back = await full_rate_again(
        traffic.told_at if by_stream else traffic.answered_at,
        before,
        since=since,
        window_s=STREAM_WINDOW_S if by_stream else WINDOW_S,
        within_s=FULL_RATE_S if name in RESTARTS else LOOKED_S,
    )
    if back is not None:
        return round(back, 2)
    if name in RESTARTS and not (by_stream and traffic.till_done):
        slow.append(f"{name}: not {before:.0f} {what} a second again within {FULL_RATE_S:.0f} s")
    return None


async def tried(arena: Arena, seed: int, *, code: str, evidence: Path) -> Outcome:
    """A seed's run; once more where it was only slow, which a busy machine is: what is slow twice is a violation."""
    outcome = await run_seed(arena, seed, code=code, evidence=evidence)
    if outcome.slow and not outcome.violations:
        first, outcome = outcome.slow, await run_seed(arena, seed, code=code, evidence=evidence)
        if outcome.slow:
            outcome.violations += outcome.slow
        outcome.slow_once = [] if outcome.violations else first
    return outcome


async def run_seed(
    arena: Arena, seed: int, *, code: str, evidence: Path, names: list[str] | None = None
) -> Outcome:
    """Runs it, and says what came of it; what it left is kept where something did not hold. `names`: these faults instead, or
    those that POINTBANK_SOAK_FAULTS names, between semicolons."""
    began = time.monotonic()
    found, dice = drawn(seed)
    names = names or [name.strip() for name in os.environ.get(ASKED, "").split(";") if name.strip()] or found
    faults: list[Felt] = []
    violations: list[str] = []
    slow: list[str] = []
    acts: dict[str, int] = {}
    town: Town | None = None
    try:
        await arena.heal()
        town = await found_town(arena.world.fleet, f"t{secrets.token_hex(4)}", members=MEMBERS, seed=seed)
        traffic = Traffic(random.Random(seed))
        ways = town.open(
            redis_url=arena.through(till_url(town.settings, town.tenant)),
            base_url=arena.callers_url,
            call_patience_s=CALL_PATIENCE_S,
            on_answer=traffic.told,
        )
        async with ways as trade, traffic.running(trade):
            acts = traffic.counts
            field = Field(arena, town, trade, traffic, dice)
            await asyncio.sleep(CALM_S)
            field.calm = usual_rates(field)
            for name in names:
                faults.append(await suffer(field, name, slow))
                await asyncio.sleep(dice.uniform(0.0, 0.6))
            await asyncio.to_thread(arena.world.fleet.wait_ready, town.tenant)
            traffic.end()
        await town.verified(still_promised(town.journal, field.lost) if field.lost else None)
    except Exception as error:  # noqa: BLE001  # whatever went wrong is what is told
        violations.append("".join(traceback.format_exception(error)).strip())
        violations[-1] = f"{_first(error)}\n{violations[-1]}"
    outcome = Outcome(
        seed=seed,
        code=code,
        faults=faults,
        violations=violations,
        slow=slow,
        seconds=round(time.monotonic() - began, 1),
        acts=dict(acts),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if violations:
        outcome.evidence = str(evidence)
        _keep(arena, town, evidence, violations)
        await _keep_books(town, evidence)
    await _part(arena, town, drop=not violations)
    return outcome


def _first(error: BaseException) -> str:
    """The innermost error of a group, in a line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:600]


async def _part(arena: Arena, town: Town | None, *, drop: bool) -> None:
    """The tenant is served no more; a database that nobody needs to look at gives its room back."""
    await arena.heal()
    if town is None:
        return
    await leave(town)
    if drop:
        db = await connect(dsn_for(town.settings, "postgres"))
        try:
            await db.execute(f'DROP DATABASE IF EXISTS "{database_of(town.tenant)}" WITH (FORCE)')
        finally:
            await db.close()
        town.journal.unlink(missing_ok=True)


async def _keep_books(town: Town | None, folder: Path) -> None:
    """Every table of the tenant as CSV; where that can't be had, why."""
    if town is None:
        return
    try:
        db = await connect(dsn_for(town.settings, database_of(town.tenant)))
        try:
            tables = await db.fetch(
                """
                SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.relkind = 'r' AND n.nspname = ANY($1)
                """,
                list(SERVICES),
            )
            for schema, name in tables:
                file = folder / f"{schema}.{name}.csv"
                await db.copy_from_table(name, schema_name=schema, output=file, format="csv", header=True)
        finally:
            await db.close()
    except Exception as error:  # noqa: BLE001  # a server that is broken has no books to show
        (folder / "books.txt").write_text(f"no books: {error!r}\n")


def _keep(arena: Arena, town: Town | None, folder: Path, violations: list[str]) -> None:
    """The journal, what was wrong, and the end of every log."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "violations.txt").write_text("\n\n".join(violations) + "\n")
    world = arena.world
    logs = [one.log for one in world.fleet.replicas.values()] + [world.postgres.log, world.valkey.log]
    for log in logs:
        if log.exists():
            lines = log.read_text(errors="replace").splitlines()[-KEPT_LINES:]
            (folder / log.name).write_text("\n".join(lines) + "\n")
    if town is not None and town.journal.exists():
        shutil.copy(town.journal, folder / "journal.jsonl")
