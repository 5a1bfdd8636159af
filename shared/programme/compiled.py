"""A programme version as a bill is judged with it: frozen, integers only, nothing looked up twice.

How a bill's lines become points, exactly (`pointbank verify` computes the same a second time):

- A line is decided by the first rule, by falling priority and then by order in the document, that names one of its
  categories or names none. Outcome `earned`; `skipped` when the rule skips; `discounted` when the rule passes over
  discounted lines and this one is; `unmatched` when no rule is for it. Only `earned` lines count. A bill without
  lines counts as one line over its total, without category and discount.
- A rule's lines earn `points / per_minor` for each minor unit: an exact fraction. With `whole_steps` the amount is
  first cut to full steps: of each line when rounding is `at: line`, of the sum of that rule's lines when `at: bill`.
- `at: bill` rounds once, the sum over all rules; `at: line` rounds each line, then sums.
  `after_multiplier` multiplies first and rounds the product. `before_multiplier` rounds, multiplies by the tier's
  rate, and rounds that product in the same mode.
- What rules with `timing: hold` earn is held. With `at: bill` the whole is rounded once, then the part that is
  available now by itself, and the rest is held: the two always add up to the whole.
- A tier that this version's ladder doesn't know, or none, has the multiplier of the ladder's first tier; without a
  ladder it is 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import lcm
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

import msgspec

from shared.money import ROUNDINGS, Money, Ratio, Worth, decimal_ratio, minor_per_point
from shared.programme.expiry import CompiledExpiry, compile_expiry, start_of_day
from shared.programme.holds import UNTIL_ACTIVATION, CompiledHold, compile_hold
from shared.programme.model import Programme, Rule
from shared.programme.redeeming import Redeeming, compile_redeeming
from shared.programme.validation import validate

Outcome = Literal["earned", "skipped", "discounted", "unmatched"]
Timing = Literal["now", "hold"]
OnSpent = Literal["block", "partial", "debt"]


class Line(Protocol):
    """What a rule looks at in a bill's line."""

    @property
    def categories(self) -> tuple[str, ...]: ...
    @property
    def amount_minor(self) -> int: ...
    @property
    def discount_minor(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _WholeBill:
    amount_minor: int
    categories: tuple[str, ...] = ()
    discount_minor: int = 0


JudgedLine = tuple[str | None, Outcome, int, int | None]
"""What became of a line: its rule (None: none was for it), outcome, amount_minor, and its own points where rounding is by
line. Plain tuples: a bill has several, and a decision keeps them as they are."""

EarnedByRule = tuple[str, Timing, int, int, int]
"""What a rule's lines come to: rule, timing, the amount_minor that counted, the same cut to whole steps where the rule says
so (units_minor), and the exact points before the multiplier, a numerator over the programme's denominator."""


class Earned(msgspec.Struct, frozen=True, gc=False):
    """The worth of a bill with every number on the way. `tried` are the rules in the order in which lines tried them: a
    line tried all up to its own, and all where none was for it."""

    points: int
    available: int
    held: int
    multiplier: Ratio
    tried: tuple[str, ...]
    lines: tuple[JudgedLine, ...]
    rules: tuple[EarnedByRule, ...]


@dataclass(frozen=True, slots=True)
class CompiledRule:
    code: str
    priority: int
    categories: frozenset[str] | None
    """None: for every line."""
    earns: bool
    timing: Timing
    on_discounted: bool
    weight: int
    """Points per minor unit, over the programme's denominator."""
    step: int
    """The minor units of a whole step; 1 where parts of a step count."""
    hold: CompiledHold = UNTIL_ACTIVATION
    """Until when what it holds is held."""


@dataclass(frozen=True, slots=True)
class CompiledTier:
    code: str
    name: Mapping[str, str]
    multiplier: Ratio
    threshold: int
    """Qualifying points to enter; 0 for the first tier."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledProgramme:
    """One version of a programme. Compare by `code` and `version`."""

    code: str
    version: int
    name: Mapping[str, str]
    currency: str
    point_value: str
    minor_per_point: Ratio
    zone: ZoneInfo
    card_prefix: str
    backdating: timedelta | None
    """How long ago a bill may have happened; None: however long."""
    rules: tuple[CompiledRule, ...]
    denominator: int
    rounding_mode: str
    rounding_at: Literal["line", "bill"]
    rounding_when: Literal["before_multiplier", "after_multiplier"]
    consumption: str
    minimum_points: int
    step_points: int
    redeeming: Redeeming
    on_spent: OnSpent
    expiry: CompiledExpiry
    refund_window_days: int | None
    """Until the end of which day after the bill its refund still moves points; None: for ever."""
    lifecycle: Literal["calendar_year", "lifetime"] | None
    ladder: tuple[CompiledTier, ...]
    _round: Callable[[int, int], int]
    _rule_for: Callable[[tuple[str, ...]], int]
    """The number of the rule that is for a line of these categories; that after the last where none is."""
    _rulings: tuple[tuple[str | None, Outcome, Outcome], ...]
    """By that number: the rule, and the outcome of a line at full price and of one with a discount."""
    _tried: tuple[tuple[str, ...], ...]
    """By that number: the rules that such a line tried."""
    _multipliers: Mapping[str | None, Ratio]
    _expires: Callable[[datetime], datetime] | None

    def worth(self, points: int) -> Worth:
        """Points with their money, ready for the wire."""
        numerator, denominator = self.minor_per_point
        minor = points * numerator // denominator if points >= 0 else -(-points * numerator // denominator)
        return Worth(points, Money(minor, self.currency))

    def expires_at(self, effective_at: datetime) -> datetime | None:
        """When points earned at that instant expire: the first instant, in UTC, after their last usable day.
        None: never."""
        return None if self._expires is None else self._expires(effective_at)

    def idle_at(self, last_active_at: datetime) -> datetime | None:
        """When the whole balance of a wallet expires whose last activity was then. None: not by inactivity."""
        return None if self.expiry.idles is None else self.expiry.idles(last_active_at)

    def refund_closes_at(self, occurred_at: datetime) -> datetime | None:
        """The first instant, in UTC, at which a refund of a bill of that time moves no points any more. None: never."""
        if self.refund_window_days is None:
            return None
        day = occurred_at.astimezone(self.zone).date()
        return start_of_day(day + timedelta(days=self.refund_window_days + 1), self.zone)

    def earn(self, lines: Sequence[Line], total_minor: int, tier: str | None) -> Earned:
        """What the lines of a bill are worth to a member of that tier, as the head of this module says."""
        multiplier = self._multipliers.get(tier) or self._multipliers[None]
        judge = self._by_line if self.rounding_at == "line" else self._by_bill
        return judge(lines or (_WholeBill(total_minor),), multiplier)

    def _points(self, numerator: int, multiplier: Ratio) -> int:
        times, over = multiplier
        if self.rounding_when == "after_multiplier":
            return self._round(numerator * times, self.denominator * over)
        return self._round(self._round(numerator, self.denominator) * times, over)

    def _by_bill(self, lines: Sequence[Line], multiplier: Ratio) -> Earned:
        rule_for, rulings = self._rule_for, self._rulings
        amounts: dict[int, int] = {}
        judged: list[JudgedLine] = []
        last = 0
        for line in lines:
            number = rule_for(line.categories)
            last = max(last, number)
            code, outcome, with_discount = rulings[number]
            if line.discount_minor:
                outcome = with_discount
            amount = line.amount_minor
            if outcome == "earned":
                amounts[number] = amounts.get(number, 0) + amount
            judged.append((code, outcome, amount, None))
        now = held = 0
        by_rule: list[EarnedByRule] = []
        for number in sorted(amounts) if len(amounts) > 1 else amounts:
            rule, amount = self.rules[number], amounts[number]
            units = amount - amount % rule.step
            numerator = units * rule.weight
            if rule.timing == "hold":
                held += numerator
            else:
                now += numerator
            by_rule.append((rule.code, rule.timing, amount, units, numerator))
        points = self._points(now + held, multiplier)
        available = self._points(now, multiplier) if held else points
        return Earned(
            points,
            available,
            points - available,
            multiplier,
            self._tried[last],
            tuple(judged),
            tuple(by_rule),
        )

    def _by_line(self, lines: Sequence[Line], multiplier: Ratio) -> Earned:
        sums: dict[int, tuple[int, int]] = {}
        judged: list[JudgedLine] = []
        last = available = held = 0
        for line in lines:
            number = self._rule_for(line.categories)
            last = max(last, number)
            code, outcome, with_discount = self._rulings[number]
            if line.discount_minor:
                outcome = with_discount
            amount, points = line.amount_minor, 0
            if outcome == "earned":
                rule = self.rules[number]
                units = amount - amount % rule.step
                points = self._points(units * rule.weight, multiplier)
                if rule.timing == "hold":
                    held += points
                else:
                    available += points
                amounts, counted = sums.get(number, (0, 0))
                sums[number] = amounts + amount, counted + units
            judged.append((code, outcome, amount, points))
        by_rule: list[EarnedByRule] = []
        for number in sorted(sums):
            rule = self.rules[number]
            amount, units = sums[number]
            by_rule.append((rule.code, rule.timing, amount, units, units * rule.weight))
        return Earned(
            available + held,
            available,
            held,
            multiplier,
            self._tried[last],
            tuple(judged),
            tuple(by_rule),
        )


def compile_programme(document: Mapping[str, Any], version: int) -> CompiledProgramme:
    """A version of a programme, ready to judge with; refuses programme_invalid like `validate`."""
    programme = validate(document)
    header, earning, redemption = programme.programme, programme.earning, programme.redemption
    written = earning.rules if earning is not None else []
    ordered = sorted(written, key=lambda rule: -rule.priority)  # stable: ties stay in the document's order
    denominator = lcm(*(_rate(rule)[1] for rule in ordered))
    rules = tuple(_compile_rule(rule, denominator) for rule in ordered)
    codes = tuple(rule.code for rule in rules)
    ladder = _ladder(programme)
    rounding = earning.rounding if earning is not None else None
    mode = rounding.mode if rounding is not None else "floor"
    expiry = compile_expiry(programme.expiry, ZoneInfo(header.time_zone))
    return CompiledProgramme(
        code=header.code,
        version=version,
        name=header.name,
        currency=header.currency,
        point_value=header.point_value,
        minor_per_point=minor_per_point(header.point_value, header.currency),
        zone=ZoneInfo(header.time_zone),
        card_prefix=header.card_prefix,
        backdating=None if header.backdating_days == "unlimited" else timedelta(days=header.backdating_days),
        rules=rules,
        denominator=denominator,
        rounding_mode=mode,
        rounding_at=rounding.at if rounding is not None else "bill",
        rounding_when=rounding.when if rounding is not None else "after_multiplier",
        consumption=redemption.consumption if redemption is not None else "oldest_earned",
        minimum_points=redemption.minimum_points if redemption is not None else 1,
        step_points=redemption.step_points if redemption is not None else 1,
        redeeming=compile_redeeming(redemption),
        on_spent=redemption.on_spent if redemption is not None else "block",
        refund_window_days=None
        if earning is None or earning.refund_window_days == "unlimited"
        else earning.refund_window_days,
        lifecycle=programme.tiers.lifecycle if programme.tiers is not None else None,
        ladder=ladder,
        _round=ROUNDINGS[mode],
        _rule_for=_matcher(rules),
        _rulings=(*map(_ruling, rules), (None, "unmatched", "unmatched")),
        _tried=(*(codes[: number + 1] for number in range(len(codes))), codes),
        _multipliers={None: ladder[0].multiplier if ladder else (1, 1)}
        | {t.code: t.multiplier for t in ladder},
        expiry=expiry,
        _expires=expiry.expires,
    )


def _rate(rule: Rule) -> Ratio:
    if rule.rate is None:
        return 0, 1
    numerator, denominator = decimal_ratio(rule.rate.points)
    return numerator, denominator * rule.rate.per_minor


def _compile_rule(rule: Rule, denominator: int) -> CompiledRule:
    numerator, own = _rate(rule)
    return CompiledRule(
        code=rule.code,
        priority=rule.priority,
        categories=None if rule.match.categories is None else frozenset(rule.match.categories),
        earns=rule.action == "earn",
        timing=rule.timing,
        on_discounted=rule.on_discounted,
        weight=numerator * (denominator // own),
        step=rule.rate.per_minor if rule.rate is not None and rule.rate.whole_steps else 1,
        hold=compile_hold(rule.hold),
    )


def _ruling(rule: CompiledRule) -> tuple[str, Outcome, Outcome]:
    if not rule.earns:
        return rule.code, "skipped", "skipped"
    return rule.code, "earned", "earned" if rule.on_discounted else "discounted"


def _matcher(rules: tuple[CompiledRule, ...]) -> Callable[[tuple[str, ...]], int]:
    first: dict[str, int] = {}
    for_any = len(rules)
    for number, rule in enumerate(rules):
        if rule.categories is None:
            for_any = number
            break
        for category in rule.categories:
            first.setdefault(category, number)

    @lru_cache(maxsize=4096)  # a shop has few combinations of categories, and rings them up all day
    def rule_for(categories: tuple[str, ...]) -> int:
        return min([first.get(category, for_any) for category in categories], default=for_any)

    return rule_for


def _ladder(programme: Programme) -> tuple[CompiledTier, ...]:
    if programme.tiers is None:
        return ()
    return tuple(
        CompiledTier(
            code=tier.code,
            name=tier.name,
            multiplier=decimal_ratio(tier.multiplier),
            threshold=tier.entry.points.gte if tier.entry is not None else 0,
        )
        for tier in programme.tiers.ladder
    )
