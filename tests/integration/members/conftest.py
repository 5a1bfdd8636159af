"""The members service as it is deployed, on a tenant of its own, called through HTTP."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from pointbank.tokens import DevKeys, dev_keys, issue
from services.members.app import create
from shared.config import Settings
from shared.tenants import Tenant
from tests.support.programmes import SHOPS, Document
from tests.support.tenants import new_tenant


class Api:
    """A client that writes under a new key each time, unless one is given."""

    def __init__(self, client: httpx.AsyncClient, keys: DevKeys, tenant: Tenant) -> None:
        self.client, self.keys, self.tenant = client, keys, tenant

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str | None = None,
        key: str | None = None,
        merchant: str | None = None,
    ) -> httpx.Response:
        role = role or ("crm" if path.startswith("/v1/members") else "admin")
        token = issue(
            self.keys, role=role, tenant=self.tenant.code, subject=f"test-{role}", merchant=merchant
        )
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key or secrets.token_hex(8)}
        return await self.client.request(method, path, json=body, headers=headers)

    async def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return await self.call("POST", path, body, **more)

    async def put(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return await self.call("PUT", path, body, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.call("GET", path, **more)

    async def activated(self, document: Document = SHOPS) -> int:
        """Drafts and activates a document; gives its version."""
        drafted = await self.post("/v1/programmes", document)
        assert drafted.status_code == 201, drafted.text
        version: int = drafted.json()["version"]
        code = document["programme"]["code"]
        activated = await self.post(f"/v1/programmes/{code}/versions/{version}/activate")
        assert activated.status_code == 200, activated.text
        return version


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    return asyncio.run(new_tenant(settings))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the service run on the loop that it runs on."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "api" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    settings: Settings, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """One process serves a module's tests."""
    keys = dev_keys(tmp_path_factory.mktemp("keys"))
    app = create(settings.model_copy(update={"jwt_keys": str(keys.jwks)}))
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 5050))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://members") as client,
    ):
        yield Api(client, keys, tenant)
