"""Asking the HTTP API on somebody's behalf: with their token, else one of the state folder's keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import typer

ABSENT_S = 5.0
"""How long a person is let wait while nobody listens."""

T = TypeVar("T")


def bearer(token: str | None, state: Path, *, role: str, tenant: str) -> str:
    """The token that was given, else a new one for that role; NoKeys where the folder has none."""
    from pointbank.tokens import NoKeys, issue, known_keys

    if token:
        return token
    try:
        keys = known_keys(state / "keys")
    except NoKeys as error:
        raise NoKeys(f"{error}, or give a token: `--token`, POINTBANK_TOKEN") from error
    return issue(keys, role=role, tenant=tenant, subject=f"{role}@{tenant}")


def with_api(
    do: Callable[[Any], Awaitable[T]], *, url: str, token: str | None, state: Path, role: str, tenant: str
) -> T:
    """What `do` comes to, given an Api that calls as that role. Raises NoKeys, CallFailed and Unreachable."""
    import asyncio

    from pointbank.api import Api

    chosen = bearer(token, state, role=role, tenant=tenant)

    async def run() -> T:
        async with Api(url, lambda _: chosen, absent_s=ABSENT_S) as api:
            return await do(api)

    return asyncio.run(run())


def one_of(chosen: str | None, *words: str, option: str) -> None:
    """Refuses a word that is none of these; None is no word."""
    if chosen is not None and chosen not in words:
        raise typer.BadParameter(f"{chosen} is none of {', '.join(words)}", param_hint=option)


def a_day(text: str | None, *, option: str) -> str | None:
    """The day as it was written; refused where it is none."""
    try:
        return None if text is None else date.fromisoformat(text).isoformat()
    except ValueError:
        raise typer.BadParameter(
            f"{text} is no day, which is written YYYY-MM-DD", param_hint=option
        ) from None


def a_url(text: str) -> str:
    """A callback of `--url`: refuses what no API can stand at."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        port, parts = 0, None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise typer.BadParameter(f"{text} is no http:// or https:// URL")
    return text
