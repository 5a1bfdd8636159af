"""What is known that concerns a batch of bills."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.earn.domain.acts.act import RecordAct
from services.earn.domain.bill import RecordBill
from services.earn.domain.decision import Decision
from services.earn.domain.judge import Facts, Member, Standing, Wallet
from services.earn.domain.versions import Versions, Wanted, then, those
from services.earn.store.rates import rates_for
from services.earn.store.segments import segments_of
from services.earn.store.sql import queries
from shared.db import Connection
from shared.programme.compiled import compile_programme
from shared.programme.subject import Activity

Cache = dict[Any, Any]


async def facts_for(db: Connection, bills: Collection[RecordBill], cache: Cache) -> Facts:
    """What is known now that concerns these bills."""
    identities = {bill.identity.hash for bill in bills if bill.identity is not None}
    members = await _members(db, identities) if identities else {}
    named = [(bill.programmes, members.get(bill.identity.hash) if bill.identity else None) for bill in bills]
    programmes = await known_programmes(
        db, cache, then({bill.occurred_at for bill in bills}, _concerned(named))
    )
    merchants = {bill.merchant for bill in bills}
    terminals = {(bill.merchant, bill.terminal) for bill in bills if bill.terminal is not None}
    listed, taken_off = await _terminals(db, terminals)
    asked = _asked(programmes)
    known = {member.member_id for member in members.values()} if "segments" in asked else None
    return Facts(
        merchants=await _merchants(db, merchants, cache),
        terminals=listed,
        taken_off=taken_off,
        members=members,
        programmes=programmes,
        history=await _history(db, bills, members),
        brands=await _brands(db, merchants) if "brand" in asked else {},
        segments=await segments_of(db, known) if known else {},
        rates=await rates_for(db, bills, programmes),
    )


async def facts_for_acts(db: Connection, acts: Collection[RecordAct], cache: Cache) -> Facts:
    """What is known now that concerns these acts."""
    members = await _members(db, {act.identity.hash for act in acts})
    named = [(act.programme and (act.programme,), members.get(act.identity.hash)) for act in acts]
    programmes = await known_programmes(db, cache, then({act.occurred_at for act in acts}, _concerned(named)))
    merchants = {act.merchant for act in acts if act.merchant is not None}
    return Facts(
        merchants=await _merchants(db, merchants, cache),
        terminals=(),
        members=members,
        programmes=programmes,
        history=await _history(db, acts, members),
    )


async def activity_for(
    db: Connection, judged: Sequence[tuple[RecordBill, Facts]], *, lock: bool = True
) -> dict[UUID, Activity] | None:
    """What the members of these bills did before, by wallet, under a lock on their wallets: another bill of theirs is judged
    after this transaction. A quote, which is no judgement, takes no `lock`. None where no programme asks for it."""
    if not any(
        "activity" in _asked(programmes) for programmes in {id(f): f.programmes for _, f in judged}.values()
    ):
        return None
    wallets = {
        wallet.wallet_id
        for bill, facts in judged
        if bill.identity is not None
        for wallet in facts.members[bill.identity.hash].wallets
    }
    if lock:
        await queries.lock_wallets(db, wallet_ids=list(wallets))
    rows = await queries.activity_of(
        db, wallet_ids=list(wallets)
    )  # a later statement: it sees who was before us
    return {row[0]: Activity(row[1], row[2], row[3]) for row in rows}


async def conditions_of(
    db: Connection, decisions: Iterable[Decision], cache: Cache
) -> dict[tuple[str, int, str], list[str]]:
    """What the conditions compare that these decisions tested, in words, by programme, version and rule."""
    used = [one for decision in decisions for one in decision.programmes if one.details]
    known = await known_programmes(db, cache, those(used)) if used else {}
    found = {}
    for code, versions in known.items():
        for _, version in versions:
            book = version.book
            written = {rule.code: rule.when for rule in book.rules}
            for campaign in (*book.campaigns, *book.offers):
                written[f"campaign {campaign.code}"] = campaign.when
            written |= {f"stamp card {card.code}": card.counts.when for card in book.cards}
            for name, condition in written.items():
                if condition is not None:
                    found[code, version.version, name] = [one.words for one in condition.comparisons]
    return found


def _asked(programmes: Mapping[str, Versions]) -> set[str]:
    return {what for versions in programmes.values() for _, version in versions for what in version.book.asks}


async def _brands(db: Connection, merchants: set[str]) -> dict[str, str]:
    return {row[0]: row[1] for row in await queries.brands_of(db, merchants=list(merchants))}


async def known_programmes(db: Connection, cache: Cache, wanted: Wanted) -> dict[str, Versions]:
    """Every programme that was activated, with those of its versions that are wanted: each is compiled when it is first, and one
    that this release can't read is refused to who wants it alone."""
    listed: dict[str, list[tuple[datetime, int]]] = {}
    for code, version, activated_at in await queries.programme_versions(db):
        listed.setdefault(code, []).append((activated_at, version))
    asked = {code: set(wanted(code, versions)) for code, versions in listed.items()}
    missing = [
        (code, version)
        for code, numbers in asked.items()
        for version in numbers
        if ("programme", code, version) not in cache
    ]
    if missing:
        found = await queries.programme_documents(
            db, programmes=[code for code, _ in missing], versions=[version for _, version in missing]
        )
        for code, version, document in found:
            # Immutable: an activated version never changes.
            cache["programme", code, version] = compile_programme(msgspec.json.decode(document), version)
    return {
        code: [(at, cache["programme", code, version]) for at, version in versions if version in asked[code]]
        for code, versions in listed.items()
    }


