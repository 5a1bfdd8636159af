"""Wallets that were merged: which has the points of which, and what the books of such a family come to together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from pointbank.verify.ledger.canonical import BUCKETS
from pointbank.verify.ledger.snapshots import MonthsWalk
from pointbank.verify.ledger.wallet import LotLine, LotWalk, WalletWalk
from pointbank.verify.matching import told

Id = TypeVar("Id")


@dataclass
class Merges:
    """As the bank keeps them. `into` and `goes_on`: one step; `heir` and `person`: to the end."""

    into: dict[bytes, bytes] = field(default_factory=dict)
    goes_on: dict[str, str] = field(default_factory=dict)

    def heir(self, wallet_id: bytes) -> bytes:
        """The wallet that has the points of this one now."""
        return _end(self.into, wallet_id)

    def person(self, member_id: str) -> str:
        """Who this member is now."""
        return _end(self.goes_on, member_id)


def _end(steps: dict[Id, Id], one: Id) -> Id:
    seen = set()
    while one in steps and one not in seen:
        seen.add(one)
        one = steps[one]
    return one


class Held(NamedTuple):
    """A wallet of a family with its rows, until all of the family have gone by."""

    months: MonthsWalk
    rows: list[Any]
    lots: list[Any]
    of_redemptions: Any

    @property
    def wallet_id(self) -> bytes:
        return self.months.walk.wallet_id


class Families:
    """The wallets that were merged into each other, while the ledger goes by."""

    def __init__(self, merges: Merges) -> None:
        self._merges = merges
        self._heirs = {merges.heir(wallet_id) for wallet_id in merges.into}
        self._held: dict[bytes, list[Held]] = {}

    def __contains__(self, wallet_id: bytes) -> bool:
        return wallet_id in self._merges.into or wallet_id in self._heirs

    def hold(self, one: Held) -> None:
        """Keeps a wallet until the others of its family are there."""
        self._held.setdefault(self._merges.heir(one.wallet_id), []).append(one)

    def families(self) -> Iterator[Family]:
        """Every family, whole."""
        for heir, held in self._held.items():
            yield Family(self._merges, heir, held)


class Family:
    """One heir with all that were merged into it."""

    def __init__(self, merges: Merges, heir: bytes, held: list[Held]) -> None:
        self._merges, self.heir, self.held = merges, heir, held
        self.lots = [row for one in held for row in one.lots]
        self.reserved = sum(row["reserved"] for one in held for row in one.rows)

    def walk(self) -> WalletWalk:
        """The lines of all as one wallet's, in the order in which they were posted."""
        together = WalletWalk(self.heir)
        for one in self.held:
            walk = one.months.walk
            together.postings += walk.postings
            together.unopened += walk.unopened
            together.back += walk.back
            joined = self._joined(one)
            for gone in walk.gone:
                others = [at for merged_at, at in joined if merged_at and merged_at < gone.posted_at]
                together.gone.append(gone._replace(active_at=_latest(gone.active_at, *others)))
            for spent in walk.spent:
                others = [at for merged_at, at in joined if not merged_at or merged_at < spent.posted_at]
                active_at = _latest(spent.active_at, walk.elsewhere_at, *others)
                together.spent.append(spent._replace(active_at=active_at))
            for bucket in BUCKETS:
                together.buckets[bucket] += walk.buckets[bucket]
            for lot_id, lot in walk.lots.items():
                before = together.lots.get(lot_id)
                together.lots[lot_id] = lot if before is None else _together(before, lot)
        together.postings.sort(key=lambda posting: posting.posted_at)
        return together

    def last_active_at(self, wallet_id: bytes) -> datetime | None:
        """When its member, or one who was merged into it, was last active."""
        own = [one.months.walk.last_active_at for one in self.held if one.wallet_id == wallet_id]
        others = [
            self.last_active_at(other) for other, into in self._merges.into.items() if into == wallet_id
        ]
        return _latest(*own, *others)

    def _joined(self, one: Held) -> list[tuple[datetime | None, datetime | None]]:
        """Of each wallet that was merged into this one: when, by this one's lines, and when its member had last been active. One
        that had nothing to move left no line: nobody knows when it was."""
        came = {
            posting.source_id: posting.posted_at
            for posting in one.months.walk.postings
            if posting.kind == "merge"
        }
        went = {
            other.wallet_id: other.months.walk.postings[-1].source_id
            for other in self.held
            if self._merges.into.get(other.wallet_id) == one.wallet_id and other.months.walk.postings
        }
        return [(came.get(merge_id), self.last_active_at(wallet_id)) for wallet_id, merge_id in went.items()]

    def problems(self) -> Iterator[tuple[str, str]]:
        """What of the family does not stand as a merge leaves it."""
        for one in self.held:
            walk = one.months.walk
            if walk.wallet_id == self.heir:
                continue
            wallet = f"wallet {told(walk.wallet_id)}"
            if any(walk.buckets.values()):
                yield "balances", f"{wallet} was merged, and its lines leave something in it"
            if walk.postings and walk.postings[-1].kind != "merge":
                yield "balances", f"{wallet} was posted to after it was merged"
            if one.lots:
                yield "lots", f"{wallet} was merged, and has {len(one.lots)} lots still"


def _latest(*moments: datetime | None) -> datetime | None:
    return max(filter(None, moments), default=None)


def _place(opened: LotLine | None) -> tuple[bool, bool, datetime]:
    if opened is None:
        return True, True, datetime.max.replace(tzinfo=UTC)
    return False, opened.kind == "return", opened.effective_at


def _together(one: LotWalk, other: LotWalk) -> LotWalk:
    """What the lines of two wallets did to a lot that went from the one to the other."""
    # What a return brings back to a lot that a merge moved looks, in the heir alone, like one that it opened.
    first, last = sorted((one, other), key=lambda walk: _place(walk.opened))
    both = LotWalk(first.opened, first.source_id, first.opened_in)
    for part in ("available", "held", "reserved", "expired", "reversed", "owed"):
        setattr(both, part, getattr(one, part) + getattr(other, part))
    both.renewed = one.renewed or other.renewed
    both.reinstated = one.reinstated or other.reinstated
    both.releases = first.releases + ([] if first.reinstated else last.releases)
    both.went_at = last.went_at or first.went_at
    both.voided_at = last.voided_at or first.voided_at
    both.latest_spent = max(filter(None, (one.latest_spent, other.latest_spent)), default=None)
    return both
