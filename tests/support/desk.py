"""Asking for what is refused, and looking at every table for what it leaves."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from shared.db import Connection, connect
from shared.errors import PROBLEMS
from shared.messaging.keys import SERVICES
from shared.tenants.provision import dsn_for
from tests.support.http import assert_problem
from tests.support.processes import Fleet
from tests.support.town import Town

SOURCE = "/pos/riyadh-mall/T03"

_numbers = itertools.count(1)


def event(data: object, *, id: str | None = None, **changed: object) -> bytes:
    """A till's event; `changed` are attributes of its envelope."""
    envelope = {
        "specversion": "1.0",
        "id": id or secrets.token_hex(8),
        "source": SOURCE,
        "type": "bill.completed.v1",
        "time": "2026-11-22T08:31:04Z",
        "data": data,
    }
    return json.dumps({**envelope, **changed}).encode()


@dataclass
class Ask:
    """A call. `kept_by`: the service that keeps its refusal under its key; None where nothing is kept."""

    method: str
    path: str
    body: Any = None
    role: str | None = "till"
    key: str | None = field(default_factory=lambda: secrets.token_hex(8))
    kept_by: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Desk:
    """Where the walk is made: a quiet tenant, and somebody in it."""

    fleet: Fleet
    town: Town
    client: httpx.AsyncClient
    db: Connection
    """An administrator's, kept: the first look at so many tables costs more than all later ones."""

    @property
    def member(self) -> dict[str, str]:
        return {"card_number": self.town.cards[0].card_number}

    def bill(self, **changes: Any) -> dict[str, Any]:
        """A good bill with a reference of its own, changed; None leaves a field out."""
        good = {
            "merchant": "riyadh-mall",
            "terminal": "T03",
            "bill_ref": f"CODE-{next(_numbers)}",
            "channel": "store",
            "occurred_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "member": self.member,
            "currency": "SAR",
            "total_minor": 10_500,
            "lines": [{"line_id": "1", "amount_minor": 10_500}],
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def post(self, *, kept_by: str | None = None, key: str | None = None, **changes: Any) -> Ask:
        """A bill over HTTP."""
        return Ask(
            "POST", "/v1/bills", self.bill(**changes), key=key or secrets.token_hex(8), kept_by=kept_by
        )

    def redeem(self, **changes: Any) -> Ask:
        """A redemption; what is wrong with it is decided, and so kept."""
        good = {"programme": "shops", "member": self.member, "points": 10, "merchant": "riyadh-mall"}
        return Ask("POST", "/v1/redemptions", {**good, **changes}, kept_by="redeem")

    def refund(self, bill: dict[str, Any], **asked: Any) -> Ask:
        """A refund of a bill, by its reference."""
        good = {
            "bill": {"merchant": bill["merchant"], "bill_ref": bill["bill_ref"]},
            "refund_ref": f"CODE-R-{next(_numbers)}",
            "merchant": bill["merchant"],
            "occurred_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "currency": "SAR",
        }
        return Ask("POST", "/v1/refunds", {**good, **asked}, kept_by="earn")

    def enrol(self, *, accepted: bool = True, **changes: Any) -> Ask:
        """An enrolment, likewise."""
        consent = {"accepted": accepted, "terms_version": "2026-01", "accepted_at": "2026-11-20T09:00:00Z"}
        good = {"email": f"new-{next(_numbers)}@example.com", "channel": "app", "consent": consent}
        return Ask("POST", "/v1/members", {**good, **changes}, role="crm", kept_by="members")

    async def call(self, ask: Ask) -> httpx.Response:
        """Makes the call."""
        headers = dict(ask.headers)
        if ask.role is not None:
            headers.setdefault("Authorization", f"Bearer {self.fleet.token(ask.role, self.town.tenant)}")
        if ask.body is not None:
            headers["Content-Type"] = "application/json"
        if ask.key is not None:
            headers["Idempotency-Key"] = ask.key
        content = ask.body if isinstance(ask.body, bytes | None) else msgspec.json.encode(ask.body)
        return await self.client.request(ask.method, ask.path, content=content, headers=headers)

    async def refused(self, ask: Ask, code: str, **also: int) -> None:
        """That the call gets the code, twice, and that nothing but its frozen refusal is written; `also`: rows of other tables of
        the service that keeps it."""
        before = await self.rows()
        first = assert_problem(await self.call(ask), PROBLEMS[code].status, code)
        again = await self.call(ask)
        assert {**again.json(), "request_id": ""} == {**first, "request_id": ""}
        assert again.headers.get("idempotent-replayed") == (None if ask.kept_by is None else "true")
        written = await self.written_since(before)
        kept = {} if ask.kept_by is None else {f"{ask.kept_by}.idempotency": 1}
        assert written == kept | {f"{ask.kept_by}.{table}": n for table, n in also.items()}, written

    async def rows(self) -> dict[str, int]:
        """How many rows each table of the tenant holds."""
        tables = await self.db.fetch(
            """
            SELECT n.nspname || '.' || c.relname AS name
            FROM pg_class AS c
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            """,
            list(SERVICES),
        )
        counts = [f"SELECT '{table['name']}' AS name, count(*) AS n FROM {table['name']}" for table in tables]
        found = await self.db.fetch(" UNION ALL ".join(counts))
        return {row["name"]: row["n"] for row in found}

    async def written_since(self, before: dict[str, int]) -> dict[str, int]:
        """How many rows came, by table; those tables that have as many as before are left out."""
        after = await self.rows()
        return {name: after[name] - n for name, n in before.items() if after[name] != n}


@asynccontextmanager
async def altered(desk: Desk, there: str, back: str, *, control: bool = False) -> AsyncIterator[None]:
    """A state that no call makes yet, made by an administrator's hand and taken back."""
    settings = desk.town.settings
    db = await connect(dsn_for(settings, settings.control_database if control else f"pb_{desk.town.tenant}"))
    try:
        await db.execute(there)
        try:
            yield
        finally:
            await db.execute(back)
    finally:
        await db.close()
