"""What members does about what it is asked. It hears nothing; the table of commands is at the end."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.members import store
from services.members.birthdays import tell_birthdays
from services.members.cards import block_cards, card_claims, hashed
from services.members.domain.birthdays import TellBirthdays
from services.members.domain.cards import BlockCard
from services.members.domain.members import (
    Card,
    Claim,
    EnrolMember,
    Enrolment,
    Member,
    Wallet,
    admit,
    card_number,
)
from services.members.domain.merchants import PutMerchant, put
from services.members.domain.merges import MergeMember
from services.members.domain.programmes import (
    ActivateProgramme,
    CloseProgramme,
    DraftProgramme,
    ProgrammeRow,
    Version,
    activate,
    close,
    draft,
)
from services.members.domain.rates import PublishRate
from services.members.domain.segments import PutInSegment, TakeOutOfSegment
from services.members.merges import merge_members
from services.members.rates import publish_rates
from services.members.segments import move_segments
from services.members.store import NewMember, NewWallet
from shared.errors import Refusal
from shared.events import (
    CardIssued,
    EnrolledWallet,
    MemberEnrolled,
    MerchantChanged,
    ProgrammeActivated,
)
from shared.identity import identity_hash
from shared.ids import uuid7
from shared.messaging import Done, Handlers, Item, Outcome, Refused, Tx
from shared.programme.model import Programme
from shared.programme.validation import validate, without_nulls

_encode = msgspec.json.Encoder().encode


async def draft_programmes(tx: Tx, items: Sequence[Item[DraftProgramme]]) -> list[Outcome]:
    """Keeps each valid document as the next version of its programme."""
    valid: list[Programme | Refused] = []
    for item in items:
        try:
            valid.append(validate(item.command.document))
        except Refusal as refusal:
            valid.append(Refused(refusal))
    codes = {one.programme.code for one in valid if isinstance(one, Programme)}
    await store.open_programmes(tx.db, codes)
    rows = await store.lock_programmes(tx.db, codes)
    now = tx.now()
    outcomes: list[Outcome] = []
    for item, programme in zip(items, valid, strict=True):
        if isinstance(programme, Refused):
            outcomes.append(programme)
            continue
        row = rows[programme.programme.code]
        try:
            version = draft(row, programme, without_nulls(item.command.document), now)
        except Refusal as refusal:
            outcomes.append(Refused(refusal))
            continue
        await store.add_version(tx.db, version)
        row.latest_version = version.version
        tx.audit(
            "programme.draft",
            f"programme/{version.programme}/versions/{version.version}",
            item=item,
            after=version.document,
        )
        outcomes.append(Done(201, _encode(version)))
    return outcomes


async def activate_programmes(tx: Tx, items: Sequence[Item[ActivateProgramme]]) -> list[Outcome]:
    """Makes each draft the active version of its programme, and tells it."""
    rows = await store.lock_programmes(tx.db, {item.command.programme for item in items})
    now = tx.now()
    outcomes: list[Outcome] = []
    for item in items:
        code, number = item.command.programme, item.command.version
        row = rows.get(code)
        try:
            version = activate(row, await store.programme_version(tx.db, code, number), now)
        except Refusal as refusal:
            outcomes.append(Refused(refusal))
            continue
        assert row is not None, "a programme without a row is refused"
        before = row.active_version
        await _activate(tx, item, row, version)
        tx.audit(
            "programme.activate",
            f"programme/{code}",
            item=item,
            before={"active_version": before},
            after={"active_version": number},
        )
        outcomes.append(Done(200, _encode(version)))
    return outcomes


async def close_programmes(tx: Tx, items: Sequence[Item[CloseProgramme]]) -> list[Outcome]:
    """Closes programmes: for each a further version that says so, told like any other. A later version opens it again."""
    rows = await store.lock_programmes(tx.db, {item.command.programme for item in items})
    now = tx.now()
    outcomes: list[Outcome] = []
    for item in items:
        code = item.command.programme
        row = rows.get(code)
        active = None
        if row is not None and row.active_version is not None:
            active = await store.programme_version(tx.db, code, row.active_version)
        try:
            version = close(row, active, now)
        except Refusal as refusal:
            outcomes.append(Refused(refusal))
            continue
        assert row is not None, "a programme without a row is refused"
        await store.add_version(tx.db, version)
        row.latest_version = version.version
        before = row.active_version
        await _activate(tx, item, row, version)
        tx.audit(
            "programme.close",
            f"programme/{code}",
            item=item,
            before={"active_version": before},
            after={"active_version": version.version, "reason": item.command.reason},
        )
        outcomes.append(Done(200, _encode(version)))
    return outcomes


async def _activate(tx: Tx, item: Item[Any], row: ProgrammeRow, version: Version) -> None:
    """The version judges from when it begins, and that is told."""
    assert version.activated_at is not None, "it was made the active one"
    row.active_version, row.begins_at = version.version, version.activated_at
    header = version.document["programme"]
    row.currency, row.time_zone = header["currency"], header["time_zone"]
    row.event_sequence += 1
    await store.activate_version(tx.db, row)
    tx.emit(
        ProgrammeActivated(
            programme=row.code,
            version=version.version,
            document=version.document,
            activated_at=version.activated_at,
        ),
        subject=f"programme/{row.code}",  # a merchant may have the same code, and counts for itself
        sequence=row.event_sequence,
        item=item,
    )


async def put_merchants(tx: Tx, items: Sequence[Item[PutMerchant]]) -> list[Outcome]:
    """Writes each merchant and tells its change; what is the same already changes and tells nothing."""
    known = await store.lock_merchants(tx.db, {item.command.merchant.merchant for item in items})
    outcomes: list[Outcome] = []
    for item in items:
        code = item.command.merchant.merchant
        before = known.get(code)
        after = put(before, item.command.merchant)
        outcomes.append(Done(201 if before is None else 200, _encode(after)))
        if after is before:
            continue
        await store.put_merchants(tx.db, [after])
        known[code] = after
        tx.emit(
            MerchantChanged(
                merchant=code,
                version=after.version,
                brand=after.brand,
                name=dict(after.name),
                terminals=tuple(after.terminals),
                cashiers=dict(after.cashiers),
            ),
            subject=f"merchant/{code}",
            sequence=after.version,
            item=item,
        )
        tx.audit("merchant.put", f"merchant/{code}", item=item, before=before, after=after)
    return outcomes


class _Enrolled(NamedTuple):
    """A granted enrolment on its way into the tables."""

    item: Item[EnrolMember]
    member_id: UUID
    claims: list[Claim]
    wallets: list[NewWallet]
    referred_by: UUID | None


async def enrol_members(tx: Tx, items: Sequence[Item[EnrolMember]]) -> list[Outcome]:
    """Enrols each person whose identities are nobody's else, with a wallet and a card in each programme."""
    wanted = [(uuid7(), _claims(tx, item.command.enrolment)) for item in items]
    named = {by for item in items if (by := item.command.enrolment.referred_by) is not None}
    # Before anything is claimed: who is enrolled at this moment refers nobody yet.
    known = await store.members_named(tx.db, named) if named else {}
    first: dict[Claim, UUID] = {}
    for member_id, claims in wanted:
        for claim in claims:
            first.setdefault(claim, member_id)
    won = await store.claim_identities(tx.db, first)
    free = set(won)
    prefixes, closed = await store.card_prefixes(tx.db)
    now = tx.now()

    decided: list[_Enrolled | Refused] = []
    for item, (member_id, claims) in zip(items, wanted, strict=True):
        try:
            admitted = admit(
                item.command.enrolment,
                claims,
                free=free,
                active=prefixes,
                closed=closed,
                known_members=known,
                now=now,
            )
        except Refusal as refusal:
            decided.append(Refused(refusal))
            continue
        wallets = [
            NewWallet(uuid7(), member_id, code, uuid7(), prefixes[code]) for code in admitted.programmes
        ]
        decided.append(_Enrolled(item, member_id, claims, wallets, admitted.referred_by))

    enrolled = [one for one in decided if isinstance(one, _Enrolled)]
    await _settle_claims(tx, first, won, enrolled)
    cards = await _write(tx, enrolled, now) if enrolled else {}
    return [one if isinstance(one, Refused) else Done(201, _encode(_member(one, cards))) for one in decided]


