"""The ledger is held against what earn told of each day: complete, by accrual, and never before earn's word was reached."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio

from shared.config import Settings
from shared.db import Connection, connect
from shared.events import AccrualsDayTold, AccrualsOfProgramme, PointsAccrued, encode_event
from shared.ids import uuid7
from shared.messaging import Done
from shared.messaging.commands import FromStream
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, accrued
from tests.integration.redeem.test_reconciliation import listed, run
from tests.support.facts import AT, heard

DAY = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Nothing is sealed or reconciled but when a test asks for it."""
    return settings.model_copy(update={"seal_every_s": 0.0, "reconcile_every_s": 0.0})


@pytest_asyncio.fixture(loop_scope="module")
async def books(settings: Settings, tenant: Tenant) -> AsyncIterator[Connection]:
    """An administrator, who can change anything."""
    db = await connect(settings.admin_dsn(), database=tenant.database)
    await db.execute("SET session_replication_role = replica; SET search_path = redeem")
    try:
        yield db
    finally:
        await db.close()


def made_at(hour: int) -> UUID:
    """An accrual's id of that hour of the day."""
    millis = int(DAY.replace(hour=hour, minute=59, second=59, microsecond=999000).timestamp() * 1000)
    return UUID(int=millis << 80 | uuid7().int % 2**80 & ~(0xF << 76) | 7 << 76)


def of(programme: str, accruals: list[PointsAccrued]) -> AccrualsOfProgramme:
    """What earn tells, computed as docs/ledger.md says."""
    digest = 0
    for one in accruals:
        content = one.accrual_id.bytes + one.points.to_bytes(8, "big")
        digest += int.from_bytes(hashlib.sha256(content).digest()[:16], "big")
    points = sum(one.points for one in accruals)
    return AccrualsOfProgramme(
        programme=programme, accruals=len(accruals), points=points, digest=f"{digest % 2**128:032x}"
    )


async def tell(bank: Bank, *programmes: AccrualsOfProgramme, sequence: int, n: int = 0) -> None:
    said = AccrualsDayTold(day=DAY.date(), programmes=programmes)
    payload = encode_event(
        said,
        event_id=uuid7(),
        subject=str(said.day),
        time=AT,
        tenant=bank.code,
        request_id="r",
        sequence=sequence,
    )
    item = heard(said, payload=payload)
    if n:
        item.origin = FromStream("earn", n)
    assert isinstance(await bank.runtime.lane.submit(item), Done)


async def test_a_day_is_compared_once_earns_word_was_reached_and_what_is_missing_is_a_row(
    bank: Bank, books: Connection
) -> None:
    wallet_id = (await bank.member()).wallet_id
    accruals = [
        accrued(wallet_id, 7, 3, accrual_id=made_at(0)),
        accrued(wallet_id, 20, kind="earn_held", accrual_id=made_at(12)),
        accrued(wallet_id, 5, accrual_id=made_at(23)),
    ]
    lost = accrued(wallet_id, 11, accrual_id=made_at(23))
    await bank.hear(*accruals)
    await run(bank)

    await books.execute("UPDATE positions SET applied_through = 30 WHERE stream = 'earn'")
    await tell(bank, of("shops", accruals), sequence=1, n=41)
    assert (await run(bank))["days"] == 0  # something that was told before may still be on its way
    await books.execute("UPDATE positions SET applied_through = 41 WHERE stream = 'earn'")
    would = await run(bank, dry_run=True)
    assert (would["days"], would["differences"]) == (1, 0)
    assert [(await run(bank))["days"] for _ in range(2)] == [1, 0]

    # Told again, with one that the bank never got, and a programme that it knows nothing of.
    await tell(bank, of("shops", [*accruals, lost]), of("air", [lost]), sequence=2)
    await tell(bank, of("shops", accruals), sequence=1)  # late, and no news
    would = await run(bank, dry_run=True)
    done = await run(bank)
    assert (done["days"], done["differences"]) == (would["days"], would["differences"]) == (1, 2)
    rows = {row["subject"]: row for row in await listed(bank)}
    shops, air = rows["accruals/2026-03-04/shops"], rows["accruals/2026-03-04/air"]
    assert [row["found"] for row in (shops, air)] == [one["found"] for one in reversed(would["found"])]
    assert shops["kind"] == "accruals"
    assert shops["expected"].startswith("accruals 4 points 46 digest ")
    assert shops["found"].startswith("accruals 3 points 35 digest ")
    assert air["found"] == f"accruals 0 points 0 digest {0:032x}"
    shown = bank.runtime.metrics.registry.get_sample_value(
        "pointbank_reconciliation_differences",
        {"service": "redeem", "tenant": bank.code, "kind": "accruals"},
    )
    assert shown == 2
    audit = await bank.auditor.fetchval(
        "SELECT after FROM redeem.audit WHERE action = 'accruals.reconcile' ORDER BY id DESC LIMIT 1"
    )
    assert [one[0] for one in msgspec.json.decode(audit)["apart"]] == ["air", "shops"]

    # The bank gets it after all: the day is compared again while its difference is open; the row stays until it is closed.
    await bank.hear(lost)
    await close(bank, air, "The programme was closed before.")
    counts = {"wallets": 1, "days": 1, "postings": 1, "differences": 1}
    assert await run(bank) == {"dry_run": False, **counts, "found": [], "next_cursor": None}
    again = {row["subject"]: row for row in await listed(bank)}
    assert again[shops["subject"]]["last_seen"] == shops["last_seen"]  # it agrees now, and was not seen again
    assert again[air["subject"]]["difference_id"] != air["difference_id"]  # it still does not

    # The right number of accruals and points, and another accrual.
    for row in again.values():
        await close(bank, row, "Looked into.")
    other = [*accruals[:2], accrued(wallet_id, 5, accrual_id=made_at(23)), lost]
    await tell(bank, of("shops", other), sequence=3)
    assert (await run(bank))["differences"] == 1
    [row] = await listed(bank)
    assert row["expected"].split()[:4] == row["found"].split()[:4] == ["accruals", "4", "points", "46"]

    # A line is spoilt: what counts is the ledger, not the key under which it was posted.
    await close(bank, row, "Looked into.")
    await tell(bank, of("shops", [*accruals, lost]), sequence=4)
    assert (await run(bank))["differences"] == 0
    await books.execute("UPDATE ledger SET points = 6 WHERE posting_id = $1", accruals[2].accrual_id)
    await tell(bank, of("shops", [*accruals, lost]), sequence=5)
    assert (await run(bank, dry_run=True))["found"][0]["found"].startswith("accruals 4 points 47 ")


async def close(bank: Bank, row: dict[str, Any], reason: str) -> None:
    path = f"/v1/reconciliation/differences/{row['difference_id']}"
    body = {"state": "closed", "reason": reason}
    answer = await bank.client.post(path, json=body, headers=bank.headers("finance"))
    assert answer.status_code == 200, answer.text
