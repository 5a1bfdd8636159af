"""The earn service as it is deployed, on a tenant of its own: told by events, offered bills by stream and by HTTP."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio

from pointbank.tokens import DevKeys, dev_keys, issue
from services.earn.app import create
from shared.config import Settings
from shared.events import CardIssued, EventData, HashedIdentity, MemberEnrolled, MerchantChanged, TierChanged
from shared.events.envelope import encode_event
from shared.events.members import EnrolledWallet
from shared.identity import IdentityKind, hashed
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused
from shared.messaging.entries import decode_pos
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.facts import AT, activated, autumn_2026, heard
from tests.support.tenants import connect_as, new_tenant

Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


_entries = count(1795336380000)


class Member(msgspec.Struct):
    member_id: UUID
    wallet_id: UUID
    mobile: str


class Shop:
    """A running earn, and the ways in and out. Its tenant's clock stands at noon UTC on 22 November 2026."""

    def __init__(self, client: httpx.AsyncClient, keys: DevKeys, runtime: TenantRuntime, auditor: Db) -> None:
        self.client, self.keys, self.runtime, self.auditor = client, keys, runtime, auditor
        self.code = runtime.code
        self.stream_id = ""  # of the last entry that was offered

    def at(self, now: datetime) -> None:
        """Sets the tenant's clock."""
        self.runtime.clock = self.runtime.lane._writer.clock = lambda: now

    # ---- what others tell

    async def hear(self, *events: EventData) -> None:
        outcomes = await self.runtime.lane.submit_many([heard(event) for event in events])
        assert [type(outcome) for outcome in outcomes] == [Done] * len(events)

    def identity(self, kind: IdentityKind, value: str) -> HashedIdentity:
        return HashedIdentity(kind=kind, hash=hashed(self.runtime.tenant.identity_key, kind, value).hex())

    def enrolment(self, member: Member, *programmes: str) -> MemberEnrolled:
        wallets = [EnrolledWallet(programme=programme, wallet_id=uuid7()) for programme in programmes[1:]]
        first = EnrolledWallet(programme=(programmes or ("shops",))[0], wallet_id=member.wallet_id)
        return MemberEnrolled(
            member_id=member.member_id,
            locale="en",
            channel="store",
            consented=True,
            identities=(self.identity("mobile", member.mobile),),
            wallets=(first, *wallets),
            enrolled_at=AT,
        )

    async def member(self, *programmes: str) -> Member:
        """Somebody new with a mobile and a wallet."""
        member = somebody()
        await self.hear(self.enrolment(member, *programmes))
        return member

    async def card(self, member: Member, number: str) -> None:
        await self.hear(
            CardIssued(
                member_id=member.member_id,
                wallet_id=member.wallet_id,
                programme="shops",
                card_id=uuid7(),
                identities=(self.identity("card_number", number),),
                issued_at=AT,
            )
        )

    async def standing(self, member: Member, tier: str, sequence: int, at: Any = AT) -> UUID:
        """A word of tiers; gives its event id."""
        event_id = uuid7()
        told = TierChanged(
            wallet_id=member.wallet_id,
            member_id=member.member_id,
            programme="shops",
            programme_version=1,
            from_=None,
            to=tier,
            name={"en": tier},
            benefits=(),
            metric="points",
            numbers={},
            effective_at=at,
            until=None,
        )
        payload = encode_event(
            told,
            event_id=event_id,
            subject=str(member.wallet_id),
            time=AT,
            tenant=self.code,
            request_id="r",
            sequence=sequence,
        )
        await self.runtime.lane.submit(heard(told, event_id=event_id, payload=payload))
        return event_id

    # ---- what tills and shops offer

    def event(self, data: Any, *, event_id: str | None = None, **more: Any) -> bytes:
        return msgspec.json.encode(
            {
                "specversion": "1.0",
                "id": event_id or data["bill_ref"],
                "source": "/pos/riyadh-mall/T03",
                "type": "bill.completed.v1",
                "time": "2026-11-22T08:31:04Z",
                "datacontenttype": "application/json",
                "data": data,
                **more,
            }
        )

    async def offer(self, *events: bytes) -> list[Outcome]:
        """What a till's entries come to, all in one batch."""
        items: list[Item[Any]] = []
        for event in events:
            self.stream_id = f"{next(_entries)}-0"
            items.append(decode_pos(self.stream_id, {b"event": event}, 1))
        return await self.runtime.lane.submit_many(items)

    async def code_of(self, event: bytes) -> str:
        """The code that an entry is refused with; empty when it is taken."""
        [outcome] = await self.offer(event)
        return outcome.refusal.code if isinstance(outcome, Refused) else ""

    async def post(
        self, body: Any, *, key: str | None = None, role: str = "till", **token: Any
    ) -> httpx.Response:
        return await self.client.post("/v1/bills", json=body, headers=self.headers(role, key, **token))

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.client.get(path, params=query, headers=self.headers("support"))

    def headers(self, role: str, key: str | None = None, **more: Any) -> dict[str, str]:
        token = issue(self.keys, role=role, tenant=self.code, subject=f"test-{role}", **more)
        return {"Authorization": f"Bearer {token}", "Idempotency-Key": key or secrets.token_hex(8)}

    # ---- what came of it

    async def told(self, subject: str | None = None) -> list[dict[str, Any]]:
        """The events about a subject, in the order in which they were said."""
        rows = await self.auditor.fetch("SELECT payload FROM earn.outbox ORDER BY id")
        events: list[dict[str, Any]] = [msgspec.json.decode(row["payload"]) for row in rows]
        return [event for event in events if subject is None or event["subject"] == subject]

    async def bill_id(self, bill_ref: str) -> str:
        found = await self.auditor.fetchval(
            "SELECT bill_id::text FROM earn.bill_keys WHERE bill_ref = $1", bill_ref
        )
        assert isinstance(found, str)
        return found

    async def replies(self, till: str = "riyadh-mall.T03") -> list[dict[str, Any]]:
        """What went to the till's out stream by earn itself: replies to what was offered again."""
        entries: Any = await self.runtime.redis.xrange(self.runtime.keys.out(till))
        return [msgspec.json.decode(fields[b"event"]) for _, fields in entries]

    async def count(self, table: str) -> int:
        return int(await self.auditor.fetchval(f"SELECT count(*) FROM earn.{table}"))


