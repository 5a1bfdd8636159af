"""A programme document as the oracle reads it: what a bill is worth, when points expire, which tier numbers reach."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cached_property, lru_cache
from math import lcm
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pointbank.verify.programme.campaigns import besides, given
from pointbank.verify.programme.checkout import Offered, Stamped
from pointbank.verify.programme.conditions import Asked, OnLadder, holds
from pointbank.verify.programme.numbers import decimal_of, minor_per_point, rounded, zone_of
from pointbank.verify.programme.rules import Details, Rule, is_for, judge, read_rule

MILLION = 1_000_000
MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Tier:
    """A step of the ladder; the first has no entry."""

    code: str
    name: Mapping[str, str]
    multiplier: Fraction
    entry: Mapping[str, Any]
    benefits: tuple[str, ...]


class Line(NamedTuple):
    """What counts of a bill's line."""

    categories: tuple[str, ...]
    amount_minor: int
    discount_minor: int
    tax_minor: int = 0
    sku: str | None = None
    quantity: str | None = None


class Worth(NamedTuple):
    """What a bill is worth: by line (rule, outcome, amount, points), by rule (rule, timing, amount, counted, exact points
    over `unit`), and what is kept besides where rules ask for more."""

    points: int
    available: int
    held: int
    multiplier: Fraction
    tried: tuple[str, ...]
    lines: tuple[tuple[str | None, str, int, int | None], ...]
    by_rule: tuple[tuple[str, str, int, int, Any], ...]
    unit: int
    details: Details = Details()
    offers: tuple[Offered, ...] = ()
    stamps: tuple[tuple[Stamped, int], ...] = ()
    """Each with how many rewards it brings."""


