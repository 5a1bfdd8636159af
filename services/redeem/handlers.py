"""What redeem does with what it hears and is asked. The table at the end names it all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

import msgspec

from services.redeem import store
from services.redeem.domain import spending
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.spending import Posting
from shared.errors import MemberUnknown, MerchantUnknown, ProgrammeUnknown, Refusal, TerminalUnknown
from shared.events import (
    Balance,
    CardIssued,
    Lot,
    MemberEnrolled,
    MerchantChanged,
    PointsAccrued,
    PointsCredited,
    PointsExpired,
    PointsRedeemed,
    ProgrammeActivated,
    TakenLot,
)
from shared.ids import uuid7
from shared.messaging import Done, Handlers, Item, Outcome, Refused, Tx
from shared.money import Money, Worth, money_of, worth
from shared.programme.compiled import CompiledProgramme


class Redeem(msgspec.Struct, frozen=True, kw_only=True):
    """Spend points at a merchant, now. Exactly one of `points` and `money`; the member by id or by another identity's hash.

    `patient`: an unknown party may be told of in a moment, so the refusal is not kept, and the caller asks again.
    """

    programme: str
    member_id: UUID | None
    identity_kind: str | None
    identity_hash: bytes | None
    points: int | None
    money: Money | None
    merchant: str
    terminal: str | None
    cashier: str | None
    channel: str | None
    bill_ref: str | None
    patient: bool = False


class RedemptionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a redemption. `redeemed.money` is what the points paid for: the amount asked, if one was."""

    redemption_id: UUID
    status: str
    programme: str
    wallet_id: UUID
    effective_at: datetime
    redeemed: Worth
    balance: Balance


class IdReused(Refusal):
    code = "id_reused"


_encode = msgspec.json.Encoder().encode
_CREDITED = Done()


class _Asked(msgspec.Struct):
    """A redemption whose parties are known, and the points that it takes."""

    wallet_id: UUID
    terms: CompiledProgramme
    points: int
    pointer: str


async def post(tx: Tx, items: Sequence[Item[PointsAccrued | Redeem]]) -> list[Outcome]:
    """Credits accruals and spends points: all that moves points goes through here, in the order it came."""
    outcomes: dict[int, Outcome] = {}
    accruals = [(k, item.command) for k, item in enumerate(items) if isinstance(item.command, PointsAccrued)]
    redemptions = [(k, item.command) for k, item in enumerate(items) if isinstance(item.command, Redeem)]
    asked = await _agree(tx, redemptions, outcomes) if redemptions else {}
    if accruals:
        await _claim(tx, accruals, outcomes)

    needed = {command.wallet_id for k, command in accruals if k not in outcomes}
    needed.update(one.wallet_id for one in asked.values())
    if not needed:
        return [outcomes[k] for k in range(len(items))]
    wallets = await store.lock(tx.db, needed)
    now = tx.now()
    if asked:
        needs: dict[UUID, tuple[int, str]] = {}
        for one in asked.values():
            points, _ = needs.get(one.wallet_id, (0, ""))
            needs[one.wallet_id] = points + one.points, one.terms.consumption
        await store.load_lots(tx.db, wallets, needs, now)

    postings: list[store.NewPosting] = []
    spent: list[store.Redemption] = []
    for k, item in enumerate(items):
        if k in outcomes:
            continue
        command = item.command
        if isinstance(command, PointsAccrued):
            wallet = wallets[command.wallet_id]
            _tell_credited(tx, item, command, wallet, spending.credit(wallet, command))
            outcomes[k] = _CREDITED
            continue
        one = asked[k]
        wallet = wallets[one.wallet_id]
        redemption_id = uuid7()
        try:
            redeemed = spending.redeem(
                wallet,
                points=one.points,
                pointer=one.pointer,
                terms=one.terms,
                now=now,
                redemption_id=redemption_id,
                new_id=uuid7,
            )
        except Refusal as refusal:
            outcomes[k] = Refused(refusal)
            continue
        if redeemed.expired is not None:
            postings.append(store.NewPosting.of(wallet, redeemed.expired))
            _tell_expired(tx, item, one.terms, wallet, redeemed.expired)
        row = _redemption(redemption_id, command, one, wallet, redeemed.spent)
        postings.append(store.NewPosting.of(wallet, redeemed.spent))
        spent.append(row)
        outcomes[k] = _tell_redeemed(tx, item, one.terms, wallet, redeemed.spent, row)
    await store.write(tx.db, wallets.values(), postings=postings, redemptions=spent)
    return [outcomes[k] for k in range(len(items))]


