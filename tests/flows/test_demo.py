"""`pointbank demo` as `make run` runs it, again and again on one folder, with acts by hand between its runs."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from redis.asyncio import Redis

from pointbank import embedded
from pointbank.api import Api
from pointbank.journal import Acknowledged, Offered, read
from pointbank.running import Deployment, running
from pointbank.tills import till_url
from shared.config import Settings
from shared.messaging.keys import Keys

COMMAND = [sys.executable, "-c", "from pointbank.cli import main; main()", "demo"]
PROVED = {"holds": 9, "elsewhere": 1}
"""Of the ten invariants."""
TENANT, JOURNAL = "demo", "till-demo.jsonl"


@dataclass(frozen=True)
class Ran:
    """A folder in which the demo ran once, and what it showed."""

    state: Path
    shown: str


@pytest.fixture(scope="module")
def ran() -> Iterator[Ran]:
    """The first run of all; nothing of ours is in the environment, for whoever looks there."""
    # Not pytest's own folder: that one is closed to PostgreSQL's user when root runs the tests.
    folder = Path(tempfile.mkdtemp(prefix="pointbank-demo-"))
    folder.chmod(0o711)
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("POINTBANK_")]:
            patched.delenv(name)
        try:
            yield Ran(folder / "var", demo(folder / "var"))
        finally:
            rmtree(folder)


def begin(state: Path, **environment: str) -> subprocess.Popen[str]:
    """`pointbank demo` in a process of its own."""
    return subprocess.Popen(
        [*COMMAND, "--state", str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "120"} | environment,
    )


def shown_by(process: subprocess.Popen[str], *, ends_with: int) -> str:
    """What it shows until it ends, which must be with this exit code."""
    try:
        shown, _ = process.communicate(timeout=290)
    finally:
        process.kill()
    assert process.returncode == ends_with, shown
    return shown


def demo(state: Path) -> str:
    """What a run shows that ends well."""
    return shown_by(begin(state), ends_with=0)


def a_bill(ref: str) -> dict[str, Any]:
    """A bill of 90.00 as the README has it, in its event."""
    bill = {
        "merchant": "riyadh-mall",
        "terminal": "T03",
        "bill_ref": ref,
        "channel": "store",
        "occurred_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "member": {"external_id": "crm-000001"},
        "currency": "SAR",
        "total_minor": 9000,
        "lines": [
            {"line_id": "1", "sku": "SANDWICH", "categories": ["food"], "quantity": "2", "amount_minor": 9000}
        ],
    }
    return {
        "specversion": "1.0",
        "id": ref,
        "source": "/pos/riyadh-mall/T03",
        "type": "bill.completed.v1",
        "data": bill,
    }


async def rung_up(settings: Settings, ref: str) -> int:
    """Adds a bill to the stream as a till does that keeps no journal; the points that its answer names."""
    keys = Keys(settings.cell, TENANT)
    out = keys.out("riyadh-mall.T03")
    redis: Any = Redis.from_url(till_url(settings, TENANT))
    async with redis, asyncio.timeout(60):
        [(last, _)] = await redis.xrevrange(out, count=1)
        await redis.xadd(keys.pos, {"event": json.dumps(a_bill(ref))})
        while True:
            for _, replies in await redis.xread({out: last}, block=1000):
                for _, fields in replies:
                    told = json.loads(fields[b"event"])["data"]
                    if told["event_id"] == ref:
                        [accrual] = told["accruals"]
                        return int(accrual["available"]["points"])


def the_readmes_walk(state: Path) -> int:
    """A bill of 90.00 by stream, and 10 points paid by HTTP, which no journal knows of; the points of the bill."""
    paid = {"programme": "shops", "member": {"external_id": "crm-000001"}, "points": 10}
    where = {"merchant": "riyadh-mall", "terminal": "T03", "channel": "store"}

    async def walked(deployment: Deployment) -> int:
        await deployment.open_tenant(TENANT)
        points = await rung_up(deployment.settings, "BY-HAND-1")
        async with Api(deployment.base_url, deployment.token(TENANT)) as api:
            await api.call(
                "POST", "/v1/redemptions", paid | where, key="by-hand-1", role="till", accept=[201]
            )
        return points

    with running(state) as deployment:
        return asyncio.run(walked(deployment))


def forget_the_redemption(state: Path) -> None:
    """As where a run is killed after the bank's commit and before it writes down the answer."""
    lines = (state / JOURNAL).read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"kind":"acknowledged"' not in line or "/v1/redemptions" not in line]
    assert len(kept) == len(lines) - 1
    (state / JOURNAL).write_text("".join(kept))


