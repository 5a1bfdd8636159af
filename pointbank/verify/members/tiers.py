"""Standings: the points they count are the ledger's, each change follows from the numbers it kept, none is too low, and what is
over is no step to another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from pointbank.verify.books import Books, Follower
from pointbank.verify.events import Envelope, TierChanged
from pointbank.verify.programme.terms import Terms, meets, read_terms

_decode = msgspec.json.decode
_sorted = msgspec.json.Encoder(order="sorted").encode
FOREVER = datetime.max.replace(tzinfo=UTC)
AHEAD = timedelta(minutes=5)
"""So far the moment of a fact may be ahead of who hears it."""


class Tiers:
    """The side of tiers' tables, and the side of its events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._told = books.match(
            "tiers:told", 5, "each change of a standing has one tier.changed event",
            ("programme", "version", "from", "to", "direction", "numbers", "effective_at", "until", "cause", "member", "name"),
            ours="the history", theirs="the events",
        )  # fmt: skip
        self._heard = books.match(
            "tiers:heard", 8, "each standing that earn heard is kept there, to judge bills by",
            ("tier", "event", "effective_at", "until"), ours="the events", theirs="earn",
        )  # fmt: skip
        self._terms: dict[tuple[str, int], Terms] = {}

    # ---- the side of the tables

    async def walk(self) -> None:
        """Qualifying points, standings and their history."""
        books, snapshot = self._books, self._books.snapshot
        for code, version, activated_at, document in await snapshot.rows("members/tiers.sql", "versions"):
            with books.reading("version", version, "of", code, "at tiers"):
                self._terms[code, version] = read_terms(version, activated_at, _decode(document))
        async with books.part("qualifying points"):
            await self._qualifications()
        self._decided = books.check(
            "tiers:decisions", 8, "each change follows from the rule and numbers it kept"
        )
        self._stand = books.check(
            "tiers:standings",
            8,
            "each standing is its last change, and no lower than its years earn; from one that is over nothing goes on",
        )
        self._now = await snapshot.value("members/tiers.sql", "now")
        history = Follower(snapshot, "members/tiers.sql", "history")
        async for page in snapshot.pages("members/tiers.sql", "standings"):
            books.progress("standings")
            await history.fill(page[-1]["id"])
            for standing in page:
                changes = history.take(standing["id"])
                with books.reading("the standing of wallet", standing["id"]):
                    self._standing(standing, changes)
        async for change in history.rest():
            self._stand.wrong(f"wallet {change['id']} has a history and no standing")
        async for page in snapshot.pages("members/tiers.sql", "heard"):
            for wallet_id, sequence, *rest in page:
                self._heard.theirs(((wallet_id, sequence), *rest))

    async def _qualifications(self) -> None:
        books, snapshot = self._books, self._books.snapshot
        check = books.check(
            "tiers:points", 1, "qualifying points of each year are what the ledger earned in it, once"
        )
        left = await snapshot.value("members/tiers.sql", "uncounted")
        if left:
            check.why_not = f"{left:,} events about points are not counted yet"
            return
        check.compared = await snapshot.value("members/tiers.sql", "qualified")
        async for page in snapshot.pages("members/tiers.sql", "qualifications"):
            for wallet_id, year, earned, counted in page:
                check.wrong(
                    f"wallet {wallet_id} in {year}: the ledger earned {earned}, tiers counted {counted}"
                )

    def _standing(self, standing: Any, changes: list[Any]) -> None:
        wallet = f"wallet {standing['id']}"
        self._stand.compared += 1
        tier, until = None, None
        for place, change in enumerate(changes, start=1):
            self._decided.compared += 1
            if (change["sequence"], change["from_tier"]) != (place, tier):
                self._stand.wrong(
                    f"{wallet}: change {change['sequence']} from {change['from_tier']} follows {place - 1} to {tier}"
                )
            if until is not None and change["effective_at"] > until + AHEAD:
                self._stand.wrong(
                    f"{wallet}: change {place} at {change['effective_at']} is from {tier}, which was over at {until}"
                )
            tier, until = change["to_tier"], change["until"]
            terms = self._terms.get((change["programme"], change["programme_version"]))
            if terms is None:
                self._decided.wrong(
                    f"{wallet}, change {place}: version {change['programme_version']} is not known"
                )
                continue
            for problem in _problems(change, terms):
                self._decided.wrong(f"{wallet}, change {place}: {problem}")
            self._change(standing, change, terms)
        if (standing["tier"], standing["until"], standing["sequence"]) != (tier, until, len(changes)):
            self._stand.wrong(
                f"{wallet} stands in {standing['tier']} until {standing['until']}; its changes end in {tier} until {until}"
            )
        newest = self._terms.get((standing["programme"], standing["judged_version"]))
        if newest is not None and newest.ladder and not standing["merged"]:
            for problem in self._too_low(standing, newest):
                self._stand.wrong(f"{wallet}: {problem}")

    def _too_low(self, standing: Any, terms: Terms) -> Iterator[str]:
        """Whether a year of this wallet earns more than where it stands. One that is over is to be ended: `settled` says so."""
        stands = terms.ranks.get(standing["tier"] or "", -1), standing["until"] or FOREVER
        if stands[1] <= self._now:
            return
        years, points = standing["years"] or [], standing["points"] or []
        sums = (
            [(years[-1], sum(points))]
            if terms.lifecycle == "lifetime" and years
            else list(zip(years, points, strict=True))
        )
        for year, earned in sums:
            rank = terms.rank_reached({"points": earned, "year": year})
            until = terms.status_until(rank, year) or FOREVER
            if until > self._now and (rank, until) > stands:
                yield f"{earned} points of {year} earn {terms.ladder[rank].code} until {until}; it stands in {standing['tier']}"

    def _change(self, standing: Any, change: Any, terms: Terms) -> None:
        rank = terms.ranks.get(change["to_tier"])
        self._told.ours(
            (
                (change["id"], change["sequence"]), change["programme"], change["programme_version"], change["from_tier"],
                change["to_tier"], change["direction"], _sorted(_decode(change["numbers"])), change["effective_at"],
                change["until"], change["cause"], standing["member_id"],
                _sorted(terms.ladder[rank].name if rank is not None else None),
            )
        )  # fmt: skip

    # ---- the side of the events

    def on_changed(self, n: int | None, envelope: Envelope, event: TierChanged) -> None:
        """tier.changed."""
        key = (event.wallet_id, int(envelope.sequence))
        self._told.theirs(
            (
                key, event.programme, event.programme_version, event.from_, event.to, event.direction, _sorted(event.numbers),
                event.effective_at, event.until, envelope.causationid, event.member_id, _sorted(event.name),
            )
        )  # fmt: skip
        if self._books.heard["tiers", "earn"].applied(n):
            self._heard.ours((key, event.to, envelope.id, event.effective_at, event.until))


