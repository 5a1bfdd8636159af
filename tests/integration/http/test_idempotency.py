"""Idempotency keys through a real service on PostgreSQL, in two replicas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from pointbank.tokens import DevKeys, dev_keys, issue
from services.members.app import create
from shared.config import Settings
from shared.tenants import Tenant
from tests.support.http import assert_problem

MERCHANT: dict[str, Any] = {"brand": "riyadh", "name": {"en": "Riyadh Mall"}, "terminals": ["T01", "T03"]}


class Replicas:
    def __init__(self, clients: list[httpx.AsyncClient], keys: DevKeys, tenant: Tenant) -> None:
        self.clients, self.keys, self.tenant = clients, keys, tenant

    async def put(
        self, replica: int, body: Any, *, key: str, subject: str = "admin-1", merchant: str = "riyadh-mall"
    ) -> httpx.Response:
        token = issue(self.keys, role="admin", tenant=self.tenant.code, subject=subject)
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        return await self.clients[replica].put(f"/v1/merchants/{merchant}", json=body, headers=headers)


@pytest.fixture
async def replicas(settings: Settings, tenant: Tenant, tmp_path: Path) -> AsyncIterator[Replicas]:
    keys = dev_keys(tmp_path)
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(2):
            app = create(settings.model_copy(update={"jwt_keys": str(keys.jwks)}))
            await stack.enter_async_context(app.router.lifespan_context(app))
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://members")
            clients.append(await stack.enter_async_context(client))
        yield Replicas(clients, keys, tenant)


async def test_twenty_at_once_under_one_key_are_one_write(replicas: Replicas) -> None:
    answers = await asyncio.gather(*(replicas.put(n % 2, MERCHANT, key="k-1") for n in range(20)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    again = await replicas.put(0, {**MERCHANT, "brand": "other"}, key="k-2")
    assert again.json()["version"] == answers[0].json()["version"] + 1


async def test_a_key_belongs_to_its_caller_and_its_content(replicas: Replicas) -> None:
    assert (await replicas.put(0, MERCHANT, key="k-1")).status_code == 201
    changed = {**MERCHANT, "brand": "other"}
    assert_problem(await replicas.put(1, changed, key="k-1"), 422, "idempotency_key_reused")
    assert_problem(
        await replicas.put(1, MERCHANT, key="k-1", merchant="jeddah"), 422, "idempotency_key_reused"
    )
    somebody_else = await replicas.put(1, changed, key="k-1", subject="admin-2")
    assert (somebody_else.status_code, somebody_else.json()["version"]) == (200, 2)


async def test_a_refused_shape_leaves_the_key_free(replicas: Replicas) -> None:
    assert_problem(await replicas.put(0, {**MERCHANT, "colour": "red"}, key="k-1"), 422, "field_unknown")
    answer = await replicas.put(0, MERCHANT, key="k-1")
    assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (201, None)
