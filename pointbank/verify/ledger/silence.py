"""Balances that ended because their members had left them alone: not before the versions of their programme say, and nothing is
spent of them after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.events import Posted
from pointbank.verify.ledger.wallet import Gone, Spent, WalletWalk
from pointbank.verify.matching import told
from pointbank.verify.programme.terms import Terms

_HEARD = timedelta(hours=1)
"""The bank may have gone by the versions of so long ago: it had not heard of the newest."""


class Silences:
    """What the ledger's lines and the events say of them."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._check = books.check(
            "ledger:silence",
            8,
            "silence ends no balance before the versions of its programme say, and members could be told; nothing is spent of one "
            "that it has ended",
        )

    def wallet(self, walk: WalletWalk, programme: str, lots: Sequence[Any]) -> None:
        """A wallet whose lines have gone by."""
        versions = self._books.versions_of(programme) if walk.gone or walk.spent else []
        for gone in by_silence(walk, lots) if versions else ():
            self._check.compared += 1
            for problem in too_soon(gone, versions):
                self._check.wrong(f"wallet {told(walk.wallet_id)}: {problem}")
        for spent in walk.spent if versions else ():
            self._check.compared += 1
            for problem in spent_after(spent, versions, elsewhere_at=walk.elsewhere_at):
                self._check.wrong(f"wallet {told(walk.wallet_id)}: {problem}")

    def on_expired(self, event: Posted, version: int) -> None:
        """That a version ended what expired."""
        for problem in misnamed(
            version, event.effective_at, self._books.terms.get((event.programme, version))
        ):
            self._check.wrong(f"posting {event.posting_id}: {problem}")


def by_silence(walk: WalletWalk, lots: Sequence[Any]) -> Iterator[Gone]:
    """The lines by which points expired that had no end of their own then."""
    rows = {row["lot_id"]: row for row in lots}
    for gone in walk.gone:
        row, lot = rows.get(gone.lot_id), walk.lots.get(gone.lot_id)
        if row is None or lot is None:
            continue
        own = {row["expires_at"], row["first_expires_at"]} - {None}
        # An end that was changed may have been any; what was set aside outlives its lot, and goes when it comes back.
        if not own or not (gone.at in own or lot.renewed or gone.at == lot.voided_at):
            yield gone


def too_soon(gone: Gone, versions: Sequence[Terms]) -> Iterator[str]:
    """What is wrong with the moment of an end by silence. Whoever was active later than is known here ends later, never sooner."""
    ends = [
        ends_at(gone.active_at, [terms for terms in versions if terms.activated_at <= by])
        for by in (gone.posted_at, gone.posted_at - _HEARD)
    ]
    soonest = min((one for one in ends if one is not None), default=None)
    if soonest is None or gone.at < soonest:
        yield (
            f"line {gone.seq} ends lot {told(gone.lot_id)} by silence at {gone.at}: its member was active at {gone.active_at}, "
            f"and the versions end that at {soonest or 'no time'}"
        )


def spent_after(spent: Spent, versions: Sequence[Terms], *, elsewhere_at: datetime | None) -> Iterator[str]:
    """What is wrong with points that were spent: by each of the versions that the bank may have gone by the balance had ended."""
    active_at = max(filter(None, (spent.active_at, elsewhere_at)), default=None)
    ends = [
        ends_at(active_at, [terms for terms in versions if terms.activated_at <= by])
        for by in (spent.at, spent.posted_at, spent.posted_at - _HEARD)
    ]
    if all(one is not None and one <= spent.at for one in ends):
        yield (
            f"line {spent.seq} takes points at {spent.at} of a balance that had ended: its member was active at {active_at}, "
            f"and the versions end that at {ends[0]}"
        )


def ends_at(active_at: datetime | None, versions: Sequence[Terms]) -> datetime | None:
    """When a balance ends whose member did something last at a moment. A version moves an end to what it says, but not nearer than
    its longest notice after the day on which it was activated; what had ended by then it does not move."""
    ends: datetime | None = None
    before: Terms | None = None
    for terms in versions if active_at is not None else ():
        assert active_at is not None
        if ends is not None and ends < terms.activated_at:
            break
        if before is not None and (before.expiry, before.zone) == (terms.expiry, terms.zone):
            continue
        before = terms
        if terms.expiry["policy"] != "inactivity":
            ends = None
            continue
        longest = max(terms.expiry.get("notice_days") or (), default=0)
        warned = _after(terms.local_day(terms.activated_at) + timedelta(days=longest), terms)
        said = _after(terms.silent_after(active_at), terms)
        ends = max(said, warned if ends is None else min(ends, warned))
    return ends


def misnamed(version: int, effective_at: datetime, terms: Terms | None) -> Iterator[str]:
    """What is wrong with the version that an event says ended a balance at a moment."""
    if terms is None or terms.expiry["policy"] != "inactivity":
        yield f"version {version} ends nothing by silence"
    elif effective_at < terms.activated_at:
        yield f"version {version} was activated at {terms.activated_at}, after it ended a balance at {effective_at}"


def _after(day: date, terms: Terms) -> datetime:
    """The first instant after a day."""
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=terms.zone).astimezone(UTC)
