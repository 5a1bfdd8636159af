"""Acts besides bills: each recorded once, judged as its decision says, told once; and what they earned, worked out again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from jsonschema import Draft202012Validator
from referencing import Registry

from pointbank.verify.books import Books, Follower
from pointbank.verify.earning.bills import Bills, told_entries
from pointbank.verify.earning.decisions import OPEN, Accrual, Standings, began_later
from pointbank.verify.events import ActAnswer, Envelope, entries_of
from pointbank.verify.programme.checkout import Rooms
from pointbank.verify.programme.conditions import Asked, holds
from pointbank.verify.programme.numbers import decimal_of, money_of, rounded
from pointbank.verify.programme.terms import Terms
from pointbank.verify.report import Check

_encode = msgspec.json.Encoder().encode
_PERIODS = ("day", "week", "month", "year")
_ANSWER = (
    "event",
    "status",
    "kind",
    "act_ref",
    "merchant",
    "occurred_at",
    "entries",
    "place",
    "accruals",
)


class Judged(msgspec.Struct, frozen=True, gc=False):
    """What was decided for one wallet (services/earn/README.md, "A decision about an act")."""

    programme: str
    version: int
    wallet_id: str
    currency: str
    point_value: str
    act: str
    result: str
    tier: str | None = None
    tier_event_id: str | None = None
    tier_sequence: int | None = None
    condition: str = ""
    units: int | None = None
    wanted: int = 0
    caps: Rooms = ()
    member_caps: Rooms = ()
    budget: tuple[int, int] | None = None
    points: int = 0
    accruals: tuple[Accrual, ...] = ()
    referral: dict[str, Any] | None = None


class Decision(msgspec.Struct, frozen=True, gc=False):
    status: str
    member_id: str | None = None
    programmes: tuple[Judged, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    waiting_for: tuple[tuple[str, str], ...] = ()


_decode = msgspec.json.Decoder(Decision).decode


class Acts:
    """The acts' side, and the side of earn's events about them. What they announced and counted goes to that of the bills."""

    def __init__(self, books: Books, bills: Bills) -> None:
        self._books, self._bills = books, bills
        self._taken: dict[str, int] = {}
        self._told = books.match(
            "acts:told", 5, "each decision about an act has one event, act.recorded for the first and act.settled for others",
            _ANSWER, ours="the decisions", theirs="the events",
        )  # fmt: skip
        self._kept = books.match(
            "acts:kept", 8, "each wallet that an act earned in has its accrual in the table", ("act", "wallet", "points"),
            ours="the decisions", theirs="the table",
        )  # fmt: skip

    async def walk(self) -> None:
        """Every act with its decisions."""
        books, snapshot = self._books, self._books.snapshot
        keys = books.check(
            "acts:keys", 1, "each act has one key, with the hash of its content; each key has its act"
        )
        made = books.check(
            "acts:decisions", 8, "each decision about an act comes out again from the act and its inputs"
        )
        chain = books.check(
            "acts:chain", 8, "decisions count from 1; an act waits until one of them settles it"
        )
        async for page in snapshot.pages("earning/acts.sql", "taken_back"):
            self._taken.update([(row[0], row[1]) for row in page])
        decisions = Follower(snapshot, "earning/acts.sql", "decisions")
        async for page in snapshot.pages("earning/acts.sql", "acts"):
            books.progress("acts")
            await decisions.fill(page[-1]["id"])
            found: list[tuple[Any, list[tuple[Any, Decision]]]] = []
            for act in page:
                judgements = []
                for row in decisions.take(act["id"]):
                    try:
                        judgements.append((row, _decode(row["decision"])))
                    except msgspec.MsgspecError as error:
                        made.wrong(f"act {act['id']}, decision {row['n']} can't be read: {error}")
                        judgements.append((row, Decision("unreadable")))
                found.append((act, judgements))
            standings = await self._bills.standings_of(
                {
                    (judged.wallet_id, judged.tier_sequence)
                    for _, judgements in found
                    for _, decision in judgements
                    for judged in decision.programmes
                    if judged.tier_sequence is not None
                }
            )
            months = await self._bills.birth_months_of(
                (decision.member_id, (judged.programme, judged.version))
                for _, judgements in found
                for _, decision in judgements
                for judged in decision.programmes
            )
            for act, judgements in found:
                with books.reading("act", act["id"]):
                    self._act(act, judgements, keys, made, chain, standings, months)
        async for orphan in decisions.rest():
            chain.wrong(f"act {orphan[0]} has a decision and is not there")
        async for page in snapshot.pages("earning/acts.sql", "accruals"):
            for row in page:
                self._kept.theirs(tuple(row))

    def _act(
        self,
        act: Any,
        judgements: list[tuple[Any, Decision]],
        keys: Check,
        made: Check,
        chain: Check,
        standings: Standings,
        birth_months: dict[str, int],
    ) -> None:
        keys.compared += 1
        for problem in _key_problems(act):
            keys.wrong(f"act {act['id']}: {problem}")
        if not act["has_act"]:
            return
        chain.compared += 1
        for problem in _chain_problems(act, judgements):
            chain.wrong(f"act {act['id']}: {problem}")
        place = 0
        for row, decision in judgements:
            place = self._says(act, row, decision, place)
        if self._books.closed:
            return  # as with bills, whose judgements come after what they said too
        for row, decision in judgements:
            made.compared += 1
            # Without its first decision, which the chain misses, nobody knows when it was taken.
            at = act["taken_at"] or row["decided_at"]
            for problem in self._objections(act, decision, at, standings, birth_months):
                made.wrong(f"act {act['id']}, decision {row['n']}: {problem}")

    def _says(self, act: Any, row: Any, decision: Decision, place: int) -> int:
        """Adds what this decision must have said and counted; gives the place of its last event among those about the act."""
        act_id, first = act["id"], row["n"] == 1
        place += first
        recorded_at = place
        for judged in decision.programmes:
            self._count(judged)
            for one in judged.accruals:
                place += 1
                self._bills.announced(
                    (
                        one.accrual_id, one.kind, act_id, decision.member_id, judged.wallet_id, judged.programme,
                        judged.version, judged.currency, judged.point_value, act["occurred_at"], row["decided_at"],
                        place, one.points, ((one.lot_id, one.points, one.expires_at),),
                    )
                )  # fmt: skip
                self._kept.ours((one.accrual_id, act_id, judged.wallet_id, one.points))
        if not first:
            place += 1
        told_at = recorded_at if first else place
        own = (act["stream_id"], act["event_source"], act["event_id"])
        entries = (own,) if first else told_entries(own, act["listeners"], row["told"])
        self._told.ours(
            (
                (act_id, told_at), act["recorded_event_id"] if first else row["told_as"], decision.status, act["act"],
                act["act_ref"], act["merchant"], act["occurred_at"], entries, told_at, self._accruals(decision),
            )
        )  # fmt: skip
        return place

    def _accruals(self, decision: Decision) -> tuple[tuple[Any, ...], ...]:
        rows = []
        for one in decision.programmes:
            terms = self._books.terms.get((one.programme, one.version))
            if terms is not None:
                money = money_of(one.points, terms.per_point)
                rows.append((one.programme, one.version, one.wallet_id, one.tier, one.points, money, 0, 0))
        return tuple(rows)

    def _count(self, judged: Judged) -> None:
        if judged.points:
            counter = f"act:{judged.act}"
            back = sum(self._taken.get(one.accrual_id, 0) for one in judged.accruals)
            for period, since, _, _ in judged.caps:
                self._bills.counters.add_cap((judged.wallet_id, counter, period, since), judged.points, back)
            for period, since, _, _ in judged.member_caps:
                self._bills.counters.add_cap((judged.wallet_id, "", period, since), judged.points, back)
            if judged.budget is not None:
                self._bills.counters.add_budget((judged.programme, counter), judged.points, back)

    def on_answer(self, n: int | None, envelope: Envelope, told: ActAnswer) -> None:
        """act.recorded and act.settled."""
        place = int(envelope.sequence)
        self._told.theirs(
            (
                (told.act_id, place), envelope.id, told.status, told.act, told.act_ref, told.merchant, told.occurred_at,
                entries_of(told), place, tuple([one.row() for one in told.accruals]),
            )
        )  # fmt: skip

    # ---- the same decision, made again

    def _objections(
        self, act: Any, decision: Decision, at: datetime, standings: Standings, birth_months: dict[str, int]
    ) -> Iterator[str]:
        if decision.status in OPEN:
            if not decision.waiting_for or decision.programmes:
                yield f"{decision.status} for nothing, or with a result"
            return
        if decision.waiting_for:
            yield f"{decision.status}, and still waiting for something"
        person = self._books.merges.person
        judged_for, named = decision.member_id, act["member_id"]
        if named is not None and (judged_for is None or person(judged_for) != person(named)):
            yield f"judged for member {decision.member_id}, the identity names {act['member_id']}"
        if act["referrer_id"] is not None:
            by_role = {"referrer": act["referrer_id"], "referred": act["act_ref"].split("/")[0]}
            of = by_role.get(act["act_ref"].split("/")[-1])
            if judged_for is None or of is None or person(judged_for) != person(of):
                yield f"judged for member {decision.member_id}, the referral is of {by_role}"
        if act["occurred_at"] > at + timedelta(minutes=5):
            yield "it happened in the future"
        for code, reason in decision.passed_over:
            if act["programme"] not in (None, code):
                yield f"{code} is not the act's programme"
            if reason == "occurred_too_early" and act["source"].startswith("engine:"):
                yield "what the engine tells of is never too early"
        for judged in decision.programmes:
            terms = self._books.terms.get((judged.programme, judged.version))
            if terms is None:
                yield f"judged by {judged.programme} version {judged.version}, which earn does not know"
                continue
            if act["programme"] not in (None, judged.programme):
                yield f"{judged.programme} is not the act's programme"
            yield from began_later(terms, self._books.versions_of, act["occurred_at"])
            yield from _judgement(act, judged, terms, at, birth_months.get(decision.member_id or ""))
            yield from _standing(act, judged, terms, standings)
        computed = "earned" if any(one.points for one in decision.programmes) else "nothing"
        if decision.status != computed:
            yield f"status is {decision.status}, computed {computed}"


def _judgement(
    act: Any, judged: Judged, terms: Terms, at: datetime, birth_month: int | None
) -> Iterator[str]:
    if (judged.currency, judged.point_value) != (terms.currency, terms.point_value):
        yield f"{judged.currency} and {judged.point_value} are not those of version {terms.version}"
    if terms.closed:
        yield f"{judged.programme} was closed by version {terms.version}"
    engine, _, on = act["source"].partition(":")
    on = on if engine == "engine" else "reported"
    declared = [
        one
        for one in terms.acts
        if (one.get("on") or "reported") == on and (on != "reported" or one["code"] == act["act"])
    ]
    if [one["code"] for one in declared] != [judged.act]:
        yield f"judged as {judged.act}, the version declares {[one['code'] for one in declared]}"
        return
    [kind] = declared
    data = json.loads(act["data"])
    if judged.referral != (data if on == "referral" else None):
        yield f"for referral {judged.referral}, the act says {data}"
    if on == "referral":
        if data["minimum_minor"] > data["amount_minor"]:
            yield "the bill that it came of did not reach the minimum"
    elif kind.get("data") is None:
        if data:
            yield "it has data, and its type has none"
    elif not Draft202012Validator(kind["data"], registry=Registry()).is_valid(data):
        yield "its data is not what the schema allows"
    if on == "reported" and terms.backdating is not None and act["occurred_at"] < at - terms.backdating:
        yield "it happened before the backdating window"
    computed = _worth(act, kind, data, judged, terms)
    kept = (
        judged.result,
        judged.condition,
        judged.units,
        judged.wanted,
        judged.caps,
        judged.member_caps,
        judged.budget,
        judged.points,
    )
    if kept != computed:
        yield f"result, condition, units, wanted, caps, the programme's, budget, points are {kept}, computed {computed}"
    announced = [(one.kind, one.points) for one in judged.accruals]
    if announced != ([("earn", judged.points)] if judged.points else []):
        yield f"announced {announced} for {judged.points} points"
    for one in judged.accruals:
        if not terms.expires_rightly(act["occurred_at"], one.expires_at, birth_month):
            yield f"lot {one.lot_id} expires at {one.expires_at}"


def _worth(
    act: Any, kind: Mapping[str, Any], data: Mapping[str, Any], judged: Judged, terms: Terms
) -> tuple[Any, ...]:
    trace = ""
    if kind.get("when") is not None:
        held, trace = holds(kind["when"], _asked(act, data, judged, terms))
        if not held:
            return ("when", trace, None, 0, (), (), None, 0)
    units, wanted = None, kind.get("points")
    if kind.get("points_each") is not None:
        wanted = kind["points_each"][data["role"]]
    if wanted is None:
        rate = kind["rate"]
        given = data.get(rate["of"])
        units = given if type(given) is int and given > 0 else 0
        exact = decimal_of(rate["points"]) * units / (rate.get("per") or 1)
        wanted = rounded(terms.mode, exact.numerator, exact.denominator)
    if kind.get("maximum") is not None:
        wanted = min(wanted, kind["maximum"])
    if not wanted:
        return ("nothing", trace, units, 0, (), (), None, 0)
    today = terms.local_day(act["occurred_at"])
    caps = _rooms(kind.get("member_caps") or {}, judged.caps, today)
    shared = _rooms(terms.member_caps, judged.member_caps, today)
    most = [limit - had for _, _, had, limit in (*caps, *shared)]
    budget = None
    if kind.get("budget") is not None:
        limit = kind["budget"].get("points")
        if limit is None:
            limit = kind["budget"]["money_minor"] // terms.per_point
        budget = (judged.budget[0] if judged.budget is not None else 0, int(limit))
        most.append(budget[1] - budget[0])
    points = max(min([wanted, *most]), 0)
    return ("applied" if points else "used_up", trace, units, wanted, caps, shared, budget, points)


def _rooms(limits: Mapping[str, int | None], kept: Rooms, today: date) -> Rooms:
    """The caps of these limits, with what the decision says was spent before."""
    spent = {room[0]: room[2] for room in kept}
    return tuple(
        (period, _since(period, today), spent.get(period, 0), limit)
        for period in _PERIODS
        if (limit := limits.get(period)) is not None
    )


def _since(period: str, today: date) -> date:
    match period:
        case "week":
            return today - timedelta(days=today.isoweekday() - 1)
        case "month":
            return date(today.year, today.month, 1)
        case "year":
            return date(today.year, 1, 1)
    return today


def _asked(act: Any, data: Mapping[str, Any], judged: Judged, terms: Terms) -> Asked:
    return Asked(
        occurred_at=act["occurred_at"],
        zone=terms.zone,
        total_minor=0,
        lines=(),
        merchant=act["merchant"],
        channel=None,
        terminal=None,
        tenders={},
        tier=judged.tier,
        data=data,
    )


def _standing(act: Any, judged: Judged, terms: Terms, standings: Standings) -> Iterator[str]:
    if judged.tier_sequence is None:
        first = terms.ladder[0].code if terms.ladder else None
        if judged.tier != first:
            yield f"tier {judged.tier} without an event; the ladder begins with {first}"
        return
    heard = standings.get((judged.wallet_id, judged.tier_sequence))
    if heard is None or heard[:2] != (judged.tier, judged.tier_event_id):
        yield f"tier {judged.tier} by event {judged.tier_event_id}, earn heard {heard}"
    elif heard[2] > act["occurred_at"]:
        yield f"tier {judged.tier} holds from {heard[2]}, later than the act"


def content_hash(act: Any) -> bytes:
    """SHA-256 of an act's canonical bytes (services/earn/README.md)."""
    head = (
        act["source"], act["act_ref"], act["act"], act["occurred_at"], act["identity_kind"], act["identity"], act["merchant"],
        act["programme"],
    )  # fmt: skip
    return sha256(_encode(head) + b"\n" + act["data"].encode()).digest()


