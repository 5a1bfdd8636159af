"""Held points that are released in parts: what a release finds over of its lot is over, and is not released with the rest. Where
points count from their release, a later one takes no time from what was released before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pointbank.verify.ledger.wallet import LotWalk, Release
from pointbank.verify.matching import told
from pointbank.verify.programme.terms import Terms


def revived(lot_id: bytes, row: Any, lot: LotWalk, versions: Sequence[Terms]) -> Iterator[str]:
    """What releases brought back of a lot. `versions`: of its programme; which one a release went by is not kept, so that only what
    all of them say counts."""
    before: Release | None = None
    holds = bool(versions) and all(terms.expiry.get("holds") == "expire" for terms in versions)
    for release in lot.releases:
        if _over(row["first_expires_at"], before, release.at, versions):
            if release.available:
                yield (
                    f"lot {told(lot_id)} had {release.available} points that were over when line {release.seq} released more of it"
                )
            if holds:
                yield f"line {release.seq} releases points of lot {told(lot_id)} that had died while they were held"
        if before is None or release.at > before.at:
            before = release
    if not lot.reinstated and (short := _shortened(row["expires_at"], lot, versions)) is not None:
        yield f"lot {told(lot_id)} ends at {row['expires_at']}, before what line {short.seq} released was to end"
    yield from _unfounded(lot_id, row, lot, versions)


def _over(first: datetime | None, before: Release | None, at: datetime, versions: Sequence[Terms]) -> bool:
    """Whether the lot had ended by then: as it was opened, or as the last release before it says where points count from that."""
    opened = first is not None and first <= at
    if before is None:
        return opened
    return bool(versions) and all(
        terms.over(before.at, at) if terms.expiry.get("counts_from") == "release" else opened
        for terms in versions
    )


def _unfounded(lot_id: bytes, row: Any, lot: LotWalk, versions: Sequence[Terms]) -> Iterator[str]:
    """Whether a lot ends when nothing says so. Where that is the member's birth month's to say, any end may be right; and a person
    who brought something back says any."""
    opened, first, end = lot.opened, row["first_expires_at"], row["expires_at"]
    if lot.reinstated or not versions or opened is None:
        return
    by_birth_month = any(terms.by_birth_month for terms in versions)
    if end != first:
        counting = [terms for terms in versions if terms.expiry.get("counts_from") == "release"]
        founded = any(terms.expires_rightly(one.at, end) for terms in counting for one in lot.releases)
        if not founded and not (by_birth_month and counting and lot.releases):
            yield f"lot {told(lot_id)} ends at {end}, first it was to end at {first}, and nothing changed that"
    if by_birth_month or opened.kind != "return":
        return
    if not any(terms.expires_rightly(opened.effective_at, first) for terms in versions):
        yield f"lot {told(lot_id)} was opened by a return at {opened.effective_at}, and ends at {first}"


def _shortened(end: datetime | None, lot: LotWalk, versions: Sequence[Terms]) -> Release | None:
    """A release that was to let the lot live longer than it does, by every version."""
    if end is None or not versions or any(terms.expiry.get("counts_from") != "release" for terms in versions):
        return None
    return next((one for one in lot.releases if all(terms.longer(one.at, end) for terms in versions)), None)
