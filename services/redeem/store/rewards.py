"""Rewards with their stock, and benefits."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.redeem.domain.rewards import AsIssued, Benefit, Reward, Stock
from services.redeem.store.sql import columns, rewards
from shared.db import Connection
from shared.programme.validation import UnreadVersion

Name = tuple[str, str]
"""A programme and a reward of it."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class _Known(Reward, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version that says nothing that this release does not know: what it is sold and given by."""


_decode = msgspec.json.Decoder(Reward).decode
_known = msgspec.json.Decoder(_Known).decode
_issued = msgspec.json.Decoder(AsIssued).decode


class Use(NamedTuple):
    """A benefit that is consumed, and where."""

    benefit_id: UUID
    merchant: str
    terminal: str | None
    cashier: str | None
    bill_ref: str | None


class Held(NamedTuple):
    """A benefit under its lock."""

    benefit_id: UUID
    code_hash: bytes
    expires_at: datetime | None
    consumed_at: datetime | None
    withdrawn_at: datetime | None
    lapsed_at: datetime | None
    merchant: str | None
    wallet_status: str | None
    """Of its wallet, or of that wallet's heir."""


class Owner(NamedTuple):
    """A member's wallet in a programme, and what tiers told of it last."""

    wallet_id: UUID
    available: int
    status: str
    standing: tuple[str, datetime | None] | None


async def begin(db: Connection, names: Iterable[Name]) -> None:
    """Makes rows for rewards that are put for the first time: each has a row to lock after it."""
    await rewards.begin_rewards(db, **_names(names))


async def lock(db: Connection, names: Iterable[Name]) -> dict[Name, Stock | None]:
    """Rewards, locked until the end of the transaction; None for one that has no version yet. Refuses tenant_migrating where one
    says what this release does not know."""
    rows = await rewards.lock_rewards(db, **_names(names))
    return {(row[0], row[1]): _stock(row) for row in rows}


async def lock_read(
    db: Connection, names: Iterable[Name], *, asked: Container[Name] = ()
) -> dict[Name, Stock | None]:
    """The same of who passes over what this release can't read: all of them are locked. Those that are `asked` are refused."""
    found: dict[Name, Stock | None] = {}
    for row in await rewards.lock_rewards(db, **_names(names)):
        name = row[0], row[1]
        try:
            found[name] = _stock(row)
        except UnreadVersion:
            if name in asked:
                raise
    return found


async def named(db: Connection, names: Iterable[Name]) -> dict[Name, Stock]:
    """Rewards as they are, unlocked; those that are known."""
    rows = await rewards.rewards_named(db, **_names(names))
    return {(row[0], row[1]): stock for row in rows if (stock := _stock(row)) is not None}


async def page(db: Connection, programme: str, *, after: str, most: int) -> list[Stock]:
    """A programme's rewards by their codes, after this one."""
    rows = await rewards.rewards_page(db, programme=programme, after=after, most=most)
    return [stock for row in rows if (stock := _stock(row)) is not None]


async def put(db: Connection, stock: Stock, *, changed: bool, now: datetime) -> None:
    """Keeps a reward's version, if it is another than before, and its supply. The row is locked."""
    named = {"programme": stock.programme, "reward": stock.code, "version": stock.version}
    if changed:
        await rewards.keep_version(db, **named, document=_encode(stock.reward).decode(), now=now)
    await rewards.set_reward(db, **named, supplied=stock.supplied)


async def had(db: Connection, asked: Sequence[tuple[UUID, str, str, datetime]]) -> list[int]:
    """How many of each (wallet, programme, reward) were bought since that instant, and not taken back."""
    rows = await rewards.had(db, **columns(("wallet_ids", "programmes", "rewards", "sinces"), asked))
    counts = {row["k"]: row["had"] for row in rows}
    return [counts[k] for k in range(1, len(asked) + 1)]


async def issue(db: Connection, benefits: Sequence[Benefit], taken: Mapping[Name, int]) -> None:
    """Writes benefits, and what they take of the stock, which is locked."""
    names = _names(taken)
    await rewards.issue(
        db,
        **names,
        taken=[taken[name] for name in zip(names["programmes"], names["rewards"], strict=True)],
        **columns(_BENEFIT_COLUMNS, [msgspec.structs.astuple(benefit) for benefit in benefits]),
    )


