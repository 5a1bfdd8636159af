"""What a batch costs, counted: round trips of the lane's own task, and WAL bytes; held against bench/baseline.json.

RENEW_BASELINE=1 writes what was found into it, for a change that means to change it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from shared import beside
from shared.config import Settings
from shared.messaging import Item, Refused
from shared.runtime import TenantRuntime

BASELINE = Path(__file__).parents[2] / "bench" / "baseline.json"

Cost: TypeAlias = dict[str, float]
"""`round_trips_per_batch` and `wal_bytes_per_item`."""


class Counted:
    """Round trips of the lane's own task, whatever else uses the connections meanwhile."""

    def __init__(self) -> None:
        self.round_trips = 0


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, service: TenantRuntime) -> Iterator[Counted]:
    """Counts what asyncpg sends for the lane, and beside what it does."""
    found = Counted()

    def counting(method: Any, *, bare_only: bool = False) -> Any:
        async def send(self: Any, *args: Any, **more: Any) -> Any:
            # `execute` with arguments goes on to `_do_execute`; without (BEGIN, COMMIT) it is a round trip of its own.
            task = asyncio.current_task()
            its_own = task is not None and (task is service.lane._running or task.get_name() == beside.NAME)
            if its_own and not (bare_only and len(args) > 1):
                found.round_trips += 1
            return await method(self, *args, **more)

        return send

    connection: Any = asyncpg.Connection
    with monkeypatch.context() as patched:
        patched.setattr(connection, "_do_execute", counting(connection._do_execute))
        patched.setattr(connection, "copy_records_to_table", counting(connection.copy_records_to_table))
        patched.setattr(connection, "copy_to_table", counting(connection.copy_to_table))
        patched.setattr(connection, "execute", counting(connection.execute, bare_only=True))
        yield found


async def wal_bytes(settings: Settings) -> int:
    admin = await asyncpg.connect(settings.admin_dsn())
    try:
        return int(await admin.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"))
    finally:
        await admin.close()


async def checkpoint(settings: Settings) -> None:
    """Before what is counted: the next is minutes away then, and its full pages fall on nothing of it."""
    admin = await asyncpg.connect(settings.admin_dsn())
    try:
        await admin.execute("CHECKPOINT")
    finally:
        await admin.close()


async def cost(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    service: TenantRuntime,
    batches: Sequence[Sequence[Item[Any]]],
    *,
    postings: int = 1,
) -> Cost:
    """The cheapest of these batches after the first, which makes plans and caches. Each item counts as so many `postings`."""
    await _done(service, batches[0])
    round_trips, written = [], []
    for items in batches[1:]:
        before = await wal_bytes(settings)
        with counted(monkeypatch, service) as found:
            await _done(service, items)
        written.append((await wal_bytes(settings) - before) / (len(items) * postings))
        round_trips.append(found.round_trips)
    return {"round_trips_per_batch": min(round_trips), "wal_bytes_per_item": round(min(written))}


async def _done(service: TenantRuntime, items: Sequence[Item[Any]]) -> None:
    outcomes = await service.lane.submit_many(items)
    refused = {one.refusal.code for one in outcomes if isinstance(one, Refused)}
    assert not refused, refused


def hold_against_the_baseline(found: dict[str, Cost]) -> None:
    """Round trips are as many as the baseline says of each, WAL bytes as many within a fifth."""
    baseline: dict[str, Cost] = json.loads(BASELINE.read_text())
    if os.environ.get("RENEW_BASELINE"):
        baseline |= found
        BASELINE.write_text(json.dumps(baseline, indent=1) + "\n")
    different = {
        name: (one, baseline[name])
        for name, one in found.items()
        if one["round_trips_per_batch"] != baseline[name]["round_trips_per_batch"]
        or one["wal_bytes_per_item"] != pytest.approx(baseline[name]["wal_bytes_per_item"], rel=0.2)
    }
    assert not different, f"found, and in the baseline: {different}"
