"""What is known about one HTTP call, from its first byte to its access log line."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.types import Scope

from shared.tracing import given_traceparent

if TYPE_CHECKING:
    from shared.fairness import Share
    from shared.http.auth import Principal
    from shared.http.runtime import TenantRuntime

_KEY = "pointbank.call"


class Call:
    """The shell makes it, guards and routes fill it in."""

    __slots__ = (
        "_headers",
        "_known",
        "canonical_body",
        "code",
        "principal",
        "request_id",
        "share",
        "tenant",
        "traceparent",
    )

    def __init__(self, headers: Iterable[tuple[bytes, bytes]] = (), request_id: str = "") -> None:
        self._headers = list(headers)
        # One look at all of them, instead of one for each that is asked for. None where one comes twice.
        known = dict(self._headers)
        self._known = known if len(known) == len(self._headers) else None
        self.request_id = request_id
        self.principal: Principal | None = None
        self.tenant: TenantRuntime | None = None
        self.share: Share | None = None  # of the process, in which it is in hand
        self.canonical_body = b""
        self.code = ""  # of the problem, when one was the answer
        self.traceparent: str | None = None  # of the call's own span, where there are traces

    @property
    def handed_on(self) -> str | None:
        """The traceparent of what follows from this call: its own span's, or its caller's."""
        return self.traceparent or given_traceparent(self.headers(b"traceparent"))

    def headers(self, name: bytes) -> list[str]:
        """All values of a header, by its name in lower case, in their order."""
        if self._known is None:
            return [value.decode("latin-1") for known, value in self._headers if known == name]
        value = self._known.get(name)
        return [] if value is None else [value.decode("latin-1")]


def put_call(scope: Scope, call: Call) -> None:
    """Keeps the call with its scope."""
    scope[_KEY] = call


def call_of(scope: Scope) -> Call:
    """The call that this scope belongs to. Every app of create_app has one."""
    call = scope[_KEY]
    assert isinstance(call, Call)
    return call
