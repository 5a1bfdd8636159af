"""PostgreSQL loses commits: it comes back from a copy that is some seconds old, while what it told since has been heard.

What docs/runbook.md (PointbankRelayHalted) says is done for a whole cluster that was restored: the services stand, each stream
that is ahead of PostgreSQL is adopted before anybody reads of it, then all goes on, and what was acknowledged and is gone is
offered and called again, under the same ids and keys.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from shared.messaging.keys import SERVICES
from tests.soak.commands import asked, command
from tests.soak.memory import Lost, to_call_again, to_offer_again
from tests.soak.nemesis.field import Fault, Field, Missed
from tests.soak.standstill import standing_still
from tests.support.processes import Replica

TOLD_WITHIN_S = 10.0
HALTED_WITHIN_S = 60.0
HALTED_FIRST = "members"
"""The one that hears nobody: its relays may come up and halt before any stream is adopted; nobody reads an orphan meanwhile."""
MUST_TELL = ("members", "earn", "redeem")
NOTHING = "nothing was changed: "


async def postgres_from_an_older_copy(field: Field) -> str:
    """A copy of everything, a few seconds in which all streams move, then the copy in PostgreSQL's stead."""
    world, traffic = field.arena.world, field.traffic
    with tempfile.TemporaryDirectory(prefix="pointbank-copy-") as made:
        async with traffic.no_versions():
            with traffic.losing():
                since = datetime.now(UTC)
                await _copied(field, Path(made))
                copied = await _planned(field)
                await field.pause(1.0, 3.0)
                await _all_tell(field, copied)
                world.postgres.kill()
                for name in sorted(field.fleet.replicas):
                    field.fleet.kill(name)
                await traffic.offer([])  # what tills were told of it is in their journal
                lost = Lost(since, datetime.now(UTC))
                await asyncio.to_thread(_restored, world.postgres.data, Path(made))
                await asyncio.to_thread(world.postgres.start)
                field.lost.append(lost)
            orphans = await _adopted(field)
        await _started(field, [one for one in SERVICES if one != HALTED_FIRST])
        await asyncio.to_thread(field.fleet.wait_ready, field.town.tenant)
        field.undone()
        offers, calls = await _told_again(field, lost)
    field.met["orphans"] += sum(orphans.values())
    field.met["bills offered again"] += offers
    field.met["calls made again"] += calls
    told = ", ".join(f"{n} of {service}" for service, n in orphans.items())
    return f"orphans: {told}; {offers} bills offered again, {calls} calls made again"


# ---- losing


async def _planned(field: Field) -> dict[str, int]:
    """How far each stream is planned; asked after the copy was made, so that the copy has no more."""
    db = await field.books()
    try:
        return {
            one: int(await db.fetchval(f"SELECT base + n - 1 FROM {one}.cuts ORDER BY no DESC LIMIT 1"))
            for one in MUST_TELL
        }
    finally:
        await db.close()


async def _all_tell(field: Field, copied: dict[str, int]) -> None:
    """Returns when each has published what the copy does not have; Missed where one does not."""
    deadline = time.monotonic() + TOLD_WITHIN_S
    async with field.redis() as redis:
        for one, planned in copied.items():
            while int(await redis.hget(field.keys.head(one), "n") or 0) <= planned:
                if time.monotonic() > deadline:
                    raise Missed(f"{one} told nothing that could be lost")
                await asyncio.sleep(0.05)


async def _copied(field: Field, folder: Path) -> None:
    """As a snapshot of its disk is: of one moment, at which nobody writes."""
    server = field.arena.world.postgres
    assert server.child is not None
    with standing_still(server.child):
        await asyncio.to_thread(
            subprocess.run, ["cp", "-a", f"{server.data}/.", str(folder)], check=True, capture_output=True
        )


def _restored(data: Path, copy: Path) -> None:
    for one in data.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()
    subprocess.run(["cp", "-a", f"{copy}/.", str(data)], check=True, capture_output=True)


# ---- what an operator does


async def _adopted(field: Field) -> dict[str, int]:
    """Both relays of the first stand and say why; then each stream is judged, and adopted where it is ahead. Gives how many
    events of each had left without a fact."""
    await _started(field, [HALTED_FIRST])
    for replica in field.fleet.of(HALTED_FIRST):
        await _halted(field, replica)
    words = ("--tenant", field.town.tenant, "--json")
    judged = await asyncio.gather(
        *(
            command(field.town.settings, "stream", "adopt", "--service", one, *words, "--dry-run")
            for one in SERVICES
        )
    )
    orphans: dict[str, int] = {}
    for service, dry in zip(SERVICES, judged, strict=True):
        if dry.code != 0:
            assert NOTHING in dry.told, (service, dry)  # it had told nothing since
            continue
        found = dry.json()
        orphans[service] = len(found["orphans"])
        assert found["published"] - found["agreed_through"] == orphans[service] > 0, dry
        assert [one for one in found["orphans"] if one["heard_by"]] == [], dry
        done = await asked(
            field.town.settings, "stream", "adopt", "--service", service, *words, "--leave-unread",
            "--reason", "PostgreSQL came from an older copy",
        )  # fmt: skip
        assert done.json()["epoch"] == 1 + sum(service in one for one in field.adopted), done
    field.adopted.append(set(orphans))
    assert orphans.keys() >= set(MUST_TELL), orphans
    listed = await asked(field.town.settings, "stream", "orphans", "--service", HALTED_FIRST, *words)
    assert len(listed.json()) >= orphans[HALTED_FIRST], listed
    return orphans


async def _halted(field: Field, replica: Replica) -> None:
    name, told = f"relay:{field.town.tenant}", ""
    deadline = time.monotonic() + HALTED_WITHIN_S
    while "commits were lost" not in told:
        assert time.monotonic() < deadline, (replica.name, told)
        await asyncio.sleep(0.05)
        status, body = await asyncio.to_thread(replica.get, "/readyz")
        checks: list[Any] = msgspec.json.decode(body)["checks"] if status else []
        told = next((one["detail"] for one in checks if one["name"] == name), "")


async def _started(field: Field, services: list[str]) -> None:
    names = sorted(one.name for one in field.fleet.replicas.values() if one.service in services)
    for name in names:
        await asyncio.to_thread(field.fleet.start, name)


async def _told_again(field: Field, lost: Lost) -> tuple[int, int]:
    """What tills and callers were answered and is gone, once more under its ids and keys; what is not gone is answered alike."""
    bills = await asyncio.to_thread(to_offer_again, field.town.journal, lost)
    await field.traffic.offer(bills)
    calls = await asyncio.to_thread(to_call_again, field.town.journal, lost)
    async for call, answer in field.trade.api.call_many(calls):
        # The end of a reservation that is gone is refused; what passes was waited for.
        assert answer.status < 500, (call, answer)
    return len(bills), len(calls)


FAULTS: dict[str, Fault] = {"PostgreSQL comes from an older copy": postgres_from_an_older_copy}
