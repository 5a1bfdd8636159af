"""/livez, /readyz and /metrics: without a token, without a word about members."""

from collections.abc import Sequence

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.http.runtime import Check, Runtime
from shared.metrics import CONTENT_TYPE, exposition


def report(checks: Sequence[Check]) -> Response:
    """200 when every check is ok, else 503; each check by name, with what is wrong."""
    ok = all(check.ok for check in checks)
    body = {
        "status": "ok" if ok else "failing",
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
    }
    return Response(msgspec.json.encode(body), 200 if ok else 503, media_type="application/json")


def ready_checks(app: FastAPI) -> list[Check]:
    """What must hold before a call is sent here."""
    runtime: Runtime | None = getattr(app.state, "runtime", None)
    running = Check("running", runtime is not None, "" if runtime is not None else "starting or stopping")
    failure = app.state.verifier.keys.failure
    keys = Check("token_keys", failure is None, failure or "")
    return [running, keys, *(runtime.checks() if runtime is not None else ())]


def live_checks(app: FastAPI) -> list[Check]:
    """What only a restart can mend."""
    runtime: Runtime | None = getattr(app.state, "runtime", None)
    return [check for check in (runtime.checks() if runtime is not None else ()) if check.fatal]


async def _livez(request: Request) -> Response:
    return report(live_checks(request.app))


async def _readyz(request: Request) -> Response:
    return report(ready_checks(request.app))


async def _metrics(request: Request) -> Response:
    return Response(exposition([request.app.state.metrics.registry]), media_type=CONTENT_TYPE)


def health_routes() -> list[Route]:
    """The three routes, for an app of create_app."""
    return [Route("/livez", _livez), Route("/readyz", _readyz), Route("/metrics", _metrics)]
