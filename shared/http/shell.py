"""What surrounds every call: its id, the limit of its body, its log line, its seconds, and the answer to a bug."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from shared.fairness import FAIRNESS
from shared.http.call import Call, put_call
from shared.http.problems import BodyTooLarge, problem_response, refusal_response
from shared.http.turnstile import Turnstile
from shared.ids import uuid7
from shared.log import info
from shared.messaging.faults import Fault, classify
from shared.metrics import Metrics
from shared.tracing import given_traceparent

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from shared.traces import Traces

MOST_BYTES = 1024 * 1024
GONE = 499  # in logs and metrics: no answer went out, because the caller left or the server stops

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
_log = structlog.get_logger("pointbank.http")


class Shell:
    """ASGI middleware. Whatever happens inside, the caller gets an answer with X-Request-Id; a bug is a problem too."""

    def __init__(self, app: ASGIApp, *, service: str, metrics: Metrics, traces: Traces | None = None) -> None:
        self._app = app
        self._traces = traces
        self._service = service
        self._metrics = metrics
        self._turnstile = Turnstile()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (turn := self._turnstile.enter()) is not None:
            await turn
        call = Call(scope["headers"])
        call.request_id = request_id = _request_id(call)
        announced = _announced(call)
        put_call(scope, call)
        span: Span | None = None
        if self._traces is not None and scope["path"] not in _QUIET:
            said = f"{self._service} {scope['method']}"
            span = self._traces.start(said, given_traceparent(call.headers(b"traceparent")), "SERVER")
            call.traceparent = self._traces.traceparent(span)
        started = time.perf_counter()
        answered = 0.0
        status = 0
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BYTES:
                raise BodyTooLarge(_TOO_LARGE)
            return message

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # Answers are somebody's balance: no cache keeps them, no browser guesses what they are.
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    *_ALWAYS,
                ]
            await send(message)

        bound = bind_contextvars(service=self._service, request_id=request_id)
        try:
            if announced > MOST_BYTES:
                call.code = BodyTooLarge.code
                refused = refusal_response(BodyTooLarge(_TOO_LARGE), request_id=request_id)
                await refused(scope, receive, answer)
            else:
                await self._app(scope, limited, answer)
            # The answer goes out at the end of the event loop's turn: what is noted of it can wait that long.
            answered = time.perf_counter()
            await asyncio.sleep(0)
        except ClientDisconnect:
            call.code = "caller_gone"  # before the body was here: there is nobody to answer
        except Exception as error:  # the last stop: logged, answered, never lost
            if classify(error) in _NOT_OURS:
                call.code = "tenant_unavailable"
                detail = (
                    "What the answer needs is away, or took too long. Ask again, a write with the same key."
                )
                _log.warning("servers_away", error=repr(error)[:300])
            else:
                call.code = "internal_error"
                detail = "This is our mistake. It is logged under the request id."
                _log.exception("unhandled_exception", error=type(error).__name__)
            if status:
                raise  # half an answer is out: the server must cut the connection
            await problem_response(call.code, detail, request_id=request_id)(scope, receive, answer)
        finally:
            if call.share is not None:
                FAIRNESS.end(call.share)
            route = self._account(scope, call, status or GONE, (answered or time.perf_counter()) - started)
            if self._traces is not None and span is not None:
                self._traces.called(span, route=route, status=status or GONE, code=call.code)
            reset_contextvars(**bound)

    def _account(self, scope: Scope, call: Call, status: int, seconds: float) -> str:
        """Counts and logs the call; gives its route."""
        # Only FastAPI's routes leave themselves in the scope; the probes are Starlette's own.
        path = scope["path"]
        route = path if path in _QUIET else getattr(scope.get("route"), "path", "unmatched")
        tenant = call.principal.tenant if call.principal is not None and call.tenant is not None else ""
        self._metrics.http(tenant, route, status, seconds)
        if route not in _QUIET:
            said = {
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 2),
                "subject": call.principal.subject if call.principal is not None else None,
                "service": self._service,
                "request_id": call.request_id,
            }
            if tenant:
                said["tenant"] = tenant
            if call.code:
                said["code"] = call.code
            info(_log, "http", said)
        return route


_NOT_OURS = frozenset({Fault.TRANSIENT, Fault.LOCKED, Fault.SLOW})
"""What the servers, or the way to them, did to a read outside the lane, or to a write that its lane gave up."""

_ALWAYS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_TOO_LARGE = f"A body has at most {MOST_BYTES} bytes."


def _request_id(call: Call) -> str:
    """The caller's, where it gives a well-formed one; else a new one."""
    given = next(filter(None, call.headers(b"x-request-id")), "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid7())


def _announced(call: Call) -> int:
    """The length that the caller announces; 0 where it says none."""
    length = next(filter(None, call.headers(b"content-length")), "")
    return int(length) if length.isascii() and length.isdigit() else 0