def offers(state: Path) -> int:
    return sum(isinstance(entry, Offered) for entry in read(state / JOURNAL))


def numbers(shown: str, row: str) -> list[int]:
    """New expected, new kept, expected, kept."""
    line = next(line for line in shown.splitlines() if f"│ {row} " in line)
    return [int(cell.replace(",", "")) for cell in line.strip("│").split("│")[1:]]


def verdicts(shown: str) -> Counter[str]:
    cells = [line.split("│") for line in shown.splitlines() if line.count("│") == 5]
    return Counter(cell[3].strip() for cell in cells if cell[1].strip())


def test_the_demo_proves_itself(ran: Ran) -> None:
    assert numbers(ran.shown, "bills") == [2000, 2000, 2000, 2000]
    assert numbers(ran.shown, "members") == [400, 400, 400, 400]
    assert numbers(ran.shown, "points redeemed") == [300, 300, 300, 300]
    new_expected, new_kept, expected, kept = numbers(ran.shown, "points earned")
    assert new_expected == new_kept == expected == kept
    assert verdicts(ran.shown) == PROVED
    assert "Beside this journal" not in ran.shown


def test_the_demo_proves_itself_and_a_second_run_goes_on_where_the_first_ended(ran: Ran) -> None:
    points = the_readmes_walk(ran.state)
    forget_the_redemption(ran.state)
    second = demo(ran.state)
    assert points >= 90
    assert numbers(second, "bills") == [2000, 2000, 4000, 4001]
    assert numbers(second, "members") == [0, 0, 400, 400]
    assert numbers(second, "points redeemed") == [300, 300, 600, 610]
    new_expected, new_kept, expected, kept = numbers(second, "points earned")
    assert (new_kept, kept) == (new_expected, expected + points)
    assert verdicts(second) == PROVED
    beside = f"bills +1, points earned +{points}, points available +{points - 10}, points redeemed +10"
    assert f"Beside this journal the books had, before this run: {beside}" in " ".join(second.split())

    journal = list(read(ran.state / JOURNAL))
    offered = Counter((entry.source, entry.id) for entry in journal if isinstance(entry, Offered))
    assert len(offered) == 4000
    again = sum(count > 1 for count in offered.values())
    assert again >= 190  # 100 in the first run, 100 old ones in the second
    kinds = Counter(type(entry).__name__ for entry in journal)
    assert kinds["Placed"] == 2
    redemptions = [
        entry for entry in journal if isinstance(entry, Acknowledged) and entry.path == "/v1/redemptions"
    ]
    assert [entry.http_status for entry in redemptions] == [201, 201]


@pytest.mark.soak
def test_what_comes_in_a_run_and_was_not_expected_ends_it_with_1(ran: Ran) -> None:
    before = offers(ran.state)
    with embedded.servers(ran.state) as servers:
        settings = Settings(
            postgres_dsn=servers.postgres_dsn,
            redis_url=servers.redis_url,
            secret=embedded.secret_file(ran.state / "secret"),
        )
        process = begin(
            ran.state,
            POINTBANK_POSTGRES_DSN=servers.postgres_dsn,
            POINTBANK_REDIS_URL=servers.redis_url,
        )
        deadline = time.monotonic() + 240
        while offers(ran.state) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        points = asyncio.run(rung_up(settings, "IN-THE-RUN"))
        shown = shown_by(process, ends_with=1)
    new_expected, new_kept, *_ = numbers(shown, "points earned")
    assert new_kept == new_expected + points
    assert numbers(shown, "bills")[:2] == [2000, 2001]
    assert verdicts(shown) == PROVED  # nothing is wrong with the books themselves
