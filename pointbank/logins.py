"""Logging in to a tenant's database as one of its own roles, wherever the directory says that it is."""

from __future__ import annotations

from urllib.parse import quote

from shared.config import Settings
from shared.db import Connection, connect, role_of
from shared.tenants import Tenant
from shared.tenants.directory import Directory, Place, find_place


class UnknownTenant(Exception):
    """Nobody made a tenant of this code; the message says how to see which there are."""


class NotServed(Exception):
    """The tenant can't be written to now; the message says why."""

    @classmethod
    def because(cls, tenant: str, state: str) -> NotServed:
        """Of a tenant in a state that is not `active`, with what ends it."""
        ends = (
            f"`pointbank tenant resume {tenant}` serves it again"
            if state in ("suspending", "suspended")
            else "run `pointbank migrate`, or try again when it is active"
        )
        return cls(f"{tenant} is {state}; {ends}")


async def find_served(settings: Settings, tenant: str, service: str) -> Tenant:
    """A tenant that is active and on this release's schema, for who writes as `service` does. Raises UnknownTenant, NotServed."""
    directory = Directory(settings, service)
    await directory.open()
    try:
        listed = {one.tenant.code: one for one in await directory.tenants()}
    finally:
        await directory.close()
    if tenant not in listed:
        raise UnknownTenant(f"there is no tenant {tenant}; `pointbank tenant list` shows those there are")
    if listed[tenant].state != "active":
        raise NotServed.because(tenant, listed[tenant].state)
    return listed[tenant].tenant


async def log_in(settings: Settings, tenant: str, part: str, *, enter: str | None = None) -> Connection:
    """A connection with the role that `part` (a service, or the auditor) has in `tenant`, to that tenant's database.

    `enter` names another tenant, whose database is tried with this one's role: it must be refused.
    """
    place = await _place(settings, enter or tenant, part)
    role = role_of(tenant, part)
    return await connect(
        "postgresql://",
        host=place.host,
        port=place.port,
        database=place.database,
        user=role,
        password=settings.password_of(part, role),
    )


async def login_url(settings: Settings, tenant: str, part: str) -> str:
    """The same login as a DSN, with its password, for `psql` and others. Raises UnknownTenant."""
    role = role_of(tenant, part)
    return url_of(await _place(settings, tenant, part), role, settings.password_of(part, role))


def url_of(place: Place, role: str, password: str) -> str:
    """A DSN of this place; a host that is a path is the folder of a socket."""
    host = place.host or ""
    if host.startswith("/"):
        return (
            f"postgresql://{role}:{password}@/{place.database}?host={quote(host, safe='')}&port={place.port}"
        )
    at = f"[{host}]" if ":" in host else host
    return f"postgresql://{role}:{password}@{at}:{place.port}/{place.database}"


async def _place(settings: Settings, tenant: str, part: str) -> Place:
    place = await find_place(settings, tenant, part=part)
    if place is None:
        raise UnknownTenant(f"there is no tenant {tenant}; `pointbank tenant list` shows those there are")
    return place
