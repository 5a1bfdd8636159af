"""What earn learns from members and tiers, and the bills that waited for it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.earn.domain.acts.act import birthday, sign_up
from services.earn.domain.acts.judge import kind_of
from services.earn.domain.judge import ANY_PROGRAMME, Standing
from services.earn.domain.versions import active_at, then
from services.earn.handlers.acts import Asked, record_new
from services.earn.handlers.wake import settle_wake
from services.earn.store import acts, learned, rates, referrals, waiting
from services.earn.store.facts import facts_for_acts, known_programmes
from services.earn.store.segments import learn_segments
from shared.events import (
    CardIssued,
    HashedIdentity,
    MemberBirthday,
    MemberEnrolled,
    MemberSegmented,
    MerchantChanged,
    ProgrammeActivated,
    RatePublished,
    TierChanged,
    decode_envelope,
)
from shared.identity import identity_hash
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Tx

_DONE = Done()


async def learn_programmes(tx: Tx, items: Sequence[Item[ProgrammeActivated]]) -> list[Outcome]:
    """Keeps every version of a programme."""
    waits = {("programme", ANY_PROGRAMME)} | {("programme", item.command.programme) for item in items}
    await waiting.lock_awaited(tx.db, waits)
    await learned.learn_programmes(tx.db, [item.command for item in items])
    await _make_ready(tx, waits)
    return [_DONE] * len(items)


async def learn_merchants(tx: Tx, items: Sequence[Item[MerchantChanged]]) -> list[Outcome]:
    """Knows a merchant, and which terminals it lists, from now on."""
    waits = {("merchant", item.command.merchant) for item in items}
    for item in items:
        waits.update([("terminal", f"{item.command.merchant}/{name}") for name in item.command.terminals])
    await waiting.lock_awaited(tx.db, waits)
    await learned.learn_merchants(tx.db, [item.command for item in items])
    await _make_ready(tx, waits)
    return [_DONE] * len(items)


async def learn_members(tx: Tx, items: Sequence[Item[MemberEnrolled | CardIssued]]) -> list[Outcome]:
    """Knows whom an identity names, and which wallets a member has."""
    enrolled: dict[UUID, MemberEnrolled] = {}
    identities: dict[bytes, tuple[str, UUID]] = {}
    wallets: dict[UUID, tuple[UUID, str]] = {}
    referred: list[tuple[UUID, str, UUID]] = []

    def name(found: Sequence[HashedIdentity], member_id: UUID) -> None:
        identities.update({bytes.fromhex(one.hash): (one.kind, member_id) for one in found})

    for item in items:
        heard = item.command
        name(heard.identities, heard.member_id)
        if isinstance(heard, CardIssued):
            wallets[heard.wallet_id] = heard.member_id, heard.programme
            continue
        enrolled[heard.member_id] = heard
        own = identity_hash(tx.tenant.identity_key, "member_id", str(heard.member_id))
        identities[own] = "member_id", heard.member_id
        wallets.update({one.wallet_id: (heard.member_id, one.programme) for one in heard.wallets})
        if heard.referred_by not in (None, heard.member_id):
            referred += [(heard.member_id, one.programme, heard.referred_by) for one in heard.wallets]
    waits = {("identity", identity.hex()) for identity in identities}
    waits |= {("member", str(member_id)) for member_id in enrolled}
    joined = await _sign_ups(tx, items)
    unknown = {("programme", ask.act.programme or "") for ask in joined if ask.waits}
    await waiting.lock_awaited(tx.db, waits | unknown)
    await learned.learn_members(tx.db, enrolled=enrolled, identities=identities, wallets=wallets)
    if referred:
        # With the enrolment, which every bill of the member waits for: none is judged before its referral is known.
        await referrals.learn(tx.db, referred)
    await _make_ready(tx, waits)
    if joined:
        facts = await facts_for_acts(tx.db, [ask.act for ask in joined], tx.cache)
        await record_new(tx, joined, facts, tx.now())
    return [_DONE] * len(items)


async def hear_birthdays(tx: Tx, items: Sequence[Item[MemberBirthday]]) -> list[Outcome]:
    """Records a birthday where its programme gives something for it, or is not known yet."""
    told_of = [item.command for item in items]
    wanted = then({told.occurred_at for told in told_of}, {told.programme for told in told_of})
    programmes = await known_programmes(tx.db, tx.cache, wanted)
    asked: dict[tuple[str, str], Asked] = {}
    for item in items:
        told = item.command
        versions = programmes.get(told.programme)
        key = tx.tenant.identity_key
        act = birthday(key, told.member_id, told.programme, told.year, told.occurred_at)
        if versions is None or kind_of(act, active_at(versions, told.occurred_at)) is not None:
            asked.setdefault(act.key, Asked(0, item, act, uuid7()))
    taken = (
        await acts.claim_keys(tx.db, [(ask.act_id, ask.act) for ask in asked.values()]) if asked else set()
    )
    new = [ask for ask in asked.values() if ask.act_id in taken]
    if new:
        facts = await facts_for_acts(tx.db, [ask.act for ask in new], tx.cache)
        await record_new(tx, new, facts, tx.now())
    return [_DONE] * len(items)


async def _sign_ups(tx: Tx, items: Sequence[Item[MemberEnrolled | CardIssued]]) -> list[Asked]:
    """The sign-ups that are told here for the first time, their keys taken: of programmes that give something for it, or that
    are not known yet. Keys come before all other locks."""
    heard = [(item, item.command) for item in items if isinstance(item.command, MemberEnrolled)]
    if not heard:
        return []
    wanted = then(
        {told.enrolled_at for _, told in heard}, {one.programme for _, told in heard for one in told.wallets}
    )
    programmes = await known_programmes(tx.db, tx.cache, wanted)
    asked: dict[tuple[str, str], Asked] = {}
    for item, told in heard:
        for wallet in told.wallets:
            versions = programmes.get(wallet.programme)
            act = sign_up(tx.tenant.identity_key, told.member_id, wallet.programme, told.enrolled_at)
            if versions is None or kind_of(act, active_at(versions, told.enrolled_at)) is not None:
                asked.setdefault(act.key, Asked(0, item, act, uuid7(), waits=versions is None))
    if not asked:
        return []
    taken = await acts.claim_keys(tx.db, [(ask.act_id, ask.act) for ask in asked.values()])
    return [ask for ask in asked.values() if ask.act_id in taken]


async def learn_rates(tx: Tx, items: Sequence[Item[RatePublished]]) -> list[Outcome]:
    """Keeps every rate between currencies."""
    await rates.learn_rates(tx.db, [item.command for item in items])
    return [_DONE] * len(items)


async def learn_standings(tx: Tx, items: Sequence[Item[TierChanged]]) -> list[Outcome]:
    """Keeps each standing of a wallet; the highest sequence is its latest."""
    heard = []
    for item in items:
        told = item.command
        # The place among the events about this wallet stands in the envelope alone.
        envelope = decode_envelope(item.payload)
        standing = Standing(told.to, UUID(envelope.id), int(envelope.sequence), told.effective_at, told.until)
        heard.append((told.wallet_id, told.member_id, told.programme, standing))
    await learned.learn_standings(tx.db, heard)
    return [_DONE] * len(items)


async def learn_segment_stays(tx: Tx, items: Sequence[Item[MemberSegmented]]) -> list[Outcome]:
    """Keeps every word about a member's segments: a bill is judged by those that were known, at the time when it happened."""
    told = []
    for item in items:
        stay = item.command
        sequence = int(decode_envelope(item.payload).sequence)
        told.append((stay.member_id, sequence, stay.segment, stay.from_at, stay.until_at))
    await learn_segments(tx.db, told)
    return [_DONE] * len(items)


async def _make_ready(tx: Tx, waits: set[tuple[str, str]]) -> None:
    if await waiting.learned(tx.db, waits):
        tx.after_commit(settle_wake(tx.cache).set)