def _concerned(named: Iterable[tuple[Collection[str] | None, Member | None]]) -> set[str] | None:
    """The programmes that what names these, and is of these members, may be judged in; None where one may be in any."""
    found: set[str] = set()
    for programmes, member in named:
        if programmes is not None:
            found.update(programmes)
        elif member is not None:
            found.update([wallet.programme for wallet in member.wallets])
        else:
            return None
    return found


async def _merchants(db: Connection, merchants: set[str], cache: Cache) -> set[str]:
    # What is known stays known: merchants are only added.
    known: set[str] = cache.setdefault("merchants", set())
    if unknown := merchants - known:
        known.update([row[0] for row in await queries.known_merchants(db, merchants=list(unknown))])
    return known


async def _terminals(
    db: Connection, terminals: set[tuple[str, str]]
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Those that their merchant lists, and those that it listed once. Asked each time: another process may have heard that one
    was taken off."""
    found: tuple[set[tuple[str, str]], set[tuple[str, str]]] = set(), set()
    if terminals:
        merchants, names = zip(*terminals, strict=True)
        for merchant, terminal, listed in await queries.known_terminals(
            db, merchants=merchants, terminals=names
        ):
            found[0 if listed else 1].add((merchant, terminal))
    return found


async def _members(db: Connection, identities: Collection[bytes]) -> dict[bytes, Member]:
    named: dict[bytes, tuple[UUID, bool, int | None, list[Wallet]]] = {}
    for row in await queries.members_of(db, identities=list(identities)):
        identity, member_id, enrolled, birth_month, wallet_id, programme, tier, *event = row
        *_, wallets = named.setdefault(identity, (member_id, enrolled, birth_month, []))
        if wallet_id is not None:
            standing = None if tier is None else Standing(tier, *event)
            wallets.append(Wallet(wallet_id, programme, standing))
    return {
        key: Member(member_id, enrolled, tuple(wallets), birth_month)
        for key, (member_id, enrolled, birth_month, wallets) in named.items()
    }


async def _history(
    db: Connection, bills: Iterable[RecordBill | RecordAct], members: dict[bytes, Member]
) -> dict[UUID, Sequence[Standing]]:
    """Only for bills, and acts, that happened before the latest standing of their wallet: late ones."""
    late = set()
    for bill in bills:
        if bill.identity is not None and (member := members.get(bill.identity.hash)) is not None:
            for wallet in member.wallets:
                if wallet.standing is not None and bill.occurred_at < wallet.standing.effective_at:
                    late.add(wallet.wallet_id)
    found: dict[UUID, list[Standing]] = {}
    if late:
        for wallet_id, sequence, tier, event_id, effective_at, until in await queries.standings_of(
            db, wallet_ids=list(late)
        ):
            found.setdefault(wallet_id, []).append(Standing(tier, event_id, sequence, effective_at, until))
    return dict(found)
