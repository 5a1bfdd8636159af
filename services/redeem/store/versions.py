"""Which version of a programme counts. Nobody else asks for one by its number.

What is decided now, and what a balance is worth now, goes by the newest that is known here. What was promised (sold, set aside,
allowed, issued) goes by the version under which it was promised.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from services.redeem.domain.versions import Newest
from services.redeem.store.sql import columns, versions
from shared.db import Connection
from shared.programme.compiled import CompiledProgramme, compile_programme
from shared.programme.validation import UnreadVersion

Cache = dict[Any, Any]


class Promised(Protocol):
    """What keeps the version that it was promised under: a redemption, an allowance, an adjustment, a gift card."""

    @property
    def programme(self) -> str: ...
    @property
    def programme_version(self) -> int: ...


class Promise(NamedTuple):
    """The same of a row."""

    programme: str
    programme_version: int


async def newest(db: Connection, cache: Cache, programme: str) -> CompiledProgramme | None:
    """What counts of a programme now; None for one that is not known here."""
    return (await newest_of(db, cache, [programme])).get(programme)


async def newest_of(
    db: Connection, cache: Cache, programmes: Collection[str]
) -> dict[str, CompiledProgramme]:
    """The same of each of these, by their codes and in their order; those that are not known here are left out."""
    if not programmes:
        return {}
    rows = await versions.newest_versions(db, programmes=list(programmes))
    return {code: await _version(db, cache, code, version) for code, version in rows}


async def newest_read(
    db: Connection, cache: Cache, programmes: Collection[str] | None = None
) -> dict[str, CompiledProgramme]:
    """What a sweep goes by: the newest of each of these programmes (None: of every one) that this release can read. What another
    one says is left to who can (docs/decisions/0337): it keeps nothing of the others."""
    rows = await (
        versions.all_newest_versions(db)
        if programmes is None
        else versions.newest_versions(db, programmes=list(programmes))
    )
    found: dict[str, CompiledProgramme] = {}
    for code, version in rows:
        with suppress(UnreadVersion):
            found[code] = await _version(db, cache, code, version)
    return found


async def as_found(db: Connection, cache: Cache, programme: str, newest: Newest | None) -> CompiledProgramme:
    """What counts of a programme that is known here, whose newest version a query found with what it looked for."""
    assert newest is not None, programme
    return await _version(db, cache, programme, newest)


async def promised(db: Connection, cache: Cache, one: Promised) -> CompiledProgramme:
    """What counts for this, whatever versions came since."""
    return await _version(db, cache, one.programme, one.programme_version)


async def active_at(
    db: Connection, cache: Cache, asked: Sequence[tuple[str, datetime | None]]
) -> list[CompiledProgramme]:
    """What counted of each of these programmes, which are known here, at a moment: of what was done then and does not keep its
    version. None: what counts now."""
    rows = await versions.versions_at(db, **columns(("programmes", "ats"), asked)) if asked else []
    return [
        await _version(db, cache, programme, version)
        for (programme, _), (_, version) in zip(asked, rows, strict=True)
    ]


class EndingSilence(NamedTuple):
    """Of the programmes of which a version ends balances that were left alone: their versions that changed what is said of expiry,
    in order, each with when it was activated. They are read one after the other (docs/decisions/0260). `unread`: those of which
    one says what this release does not know, with why."""

    read: dict[str, list[tuple[CompiledProgramme, datetime]]]
    unread: dict[str, UnreadVersion]


async def ending_silence(db: Connection, cache: Cache) -> EndingSilence:
    """Of every programme. Refuses none: what one says is no matter of the others."""
    read: dict[str, list[tuple[CompiledProgramme, datetime]]] = {}
    unread: dict[str, UnreadVersion] = {}
    for programme, version, activated_at in await versions.idle_versions(db):
        try:
            terms = await _version(db, cache, programme, version)
        except UnreadVersion as refusal:
            unread[programme] = refusal
        else:
            read.setdefault(programme, []).append((terms, activated_at))
    return EndingSilence({code: own for code, own in read.items() if code not in unread}, unread)


async def _version(db: Connection, cache: Cache, programme: str, version: int) -> CompiledProgramme:
    """Compiled once in a process, for it never changes."""
    known = cache.get(("programme", programme, version))
    if known is None:
        document = await versions.programme(db, programme=programme, version=version)
        known = cache["programme", programme, version] = compile_programme(
            msgspec.json.decode(document), version
        )
    assert isinstance(known, CompiledProgramme)
    return known
