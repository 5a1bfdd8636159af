"""The queries of members, typed: rows in, domain values out."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from services.members.domain.members import Card, Claim, Enrolment, Member, Named, Wallet
from services.members.domain.merchants import Merchant
from services.members.domain.programmes import (
    ProgrammeListed,
    ProgrammeRow,
    ProgrammeSummary,
    Version,
    VersionSummary,
)
from shared.db import Connection
from shared.sql import load

queries = load("services.members")

_encode = msgspec.json.Encoder().encode
_document = msgspec.json.Decoder(dict[str, Any]).decode
_name = msgspec.json.Decoder(dict[str, str]).decode
_cashiers = msgspec.json.Decoder(dict[str, UUID]).decode

DRAWS = 100
"""Draws of a card number before it is believed that a prefix has no free numbers left."""


class CardNumbersExhausted(Exception):
    """A programme's prefix leaves no free card numbers: it needs a version with another prefix."""


class NewWallet(NamedTuple):
    """A wallet to be, with its card to be."""

    wallet_id: UUID
    member_id: UUID
    programme: str
    card_id: UUID
    card_prefix: str


class NewMember(NamedTuple):
    """A member to be. `event_sequence`: how many events tell of the enrolment."""

    member_id: UUID
    enrolment: Enrolment
    event_sequence: int
    referred_by: UUID | None = None


# ---- programmes ----------------------------------------------------------------------------------


async def open_programmes(db: Connection, codes: Iterable[str]) -> None:
    """Makes the programmes that are missing, without a version."""
    await queries.open_programmes(db, codes=sorted(codes))


async def lock_programmes(db: Connection, codes: Iterable[str]) -> dict[str, ProgrammeRow]:
    """The programmes by code, locked; those that don't exist are left out."""
    asked = sorted(codes)
    rows = {row["code"]: ProgrammeRow(*row) for row in await queries.lock_programmes(db, codes=asked)}
    for code, time_zone, begins_at in await queries.begun_programmes(db, codes=asked):
        rows[code].time_zone, rows[code].begins_at = time_zone, begins_at
    return rows


async def add_version(db: Connection, version: Version) -> None:
    """Keeps a draft as its locked programme's latest version."""
    await queries.add_version(
        db,
        programme=version.programme,
        version=version.version,
        document=_encode(version.document).decode(),
        created_at=version.created_at,
    )


async def activate_version(db: Connection, row: ProgrammeRow) -> None:
    """Makes the version that the changed row names as active the active one, from when the row says that it begins."""
    await queries.supersede_active(db, programme=row.code)
    await queries.activate_version(
        db,
        programme=row.code,
        version=row.active_version,
        activated_at=row.begins_at,
        currency=row.currency,
        event_sequence=row.event_sequence,
    )


async def programme_version(db: Connection, programme: str, version: int) -> Version | None:
    """One version of a programme, or None."""
    row = await queries.programme_version(db, programme=programme, version=version)
    if row is None:
        return None
    return Version(
        row["programme"],
        row["version"],
        row["status"],
        _document(row["document"]),
        row["created_at"],
        row["activated_at"],
    )


async def programme_summary(db: Connection, programme: str) -> ProgrammeSummary | None:
    """A programme's versions, or None."""
    rows = await queries.programme_summary(db, programme=programme)
    if not rows:
        return None
    versions = [VersionSummary(*row[:4]) for row in (tuple(row) for row in rows)]
    return ProgrammeSummary(programme, rows[0]["active_version"], versions)


async def all_programmes(db: Connection) -> list[ProgrammeListed]:
    """Every programme."""
    return [ProgrammeListed(*row) for row in await queries.all_programmes(db)]


async def card_prefixes(db: Connection) -> tuple[dict[str, str], set[str]]:
    """The card prefix of each active programme, and which of them are closed."""
    rows = await queries.active_programmes(db)
    closed = {row["code"] for row in rows if row["closed"]}
    return {row["code"]: row["card_prefix"] for row in rows}, closed


# ---- merchants -----------------------------------------------------------------------------------


async def lock_merchants(db: Connection, merchants: Iterable[str]) -> dict[str, Merchant]:
    """The merchants by code, locked; those that don't exist are left out."""
    rows = await queries.lock_merchants(db, merchants=sorted(merchants))
    return {
        row["merchant"]: Merchant(
            row["merchant"],
            row["brand"],
            _name(row["name"]),
            row["terminals"],
            row["version"],
            _cashiers(row["cashiers"]),
        )
        for row in rows
    }


async def put_merchants(db: Connection, merchants: Sequence[Merchant]) -> None:
    """Writes each merchant under its next version."""
    written = await queries.put_merchants(
        db,
        merchants=[one.merchant for one in merchants],
        brands=[one.brand for one in merchants],
        names=[_encode(one.name).decode() for one in merchants],
        terminals=[_encode(one.terminals).decode() for one in merchants],
        versions=[one.version for one in merchants],
        cashiers=[_encode(one.cashiers).decode() for one in merchants],
    )
    if len(written) != len(merchants):
        # Somebody made the same new merchant at this moment. There was no row to lock; now there is: once more.
        raise asyncpg.SerializationError("a merchant was written at the same time")


