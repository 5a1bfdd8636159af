"""*Settled*: nothing that was accepted still has to happen. Read from PostgreSQL, and for offered bills from the journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from pointbank.verify.database import Snapshot, auditor
from pointbank.verify.messaging.topology import HEARERS
from pointbank.verify.report import Report
from pointbank.verify.sql import queries
from pointbank.verify.till.journal import Journal, Unanswered
from shared.config import Settings
from shared.db import Connection

_PAIRS = [(stream, hearer) for stream, hearers in HEARERS.items() for hearer in hearers]
POLL_S = 0.1


class NotSettled(Exception):
    """The time was over before everything was settled; the message says what is left."""


async def unsettled(db: Connection) -> dict[str, int]:
    """What is not settled at this moment, and how much of it; empty when everything is. `db` is the auditor's."""
    rows = await db.fetch(
        queries("settled.sql")["unsettled"],
        [stream for stream, _ in _PAIRS],
        [hearer for _, hearer in _PAIRS],
    )
    return {row["what"]: int(row["n"]) for row in rows if row["n"]}


async def wait_until_settled(
    settings: Settings,
    tenant: str,
    *,
    journal: Path | None = None,
    timeout_s: float,
    say: Callable[[dict[str, int]], None] | None = None,
) -> None:
    """Returns when everything is settled, offered bills too where there is a journal; NotSettled when the time is over."""
    offered = None if journal is None else Unanswered(journal, tenant)
    deadline = time.monotonic() + timeout_s
    async with auditor(settings, tenant) as db:
        while True:
            # The journal first: what it does not know as answered by now may be settled a moment later, never the reverse.
            left = {} if offered is None else offered.left()
            left |= await unsettled(db)
            if not left:
                return
            if say is not None:
                say(left)
            if time.monotonic() >= deadline:
                told = ", ".join(f"{what}: {n:,}" for what, n in left.items())
                raise NotSettled(f"not settled after {timeout_s:.0f} s: {told}")
            await asyncio.sleep(POLL_S)


async def check_settled(report: Report, books: Snapshot, journal: Journal | None) -> None:
    """Whether, at the moment of the snapshot, anything still had to happen."""
    check = report.open("settled", 1, "whatever was accepted has happened: cut, applied, judged, delivered")
    rows = await books.rows(
        "settled.sql", "unsettled", [stream for stream, _ in _PAIRS], [hearer for _, hearer in _PAIRS]
    )
    check.compared = len(rows)
    for row in rows:
        if row["n"]:
            check.wrong(f"{row['what']}: {row['n']:,}")
    if waiting := await books.value("settled.sql", "unclaimed"):
        check.note("bills told as unclaimed", waiting)
    if waiting := await books.value("settled.sql", "refunds_waiting"):
        check.note("refunds that wait for their bill", waiting)

    offered = report.open("offered-answered", 1, "each bill that a till offered has its answer")
    if journal is None:
        offered.why_not = "no journal was given"
        return
    unanswered = Unanswered(journal.path, journal.tenant, journal.size)
    for what, n in unanswered.left().items():
        offered.broken += n
        offered.examples.append(f"{what}: {n:,}")
    offered.compared = unanswered.offered
