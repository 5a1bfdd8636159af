"""Stock counts: kept, and held against the books; what does not agree is a difference, until a later count does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec

from services.redeem.domain.adjusting import OccurredInFuture
from services.redeem.domain.rewards import RewardUnknown, Stock
from services.redeem.domain.stock import (
    SETTLED,
    Count,
    ImportCounts,
    Judged,
    Mistake,
    StockCountConflict,
    StockCountTooEarly,
    StockUnlimited,
    judge,
    refused,
)
from services.redeem.store import reconciliation, rewards, versions
from services.redeem.store import stock as store
from services.redeem.store.reconciliation import Found
from services.redeem.store.rewards import Name
from shared.errors import MerchantUnknown, ProgrammeUnknown, Refusal, TerminalUnknown
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.programme.compiled import CompiledProgramme
from shared.programme.days import day_of, end_of_day

_encode = msgspec.json.Encoder().encode
KIND = "stock"


class Seen(NamedTuple):
    """What counts are checked against, read under the locks of their rewards."""

    now: datetime
    terms: Mapping[str, CompiledProgramme]
    stocks: Mapping[Name, Stock | None]
    terminals: Mapping[str, Sequence[str]]
    since: Mapping[Name, datetime | None]
    known: dict[tuple[str, str, str, date], Count]

    def check(self, count: Count) -> None:
        """Refuses a count that can't be kept."""
        if (terms := self.terms.get(count.programme)) is None:
            raise ProgrammeUnknown(f"There is no programme {count.programme}.", pointer="/programme")
        if (stock := self.stocks.get(count.name)) is None:
            raise RewardUnknown(f"{count.programme} has no reward {count.reward}.", pointer="/reward")
        if stock.supplied is None:
            raise StockUnlimited(
                f"{count.reward} has no stock: as many are given as are asked.", pointer="/reward"
            )
        # The last day of the calendar has no end that can be reckoned.
        today = day_of(self.now, terms.zone)
        if count.day >= today or end_of_day(count.day, terms.zone) + SETTLED > self.now:
            raise OccurredInFuture(
                f"{count.day} is not over in {terms.zone.key}: count what is there at its end.",
                pointer="/day",
            )
        if count.used is not None:
            self._check_place(count.location)
        before = self.known.get(count.key)
        if before is None:
            self._check_begun(count, terms)
            self._check_apart(count)
        elif before != count:
            raise StockCountConflict(
                f"{before.on_hand} on hand and {_told(before.used)} used were counted there on that day. Count another day.",
                pointer="/on_hand",
            )

    def _check_begun(self, count: Count, terms: CompiledProgramme) -> None:
        since = self.since[count.name]
        if since is not None and since >= end_of_day(count.day, terms.zone):
            raise StockCountTooEarly(
                f"{count.reward} is in the books since {since:%Y-%m-%dT%H:%M:%SZ}: nothing says what there should be at the end of "
                f"{count.day}. Count a later day.",
                pointer="/day",
            )

    def _check_apart(self, count: Count) -> None:
        other = next((one for one in self.known.values() if count.overlaps(one)), None)
        if other is not None:
            raise StockCountConflict(
                f"{other.location} counts {other.on_hand} on that day: what lies at {count.location} would be counted twice. "
                "Count a merchant or its terminals.",
                pointer="/location",
            )

    def _check_place(self, location: str) -> None:
        merchant, _, terminal = location.partition("/")
        if merchant not in self.terminals:
            raise MerchantUnknown(
                f"There is no merchant {merchant}; `used` is counted by merchants and terminals.",
                pointer="/location",
            )
        if terminal and terminal not in self.terminals[merchant]:
            raise TerminalUnknown(f"{merchant} has no terminal {terminal}.", pointer="/location")