# ---- members -------------------------------------------------------------------------------------


async def claim_identities(db: Connection, claims: Mapping[Claim, UUID]) -> set[Claim]:
    """Gives each identity that is nobody's to its member; gives those that were free, locked from now on."""
    rows = await queries.claim_identities(db, **_columns(claims), member_ids=list(claims.values()))
    return {Claim(row["kind"], row["hash"]) for row in rows}


async def release_identities(db: Connection, claims: Iterable[Claim]) -> None:
    """Gives back what this transaction claimed in vain."""
    await queries.release_identities(db, **_columns(claims))


async def pass_identities(db: Connection, claims: Mapping[Claim, UUID]) -> None:
    """Gives what this transaction claimed to those who have it in the end."""
    await queries.pass_identities(db, **_columns(claims), member_ids=list(claims.values()))


async def add_members(db: Connection, members: Sequence[NewMember], enrolled_at: datetime) -> None:
    """Writes new members, their contacts and consents."""
    await queries.add_members(
        db,
        member_ids=[one.member_id for one in members],
        locales=[one.enrolment.locale for one in members],
        channels=[one.enrolment.channel for one in members],
        event_sequences=[one.event_sequence for one in members],
        names=[one.enrolment.name for one in members],
        mobiles=[one.enrolment.mobile for one in members],
        emails=[one.enrolment.email for one in members],
        external_ids=[one.enrolment.external_id for one in members],
        birthdays=[one.enrolment.birthday for one in members],
        terms_versions=[one.enrolment.consent.terms_version for one in members],
        accepted_ats=[one.enrolment.consent.accepted_at for one in members],
        referred_bys=[one.referred_by for one in members],
        enrolled_at=enrolled_at,
    )


async def add_wallets(db: Connection, wallets: Sequence[NewWallet]) -> None:
    """Writes new wallets."""
    await queries.add_wallets(
        db,
        wallet_ids=[one.wallet_id for one in wallets],
        member_ids=[one.member_id for one in wallets],
        programmes=[one.programme for one in wallets],
    )


async def issue_cards(
    db: Connection, wallets: Sequence[NewWallet], issued_at: datetime, draw: Callable[[str], str]
) -> dict[UUID, Card]:
    """A card for each wallet, by wallet; `draw` makes a number from a prefix, and another one where that is taken."""
    issued: dict[UUID, Card] = {}
    waiting = list(wallets)
    for _ in range(DRAWS):
        if not waiting:
            return issued
        rows = await queries.issue_cards(
            db,
            card_ids=[one.card_id for one in waiting],
            wallet_ids=[one.wallet_id for one in waiting],
            card_numbers=[draw(one.card_prefix) for one in waiting],
            issued_at=issued_at,
        )
        numbers = {row["card_id"]: row["card_number"] for row in rows}
        issued |= {
            one.wallet_id: Card(one.card_id, numbers[one.card_id])
            for one in waiting
            if one.card_id in numbers
        }
        waiting = [one for one in waiting if one.card_id not in numbers]
    raise CardNumbersExhausted(f"no free card number below {waiting[0].card_prefix} in {DRAWS} draws")


async def member_by_identity(db: Connection, claim: Claim) -> UUID | None:
    """Whose identity this is, or None."""
    found: UUID | None = await queries.member_by_identity(db, kind=claim.kind, hash=claim.hash)
    return found


async def members_named(db: Connection, named: Iterable[Named]) -> dict[Named, UUID]:
    """Whom each of these names, as far as that is a member that is not closed."""
    ordered = list(named)
    rows = await queries.members_named(
        db, **_columns([one.claim for one in ordered]), member_ids=[one.member_id for one in ordered]
    )
    found = {(row["kind"], row["hash"]): row["member_id"] for row in rows}
    return {one: found[one.claim] for one in ordered if one.claim in found}


async def member(db: Connection, member_id: UUID) -> Member | None:
    """A member with wallets and cards, or None."""
    rows = await queries.member_with_wallets(db, member_id=member_id)
    if not rows:
        return None
    wallets = [
        Wallet(
            row["programme"],
            row["wallet_id"],
            Card(row["card_id"], row["card_number"]) if row["card_id"] is not None else None,
        )
        for row in rows
        if row["wallet_id"] is not None
    ]
    first = rows[0]
    merged_into = None
    if first["merged_into"] is not None:
        merged_into = (await goes_on_as(db, [member_id]))[member_id]
    return Member(member_id, first["status"], first["locale"], wallets, merged_into)


async def goes_on_as(db: Connection, member_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Who each of these members is now, through every merge: itself where there was none."""
    rows = await queries.goes_on_as(db, member_ids=list(member_ids))
    return {row["member_id"]: row["goes_on_as"] for row in rows}


def _columns(claims: Iterable[Claim]) -> dict[str, list[Any]]:
    ordered = list(claims)
    return {"kinds": [claim.kind for claim in ordered], "hashes": [claim.hash for claim in ordered]}
