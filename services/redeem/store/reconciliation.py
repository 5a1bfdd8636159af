"""Reconciliation: how far a run has come, what does not agree, and what somebody decided about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.redeem.store import seals
from services.redeem.store.seals import Holder
from shared.db import Connection
from shared.ids import uuid7
from shared.sql import load

queries = load("services.redeem.store", "reconciliation.sql")


class Run(NamedTuple):
    """A walk over the leaves of the seals after `from_seal` up to `to_seal`, as far as leaf `at_position` of `at_seal`."""

    no: int
    from_seal: int
    to_seal: int
    at_seal: int
    at_position: int
    wallets: int
    differences: int


class Found(NamedTuple):
    """Something that does not agree: `expected` is what the finer books come to."""

    kind: str
    subject: str
    expected: str
    found: str


class Difference(NamedTuple):
    """A difference as it is kept."""

    difference_id: UUID
    kind: str
    subject: str
    expected: str
    found: str
    first_seen: datetime
    last_seen: datetime
    owner: str | None
    state: str
    reason: str | None


class Page(NamedTuple):
    """The next leaves of a run: where it has come with them, the wallets and gift cards to compare, and whether more may follow."""

    at_seal: int
    at_position: int
    wallet_ids: list[UUID]
    card_ids: list[UUID]
    more: bool


class Walked(NamedTuple):
    """The seals that a run goes over as they are: its leaves after `at_position` of `at_seal`, up to seal `to_seal`."""

    at_seal: int
    at_position: int
    to_seal: int


async def lock_run(db: Connection) -> Run | None:
    """The run that is under way, locked, or a new one; None where nothing was sealed since the last."""
    row = await queries.unfinished(db) or await queries.begin_run(db) or await queries.unfinished(db)
    return None if row is None else Run(*row)


async def next_run(db: Connection) -> Run | None:
    """What a real run would go over, as one; nothing is written."""
    row = await queries.next_range(db)
    if row is None:
        return None
    return Run(row["no"], row["from_seal"], row["to_seal"], row["at_seal"], row["at_position"], 0, 0)


async def next_page(db: Connection, run: Run, *, most: int) -> Page:
    """The next leaves."""
    rows = await queries.next_leaves(
        db, at_seal=run.at_seal, at_position=run.at_position, to_seal=run.to_seal, most=most
    )
    if not rows:
        return Page(run.at_seal, run.at_position, [], [], False)
    last, newest = rows[-1], [row for row in rows if row["newest"]]
    wallet_ids = [row["wallet_id"] for row in newest if row["card_id"] is None]
    card_ids = [row["card_id"] for row in newest if row["card_id"] is not None]
    return Page(last["no"], last["position"], wallet_ids, card_ids, len(rows) == most)


async def walked(db: Connection, run: Run | None) -> Walked:
    """What a run goes over; without one, no leaf of the seals that there are."""
    if run is not None:
        return Walked(run.at_seal, run.at_position, run.to_seal)
    last, _ = await seals.standing(db)
    return Walked(last, 2**63 - 1, last)


async def new_page(
    db: Connection, holder: Holder, walked: Walked, *, after: UUID, most: int
) -> tuple[Page, UUID | None]:
    """Of the next wallets (or gift cards) by id those whose head these seals do not have, and that were not met under them; and
    the last that was looked at, None: there are no more."""
    find = queries.wallet_heads_after if holder == "wallet" else queries.card_heads_after
    rows = await find(db, after=after, most=most, **walked._asdict())
    new = [row[0] for row in rows if row["new"]]
    page = Page(0, 0, *((new, []) if holder == "wallet" else ([], new)), bool(rows))
    return page, rows[-1][0] if rows else None


async def compare(db: Connection, page: Page) -> list[Found]:
    """What of a page's wallets and gift cards does not agree, each kind as one moment has it."""
    rows = await queries.compare(db, wallet_ids=page.wallet_ids) if page.wallet_ids else []
    rows += await queries.compare_cards(db, card_ids=page.card_ids) if page.card_ids else []
    return [Found(*row) for row in rows]


async def keep(db: Connection, run: Run, page: Page, found: Sequence[Found], at: datetime) -> Run:
    """Keeps what was found on a page, and how far the run has come."""
    if found:
        await keep_found(db, found, at)
    moved = advanced(run, page, found)
    await queries.move_run(
        db,
        no=run.no,
        at_seal=moved.at_seal,
        at_position=moved.at_position,
        wallets=moved.wallets,
        differences=moved.differences,
        finished=not page.more,
    )
    return moved


async def keep_found(db: Connection, found: Sequence[Found], at: datetime) -> None:
    """Keeps what does not agree; what is there already, and not closed, was seen again."""
    kinds, subjects, expected, there = zip(*found, strict=True)
    await queries.keep_differences(
        db,
        difference_ids=[uuid7() for _ in found],
        kinds=kinds,
        subjects=subjects,
        expected=expected,
        found=there,
        seen=at,
    )


def advanced(run: Run, page: Page, found: Sequence[Found]) -> Run:
    """The run after a page."""
    return run._replace(
        at_seal=page.at_seal,
        at_position=page.at_position,
        wallets=run.wallets + len(page.wallet_ids),
        differences=run.differences + len(found),
    )


async def differences(
    db: Connection, *, states: Sequence[str], merchant: str | None, before: UUID, most: int
) -> list[Difference]:
    """Differences in these states (of what was counted at a merchant, if one is given) that are older than one of them, the newest
    first."""
    rows: Sequence[Any] = await queries.differences(
        db, states=states, merchant=merchant, before=before, most=most
    )
    return [Difference(*row) for row in rows]


async def lock_difference(db: Connection, difference_id: UUID) -> Difference | None:
    """One difference, locked."""
    row = await queries.lock_difference(db, difference_id=difference_id)
    return None if row is None else Difference(*row)


async def decide(db: Connection, difference: Difference) -> None:
    """Keeps who has it, and what became of it."""
    await queries.decide(
        db,
        difference_id=difference.difference_id,
        owner=difference.owner,
        state=difference.state,
        reason=difference.reason,
    )


async def open_by_kind(db: Connection) -> dict[str, int]:
    """How many are not closed, by kind."""
    return {row["kind"]: row["n"] for row in await queries.open_differences(db)}
