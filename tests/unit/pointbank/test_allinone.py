"""All services on one port: each call finds its service, and what is told for all is told once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import ASGIApp

from pointbank.allinone import front, merged_openapi, service_of
from pointbank.tokens import dev_keys
from shared.config import Settings
from shared.http.app import create_app
from shared.http.auth import Principal, require
from shared.http.cursors import answer
from shared.http.routing import Router
from shared.http.runtime import Check
from shared.messaging.keys import SERVICES
from tests.support.http import Shop, assert_problem, shop_app


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/v1/programmes", "members"),
        ("/v1/merchants/riyadh-mall", "members"),
        ("/v1/members/lookup", "members"),
        ("/v1/bills/01a2/why", "earn"),
        ("/v1/quotes", "earn"),
        ("/v1/redemptions/01a2/capture", "redeem"),
        ("/v1/wallets/01a2/balance", "redeem"),
        ("/v1/wallets/01a2/tier", "tiers"),
        ("/v1/wallets/01a2/tier/history", "tiers"),
        ("/v1/tiers/01a2", "tiers"),
        ("/v1/messages", "notifier"),
        ("/v1/billsx", None),
        ("/v1", None),
        ("//v1/bills", None),
        ("/v2/bills", None),
    ],
)
def test_a_path_belongs_to_one_service(path: str, service: str | None) -> None:
    assert service_of(path) == service


def one_route(path: str, said: str, fields: dict[str, Any]) -> Router:
    router = Router(prefix="/v1")
    shape: type[BaseModel] = type("Thing", (BaseModel,), {"__annotations__": fields})

    @router.get(path, response_model=shape)
    async def show(who: Annotated[Principal, require()]) -> Response:
        return answer({"said": said})

    return router


@pytest.fixture
def apps(tmp_path: Path) -> dict[str, FastAPI]:
    keys = dev_keys(tmp_path)
    return {
        "members": shop_app(
            keys, Shop(), service="members", routers=[one_route("/members", "members", {"a": int})]
        ),
        "redeem": shop_app(
            keys, Shop(), service="redeem", routers=[one_route("/wallets", "redeem", {"b": str})]
        ),
        "tiers": shop_app(keys, Shop(), service="tiers", routers=[one_route("/tiers", "tiers", {"a": int})]),
    }


@asynccontextmanager
async def client_of(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://all") as client:
        yield client


async def test_calls_reach_their_services_and_health_is_told_for_all(apps: dict[str, FastAPI]) -> None:
    app = front(apps)
    async with client_of(app) as client:
        early = await client.get("/readyz")
        assert early.status_code == 503
        assert {check["name"]: check["ok"] for check in early.json()["checks"]}["redeem.running"] is False
    own = front(apps)
    async with running(own), client_of(own) as client:
        assert_problem(await client.get("/v1/wallets"), 401, "token_missing")
        assert_problem(await client.get("/v1/nothing"), 404, "not_found")
        assert_problem(await client.post("/readyz"), 405, "method_not_allowed")
        ready = await client.get("/readyz")
        assert ready.status_code == 200
        assert [check["name"] for check in ready.json()["checks"] if check["name"].endswith(".running")] == [
            "members.running",
            "redeem.running",
            "tiers.running",
        ]
        apps["redeem"].state.runtime.extra.append(Check("consumer", False, "dead", fatal=True))
        assert (await client.get("/livez")).status_code == 503
        text = (await client.get("/metrics")).text
        assert text.count("# TYPE pointbank_http_request_seconds histogram") == 1
        assert 'service="redeem",tenant="",route="/v1/wallets",status="401"' in text
    assert [app.state.runtime for app in apps.values()] == [None, None, None]


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[None]:
    """Runs the lifespan as a server does: by messages."""
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}}

    async def run() -> None:
        await app(scope, inbox.get, outbox.put)

    task = asyncio.create_task(run())
    await inbox.put({"type": "lifespan.startup"})
    if (said := await outbox.get())["type"] != "lifespan.startup.complete":
        await task  # a server shows what it raises
        raise AssertionError(said)
    yield
    await inbox.put({"type": "lifespan.shutdown"})
    assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
    await task


async def test_one_service_that_cant_start_stops_the_others(apps: dict[str, FastAPI]) -> None:
    @asynccontextmanager
    async def broken(app: FastAPI) -> AsyncIterator[None]:
        if app.title == "Earn":
            raise RuntimeError("no database")
        yield

    app = front({**apps, "earn": create_app("Earn", [], broken, service="earn", settings=Settings())})
    with pytest.raises(ExceptionGroup) as raised:
        async with running(app):
            pass
    assert [str(error) for error in raised.value.exceptions] == ["no database"]
    assert [app.state.runtime for app in apps.values()] == [None, None, None]


def test_the_documents_become_one_and_names_that_clash_get_their_services_prefix(
    apps: dict[str, FastAPI],
) -> None:
    document = merged_openapi(apps)
    assert list(document["paths"]) == ["/v1/members", "/v1/tiers", "/v1/wallets"]
    schemas = document["components"]["schemas"]
    assert schemas["Thing"]["properties"]["a"]["type"] == "integer"
    assert schemas["RedeemThing"]["properties"]["b"]["type"] == "string"
    wallets = document["paths"]["/v1/wallets"]["get"]
    assert wallets["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/RedeemThing"
    }
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert ids == ["show", "tiers_show", "redeem_show"]
    assert tuple(SERVICES) == ("members", "earn", "redeem", "tiers", "notifier")