@dataclass(frozen=True, eq=False)
class Terms:
    """One activated version of a programme."""

    code: str
    version: int
    activated_at: datetime
    currency: str
    point_value: str
    zone: ZoneInfo
    backdating: timedelta | None
    rules: tuple[Rule, ...]
    mode: str
    at: str
    when: str
    expiry: Mapping[str, Any]
    lifecycle: str
    extra_months: int
    ladder: tuple[Tier, ...]
    ranks: Mapping[str, int] = field(default_factory=dict)
    on_spent: str = "block"
    accepts: Mapping[str, frozenset[str] | None] | None = None
    """The merchants that take points, with the terminals that do (None: all); None: every merchant."""
    shares: frozenset[str] | None = frozenset()
    """The merchants of whose bills points may pay a part only; None: all of them."""
    redemption: Mapping[str, Any] = field(default_factory=dict)
    """Who may spend how much, as it was written."""
    second_person_above: int = 1000
    reasons: frozenset[str] = frozenset({"correction", "fraud", "goodwill", "missing_purchase"})
    refund_window_days: int | None = None
    without_tax: bool = False
    points_earn: bool = False
    maximum: int | None = None
    member_caps: Mapping[str, int] = field(default_factory=dict)
    campaigns: Sequence[Mapping[str, Any]] = ()
    gift_cards: Mapping[str, Any] | None = None
    closed: bool = False
    guards: Sequence[tuple[str, int]] = ()
    """Pattern and the most of it that is let pass, in the order in which they are looked for."""
    cards: Sequence[Mapping[str, Any]] = ()
    acts: Sequence[Mapping[str, Any]] = ()
    currencies: Sequence[str] = ()
    holds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By rule, what holds what it earns."""
    unit: int = 1
    """The denominator that all rates share: points are counted in whole parts of it, and divided once."""

    @property
    def per_point(self) -> Fraction:
        """Minor units per point."""
        return minor_per_point(self.point_value, self.currency)

    def multiplier(self, tier: str | None) -> Fraction:
        """The rate of a tier; of the first where this ladder does not know it; 1 without a ladder."""
        if not self.ladder:
            return Fraction(1)
        return self.ladder[self.ranks.get(tier or "", 0)].multiplier

    @cached_property
    def plain(self) -> bool:
        """Whether categories and amounts decide about a bill without tenders."""
        return not (self.without_tax or self.campaigns or self.cards) and all(
            rule.plain for rule in self.rules
        )

    @property
    def bounded(self) -> bool:
        """Whether something adds to what the rules give, or bounds it."""
        return bool(self.campaigns or self.member_caps or self.maximum is not None)

    def worth(
        self, lines: Sequence[Line], total_minor: int, tier: str | None, bill: Asked | None = None
    ) -> Worth:
        """What these lines are worth to a member of that tier; without lines the total counts as one. Rules that are not
        plain are given the bill."""
        if bill is not None and (bill.tenders or self.bounded or not self.plain):
            return self._worth_of(list(lines) or [Line((), total_minor, 0)], bill)
        multiplier = self.multiplier(tier)
        by_line = self.at == "line"
        tried, judged = 0, []
        sums: dict[int, list[int]] = {}
        points = [0, 0]
        for line in lines or (Line((), total_minor, 0),):
            number = next((k for k, rule in enumerate(self.rules) if is_for(rule, line)), None)
            outcome, own = self._outcome(number, line), 0
            if outcome == "earned":
                assert number is not None
                rule = self.rules[number]
                units = line.amount_minor - line.amount_minor % rule.step
                kept = sums.setdefault(number, [0, 0])
                kept[0] += line.amount_minor
                kept[1] += units
                if by_line:
                    own = self._points(units * self._weights[number], multiplier)
                    points[rule.held] += own
            tried = max(tried, len(self.rules) if number is None else number + 1)
            code = None if number is None else self.rules[number].code
            judged.append((code, outcome, line.amount_minor, own if by_line else None))
        by_rule = []
        exact = [0, 0]
        for number in sorted(sums):
            rule, (amount, units) = self.rules[number], sums[number]
            if not by_line:
                units = amount - amount % rule.step
            earned = units * self._weights[number]
            exact[rule.held] += earned
            by_rule.append((rule.code, "hold" if rule.held else "now", amount, units, earned))
        if by_line:
            available, whole = points[False], sum(points)
        else:
            whole = self._points(exact[False] + exact[True], multiplier)
            available = self._points(exact[False], multiplier) if exact[True] else whole
        return Worth(
            whole,
            available,
            whole - available,
            multiplier,
            tuple(rule.code for rule in self.rules[:tried]),
            tuple(judged),
            tuple(by_rule),
            self.unit,
        )

    def _worth_of(self, lines: Sequence[Line], bill: Asked) -> Worth:
        outcomes, tried, sums, details, earning = judge(self, lines, bill)
        points, available = sums.points, sums.available
        if self.bounded:
            found = given(self, lines, bill, bill.member_id, sums, earning, *bill.given_before)
            points, available = found.points, found.available
            details = details._replace(
                campaigns=found.campaigns,
                base=(sums.points, sums.available),
                caps=found.caps,
                cut=found.cut,
                left_out=found.left_out,
                ended=found.ended,
            )
        return Worth(
            points,
            available,
            points - available,
            self.multiplier(bill.tier),
            tuple(rule.code for rule in self.rules[:tried]),
            tuple(
                (
                    None if rule is None else rule.code,
                    outcome,
                    line.amount_minor,
                    sums.by_line.get(place, 0) if self.at == "line" else None,
                )
                for place, (line, (rule, outcome)) in enumerate(zip(lines, outcomes, strict=True))
            ),
            tuple(
                (
                    rule.code,
                    "hold" if rule.held else "now",
                    amount,
                    int(units * MILLION if rule.base == "item" else units),
                    exact,
                )
                for rule, amount, units, exact in sums.by_rule
            ),
            1,
            details,
            *besides(
                self,
                lines,
                bill,
                earning,
                [(place, rule) for place, (rule, outcome) in enumerate(outcomes) if outcome == "discounted"],
            ),
        )

    def _outcome(self, number: int | None, line: Line) -> str:
        if number is None:
            return "unmatched"
        rule = self.rules[number]
        if not rule.earns:
            return "skipped"
        return "discounted" if line.discount_minor and not rule.on_discounted else "earned"

    def _points(self, exact: int, multiplier: Fraction) -> int:
        times, over = multiplier.numerator, multiplier.denominator
        if self.when == "after_multiplier":
            return rounded(self.mode, exact * times, self.unit * over)
        return rounded(self.mode, rounded(self.mode, exact, self.unit) * times, over)

    @cached_property
    def _weights(self) -> tuple[int, ...]:
        """Each rule's rate in parts of `unit`."""
        return tuple([int(rule.rate * self.unit) for rule in self.rules])

    def local_day(self, at: datetime) -> date:
        """The calendar day of a moment, where the programme lives."""
        return at.astimezone(self.zone).date()

    def expires_rightly(
        self, earned_at: datetime, expires_at: datetime | None, birth_month: int | None = None
    ) -> bool:
        """Whether points earned then, by a member born in that month, expire at that moment: the first one after their last
        usable day."""
        return _expires_rightly(self, self.local_day(earned_at), expires_at, birth_month)

    @property
    def by_birth_month(self) -> bool:
        """Whether points expire at the end of the month in which their member was born."""
        return bool(self.expiry["policy"] == "birth_month_end")

    def refunds_until(self, occurred_at: datetime, refunded_at: datetime) -> bool:
        """Whether a refund at that time is within the window of a bill of that time, by the programme's own days."""
        if self.refund_window_days is None:
            return True
        last = self.local_day(occurred_at) + timedelta(days=self.refund_window_days)
        return self.local_day(refunded_at) <= last

    def last_usable_day(self, earned_on: date, birth_month: int | None = None) -> date | None:
        """The last day on which points earned that day can be spent; None: any. Who never said a birthday counts as born in
        December."""
        if self.expiry["policy"] in {"never", "inactivity"}:
            return None
        if self.by_birth_month:
            month, year = birth_month or 12, earned_on.year + self.expiry["years"]
            year += month < earned_on.month
            return date(year, month, monthrange(year, month)[1])
        least = self._months_later(earned_on)
        if self.expiry["policy"] == "fixed_date":
            return min(
                day
                for day in (_in_year(self.expiry["date"], y) for y in (least.year, least.year + 1))
                if day >= least
            )
        if self.expiry.get("round_to") == "month_end":
            return least.replace(day=monthrange(least.year, least.month)[1])
        return least

    def over(self, earned_at: datetime, at: datetime) -> bool:
        """Whether points that count from a moment have ended by another; not where that is the member's birth month's to say."""
        last = None if self.by_birth_month else self.last_usable_day(self.local_day(earned_at))
        return last is not None and self.local_day(at) > last

    def longer(self, earned_at: datetime, end: datetime) -> bool:
        """Whether points that count from a moment live past that end; not where that is the member's birth month's to say."""
        if self.by_birth_month:
            return False
        last = self.last_usable_day(self.local_day(earned_at))
        return last is None or self.local_day(end - MOMENT) < last

    def silent(self, active_at: datetime, at: datetime) -> bool:
        """Whether a balance has ended by then whose member did something last at a moment."""
        return self.expiry["policy"] == "inactivity" and self.local_day(at) > self.silent_after(active_at)

    def silent_after(self, active_at: datetime) -> date:
        """The last day of a balance whose member did something last at a moment."""
        return self._months_later(self.local_day(active_at))

    def _months_later(self, day: date) -> date:
        """The same day so many months later, or the last one of that month."""
        years, month = divmod(day.month - 1 + (self.expiry.get("months") or 0), 12)
        year, month = day.year + years, month + 1
        return date(year, month, min(day.day, monthrange(year, month)[1]))

    def rank_reached(self, numbers: Mapping[str, int], facts: Mapping[str, Any] | None = None) -> int:
        """The highest tier that these numbers are enough for, and whose condition holds by these facts; without facts none does."""
        return max(
            (
                k
                for k, tier in enumerate(self.ladder)
                if meets(tier.entry, numbers) and self._allowed(tier, numbers, facts)
            ),
            default=0,
        )

    def _allowed(self, tier: Tier, numbers: Mapping[str, int], facts: Mapping[str, Any] | None) -> bool:
        when = tier.entry.get("when")
        if when is None or facts is None:
            return when is None
        if tier.code == facts.get("exempt"):
            return could_hold(when, numbers.get("points", 0))
        return self.condition(when, numbers, facts)[0]

    def condition(
        self, when: Mapping[str, Any], numbers: Mapping[str, int], facts: Mapping[str, Any]
    ) -> tuple[bool, str]:
        """Whether a ladder's condition holds by these facts, and the result of each comparison."""
        return holds(
            when,
            OnLadder(
                datetime.fromisoformat(facts["at"]),
                self.zone,
                numbers.get("points", 0),
                tuple(facts["segments"]),
            ),
        )

    def status_until(self, rank: int, year: int) -> datetime | None:
        """When a tier reached in that year is over: after the end of the next, and the extra months; None: never."""
        if rank == 0 or self.lifecycle == "lifetime":
            return None
        years, month = divmod(self.extra_months, 12)
        return datetime(year + 2 + years, month + 1, 1, tzinfo=self.zone).astimezone(UTC)


