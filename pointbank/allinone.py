"""All services in one process and on one port, as a gateway would show them; they share no object."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module

import msgspec
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.config import Settings
from shared.http.health import live_checks, lives, ready_checks, report, serves
from shared.http.openapi import Document, merge
from shared.http.runtime import Check
from shared.messaging.keys import SERVICES
from shared.metrics import CONTENT_TYPE, exposition

PLACES = {
    "programmes": "members",
    "merchants": "members",
    "members": "members",
    "segments": "members",
    "currency-rates": "members",
    "birthdays": "members",
    "bills": "earn",
    "acts": "earn",
    "quotes": "earn",
    "refunds": "earn",
    "holds": "earn",
    "reviews": "earn",
    "settlements": "earn",
    "redemptions": "redeem",
    "expiry-runs": "redeem",
    "notice-runs": "redeem",
    "partition-runs": "redeem",
    "offline-redemptions": "redeem",
    "redemption-allowances": "redeem",
    "redemption-codes": "redeem",
    "redemption-quotes": "redeem",
    "transfers": "redeem",
    "adjustments": "redeem",
    "openings": "redeem",
    "disputes": "redeem",
    "cards": "members",
    "rewards": "redeem",
    "stock-counts": "redeem",
    "benefits": "redeem",
    "gift-cards": "redeem",
    "wallets": "redeem",
    "ledger": "redeem",
    "liability": "redeem",
    "reconciliation": "redeem",
    "tiers": "tiers",
    "messages": "notifier",
}
"""The first part of a path after /v1 -> the service that answers it; `service_of` knows the exceptions."""

Apps = dict[str, FastAPI]


def service_of(path: str) -> str | None:
    """The service that answers this path; None for none. A gateway in front of separate processes routes alike."""
    parts = path.split("/", 5)
    if len(parts) < 3 or parts[0] or parts[1] != "v1":
        return None
    if parts[2] in {"wallets", "members"} and len(parts) > 4 and parts[4] == "stamp-cards":
        return "earn"
    if parts[2] == "wallets" and len(parts) > 4 and parts[4] == "tier":
        return "tiers"
    if parts[2] == "merchants" and len(parts) > 4 and parts[4] == "statements":
        return "redeem"
    return PLACES.get(parts[2])


def create_apps(settings: Settings | None = None) -> Apps:
    """The five apps, each made by its own factory; settings come from the environment unless given."""
    return {service: import_module(f"services.{service}.app").create(settings) for service in SERVICES}


def create(settings: Settings | None = None) -> ASGIApp:
    """The all-in-one app, for `uvicorn --factory pointbank.allinone:create`."""
    return front(create_apps(settings))


def front(apps: Apps) -> ASGIApp:
    """One app over several: calls go to their service untouched; health, metrics and OpenAPI are told for all."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with _all_running(list(apps.values())):
            yield

    async def livez(_: Request) -> Response:
        checks = _named(apps, live_checks)
        return report(checks, well=lives(checks))

    async def readyz(_: Request) -> Response:
        checks = _named(apps, ready_checks)
        return report(checks, well=all(serves(ready_checks(app)) for app in apps.values()))

    async def metrics(_: Request) -> Response:
        return Response(
            exposition(app.state.metrics.registry for app in apps.values()), media_type=CONTENT_TYPE
        )

    async def openapi(_: Request) -> Response:
        return Response(msgspec.json.encode(merged_openapi(apps)), media_type="application/json")

    own = Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi),
        ],
        lifespan=lifespan,
    )
    mine = {route.path for route in own.routes if isinstance(route, Route)}
    anyone = next(iter(apps.values()))  # says 404 and 405 as every service does

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = own
        if scope["type"] == "http" and not (scope["path"] in mine and scope["method"] in {"GET", "HEAD"}):
            app = apps.get(service_of(scope["path"]) or "", anyone)
        await app(scope, receive, send)

    return dispatch


def openapi_text() -> str:
    """`merged_openapi` of the five services as docs/openapi.json holds it."""
    return json.dumps(merged_openapi(), indent=2, ensure_ascii=False) + "\n"


def merged_openapi(apps: Apps | None = None) -> Document:
    """The OpenAPI document of the whole interface; docs/openapi.json is this."""
    found = apps if apps is not None else create_apps()
    return merge("Pointbank", {service: app.openapi() for service, app in found.items()})


def _named(apps: Apps, checks: Callable[[FastAPI], list[Check]]) -> list[Check]:
    return [
        check._replace(name=f"{service}.{check.name}")
        for service, app in apps.items()
        for check in checks(app)
    ]


@asynccontextmanager
async def _all_running(apps: Sequence[FastAPI]) -> AsyncIterator[None]:
    """Runs every lifespan, each in a task of its own: they start and stop together, in the time of the slowest."""
    stop = asyncio.Event()
    started = [asyncio.Event() for _ in apps]

    async def run(app: FastAPI, ready: asyncio.Event) -> None:
        async with app.router.lifespan_context(app):
            ready.set()
            await stop.wait()

    async with asyncio.TaskGroup() as tasks:  # one that can't start cancels the others, and its error rises
        for app, ready in zip(apps, started, strict=True):
            tasks.create_task(run(app, ready))
        try:
            for ready in started:
                await ready.wait()
            yield
        finally:
            stop.set()