def _problems(change: Any, terms: Terms) -> Iterator[str]:
    """What of a change does not follow from its version and its numbers."""
    numbers = _decode(change["numbers"])
    facts = None if change["facts"] is None else _decode(change["facts"])
    rank = terms.ranks.get(change["to_tier"])
    if rank is None:
        yield f"{change['to_tier']} is not on the ladder"
        return
    if _decode(change["rule"]) != terms.ladder[rank].entry:
        yield f"rule {change['rule']} is not that of {change['to_tier']}"
    if facts is not None:
        yield from _untrue(change, facts, numbers, terms)
    reached = terms.rank_reached(numbers, facts)
    # Everybody enters by the first tier, whatever the points; the next change goes on from there.
    if rank != reached and not (change["direction"] == "entry" and rank == 0):
        yield f"{change['numbers']} reach {terms.ladder[reached].code}, it gave {change['to_tier']}"
    wanted = terms.status_until(rank, numbers["year"]) if "year" in numbers else None
    if change["until"] != wanted:
        yield f"it lasts until {change['until']}, computed {wanted}"
    if change["direction"] != _direction(change, terms, rank):
        yield f"direction {change['direction']} from {change['from_tier']} to {change['to_tier']}"


def _untrue(change: Any, facts: Any, numbers: Any, terms: Terms) -> Iterator[str]:
    """What of the facts that conditions were told is not as it was computed."""
    exempt = facts.get("exempt")
    if exempt is not None and (exempt != change["from_tier"] or change["direction"] not in {"down", "kept"}):
        yield f"the condition of {exempt} was not asked, from {change['from_tier']} {change['direction']}"
    tried = {
        tier.code: terms.condition(tier.entry["when"], numbers, facts)[1]
        for tier in terms.ladder
        if "when" in tier.entry and meets(tier.entry, numbers)
    }
    if facts["tried"] != tried:
        yield f"conditions came to {facts['tried']}, computed {tried}"


def _direction(change: Any, terms: Terms, rank: int) -> str:
    before = change["from_tier"]
    if before is None:
        return "entry"
    if before == change["to_tier"]:
        return "kept"
    if before not in terms.ranks:
        return "moved"
    return "up" if terms.ranks[before] < rank else "down"
