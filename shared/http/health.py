"""/livez, /readyz and /metrics: without a token, without a word about members."""

from collections.abc import Sequence

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.http.runtime import Check, Runtime
from shared.metrics import CONTENT_TYPE, exposition


def serves(checks: Sequence[Check]) -> bool:
    """Whether calls may be sent here: the process is well, and so is one of its tenants at least. One tenant's trouble is no reason
    to send the others' calls elsewhere: of all replicas, to nobody (docs/decisions/0198). Nor is it one that a tenant begins."""
    troubled = {check.tenant for check in checks if not check.ok and not check.begins}
    return "" not in troubled and (
        not troubled or any(check.tenant not in troubled for check in checks if check.tenant)
    )


def report(checks: Sequence[Check], *, well: bool) -> Response:
    """200 where the process is `well`, else 503; each check by name, with what is wrong."""
    degraded = "ok" if all(check.ok for check in checks) else "degraded"
    body = {
        "status": degraded if well else "failing",
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
    }
    return Response(msgspec.json.encode(body), 200 if well else 503, media_type="application/json")


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


def lives(checks: Sequence[Check]) -> bool:
    """Whether no restart is needed."""
    return all(check.ok for check in checks)


async def _livez(request: Request) -> Response:
    checks = live_checks(request.app)
    return report(checks, well=lives(checks))


async def _readyz(request: Request) -> Response:
    checks = ready_checks(request.app)
    answer = report(checks, well=serves(checks))
    answer.headers["Pointbank-Service"] = request.app.state.metrics.service
    return answer


async def _metrics(request: Request) -> Response:
    return Response(exposition([request.app.state.metrics.registry]), media_type=CONTENT_TYPE)


def health_routes() -> list[Route]:
    """The three routes, for an app of create_app. /readyz says whose it is: who asks by an address may meet another."""
    return [Route("/livez", _livez), Route("/readyz", _readyz), Route("/metrics", _metrics)]