def _in_year(day: str, year: int) -> date:
    month = int(day[:2])
    return date(year, month, min(int(day[3:]), monthrange(year, month)[1]))


@lru_cache(maxsize=65_536)
def _expires_rightly(
    terms: Terms, earned_on: date, expires_at: datetime | None, birth_month: int | None
) -> bool:
    last = terms.last_usable_day(earned_on, birth_month)
    if last is None or expires_at is None:
        return last is None and expires_at is None
    return terms.local_day(expires_at - MOMENT) <= last < terms.local_day(expires_at)


def meets(condition: Mapping[str, Any], numbers: Mapping[str, int]) -> bool:
    """Whether numbers meet a condition tree; an empty one is always met."""
    for name, asked in condition.items():
        if name == "when":
            continue  # asked by itself
        if name == "all":
            if not all(meets(part, numbers) for part in asked):
                return False
        elif name == "any":
            if not any(meets(part, numbers) for part in asked):
                return False
        elif numbers.get(name, 0) < asked["gte"]:
            return False
    return True


def could_hold(tree: Mapping[str, Any], points: int, *, turned: bool = False) -> bool:
    """Whether a ladder's condition holds with so many points, whatever else would be; of a `turned` one: whether it must."""
    found = []
    for name, asked in tree.items():
        if name in {"all", "any"}:
            parts = [could_hold(part, points, turned=turned) for part in asked]
            found.append(all(parts) if name == "all" else any(parts))
        elif name == "not":
            found.append(not could_hold(asked, points, turned=not turned))
        elif name == "points":
            found += [points >= than if how == "gte" else points > than for how, than in asked.items()]
        else:
            found.append(not turned)
    return all(found)


