"""The one way to make a service's HTTP app."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from shared.config import Settings
from shared.errors import Refusal
from shared.http.auth import Verifier
from shared.http.health import health_routes
from shared.http.keys import Keys
from shared.http.openapi import Document, openapi
from shared.http.problems import on_http_exception, on_parameters, on_refusal
from shared.http.routing import Straight, Table, found_in, straight
from shared.http.shell import Shell
from shared.metrics import Metrics
from shared.traces import Traces

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class _App(FastAPI):
    """FastAPI, past whose own layers a call goes that is found in `straight`: they are for telemetry, for the limit of a body
    and for errors that the shell answers by itself."""

    straight: Table
    shell: Shell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and found_in(self.straight, scope):
            scope["app"] = self
            await self.shell(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(
    title: str,
    routers: Sequence[APIRouter],
    lifespan: Lifespan,
    *,
    service: str,
    settings: Settings,
    traces: Traces | None = None,
) -> FastAPI:
    """An app with the shell around its routes: problems, tokens, idempotency, request ids, health, metrics, OpenAPI.

    `lifespan` puts the running service into `app.state.runtime` (shared.http.runtime.Runtime); before and after, calls
    are refused with 503. It finds `app.state.metrics`. Two apps share nothing.
    """
    keys = Keys(settings.jwt_keys)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        # Not bound for a block only: what the lifespan starts inherits it, and lives and ends in this context.
        bind_contextvars(service=service)
        await keys.refresh()
        try:
            async with lifespan(app):
                yield
        finally:
            app.state.runtime = None

    app = _App(
        title=title,
        lifespan=running,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Asked on every call whether it is wanted, it costs more than finding the route.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        exception_handlers={
            Refusal: on_refusal,
            HTTPException: on_http_exception,
            RequestValidationError: on_parameters,
        },
    )
    app.state.runtime = None
    app.state.waiting = {}
    app.state.metrics = Metrics(CollectorRegistry(), service)
    app.state.verifier = Verifier(keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience)
    for router in routers:
        # As they are, not by include_router: one flat list is matched in microseconds.
        app.router.routes.extend(router.routes)
    app.router.routes.extend(health_routes())
    app.add_middleware(Shell, service=service, metrics=app.state.metrics, traces=traces)
    app.straight = straight(app.router.routes)
    app.shell = Shell(Straight(app.straight), service=service, metrics=app.state.metrics, traces=traces)

    def document() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = openapi(title, app.routes)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way
    return app