def _key_problems(act: Any) -> Iterator[str]:
    if not act["has_act"]:
        yield f"key {act['key_source']} {act['key_ref']} names it, and it is not there"
    elif act["content_hash"] is None:
        yield "it has no key"
    elif (act["source"], act["act_ref"]) != (act["key_source"], act["key_ref"]):
        yield f"its key is of {act['key_source']} {act['key_ref']}"
    elif content_hash(act) != act["content_hash"]:
        yield "its content is not what its key was taken for"
    elif act["event_source"] is not None and act["pos_hash"] != act["content_hash"]:
        yield f"{act['event_source']} {act['event_id']} was not taken for it"


def _chain_problems(act: Any, judgements: list[tuple[Any, Decision]]) -> Iterator[str]:
    if not judgements:
        yield "it has no decision"
        return
    place = 0
    for n, (row, decision) in enumerate(judgements, start=1):
        if row["n"] != n:
            yield f"decision {row['n']} follows {n - 1}"
        if row["status"] != decision.status:
            yield f"status {row['status']} beside a decision that says {decision.status}"
        place += 1 + sum(len(judged.accruals) for judged in decision.programmes)
        if row["sequence"] != place:
            yield f"decision {n} ends at event {row['sequence']}, counted {place}"
        if n < len(judgements) and decision.status not in OPEN:
            yield f"decision {n} is {decision.status}, and another follows"
    last, decision = judgements[-1]
    waits = (
        None if act["waiting_n"] is None else (act["waiting_n"], act["waiting_sequence"], act["unclaimed"])
    )
    wanted = (
        (last["n"], last["sequence"], decision.status == "unclaimed") if decision.status in OPEN else None
    )
    if waits != wanted:
        yield f"its last decision is {decision.status}, it waits as {waits}"
