"""What a till knows from its journal: each bill's offers and its answer. Folding the file again gives the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from pointbank.journal import BILL, Answered, Entry, Offered, Placed, Read, Skipped, digest, now
from shared.tills import till_of

UNDECODABLE = "pos"  # the out stream of entries that name no till
_UNFINISHED = frozenset({"waiting", "unclaimed", "pending", "waiting_for_bill"})
ANOTHERS = "id_reused"
"""Refuses another body under this id; the first is not touched by it."""
_TOLD_AGAIN = frozenset({"bill.settled.v1", "refund.settled.v1"})

Key = tuple[str, str]  # source and the till's own id


class BillToOffer(NamedTuple):
    """`body` is the bill as JSON; `time` (RFC 3339, UTC) when it was rung up. The same id is always the same body. A refund is
    offered alike, under its own `type`."""

    source: str
    id: str
    body: bytes
    time: str
    type: str = BILL


@dataclass(slots=True)
class Offer:
    sha256: str
    time: str
    body: bytes | None = None  # kept while it may have to be offered again
    type: str = BILL
    attempts: int = 0
    offered_at: float = 0.0
    answer: Answered | None = None


@dataclass(slots=True)
class Counts:
    """Distinct bills of the journal; `answers` counts replies, those to repetitions too."""

    offered: int = 0
    answered: int = 0
    rejected: int = 0
    answers: int = 0


@dataclass(slots=True)
class Book:
    """The fold of a journal. Reading and writing the file is the till's business."""

    offers: dict[Key, Offer] = field(default_factory=dict)
    unanswered: dict[Key, None] = field(default_factory=dict)
    waiting: dict[Key, None] = field(
        default_factory=dict
    )  # answered `waiting` or `unclaimed`, not told again yet
    repeated: dict[Key, int] = field(
        default_factory=dict
    )  # repetitions of this run, unanswered; a crash forgets them
    placed: set[str] = field(default_factory=set)  # entries that are no bill, unanswered
    skipped: set[Key] = field(default_factory=set)
    read_through: dict[str, str] = field(
        default_factory=dict
    )  # out stream, by its last part -> last entry read
    counts: Counts = field(default_factory=Counts)

    def note(self, entry: Entry) -> None:
        """Takes in one entry of the journal; HTTP calls are not a till's and change nothing."""
        match entry:
            case Offered():
                self._note_offer(entry)
            case Answered():
                self._note_answer(entry)
            case Placed():
                self.placed.add(entry.entry)
                self.listen_to(UNDECODABLE)
            case Skipped():
                self.skipped.add((entry.source, entry.id))
            case Read():
                self.read_through[entry.stream] = entry.through
            case _:
                pass

    def offer(self, bill: BillToOffer) -> Offered:
        """The entry to journal before the bill is published, first or again."""
        known = self.offers.get((bill.source, bill.id))
        sha256 = digest(bill.body)
        entry = Offered(
            at=now(),
            source=bill.source,
            id=bill.id,
            sha256=sha256,
            time=bill.time,
            attempt=known.attempts + 1 if known else 1,
            type=bill.type,
            body=msgspec.Raw(bill.body) if known is None or known.sha256 != sha256 else msgspec.UNSET,
        )
        self._note_offer(entry)
        key = (bill.source, bill.id)
        self.offers[key].body = bill.body
        if known is not None:
            self.repeated[key] = self.repeated.get(key, 0) + 1
        return entry

    def offer_again(self, key: Key) -> Offered:
        """The entry for one more attempt at an unfinished bill."""
        offer = self.offers[key]
        offer.attempts += 1
        return Offered(
            at=now(),
            source=key[0],
            id=key[1],
            sha256=offer.sha256,
            time=offer.time,
            attempt=offer.attempts,
            type=offer.type,
        )

    def published(self, keys: Iterable[Key], *, at: float) -> None:
        """The bills are in the stream, as far as Redis said; `at` is a monotonic time."""
        for key in keys:
            offer = self.offers[key]
            offer.offered_at = at
            self._forget_body(key)

    @property
    def unfinished(self) -> list[Key]:
        """Bills on their way: without an answer, or without one to their repetition."""
        return list(self.unanswered | dict.fromkeys(self.repeated))

    def listen_to(self, out_stream: str) -> None:
        """From now on replies of this out stream are read, from its beginning."""
        self.read_through.setdefault(out_stream, "0-0")

    def _note_offer(self, entry: Offered) -> None:
        key = (entry.source, entry.id)
        offer = self.offers.get(key)
        if offer is None:
            offer = self.offers[key] = Offer(entry.sha256, entry.time, type=entry.type)
            self.counts.offered += 1
            self.unanswered[key] = None
            self.listen_to(till_of(entry.source))
        offer.attempts = entry.attempt
        if entry.body is not msgspec.UNSET:
            offer.sha256, offer.time, offer.body = entry.sha256, entry.time, bytes(entry.body)

    def _note_answer(self, entry: Answered) -> None:
        self.counts.answers += 1
        if entry.entry is not None and entry.entry in self.placed:
            self.placed.remove(entry.entry)
            return
        key = (entry.source or "", entry.id or "")
        offer = self.offers.get(key)
        if offer is None:
            return  # another till of the same name offered it
        if offer.answer is None:
            self.counts.answered += 1
            self.counts.rejected += entry.status == "rejected"
            offer.answer = entry
        else:
            if entry.event not in _TOLD_AGAIN or offer.answer.status not in _UNFINISHED:
                self._note_repetition(key)
            if offer.answer.status in _UNFINISHED and entry.status != "waiting" and entry.code != ANOTHERS:
                offer.answer = entry  # judged at last, or unclaimed; or refused, where the service has lost that it took it
                self.counts.rejected += entry.status == "rejected"
        self.unanswered.pop(key, None)
        if offer.answer.status in _UNFINISHED:
            self.waiting[key] = None
        else:
            self.waiting.pop(key, None)
        self._forget_body(key)

    def _note_repetition(self, key: Key) -> None:
        left = self.repeated.get(key, 0) - 1
        if left > 0:
            self.repeated[key] = left
        else:
            self.repeated.pop(key, None)

    def _forget_body(self, key: Key) -> None:
        if not (key in self.unanswered or key in self.waiting or key in self.repeated):
            self.offers[key].body = None