async def benefits(db: Connection, benefit_ids: Iterable[UUID]) -> dict[UUID, Any]:
    """Benefits' rows, each with its reward's `document` and the programme's `currency`."""
    rows = await rewards.benefits_by_id(db, benefit_ids=list(benefit_ids))
    return {row["benefit_id"]: row for row in rows}


async def benefit(db: Connection, benefit_id: UUID) -> Any | None:
    """The row of one benefit."""
    return (await benefits(db, [benefit_id])).get(benefit_id)


async def benefit_of_code(db: Connection, code_hash: bytes) -> Any | None:
    """The row of the benefit that a code names."""
    benefit_id = await rewards.benefit_id_of(db, code_hash=code_hash)
    return None if benefit_id is None else await benefit(db, benefit_id)


async def owner_status(db: Connection, benefit_id: UUID) -> str | None:
    """The status of the wallet that a benefit is of, or of that wallet's heir; None where there is none."""
    found: str | None = await rewards.owner_status(db, benefit_id=benefit_id)
    return found


async def lock_benefits(db: Connection, code_hashes: Iterable[bytes]) -> dict[bytes, Held]:
    """Benefits by their codes' hashes, locked until the end of the transaction."""
    rows = await rewards.lock_benefits(db, code_hashes=list(code_hashes))
    return {row["code_hash"]: Held(*row) for row in rows}


async def consume(db: Connection, uses: Sequence[Use], now: datetime) -> None:
    """Writes that these locked benefits are used."""
    await rewards.consume(
        db, now=now, **columns(("benefit_ids", "merchants", "terminals", "cashiers", "bill_refs"), uses)
    )


async def terminals_of(db: Connection, merchants: Iterable[str]) -> dict[str, list[str]]:
    """The terminals of those of these merchants that are known."""
    rows = await rewards.merchants_of(db, merchants=list(merchants))
    return {row["merchant"]: row["terminals"] for row in rows}


async def owner(
    db: Connection,
    programme: str,
    *,
    member_id: UUID | None,
    identity_kind: str | None,
    identity_hash: bytes | None,
) -> Owner | None:
    """The wallet of a member in a programme; None where there is none."""
    row = await rewards.wallet_of_member(
        db,
        programme=programme,
        member_id=member_id,
        identity_kind=identity_kind,
        identity_hash=identity_hash,
    )
    if row is None:
        return None
    standing = (row["tier"], row["until"]) if row["tier"] is not None else None
    return Owner(row["wallet_id"], row["available"], row["status"], standing)


def issued_as(row: Any) -> AsIssued:
    """What a benefit's reward was when it was issued, whoever knows the rest of it."""
    return _issued(row["document"])


def reward_of(row: Any) -> Reward:
    """What a version of a reward says, to the last word: by which it is sold and given. Refuses tenant_migrating."""
    try:
        _known(row["document"])
    except msgspec.ValidationError as error:
        raise _unread(row, error) from error
    return _decode(row["document"])


def _unread(row: Any, error: msgspec.ValidationError) -> UnreadVersion:
    return UnreadVersion(
        f"A version of the reward {row['reward']} of {row['programme']} says what this release does not know ({error})."
        " Another process may; ask again with the same key."
    )


_BENEFIT_COLUMNS = (
    "benefit_ids",
    "redemption_ids",
    "benefit_wallets",
    "benefit_members",
    "benefit_programmes",
    "benefit_rewards",
    "benefit_versions",
    "benefit_tiers",
    "benefit_points",
    "benefit_costs",
    "code_hashes",
    "issued_ats",
    "expires_ats",
    "origins",
    "asked_bys",
    "benefit_programme_versions",
)
assert len(_BENEFIT_COLUMNS) == len(Benefit.__struct_fields__)


def _names(names: Iterable[Name]) -> dict[str, list[str]]:
    ordered = sorted(set(names))
    return {"programmes": [one[0] for one in ordered], "rewards": [one[1] for one in ordered]}


def _stock(row: Any) -> Stock | None:
    if row["document"] is None:
        return None
    return Stock(
        row["programme"],
        row["reward"],
        row["version"],
        reward_of(row),
        row["supplied"],
        row["issued"],
        row["held"],
    )