async def _claim(tx: Tx, accruals: Sequence[tuple[int, PointsAccrued]], outcomes: dict[int, Outcome]) -> None:
    """Settles the accruals that post nothing: malformed ones, and those whose id was used before, whenever, by any road."""
    first: dict[UUID, PointsAccrued] = {}
    again: list[tuple[int, PointsAccrued]] = []
    for k, accrual in accruals:
        if (objection := spending.objection(accrual)) is not None:
            outcomes[k] = Refused(objection)
        elif first.setdefault(accrual.accrual_id, accrual) is not accrual:
            again.append((k, accrual))
    fresh = await store.claim(tx.db, list(first.values())) if first else set()
    if len(fresh) < len(first):
        again += [(k, a) for k, a in accruals if a.accrual_id not in fresh and first.get(a.accrual_id) is a]
    if not again:
        return
    known = await store.known_postings(tx.db, {accrual.accrual_id for _, accrual in again})
    for k, accrual in again:
        same = known[accrual.accrual_id] == (accrual.wallet_id, accrual.points, accrual.kind)
        outcomes[k] = Done(replayed=True) if same else Refused(_reused(accrual))


def _reused(accrual: PointsAccrued) -> IdReused:
    return IdReused(f"Another act was posted under the id {accrual.accrual_id}.", pointer="/accrual_id")


async def _agree(
    tx: Tx, redemptions: Sequence[tuple[int, Redeem]], outcomes: dict[int, Outcome]
) -> dict[int, _Asked]:
    """Settles the redemptions that no wallet need be asked about, and gives the others with their terms and points."""
    parties = await store.parties(
        tx.db,
        [
            store.Asked(c.programme, c.member_id, c.identity_kind, c.identity_hash, c.merchant, c.terminal)
            for _, c in redemptions
        ],
    )
    asked: dict[int, _Asked] = {}
    for (k, command), party in zip(redemptions, parties, strict=True):
        if (missing := _missing(command, party)) is not None:
            missing.frozen = not command.patient
            outcomes[k] = Refused(missing)
            continue
        assert party.version is not None
        assert party.wallet_id is not None
        terms = await store.programme(tx.db, tx.cache, command.programme, party.version)
        try:
            points = spending.price(terms, points=command.points, money=command.money)
        except Refusal as refusal:
            outcomes[k] = Refused(refusal)
            continue
        pointer = "/points" if command.points is not None else "/money/amount_minor"
        asked[k] = _Asked(party.wallet_id, terms, points, pointer)
    return asked


def _missing(command: Redeem, party: store.Party) -> Refusal | None:
    if party.version is None:
        return ProgrammeUnknown(f"There is no programme {command.programme}.", pointer="/programme")
    if not party.merchant_known:
        return MerchantUnknown(f"There is no merchant {command.merchant}.", pointer="/merchant")
    if not party.terminal_known:
        return TerminalUnknown(f"{command.merchant} has no terminal {command.terminal}.", pointer="/terminal")
    if party.wallet_id is None:
        if party.member_named and command.member_id is None:
            return MemberUnknown(f"The member is not in {command.programme}.", pointer="/member")
        return MemberUnknown("No member has this identity.", pointer="/member")
    return None


def _redemption(
    redemption_id: UUID, command: Redeem, one: _Asked, wallet: Wallet, posting: Posting
) -> store.Redemption:
    terms = one.terms
    asked = command.money
    paid = asked.amount_minor if asked else money_of(posting.points, terms.point_value, terms.currency)
    return store.Redemption(
        redemption_id,
        posting.posting_id,
        wallet.wallet_id,
        terms.code,
        terms.version,
        posting.points,
        paid,
        command.merchant,
        command.terminal,
        command.cashier,
        command.channel,
        command.bill_ref,
        posting.effective_at,
    )


# ---- what is told, and noted for the audit ------------------------------------------------------