def somebody() -> Member:
    return Member(uuid7(), uuid7(), f"+9665{secrets.randbelow(10**8):08}")


def bill(of: Member | None = None, **more: Any) -> dict[str, Any]:
    """The contract's bill under a reference of its own: 90.00 of coffee earn, the delivery does not."""
    made: dict[str, Any] = {
        "merchant": "riyadh-mall",
        "terminal": "T03",
        "cashier": "c117",
        "bill_ref": f"RM-T03-{secrets.token_hex(6)}",
        "channel": "store",
        "occurred_at": "2026-11-22T11:31:04+03:00",
        "currency": "SAR",
        "total_minor": 10500,
        "lines": [
            {
                "line_id": "1",
                "sku": "ARB-250",
                "categories": ["coffee"],
                "quantity": "2",
                "amount_minor": 9000,
                "discount_minor": 1000,
                "tax_minor": 1174,
            },
            {
                "line_id": "2",
                "sku": "DELIVERY",
                "categories": ["service-fee"],
                "quantity": "1",
                "amount_minor": 1500,
                "discount_minor": 0,
                "tax_minor": 196,
            },
        ],
    }
    if of is not None:
        made["member"] = {"mobile": of.mobile}
    return {**made, **more}


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    return asyncio.run(new_tenant(settings))


async def running_earn(settings: Settings, tenant: Tenant, folder: Path) -> AsyncIterator[Shop]:
    """The service on this tenant, until the caller has done."""
    keys = dev_keys(folder)
    app = create(settings.model_copy(update={"jwt_keys": str(keys.jwks), "awaited_deadline_s": 0}))
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 5050))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://earn") as client,
    ):
        auditor = await connect_as(settings, tenant, "auditor")
        try:
            made = Shop(client, keys, app.state.runtime.tenant(tenant.code), auditor)
            made.at(autumn_2026())
            yield made
        finally:
            await auditor.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_shop(
    settings: Settings, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    async for made in running_earn(settings, tenant, tmp_path_factory.mktemp("keys")):
        await made.hear(
            activated("shops"), MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T01", "T03"))
        )
        yield made


@pytest.fixture
def shop(running_shop: Shop) -> Shop:
    """A shop that knows its programme, merchant and terminals. One process serves a module's tests."""
    running_shop.at(autumn_2026())
    return running_shop


@pytest_asyncio.fixture(loop_scope="module")
async def empty_shop(settings: Settings, tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop of a new tenant, that knows nothing yet."""
    async for made in running_earn(settings, await new_tenant(settings), tmp_path):
        yield made
