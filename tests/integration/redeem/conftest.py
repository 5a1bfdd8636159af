"""The redeem service as it is deployed, on a tenant of its own: told by events, asked through HTTP, read by the auditor."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio

from pointbank.tokens import DevKeys, dev_keys, issue
from services.redeem.app import create
from services.redeem.domain.acts import Adjust, Evidence, Part
from services.redeem.jobs import releasing
from shared.clock import real_clock
from shared.config import Settings
from shared.events import EventData, HashedIdentity, MemberEnrolled, MerchantChanged, PointsAccrued
from shared.events.bills import AccruedLot
from shared.events.members import EnrolledWallet
from shared.identity import IdentityKind, hashed
from shared.ids import uuid7
from shared.messaging import Done, Outcome
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.facts import AT, activated, heard
from tests.support.tenants import connect_as, new_tenant

Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Member(msgspec.Struct):
    member_id: UUID
    wallet_id: UUID
    mobile: str


def worth(points: int) -> dict[str, Any]:
    """Points with their money as answers and events tell them, under the programme `shops`."""
    return {"points": points, "money": {"amount_minor": points * 10, "currency": "SAR"}}


def accrued(
    wallet_id: UUID,
    *points: int,
    member_id: UUID | None = None,
    at: datetime = AT,
    expires_at: datetime | None = None,
    kind: str = "earn",
    programme: str = "shops",
    accrual_id: UUID | None = None,
) -> PointsAccrued:
    """What a bill is worth: a lot for each number of points."""
    return PointsAccrued(
        accrual_id=accrual_id or uuid7(),
        kind=kind,
        bill_id=uuid7(),
        member_id=member_id or uuid7(),
        wallet_id=wallet_id,
        programme=programme,
        programme_version=1,
        currency="SAR",
        point_value="0.10",
        effective_at=at,
        decided_at=at,
        points=sum(points),
        lots=tuple(AccruedLot(lot_id=uuid7(), points=lot, expires_at=expires_at) for lot in points),
    )


def adjustment(wallet_id: UUID, points: int, *, programme: str, expires_at: datetime | None = None) -> Adjust:
    """What one person gives a wallet, or takes of it (below zero)."""
    part = Part(posting_id=uuid7(), wallet_id=wallet_id, points=points, expires_at=expires_at)
    return Adjust(
        adjustment_id=uuid7(),
        programme=programme,
        parts=(part,),
        reason="goodwill",
        evidence=Evidence("CASE-1"),
    )


class Bank:
    """A running redeem, and the ways in and out."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        keys: DevKeys,
        runtime: TenantRuntime,
        auditor: Db,
        settings: Settings,
    ) -> None:
        self.client, self.keys, self.runtime, self.auditor = client, keys, runtime, auditor
        self.settings = settings
        self.code = runtime.code

    def passes(self, time: timedelta) -> None:
        """From here on the tenant's clock is ahead of the true time by so much: nobody waits for what ends."""
        self.runtime.clock = self.runtime.writer.clock = lambda: datetime.now(UTC) + time

    async def administrator(self) -> Db:
        """Somebody with all rights, who does what nobody should."""
        return await asyncpg.connect(self.settings.admin_dsn(), database=self.runtime.tenant.database)

    async def outcomes(self, *events: EventData) -> list[Outcome]:
        return await self.runtime.lane.submit_many([heard(event) for event in events])

    async def hear(self, *events: EventData) -> None:
        assert [type(outcome) for outcome in await self.outcomes(*events)] == [Done] * len(events)

    def identity(self, kind: IdentityKind, value: str) -> HashedIdentity:
        return HashedIdentity(kind=kind, hash=hashed(self.runtime.tenant.identity_key, kind, value).hex())

    async def member(
        self, *points: int, programme: str = "shops", birth_month: int | None = None, **accrual: Any
    ) -> Member:
        """Somebody new with a mobile, a wallet and so many points, each number an accrual."""
        mobile = f"+9665{secrets.randbelow(10**8):08}"
        member = Member(uuid7(), uuid7(), mobile)
        await self.hear(
            MemberEnrolled(
                member_id=member.member_id,
                locale="en",
                channel="store",
                consented=True,
                identities=(self.identity("mobile", mobile),),
                wallets=(EnrolledWallet(programme=programme, wallet_id=member.wallet_id),),
                enrolled_at=AT,
                birth_month=birth_month,
            ),
            *(
                accrued(member.wallet_id, number, member_id=member.member_id, programme=programme, **accrual)
                for number in points
            ),
        )
        return member

    def headers(self, role: str, key: str | None = None, **more: Any) -> dict[str, str]:
        subject = more.pop("subject", f"test-{role}")
        token = issue(self.keys, role=role, tenant=self.code, subject=subject, **more)
        return {"Authorization": f"Bearer {token}", "Idempotency-Key": key or secrets.token_hex(8)}

    async def redeem(self, body: dict[str, Any], *, key: str | None = None, **token: Any) -> httpx.Response:
        return await self.client.post(
            "/v1/redemptions", json=body, headers=self.headers("till", key, **token)
        )

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.client.get(path, params=query, headers=self.headers("support"))

    async def wallet(self, wallet_id: UUID) -> dict[str, Any]:
        row = await self.auditor.fetchrow("SELECT * FROM redeem.wallets WHERE wallet_id = $1", wallet_id)
        assert row is not None
        return dict(row)

    async def lines(self, wallet_id: UUID) -> list[dict[str, Any]]:
        rows = await self.auditor.fetch(
            "SELECT * FROM redeem.ledger WHERE wallet_id = $1 ORDER BY seq", wallet_id
        )
        return [dict(row) for row in rows]

    async def told(self, subject: UUID) -> list[dict[str, Any]]:
        """The events about a wallet, in the order in which they were said."""
        rows = await self.auditor.fetch("SELECT payload FROM redeem.outbox ORDER BY id")
        events: list[dict[str, Any]] = [msgspec.json.decode(row["payload"]) for row in rows]
        return [event for event in events if event["subject"] == str(subject)]


def asks(member: Member, **more: Any) -> dict[str, Any]:
    """A redemption's body; the usual one asks for nothing yet."""
    return {
        "programme": "shops",
        "member": {"mobile": member.mobile},
        "merchant": "riyadh-mall",
        "terminal": "T03",
        "channel": "store",
        **more,
    }


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    return asyncio.run(new_tenant(settings))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a bank run on the loop that it runs on."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "bank" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_bank(
    settings: Settings, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bank]:
    async with opened(settings, tenant, tmp_path_factory.mktemp("keys")) as made:
        yield made


@pytest.fixture
def bank(running_bank: Bank) -> Bank:
    """A bank by the true time. One process serves a module's tests."""
    running_bank.runtime.clock = running_bank.runtime.writer.clock = real_clock
    return running_bank


@asynccontextmanager
async def opened(settings: Settings, tenant: Tenant, tmp_path: Path) -> AsyncIterator[Bank]:
    """A bank of the tenant, with a programme and a merchant."""
    keys = dev_keys(tmp_path)
    with pytest.MonkeyPatch.context() as tests_say_when:
        tests_say_when.setattr(releasing, "EVERY_S", 3600.0)
        app = create(settings.model_copy(update={"jwt_keys": str(keys.jwks)}))
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 5050))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://redeem") as client,
    ):
        auditor = await connect_as(settings, tenant, "auditor")
        try:
            made = Bank(client, keys, app.state.runtime.tenant(tenant.code), auditor, settings)
            await made.hear(
                activated("shops"),
                MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T01", "T03")),
            )
            yield made
        finally:
            await auditor.close()