def _tell_credited(
    tx: Tx, item: Item[PointsAccrued | Redeem], accrual: PointsAccrued, wallet: Wallet, posting: Posting
) -> None:
    value, currency = accrual.point_value, accrual.currency
    tx.emit(
        PointsCredited(
            posting_id=posting.posting_id,
            kind=posting.kind,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            bill_id=accrual.bill_id,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            credited=worth(posting.points, value, currency),
            lots=tuple(
                [
                    Lot(
                        lot_id=lot.lot_id,
                        points=lot.points,
                        money=Money(money_of(lot.points, value, currency), currency),
                        expires_at=lot.expires_at,
                    )
                    for lot in accrual.lots
                ]
            ),
            balance=_balance(posting, value, currency),
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    _note(tx, "points.credit", item, wallet, posting)


def _tell_expired(
    tx: Tx, item: Item[PointsAccrued | Redeem], terms: CompiledProgramme, wallet: Wallet, posting: Posting
) -> None:
    tx.emit(
        PointsExpired(
            posting_id=posting.posting_id,
            kind=posting.kind,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            expired=terms.worth(posting.points),
            lots=_taken(posting),
            balance=_balance(posting, terms.point_value, terms.currency),
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    _note(tx, "points.expire", item, wallet, posting)


def _tell_redeemed(
    tx: Tx,
    item: Item[PointsAccrued | Redeem],
    terms: CompiledProgramme,
    wallet: Wallet,
    posting: Posting,
    row: store.Redemption,
) -> Done:
    redeemed = Worth(posting.points, Money(row.money_minor, terms.currency))
    balance = _balance(posting, terms.point_value, terms.currency)
    tx.emit(
        PointsRedeemed(
            posting_id=posting.posting_id,
            redemption_id=row.redemption_id,
            kind=posting.kind,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            merchant=row.merchant,
            bill_ref=row.bill_ref,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            redeemed=redeemed,
            lots=_taken(posting),
            balance=balance,
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    _note(tx, "points.redeem", item, wallet, posting)
    answer = RedemptionAnswer(
        redemption_id=row.redemption_id,
        status="captured",
        programme=wallet.programme,
        wallet_id=wallet.wallet_id,
        effective_at=posting.effective_at,
        redeemed=redeemed,
        balance=balance,
    )
    return Done(201, _encode(answer))


def _note(tx: Tx, action: str, item: Item[PointsAccrued | Redeem], wallet: Wallet, posting: Posting) -> None:
    after = {
        "posting_id": posting.posting_id,
        "seq": posting.lines[-1].seq,
        "available": posting.available,
        "held": posting.held,
        "reserved": posting.reserved,
    }
    tx.audit(action, f"wallet/{wallet.wallet_id}", item=item, before=posting.before, after=after)


def _taken(posting: Posting) -> tuple[TakenLot, ...]:
    return tuple([TakenLot(lot_id=cast(UUID, line.lot_id), points=line.points) for line in posting.lines])


def _balance(posting: Posting, point_value: str, currency: str) -> Balance:
    return Balance(
        available=worth(posting.available, point_value, currency),
        held=worth(posting.held, point_value, currency),
        reserved=worth(posting.reserved, point_value, currency),
    )


# ---- what is learnt from members ----------------------------------------------------------------


async def learn_programmes(tx: Tx, items: Sequence[Item[ProgrammeActivated]]) -> list[Outcome]:
    """Keeps the versions of programmes: redemptions go by the newest."""
    await store.learn_programmes(tx.db, [item.command for item in items])
    return [_LEARNT] * len(items)


async def learn_merchants(tx: Tx, items: Sequence[Item[MerchantChanged]]) -> list[Outcome]:
    """Keeps merchants with their terminals: points are spent only at known ones."""
    await store.learn_merchants(tx.db, [item.command for item in items])
    return [_LEARNT] * len(items)


async def learn_members(tx: Tx, items: Sequence[Item[MemberEnrolled | CardIssued]]) -> list[Outcome]:
    """Keeps which wallet a member has in a programme, and the hashed identities that find the member."""
    await store.learn_members(tx.db, [item.command for item in items])
    return [_LEARNT] * len(items)


_LEARNT = Done()

ON: Handlers = {
    PointsAccrued: post,
    Redeem: post,
    ProgrammeActivated: learn_programmes,
    MerchantChanged: learn_merchants,
    MemberEnrolled: learn_members,
    CardIssued: learn_members,
}

HEARS: tuple[str, ...] = ("members", "earn")
