"""A decision as it was kept, and the same decision made again from the bill and the inputs that it names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from pointbank.verify.programme.campaigns import Tried
from pointbank.verify.programme.checkout import Offered, Rooms, Stamped
from pointbank.verify.programme.conditions import Asked
from pointbank.verify.programme.conversion import Conversion, Converted, Rates, converted
from pointbank.verify.programme.conversion import objections as conversion_objections
from pointbank.verify.programme.numbers import money_of
from pointbank.verify.programme.terms import Line, Terms, Worth

OPEN = frozenset({"waiting", "unclaimed"})


class KeptLine(msgspec.Struct, frozen=True, gc=False):
    """A bill's line as it was kept."""

    line_id: str
    amount_minor: int
    sku: str | None = None
    categories: tuple[str, ...] = ()
    quantity: str | None = None
    discount_minor: int = 0
    tax_minor: int = 0


class Accrual(msgspec.Struct, frozen=True, gc=False):
    accrual_id: str
    kind: str
    points: int
    lot_id: str
    expires_at: datetime | None = None


class Inputs(msgspec.Struct, frozen=True, gc=False):
    """What was known of merchant and member."""

    brand: str | None = None
    bills: int | None = None
    last_bill_at: datetime | None = None
    enrolled_at: datetime | None = None
    segments: tuple[str, ...] | None = None


class KeptDetails(msgspec.Struct, frozen=True, gc=False):
    """What was tried where rules ask for more than categories and amounts."""

    inputs: Inputs = Inputs()
    not_for: tuple[tuple[str, str], ...] = ()
    conditions: tuple[tuple[str, bool, str], ...] = ()
    line_conditions: tuple[tuple[str, str], ...] = ()
    multipliers: tuple[tuple[str, tuple[int, int]], ...] = ()
    bases: tuple[tuple[str, str], ...] = ()
    campaigns: tuple[Tried, ...] = ()
    base: tuple[int, int] | None = None
    caps: Rooms = ()
    cut: int = 0
    left_out: tuple[tuple[str, str, int, str], ...] = ()
    ended: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    form: int = 1


class Judged(msgspec.Struct, frozen=True, gc=False):
    """What was decided for one wallet."""

    programme: str
    version: int
    wallet_id: str
    currency: str
    point_value: str
    multiplier: tuple[int, int]
    denominator: int
    points: int
    available: int
    held: int
    rules: tuple[str, ...] = ()
    lines: tuple[tuple[str | None, str, int, int | None], ...] = ()
    by_rule: tuple[tuple[str, str, int, int, int], ...] = ()
    tier: str | None = None
    tier_event_id: str | None = None
    tier_sequence: int | None = None
    details: KeptDetails = KeptDetails()
    accruals: tuple[Accrual, ...] = ()
    conversion: Conversion | None = None
    offers: tuple[Offered, ...] = ()
    stamps: tuple[Stamped, ...] = ()
    seen: tuple[tuple[str, int, int], ...] = ()
    reviewed: int = 0

    @property
    def flagged(self) -> tuple[str, ...]:
        """The patterns that were found more often than they may be, each once."""
        return tuple(dict.fromkeys(pattern for pattern, found, most in self.seen if found > most))