def _claims(tx: Tx, enrolment: Enrolment) -> list[Claim]:
    key = tx.tenant.identity_key
    return [Claim(kind, identity_hash(key, kind, value)) for kind, value in enrolment.identities()]


async def _settle_claims(
    tx: Tx, first: dict[Claim, UUID], won: set[Claim], enrolled: Sequence[_Enrolled]
) -> None:
    """What was claimed for somebody who is refused goes to the one who has it, or back."""
    owners = {claim: one.member_id for one in enrolled for claim in one.claims}
    if passed := {claim: owner for claim, owner in owners.items() if first[claim] != owner}:
        await store.pass_identities(tx.db, passed)
    if vain := won - owners.keys():
        await store.release_identities(tx.db, vain)


async def _write(tx: Tx, enrolled: Sequence[_Enrolled], now: datetime) -> dict[UUID, Card]:
    """Writes members, wallets and cards, and tells of them; gives the card of each wallet."""
    await store.add_members(
        tx.db,
        [
            NewMember(one.member_id, one.item.command.enrolment, 1 + len(one.wallets), one.referred_by)
            for one in enrolled
        ],
        now,
    )
    wallets = [wallet for one in enrolled for wallet in one.wallets]
    await store.add_wallets(tx.db, wallets)
    cards = await store.issue_cards(
        tx.db, wallets, now, lambda prefix: card_number(prefix, secrets.randbelow)
    )
    named = {wallet.wallet_id: list(card_claims(tx, cards[wallet.wallet_id])) for wallet in wallets}
    claimed = {claim: wallet.member_id for wallet in wallets for claim in named[wallet.wallet_id]}
    won = await store.claim_identities(tx.db, claimed)
    assert len(won) == len(claimed), "a card that was just issued names nobody yet"
    for one in enrolled:
        _tell(tx, one, named, now)
    return cards


