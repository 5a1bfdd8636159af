"""What the HTTP shell asks of the service behind it; shared/service.py and shared/runtime.py give it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from shared.clock import Clock
from shared.db import Connection
from shared.messaging.commands import Item, Outcome
from shared.tenants import Tenant


class Check(NamedTuple):
    """One named fact of /readyz. `fatal`: only a restart can mend it, so /livez fails too. `tenant`: whose fact it is; empty: the
    whole process's. `begins`: the tenant is being begun with, and nothing is wrong with it so far."""

    name: str
    ok: bool
    detail: str = ""
    fatal: bool = False
    tenant: str = ""
    begins: bool = False


class Lane(Protocol):
    """Takes a command and answers when it is written, refused or found to be a repeat."""

    async def submit(self, item: Item[Any]) -> Outcome: ...


class TenantRuntime(Protocol):
    """One tenant as this process serves it."""

    @property
    def code(self) -> str: ...

    @property
    def tenant(self) -> Tenant: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def lane(self) -> Lane: ...

    @property
    def cache(self) -> dict[Any, Any]:
        """What outlives a call in this process: versions of programmes, and the like."""
        ...

    def read(self) -> AbstractAsyncContextManager[Connection]:
        """A connection with the service's own role, for reading outside the lane."""
        ...


class Runtime(Protocol):
    """A running service. It stands in `app.state.runtime` from the lifespan's start to its end."""

    def tenant(self, code: str) -> TenantRuntime:
        """The tenant, or the refusal tenant_forbidden, tenant_unavailable or tenant_migrating."""
        ...

    def checks(self) -> Sequence[Check]:
        """Consumers, relay, databases: each with what is wrong with it."""
        ...
