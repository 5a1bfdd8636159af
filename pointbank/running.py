"""The whole of Pointbank, running: servers where none are configured, and the all-in-one process as a child."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from pathlib import Path
from subprocess import DEVNULL, Popen

from pointbank import embedded
from pointbank.api import Token
from pointbank.embedded.process import (
    SELF,
    START_S,
    CannotStart,
    Child,
    free_port,
    launch_command,
    must_be_free,
)
from pointbank.logins import log_in
from pointbank.tills import allow_tills
from pointbank.tokens import DevKeys, dev_keys, issue
from shared.config import Settings
from shared.db import Connection
from shared.tenants.provision import create_tenant, migrate_all

AUDITOR = "auditor"
PROTOCOL = "shared.http.protocol:Protocol"
"""For uvicorn's `--http`."""
NOBODY = "00000000-0000-7000-8000-000000000000"
_FIRST_READS = (
    "/v1/programmes",
    f"/v1/bills/{NOBODY}",
    f"/v1/wallets/{NOBODY}/balance",
    f"/v1/tiers/{NOBODY}",
    f"/v1/messages?member_id={NOBODY}",
)
"""A read of each service: who refuses one as forbidden or unavailable has not begun to serve the tenant."""
_NOT_SERVED_YET = (403, 503)


@dataclass(frozen=True)
class Deployment:
    """Where it runs. `settings` are an administrator's; `child` is the process that serves `base_url`."""

    settings: Settings
    base_url: str
    keys: DevKeys = field(repr=False)
    how: str
    child: Child

    def token(self, tenant: str) -> Token:
        """Issues tokens of this tenant, each with the scopes of the role asked for."""
        return lambda role: issue(self.keys, role=role, tenant=tenant, subject=f"{role}@{tenant}")

    async def open_tenant(self, tenant: str) -> None:
        """Makes the tenant where it is missing, lets its tills in, and returns when its services answer for it."""
        await create_tenant(self.settings, tenant)
        await allow_tills(self.settings, tenant)
        await self._until_served(tenant, _FIRST_READS)

    async def _until_served(self, tenant: str, paths: Sequence[str]) -> None:
        bearer = {"Authorization": f"Bearer {self.token(tenant)('support')}"}
        address = self.base_url.removeprefix("http://")
        deadline = time.monotonic() + START_S
        for path in paths:
            while await asyncio.to_thread(_status, address, path, bearer) in _NOT_SERVED_YET:
                if time.monotonic() > deadline:
                    raise CannotStart(f"the services do not serve {tenant}; see {self.child.log}")
                await asyncio.sleep(0.1)

    async def auditor(self, tenant: str) -> Connection:
        """A connection that may read everything of this tenant and change nothing."""
        return await self.login(tenant, AUDITOR)

    async def login(self, tenant: str, part: str) -> Connection:
        """A connection to the tenant's database as the login role of a service, or as the auditor."""
        return await log_in(self.settings, tenant, part)


@contextmanager
def running(
    state: Path, *, port: int | None = None, pg_settings: dict[str, str] | None = None
) -> Iterator[Deployment]:
    """Everything up, data in `state`; CannotStart when that isn't possible. At the end all that was started stops.

    Use it from the main thread: the child is bound to the life of the thread that starts it.
    """
    if port is not None:
        spare = port + 1
        must_be_free(port, another=f"use `make up PORT={spare}` or `pointbank up --port {spare}`")
    with embedded.servers(state, pg_settings=pg_settings) as servers:
        state = state.resolve()
        state.mkdir(parents=True, exist_ok=True)
        keys = dev_keys(state / "keys")
        settings = Settings(
            postgres_dsn=servers.postgres_dsn,
            redis_url=servers.redis_url,
            secret=os.environ.get("POINTBANK_SECRET") or embedded.secret_file(state / "secret"),
            jwt_keys=str(keys.jwks),
        )
        asyncio.run(_migrate(settings))
        port = port or free_port()
        child = _spawn(settings, port=port, log=state / "pointbank.log")
        try:
            _wait_until_it_answers(child, port)
            yield Deployment(settings, f"http://127.0.0.1:{port}", keys, servers.how, child)
        finally:
            child.stop()


@asynccontextmanager
async def redeem_alone(deployment: Deployment, tenant: str) -> AsyncIterator[Deployment]:
    """The bank as a process of its own, as it is deployed, and nothing of the other services: the all-in-one process stops in
    order first, for good. Yields when the bank answers for this tenant. Use it from the main thread."""
    await asyncio.to_thread(deployment.child.stop)
    port = free_port()
    log = deployment.child.log.with_name("redeem.log")
    child = _spawn(deployment.settings, port=port, log=log, app="services.redeem.app:create")
    try:
        await asyncio.to_thread(_wait_until_it_answers, child, port)
        alone = replace(deployment, base_url=f"http://127.0.0.1:{port}", child=child)
        await alone._until_served(tenant, [f"/v1/wallets/{NOBODY}/balance"])  # noqa: SLF001
        yield alone
    finally:
        await asyncio.to_thread(child.stop)


async def _migrate(settings: Settings) -> None:
    # Tenants of an earlier release, and the control database that the services look for first.
    for tenant, result in (await migrate_all(settings)).items():
        if isinstance(result, Exception):
            raise CannotStart(f"tenant {tenant} can't be migrated: {result}") from result


def _status(address: str, path: str, headers: dict[str, str]) -> int:
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _spawn(settings: Settings, *, port: int, log: Path, app: str = "pointbank.allinone:create") -> Child:
    assert settings.secret is not None
    # No administrator's DSN: the services log in with their own roles, and find nothing else in their environment.
    environment = {name: value for name, value in os.environ.items() if name != "POINTBANK_POSTGRES_DSN"} | {
        "POINTBANK_POSTGRES_HOST": settings.postgres_host,
        "POINTBANK_POSTGRES_PORT": str(settings.postgres_port),
        "POINTBANK_REDIS_URL": settings.redis_url,
        "POINTBANK_SECRET": settings.secret,
        "POINTBANK_JWT_KEYS": settings.jwt_keys or "",
        "POINTBANK_REDEEM_URL": f"http://127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", app, "--http", PROTOCOL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    with log.open("ab") as out:
        process = Popen(
            # Killed with us: its servers die in the same moment, and an orderly stop would wait for them.
            launch_command(SELF, signal.SIGKILL, command),
            stdin=DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            start_new_session=True,  # Ctrl-C is ours: the services stop after what still needs them
        )
    return Child(process, log, signal.SIGTERM)


def _wait_until_it_answers(child: Child, port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        child.must_run()
        connection = HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/livez")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass  # not listening yet
        finally:
            connection.close()
        time.sleep(0.05)
    raise CannotStart(f"the services do not answer on port {port}; see {child.log}")
