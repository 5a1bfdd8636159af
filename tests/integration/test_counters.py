"""What a batch costs, counted: round trips exactly, WAL bytes within a fifth. Seconds are never asserted.

The counts stand in bench/baseline.json; RENEW_BASELINE=1 writes them anew, for a change that means to change them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from pointbank.generate.bills import generate
from pointbank.generate.people import people
from pointbank.generate.sample import programme
from pointbank.generate.shop import MERCHANTS
from services.earn.handlers import ON as EARN
from services.notifier.handlers import ON as NOTIFIER
from services.redeem.domain.redemption import Redeem
from services.redeem.handlers import ON as REDEEM
from services.tiers.handlers import ON as TIERS
from shared.config import Settings
from shared.events import (
    EnrolledWallet,
    EventData,
    HashedIdentity,
    MemberEnrolled,
    MerchantChanged,
    ProgrammeActivated,
)
from shared.identity import hashed
from shared.ids import uuid7
from shared.messaging import FromHttp, Item
from shared.messaging.entries import StreamDecoder, decode_pos
from shared.tenants import Tenant
from tests.support.costs import Cost, checkpoint, cost, hold_against_the_baseline
from tests.support.facts import AT, heard
from tests.support.tenants import connect_as, running

BATCH = 500
MEMBERS = 200
CALLS = 32


async def told_by(settings: Settings, tenant: Tenant, service: str) -> list[bytes]:
    db = await connect_as(settings, tenant, "auditor")
    try:
        return [row["payload"] for row in await db.fetch(f"SELECT payload FROM {service}.outbox ORDER BY id")]
    finally:
        await db.close()


def entries(
    stream: str, tenant: Tenant, handlers: Any, payloads: Sequence[bytes], wanted: bytes
) -> list[list[Item[Any]]]:
    """Batches of the events of one type, as a consumer of the stream makes them."""
    decode = StreamDecoder(stream, tenant.code, handlers)
    chosen = [payload for payload in payloads if wanted in payload]
    decoded = [decode(f"{n}-0", {b"event": payload}, 1) for n, payload in enumerate(chosen, start=1)]
    items = [item for item in decoded if item is not None]
    return [items[k : k + BATCH] for k in range(0, len(items) - BATCH + 1, BATCH)]


def facts(tenant: Tenant) -> list[EventData]:
    document = programme("shops")
    found: list[EventData] = [
        ProgrammeActivated(programme="shops", version=1, document=document, activated_at=AT)
    ]
    found += [
        MerchantChanged(merchant=code, version=1, terminals=_terminals(body))
        for code, body in MERCHANTS.items()
    ]
    found += [
        MemberEnrolled(
            member_id=uuid7(),
            locale=one.locale,
            channel="store",
            consented=True,
            identities=(
                HashedIdentity(
                    kind="external_id", hash=hashed(tenant.identity_key, "external_id", one.external_id).hex()
                ),
            ),
            wallets=(EnrolledWallet(programme="shops", wallet_id=uuid7()),),
            enrolled_at=AT,
        )
        for one in people(MEMBERS, 1)
    ]
    return found


def _terminals(body: Any) -> tuple[str, ...]:
    return tuple(body["terminals"])


def bills() -> list[list[Item[Any]]]:
    who = people(MEMBERS, 1)
    offered = []
    for bill in generate(4 * BATCH, MEMBERS, 1, now=datetime.now(UTC)):
        body = (
            bill.content
            if bill.member is None
            else {**bill.content, "member": {"external_id": who[bill.member].external_id}}
        )
        event = {
            "specversion": "1.0",
            "id": bill.event_id,
            "source": bill.source,
            "type": "bill.completed.v1",
            "data": body,
        }
        offered.append(json.dumps(event, separators=(",", ":")).encode())
    items = [decode_pos(f"{n}-0", {b"event": entry}, 1) for n, entry in enumerate(offered, start=1)]
    return [items[k : k + BATCH] for k in range(0, len(items), BATCH)]


async def redemptions(settings: Settings, tenant: Tenant) -> list[list[Item[Any]]]:
    """Batches of calls as the HTTP API makes them, of members that have the points."""
    db = await connect_as(settings, tenant, "auditor")
    try:
        rich = [
            row[0]
            for row in await db.fetch(
                "SELECT member_id FROM redeem.wallets WHERE available >= 100 ORDER BY 1"
            )
        ]
    finally:
        await db.close()
    assert len(rich) >= CALLS

    def call(member_id: UUID) -> Item[Any]:
        return Item(
            Redeem(
                programme="shops", member_id=member_id, identity_kind=None, identity_hash=None, points=5, money=None,
                merchant="riyadh-mall", terminal="T03", cashier="c117", channel="store", bill_ref="B-1", patient=False,
                code=None, bill_total_minor=None, bill_categories=None,
            ),
            FromHttp("tester", "POST /v1/redemptions", uuid7().hex, bytes(32)),
            request_id=uuid7().hex,
            actor="tester",
        )  # fmt: skip

    return [[call(member_id) for member_id in rich[:CALLS]] for _ in range(4)]


async def test_a_batch_costs_what_the_baseline_says(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [heard(event) for event in facts(tenant)]
    found: dict[str, Cost] = {}
    await checkpoint(settings)

    async with running(settings, tenant, "earn", EARN) as earn:
        await earn.lane.submit_many([item for item in known if type(item.command) in EARN])
        found["earn"] = await cost(settings, monkeypatch, earn, bills())
    accrued = await told_by(settings, tenant, "earn")
    async with running(settings, tenant, "redeem", REDEEM) as redeem:
        await redeem.lane.submit_many([item for item in known if type(item.command) in REDEEM])
        batches = entries("earn", tenant, REDEEM, accrued, b'"points.accrued.v1"')
        found["redeem"] = await cost(settings, monkeypatch, redeem, batches)
        calls = await redemptions(settings, tenant)
        found["redemptions"] = await cost(settings, monkeypatch, redeem, calls)
        alone = [batch[:1] for batch in await redemptions(settings, tenant)]
        found["a redemption"] = await cost(settings, monkeypatch, redeem, alone)
    credited = await told_by(settings, tenant, "redeem")
    for name, handlers in (("tiers", TIERS), ("notifier", NOTIFIER)):
        async with running(settings, tenant, name, handlers) as service:
            await service.lane.submit_many([item for item in known if type(item.command) in handlers])
            batches = entries("redeem", tenant, handlers, credited, b'"points.credited.v1"')
            found[name] = await cost(settings, monkeypatch, service, batches)
    hold_against_the_baseline(found)