def _tell(tx: Tx, one: _Enrolled, named: dict[UUID, list[Claim]], now: datetime) -> None:
    enrolment, subject = one.item.command.enrolment, str(one.member_id)
    tx.emit(
        MemberEnrolled(
            member_id=one.member_id,
            locale=enrolment.locale,
            channel=enrolment.channel,
            consented=enrolment.consent.accepted,
            identities=hashed(one.claims),
            wallets=tuple(
                EnrolledWallet(programme=wallet.programme, wallet_id=wallet.wallet_id)
                for wallet in one.wallets
            ),
            enrolled_at=now,
            referred_by=one.referred_by,
            birth_month=None if enrolment.birthday is None else enrolment.birthday.month,
        ),
        subject=subject,
        sequence=1,
        item=one.item,
    )
    for sequence, wallet in enumerate(one.wallets, start=2):
        tx.emit(
            CardIssued(
                member_id=one.member_id,
                wallet_id=wallet.wallet_id,
                programme=wallet.programme,
                card_id=wallet.card_id,
                identities=hashed(named[wallet.wallet_id]),
                issued_at=now,
            ),
            subject=subject,
            sequence=sequence,
            item=one.item,
        )
    # Kinds and not values: the audit is append-only, and a member may ask to be forgotten.
    tx.audit(
        "member.enrol",
        f"member/{subject}",
        item=one.item,
        after={
            "identities": [claim.kind for claim in one.claims],
            "channel": enrolment.channel,
            "terms_version": enrolment.consent.terms_version,
            "wallets": {wallet.programme: wallet.wallet_id for wallet in one.wallets},
            "cards": {wallet.programme: wallet.card_id for wallet in one.wallets},
            **({} if one.referred_by is None else {"referred_by": one.referred_by}),
        },
    )


def _member(one: _Enrolled, cards: dict[UUID, Card]) -> Member:
    wallets = [Wallet(wallet.programme, wallet.wallet_id, cards[wallet.wallet_id]) for wallet in one.wallets]
    return Member(one.member_id, "active", one.item.command.enrolment.locale, wallets)


ON: Handlers = {
    DraftProgramme: draft_programmes,
    ActivateProgramme: activate_programmes,
    CloseProgramme: close_programmes,
    PutMerchant: put_merchants,
    EnrolMember: enrol_members,
    PutInSegment: move_segments,
    TakeOutOfSegment: move_segments,
    PublishRate: publish_rates,
    TellBirthdays: tell_birthdays,
    BlockCard: block_cards,
    MergeMember: merge_members,
}

HEARS: tuple[str, ...] = ()
