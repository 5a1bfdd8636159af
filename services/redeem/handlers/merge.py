"""Members who were one person all along: the wallets of the one become the other's, under the locks of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from services.redeem.domain.ledger import Wallet
from services.redeem.domain.merging import Merged, merge
from services.redeem.domain.posting import Posting
from services.redeem.handlers.block import tell_blocked
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.tell import tell_expired
from services.redeem.handlers.tell_moves import balance, note, tell_repaid, worth_of
from services.redeem.store import adjustments, expiring, merging, postings, versions
from services.redeem.store.idle import note_idle
from services.redeem.store.locked import Locked
from shared.events import MemberMerged, MergedWallet, PointsMerged, TakenLot
from shared.ids import uuid7
from shared.messaging import Done, Item, NotHeardYet, Outcome, Tx
from shared.programme.compiled import CompiledProgramme


class ProgrammeNotHeard(NotHeardYet):
    """Points are to be merged of a programme that was not heard of yet: it is on its way, or behind this in the same batch."""


async def merge_members(tx: Tx, items: Sequence[Item[MemberMerged]]) -> list[Outcome]:
    """Merges wallets, once each, in the order it was told; from then on the merged member is found as the other."""
    told = [item.command for item in items]
    await merging.bear(tx.db, told)
    pairs = [(item, wallet) for item in items for wallet in item.command.wallets]
    moved = {one for _, wallet in pairs for one in (wallet.wallet_id, wallet.merged_into)}
    # All that who goes on has: of two merges into one member the later sees who came by the first, and what that brought.
    standing = {wallet.wallet_id for one in told for wallet in one.survivor_wallets}
    wallets = await postings.lock(tx.db, moved | standing)
    moving = {(wallet := wallets[one]).wallet_id: wallet for one in moved}
    terms = await versions.newest_of(tx.db, tx.cache, {wallet.programme for wallet in moving.values()})
    for lot in await expiring.open_lots(tx.db, moving):
        wallets[lot.wallet_id].lots.append(lot)
    await note_idle(tx.db, tx.cache, moving.values(), tx.now())
    desk = _Desk(tx, wallets, terms)
    for item, pair in pairs:
        await desk.merge(item, pair)
    for one in told:
        await merging.lead(tx.db, one)
    every = [*wallets.values(), *desk.ended]
    await adjustments.keep_statuses(tx.db, desk.blocked)
    await postings.write(tx, every, postings=desk.keys)
    tx.after_commit(lambda: count_points(tx, every))
    return [Done()] * len(items)


class _Desk:
    """A batch of merges while it is decided."""

    def __init__(self, tx: Tx, wallets: Locked, terms: dict[str, CompiledProgramme]) -> None:
        self._tx, self._wallets, self._terms = tx, wallets, terms
        self.ended: list[Wallet] = []
        self.blocked: list[Wallet] = []
        self.keys: list[postings.NewPosting] = []

    async def merge(self, item: Item[MemberMerged], pair: MergedWallet) -> None:
        """Merges two wallets; what was merged already, this way or another, changes and tells nothing."""
        ended, heir = self._wallets[pair.wallet_id], self._wallets[pair.merged_into]
        if ended.wallet_id != pair.wallet_id or ended is heir:
            return
        value = self._terms.get(ended.programme)
        if value is None:
            raise ProgrammeNotHeard(ended.programme)
        owed, before = -ended.debt, (ended.status, heir.status)
        done = merge(
            ended, heir, terms=value, now=self._tx.now(), merge_id=item.command.merge_id, new_id=uuid7
        )
        for wallet, late in ((ended, done.expired), (heir, done.heir_expired)):
            if late is not None:
                tell_expired(self._tx, item, value, wallet, self._keep(wallet, late))
        self._tell(item, value, ended, heir, done, owed)
        if done.repaid is not None:
            tell_repaid(self._tx, item, heir, self._keep(heir, done.repaid), value)
        if before == ("blocked", "active"):
            self.blocked.append(heir)
            tell_blocked(self._tx, item, heir, before="active", reason="merged")
        self.ended.append(self._wallets.end(ended.wallet_id, heir.wallet_id))
        await merging.end(
            self._tx.db, wallet_id=ended.wallet_id, heir=heir.wallet_id, programme=ended.programme
        )

    def _tell(
        self,
        item: Item[MemberMerged],
        value: CompiledProgramme,
        ended: Wallet,
        heir: Wallet,
        done: Merged,
        owed: int,
    ) -> None:
        self._tell_side(item, value, ended, heir, done.given, "given", owed)
        self._tell_side(item, value, heir, ended, done.received, "received", owed)

    def _tell_side(
        self,
        item: Item[MemberMerged],
        value: CompiledProgramme,
        wallet: Wallet,
        other: Wallet,
        posting: Posting | None,
        direction: Literal["given", "received"],
        owed: int,
    ) -> None:
        if posting is not None:
            self._keep(wallet, posting)
        lots = lots_of(posting)
        self._tx.emit(
            PointsMerged(
                posting_id=posting.posting_id if posting is not None else None,
                merge_id=item.command.merge_id,
                kind="merge",
                direction=direction,
                wallet_id=wallet.wallet_id,
                other_wallet_id=other.wallet_id,
                member_id=wallet.member_id,
                programme=wallet.programme,
                effective_at=posting.effective_at if posting is not None else self._tx.now(),
                posted_at=posting.posted_at if posting is not None else None,
                merged=worth_of(sum(lot.points for lot in lots), value),
                debt=worth_of(owed, value),
                lots=lots,
                balance=balance(posting or wallet, value),
            ),
            subject=str(wallet.wallet_id),
            sequence=wallet.next_event(),
            item=item,
        )
        note(
            self._tx,
            "points.merge",
            item,
            wallet,
            posting,
            direction=direction,
            other=other.wallet_id,
            merge_id=item.command.merge_id,
        )

    def _keep(self, wallet: Wallet, posting: Posting) -> Posting:
        self.keys.append(postings.NewPosting.of(wallet, posting))
        return posting


def lots_of(posting: Posting | None) -> tuple[TakenLot, ...]:
    """Which lots a merge moved, line by line; what lies in none is left out."""
    lines = posting.lines if posting is not None else ()
    return tuple(
        [TakenLot(lot_id=line.lot_id, points=line.points) for line in lines if line.lot_id is not None]
    )