def _guards(section: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name in ("member_rate", "terminal_rate"):
        for one in section.get(name) or ():
            yield name, one["bills"]
    if section.get("duplicates"):
        yield "duplicate", 1
    if section.get("own_card"):
        yield "own_card", 0
    if section.get("many_cards"):
        yield "many_cards", section["many_cards"]["cards"]
    if section.get("refund_loop"):
        yield "refund_loop", section["refund_loop"]["refunds"]


def read_terms(version: int, activated_at: datetime, document: Mapping[str, Any]) -> Terms:
    """A version from its document; what is left out, or null, has the contract's default."""
    head = document["programme"]
    earning = document.get("earning") or {}
    rounding = earning.get("rounding") or {}
    tiers = document.get("tiers") or {}
    ladder = tuple(_tier(tier) for tier in tiers.get("ladder") or ())
    days = head.get("backdating_days")
    window = earning.get("refund_window_days")
    adjustments = document.get("adjustments") or {}
    threshold = adjustments.get("second_person_above")
    rules = tuple(
        sorted_by_priority(
            [read_rule(rule, earning) for rule in earning.get("rules") or ()], earning.get("rules") or ()
        )
    )
    found = Terms(
        code=head["code"],
        version=version,
        activated_at=activated_at,
        currency=head["currency"],
        point_value=head["point_value"],
        zone=zone_of(head["time_zone"]),
        backdating=None if days == "unlimited" else timedelta(days=30 if days is None else days),
        rules=rules,
        without_tax=earning.get("tax") == "excluded",
        points_earn=earning.get("paid_with_points") == "earns",
        maximum=(earning.get("maximum") or {}).get("bill"),
        member_caps=earning.get("member_caps") or {},
        campaigns=earning.get("campaigns") or (),
        gift_cards=document.get("gift_cards"),
        closed=bool(head.get("closed")),
        guards=tuple(_guards(earning.get("guards") or {})),
        cards=earning.get("stamp_cards") or (),
        acts=earning.get("acts") or (),
        currencies=head.get("accepts") or (),
        holds={rule["code"]: rule["hold"] for rule in earning.get("rules") or () if rule.get("hold")},
        unit=lcm(*(rule.rate.denominator for rule in rules)),
        mode=rounding.get("mode") or "floor",
        at=rounding.get("at") or "bill",
        when=rounding.get("when") or "after_multiplier",
        expiry=_section(document.get("expiry") or {"policy": "never"}),
        lifecycle=tiers.get("lifecycle") or "calendar_year",
        extra_months=tiers.get("extra_months") or 0,
        ladder=ladder,
        ranks={tier.code: k for k, tier in enumerate(ladder)},
        on_spent=(document.get("redemption") or {}).get("on_spent") or "block",
        accepts=_accepts((document.get("redemption") or {}).get("acceptance")),
        shares=_shares(document.get("redemption") or {}),
        redemption=document.get("redemption") or {},
        refund_window_days=None if window in (None, "unlimited") else window,
        second_person_above=1000 if threshold is None else threshold,
        reasons=frozenset(adjustments.get("reasons") or Terms.reasons),
    )
    if found.per_point <= 0:
        raise ValueError(f"a point of {found.code} is worth {found.point_value}")
    return found


def _section(written: object) -> Mapping[str, Any]:
    if not isinstance(written, Mapping):
        raise ValueError(f"{written!r:.64} is no section of a document")
    return written


def _accepts(written: Sequence[Mapping[str, Any]] | None) -> dict[str, frozenset[str] | None] | None:
    if written is None:
        return None
    return {
        one["merchant"]: None if one.get("terminals") is None else frozenset(one["terminals"])
        for one in written
    }


def _shares(redemption: Mapping[str, Any]) -> frozenset[str] | None:
    if redemption.get("max_bill_share") is not None:
        return None
    return frozenset(
        one["merchant"]
        for one in redemption.get("acceptance") or ()
        if one.get("max_bill_share") is not None or one.get("categories") is not None
    )


def sorted_by_priority(rules: Sequence[Rule], written: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """The rules as they are tried: highest priority first, ties as written."""
    order = sorted(range(len(rules)), key=lambda k: (-(written[k].get("priority") or 0), k))
    return [rules[k] for k in order]


def _tier(tier: Mapping[str, Any]) -> Tier:
    return Tier(
        tier["code"],
        tier["name"],
        decimal_of(tier.get("multiplier") or "1"),
        tier.get("entry") or {},
        tuple(tier.get("benefits") or ()),
    )