class Decision(msgspec.Struct, frozen=True, gc=False):
    """services/earn/README.md, "A decision"."""

    status: str
    member_id: str | None = None
    programmes: tuple[Judged, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    waiting_for: tuple[tuple[str, str], ...] = ()
    variances: tuple[tuple[str, str, int, int], ...] = ()


decode_decision = msgspec.json.Decoder(Decision).decode
decode_lines = msgspec.json.Decoder(tuple[KeptLine, ...]).decode

TermsOf = Callable[[tuple[str, int]], Terms | None]
VersionsOf = Callable[[str], Sequence[Terms]]
Standings = dict[tuple[str, int], tuple[str, str, datetime, datetime | None]]
SegmentWords = dict[str, list[tuple[str, datetime, datetime | None]]]
"""By member what earn heard: segment, from, until."""


def began_later(terms: Terms, versions_of: VersionsOf, at: datetime) -> Iterator[str]:
    """A version judges what happened before it began only where there was none before it."""
    if terms.activated_at > at and any(
        one.version < terms.version and one.activated_at < terms.activated_at
        for one in versions_of(terms.code)
    ):
        yield f"judged by version {terms.version}, which began at {terms.activated_at}, later"


def countable(lines: tuple[KeptLine, ...]) -> list[Line]:
    """What rules look at."""
    return [
        Line(line.categories, line.amount_minor, line.discount_minor, line.tax_minor, line.sku, line.quantity)
        for line in lines
    ]


def _same(one: str | None, other: str, person: Callable[[str], str]) -> bool:
    return one is not None and person(one) == person(other)


def objections(
    bill: Any,
    lines: list[Line],
    decision: Decision,
    at: datetime,
    terms_of: TermsOf,
    versions_of: VersionsOf,
    standings: Standings,
    words: SegmentWords,
    rates: Rates | None = None,
    person: Callable[[str], str] = str,
    birth_months: Mapping[str, int] | None = None,
) -> Iterator[str]:
    """What of a judgement does not follow from its bill and its inputs; `at` is when it was judged. `person`: who a member goes
    on as, for an identity names the one who does, and the bill may be older than the merge. `birth_months`: by member."""
    birth_month = (birth_months or {}).get(decision.member_id or "")
    if decision.waiting_for:
        yield f"{decision.status}, and still waiting for something"
    if (bill["identity"] is None) != (decision.status == "anonymous"):
        yield f"status {decision.status} for {'no identity' if bill['identity'] is None else 'an identity'}"
    if bill["member_id"] is not None and not _same(decision.member_id, bill["member_id"], person):
        yield f"judged for member {decision.member_id}, the identity names {bill['member_id']}"
    if decision.status == "anonymous" and decision.programmes:
        yield "an anonymous bill earned"
    made = []
    for judged in decision.programmes:
        terms = terms_of((judged.programme, judged.version))
        if terms is None:
            yield f"judged by {judged.programme} version {judged.version}, which earn does not know"
            continue
        tenders = json.loads(bill["tenders"]) if bill["tenders"] is not None else []
        own = Converted(bill["total_minor"], lines, dict(tenders))
        if judged.conversion is not None:
            by = judged.conversion
            yield from conversion_objections(bill, by, terms.currency, terms.currencies, rates or {})
            own = converted(bill["total_minor"], lines, tenders, by, terms.currency)
            if own.total_minor != by.total_minor:
                yield f"converted it comes to {by.total_minor}, computed {own.total_minor}"
        elif bill["currency"] != terms.currency:
            yield f"a bill in {bill['currency']} earned in {terms.currency}"
        worth = terms.worth(
            own.lines, own.total_minor, judged.tier, _asked(bill, own, decision.member_id, judged, terms)
        )
        yield from _guards(judged, worth, terms)
        if judged.flagged:
            worth = worth._replace(available=0, held=worth.points)
        made.append(worth)
        yield from _numbers(judged, worth)
        yield from _besides(judged, worth, bool(claims_of(bill)))
        yield from began_later(terms, versions_of, bill["occurred_at"])
        yield from _inputs(bill, judged, terms, at, standings)
        yield from _segments(bill, judged, words.get(decision.member_id or "", []))
        yield from _accruals(bill, judged, worth, terms, birth_month)
    if decision.status != "anonymous" and decision.status != status_of(made):
        yield f"status is {decision.status}, computed {status_of(made)}"
    yield from _variances(bill, decision)
    if bill["programmes"] is not None:
        for code in [judged.programme for judged in decision.programmes] + [
            code for code, _ in decision.passed_over
        ]:
            if code not in bill["programmes"]:
                yield f"{code} is none of the bill's programmes"


def _asked(bill: Any, own: Converted, member_id: str | None, judged: Judged, terms: Terms) -> Asked | None:
    if terms.plain and not terms.bounded and not own.tenders:
        return None
    known = judged.details.inputs
    return Asked(
        occurred_at=bill["occurred_at"],
        zone=terms.zone,
        total_minor=own.total_minor,
        lines=tuple(own.lines),
        merchant=bill["merchant"],
        channel=bill["channel"],
        terminal=bill["terminal"],
        tenders=own.tenders,
        tier=judged.tier,
        brand=known.brand,
        bills=known.bills,
        last_bill_at=known.last_bill_at,
        enrolled_at=known.enrolled_at,
        segments=known.segments or (),
        member_id=member_id,
        given_before=(judged.details.campaigns, judged.details.caps, judged.details.form),
        claims={campaign: amount for code, campaign, amount in claims_of(bill) if code == judged.programme},
        offered_before=judged.offers,
        stamped_before=judged.stamps,
    )


def claims_of(bill: Any) -> list[tuple[str, str, int]]:
    """(programme, campaign, amount) of what the till says it gave at the checkout."""
    said = bill["effects_applied"]
    return [] if said is None else [(row[0], row[1], row[2]) for row in json.loads(said)]


def _variances(bill: Any, decision: Decision) -> Iterator[str]:
    granted = {
        (judged.programme, one.campaign): one.granted_minor
        for judged in decision.programmes
        for one in judged.offers
    }
    wanted = tuple(
        (code, campaign, amount, granted.get((code, campaign), 0))
        for code, campaign, amount in claims_of(bill)
        if amount > granted.get((code, campaign), 0)
    )
    if decision.variances != wanted:
        yield f"variances are {decision.variances}, computed {wanted}"


def _besides(judged: Judged, worth: Worth, claims: bool) -> Iterator[str]:
    kept = tuple(msgspec.structs.replace(one, effect_id=None) for one in judged.offers)
    strange = claims and not worth.offers  # a plain programme knows no campaign
    if kept != worth.offers and not (strange and all(one.result == "unknown" for one in kept)):
        yield f"given at the checkout is {kept}, computed {worth.offers}"
    for one in judged.offers:
        if (one.effect_id is not None) != (one.kind == "reward" and one.result == "applied"):
            yield f"campaign {one.campaign} is {one.result}, and asks the bank for {one.effect_id}"
    stamped = tuple((msgspec.structs.replace(one, effects=()), len(one.effects)) for one in judged.stamps)
    if stamped != worth.stamps:
        yield f"stamps are {stamped}, computed {worth.stamps}"


def status_of(made: list[Worth]) -> str:
    """The status that these results give a bill."""
    available, held = any(one.available for one in made), any(one.held for one in made)
    if available:
        return "mixed" if held else "earned"
    return "held" if held else "nothing"


def _guards(judged: Judged, worth: Worth, terms: Terms) -> Iterator[str]:
    limits = [(pattern, most) for pattern, _, most in judged.seen]
    if limits != list(terms.guards):
        yield f"guards looked for {limits}, the programme for {list(terms.guards)}"
    reviewed = worth.available if judged.flagged else 0
    if judged.reviewed != reviewed:
        yield f"{judged.reviewed} points are held for a review, computed {reviewed}"


def _numbers(judged: Judged, worth: Worth) -> Iterator[str]:
    if judged.details.form not in {1, 2, 3, 4}:
        yield f"campaigns are told in form {judged.details.form}, which there is not"
    kept = (judged.points, judged.available, judged.held)
    if kept != worth[:3]:
        yield f"points, available, held are {kept}, computed {worth[:3]}"
    times, over = judged.multiplier
    if times * worth.multiplier.denominator != over * worth.multiplier.numerator:
        yield f"the multiplier is {judged.multiplier}, the tier's is {worth.multiplier}"
    if judged.lines != worth.lines:
        yield f"lines are {judged.lines}, computed {worth.lines}"
    if judged.rules != worth.tried:
        yield f"rules tried are {judged.rules}, computed {worth.tried}"
    for name, computed in worth.details._asdict().items():
        if getattr(judged.details, name) != computed:
            yield f"{name} is {getattr(judged.details, name)}, computed {computed}"
    if len(judged.by_rule) != len(worth.by_rule) or any(
        kept[:4] != computed[:4] or kept[4] * worth.unit != computed[4] * judged.denominator
        for kept, computed in zip(judged.by_rule, worth.by_rule, strict=False)
    ):
        yield f"by rule it is {judged.by_rule} over {judged.denominator}, computed {worth.by_rule}"


def _inputs(bill: Any, judged: Judged, terms: Terms, at: datetime, standings: Standings) -> Iterator[str]:
    if (judged.currency, judged.point_value) != (terms.currency, terms.point_value):
        yield f"{judged.currency} and {judged.point_value} are not those of version {terms.version}"
    if terms.closed:
        yield f"{judged.programme} was closed by version {terms.version}"
    if terms.backdating is not None and bill["occurred_at"] < at - terms.backdating:
        yield "it happened before the backdating window"
    if bill["occurred_at"] > at + timedelta(minutes=5):
        yield "it happened in the future"
    if judged.tier_sequence is None:
        first = terms.ladder[0].code if terms.ladder else None
        if judged.tier != first:
            yield f"tier {judged.tier} without an event; the ladder begins with {first}"
        return
    heard = standings.get((judged.wallet_id, judged.tier_sequence))
    if heard is None or heard[:2] != (judged.tier, judged.tier_event_id):
        yield f"tier {judged.tier} by event {judged.tier_event_id}, earn heard {heard}"
    elif heard[2] > bill["occurred_at"]:
        yield f"tier {judged.tier} holds from {heard[2]}, later than the bill"
    elif heard[3] is not None and heard[3] <= bill["occurred_at"]:
        yield f"tier {judged.tier} was over at {heard[3]}, before the bill"


def _segments(bill: Any, judged: Judged, words: list[tuple[str, datetime, datetime | None]]) -> Iterator[str]:
    """What was known then was told: words may have come since, in any order, so what was not known can't be told."""
    at = bill["occurred_at"]
    told = {segment for segment, since, until in words if since <= at and (until is None or at < until)}
    for segment in judged.details.inputs.segments or ():
        if segment not in told:
            yield f"the member was in {segment}, which earn was never told of that time"


def _accruals(
    bill: Any, judged: Judged, worth: Worth, terms: Terms, birth_month: int | None
) -> Iterator[str]:
    wanted = [
        (kind, points) for kind, points in (("earn", worth.available), ("earn_held", worth.held)) if points
    ]
    if [(one.kind, one.points) for one in judged.accruals] != wanted:
        yield f"announced {[(one.kind, one.points) for one in judged.accruals]}, computed {wanted}"
    for one in judged.accruals:
        if not terms.expires_rightly(bill["occurred_at"], one.expires_at, birth_month):
            last = terms.last_usable_day(terms.local_day(bill["occurred_at"]), birth_month)
            yield f"lot {one.lot_id} expires at {one.expires_at}, its last usable day is {last}"


def told_accruals(decision: Decision, terms_of: TermsOf) -> tuple[tuple[Any, ...], ...]:
    """The accruals of the bill's answer, as an event's are compared."""
    rows = []
    for judged in decision.programmes:
        terms = terms_of((judged.programme, judged.version))
        if terms is not None:
            per = terms.per_point
            rows.append(
                (
                    judged.programme,
                    judged.version,
                    judged.wallet_id,
                    judged.tier,
                    judged.available,
                    money_of(judged.available, per),
                    judged.held,
                    money_of(judged.held, per),
                )
            )
    return tuple(rows)