async def import_counts(tx: Tx, items: Sequence[Item[ImportCounts]]) -> list[Outcome]:
    """Keeps counts, each once, all of a command or none; then judges each reward's newest day on which every location counted."""
    every = [count for item in items for count in item.command.counts]
    seen = await _seen(tx, every)
    mistakes, new = _sorted(seen, items)
    await store.keep(tx.db, [one for ones in new.values() for one in ones], seen.now)
    kept = [item.command for k, item in enumerate(items) if not mistakes[k]]
    judged = {
        name: await _judged(tx, name, seen.terms[name[0]].zone)
        for name in sorted({one.name for command in kept for one in command.counts})
    }
    outcomes: list[Outcome] = []
    closed: set[Name] = set()
    for k, item in enumerate(items):
        if mistakes[k]:
            outcomes.append(Refused(refused(mistakes[k])))
            continue
        names = sorted({one.name for one in item.command.counts})
        said = [one for name in names for one in judged[name]]
        ended = 0
        for name in names:
            if name not in closed:
                closed.add(name)
                ended += await _keep(tx, item, judged[name], seen.now)
        answer = {
            "counted": len(new[k]),
            "known": len(item.command.counts) - len(new[k]),
            "differences": sum(not one.agrees for one in said),
            "closed": ended,
            "judged": said,
        }
        tx.audit(
            "stock.count",
            "stock",
            item=item,
            after={name: answer[name] for name in answer if name != "judged"},
        )
        outcomes.append(Done(201 if new[k] else 200, _encode(answer)))
    return outcomes


async def _seen(tx: Tx, counts: Sequence[Count]) -> Seen:
    terms = await versions.newest_of(tx.db, tx.cache, {one.programme for one in counts})
    stocks = await rewards.lock(tx.db, {one.name for one in counts})
    since = await store.in_books_since(tx.db, stocks)
    merchants = {one.location.partition("/")[0] for one in counts if one.used is not None}
    terminals = await rewards.terminals_of(tx.db, merchants) if merchants else {}
    return Seen(tx.now(), terms, stocks, terminals, since, await store.known(tx.db, counts))


def _sorted(
    seen: Seen, items: Sequence[Item[ImportCounts]]
) -> tuple[dict[int, list[Mistake]], dict[int, list[Count]]]:
    """What is wrong with each command, and what is new of each that has nothing wrong with it."""
    mistakes: dict[int, list[Mistake]] = {}
    new: dict[int, list[Count]] = {}
    for k, item in enumerate(items):
        before = dict(seen.known)
        wrong, fresh = [], []
        for place, count in enumerate(item.command.counts):
            try:
                seen.check(count)
            except Refusal as refusal:
                wrong.append(Mistake(place, refusal))
                continue
            if count.key not in seen.known:
                seen.known[count.key] = count
                fresh.append(count)
        if wrong:  # none of them is kept, and none of them is known
            seen.known.clear()
            seen.known.update(before)
            fresh = []
        mistakes[k], new[k] = wrong, fresh
    return mistakes, new


async def _judged(tx: Tx, name: Name, zone: Any) -> list[Judged]:
    day = await store.newest_whole_day(tx.db, name)
    if day is None:
        return []
    ends = end_of_day(day, zone)
    counts = await store.counts_of(tx.db, name, day, ends)
    return judge(name, day, counts, await store.books_at(tx.db, name, ends))


async def _keep(tx: Tx, item: Item[Any], judged: Sequence[Judged], now: datetime) -> int:
    """Keeps what differs, and closes what agrees by now; how many were closed."""
    apart = [Found(KIND, one.subject, one.expected, one.found) for one in judged if not one.agrees]
    if apart:
        await reconciliation.keep_found(tx.db, apart, now)
    ended = 0
    for one in judged:
        if not one.agrees:
            continue
        note = f"Counted again, and equal: {one.found}."
        for difference_id in await store.close(tx.db, [one.subject], note):
            tx.audit(
                "reconciliation.close",
                f"difference/{difference_id}",
                item=item,
                after={"state": "closed", "reason": note},
            )
            ended += 1
    return ended


def _told(used: int | None) -> str:
    return "none said to be" if used is None else str(used)
