"""What every service refuses alike: who calls, how the call is written, its key, and tenants that are not served."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from shared.db import connect
from shared.tenants.provision import dsn_for
from tests.support.desk import Ask, Desk, altered
from tests.support.http import assert_problem
from tests.support.patience import PATIENCE_S

SIMPLE: dict[str, Callable[[Desk], Ask]] = {
    "malformed_json": lambda desk: Ask("POST", "/v1/bills", b"{nonsense"),
    "idempotency_key_missing": lambda desk: Ask("POST", "/v1/bills", desk.bill(), key=None),
    "token_missing": lambda desk: Ask("POST", "/v1/bills", desk.bill(), role=None),
    "token_invalid": lambda desk: Ask(
        "POST", "/v1/bills", desk.bill(), headers={"Authorization": "Bearer not.a.token"}
    ),
    "token_expired": lambda desk: Ask(
        "POST",
        "/v1/bills",
        desk.bill(),
        headers={
            "Authorization": f"Bearer {desk.fleet.token('till', desk.town.tenant, ttl=timedelta(seconds=-9))}"
        },
    ),
    "scope_missing": lambda desk: Ask("POST", "/v1/bills", desk.bill(), role="crm"),
    "tenant_forbidden": lambda desk: Ask(
        "POST",
        "/v1/bills",
        desk.bill(),
        headers={"Authorization": f"Bearer {desk.fleet.token('till', 'nobody-here')}"},
    ),
    "method_not_allowed": lambda desk: Ask("DELETE", "/v1/bills"),
    "body_too_large": lambda desk: desk.post(cashier="c" * (1 << 20)),
    "field_unknown": lambda desk: desk.post(colour="red"),
    "field_missing": lambda desk: desk.post(currency=None),
    "field_type": lambda desk: desk.post(total_minor="10500"),
}


async def idempotency_key_reused(desk: Desk) -> None:
    first = desk.post()
    assert (await desk.call(first)).status_code == 201
    await desk.town.settled()
    await desk.refused(desk.post(key=first.key), "idempotency_key_reused")


async def idempotency_key_in_flight(desk: Desk) -> None:
    """The first call is still being written, by somebody who takes very long."""
    ask = desk.post()
    before = await desk.rows()
    db = await connect(dsn_for(desk.town.settings, f"pb_{desk.town.tenant}"))
    try:
        async with db.transaction():
            await db.execute(
                """
                INSERT INTO earn.idempotency (principal, route, key, request_hash, status, body)
                VALUES ($1, 'POST /v1/bills', $2, '', 0, '')
                """,
                f"till@{desk.town.tenant}",
                ask.key,
            )
            problem = assert_problem(await desk.call(ask), 409, "idempotency_key_in_flight")
            assert problem["detail"].endswith("Ask again.")
            raise _NotWritten
    except _NotWritten:
        pass
    finally:
        await db.close()
    assert await desk.written_since(before) == {}
    assert (await desk.call(ask)).status_code == 201


class _NotWritten(Exception):
    pass


async def internal_error(desk: Desk) -> None:
    """PostgreSQL refuses what we thought it would take: our mistake, told as such, and nothing of it is written."""
    ask = desk.post(cashier="c-hated")
    async with altered(
        desk,
        """
        CREATE FUNCTION earn.hate() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.cashier = 'c-hated' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER hate BEFORE INSERT ON earn.bills FOR EACH ROW EXECUTE FUNCTION earn.hate()
        """,
        "DROP TRIGGER hate ON earn.bills; DROP FUNCTION earn.hate()",
    ):
        await desk.refused(ask, "internal_error")
    assert (await desk.call(ask)).status_code == 201


async def tenant_unavailable(desk: Desk) -> None:
    change = f"UPDATE control.tenants SET state = '{{}}' WHERE code = '{desk.town.tenant}'"
    async with altered(desk, change.format("creating"), change.format("active"), control=True):
        await _until_answered_with(desk, 503)
        await desk.refused(desk.post(), "tenant_unavailable")
    await _until_answered_with(desk, 200)


async def tenant_suspended(desk: Desk) -> None:
    change = f"UPDATE control.tenants SET state = '{{}}' WHERE code = '{desk.town.tenant}'"
    async with altered(desk, change.format("suspending"), change.format("active"), control=True):
        await _until_answered_with(desk, 503)
        await desk.refused(desk.post(), "tenant_suspended")
    await _until_answered_with(desk, 200)


async def tenant_migrating(desk: Desk) -> None:
    change = f"UPDATE control.schema_versions SET state = '{{}}' WHERE tenant = '{desk.town.tenant}' AND service = 'earn'"
    async with altered(desk, change.format("migrating"), change.format("ready"), control=True):
        await _until_answered_with(desk, 503)
        await desk.refused(desk.post(), "tenant_migrating")
        # Its other services go on.
        assert (await desk.call(Ask("GET", f"/v1/tiers/{desk.town.cards[0].wallet_id}"))).status_code == 200
    await _until_answered_with(desk, 200)


async def _until_answered_with(desk: Desk, status: int) -> None:
    asked = f"/v1/bills?wallet_id={desk.town.cards[0].wallet_id}"
    async with asyncio.timeout(PATIENCE_S):
        while (await desk.call(Ask("GET", asked, role="support"))).status_code != status:
            await asyncio.sleep(0.05)


SPECIAL: dict[str, Callable[[Desk], Awaitable[None]]] = {
    made.__name__: made
    for made in (
        idempotency_key_reused,
        idempotency_key_in_flight,
        internal_error,
        tenant_unavailable,
        tenant_migrating,
        tenant_suspended,
    )
}
