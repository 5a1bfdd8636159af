"""What rules that ask for more than categories and amounts make of a bill: exact fractions, nothing remembered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from pointbank.verify.programme.conditions import Asked, asks_for_lines, holds, quantity_of
from pointbank.verify.programme.numbers import decimal_of, rounded

if TYPE_CHECKING:
    from pointbank.verify.programme.terms import Line, Terms

POINTS = "points"
OF_BILL = {"merchants": "merchant", "brands": "brand", "channels": "channel"}


class Details(NamedTuple):
    """What a decision keeps besides, where rules ask for more."""

    not_for: tuple[tuple[str, str], ...] = ()
    conditions: tuple[tuple[str, bool, str], ...] = ()
    line_conditions: tuple[tuple[str, str], ...] = ()
    multipliers: tuple[tuple[str, tuple[int, int]], ...] = ()
    bases: tuple[tuple[str, str], ...] = ()
    campaigns: tuple[Any, ...] = ()
    base: tuple[int, int] | None = None
    caps: tuple[Any, ...] = ()
    cut: int = 0
    left_out: tuple[Any, ...] = ()
    ended: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A rule of the document. `rate` is points per unit: minor unit, item or time; `step` the units that count together."""

    code: str
    match: Mapping[str, Any]
    when: Mapping[str, Any] | None
    earns: bool
    held: bool
    on_discounted: bool
    base: str
    rate: Fraction
    step: int
    multipliers: Mapping[str, Fraction]

    @property
    def categories(self) -> frozenset[str] | None:
        """Those that it names; None: it is for all."""
        named = self.match.get("categories")
        return None if named is None else frozenset(named)

    @property
    def plain(self) -> bool:
        """Whether categories and amounts decide."""
        return not (
            self.when or self.multipliers or self.base != "amount" or (self.match.keys() - {"categories"})
        )


def read_rule(rule: Mapping[str, Any], section: Mapping[str, Any]) -> Rule:
    """A rule from its JSON; what is left out, or null, has the contract's default."""
    rate, discounted = rule.get("rate"), rule.get("on_discounted")
    base = rule.get("base") or section.get("base") or "amount"
    per, step = 1, 1
    if rate and base in {"amount", "item"}:
        per = rate.get("per_minor" if base == "amount" else "per_items") or 1
        step = per if rate.get("whole_steps") else 1 if base == "amount" else 0
    return Rule(
        code=rule["code"],
        match={name: named for name, named in (rule.get("match") or {}).items() if named is not None},
        when=rule.get("when"),
        earns=rule["action"] == "earn",
        held=rule.get("timing") == "hold",
        on_discounted=discounted is None or discounted,
        base=base,
        rate=decimal_of(rate["points"]) / per if rate else Fraction(0),
        step=step,
        multipliers={tier: decimal_of(own) for tier, own in (rule.get("tier_multipliers") or {}).items()},
    )


def is_for(rule: Rule, line: Line) -> bool:
    """Whether a rule names the line's categories and sku, or none."""
    categories, skus = rule.match.get("categories"), rule.match.get("skus")
    if categories is not None and not set(categories) & set(line.categories):
        return False
    return skus is None or line.sku in skus


def against(match: Mapping[str, Any], bill: Asked) -> str | None:
    """What of the bill a match is not for."""
    for name, attribute in OF_BILL.items():
        if name in match and getattr(bill, attribute) not in match[name]:
            return name
    if "tenders" in match and not set(match["tenders"]) & set(bill.tenders):
        return "tenders"
    return None


class Sums(NamedTuple):
    """What lines come to: (whole, available), by line, by rule (rule, timing, amount, units, exact points), rules with a
    rate of their own, and rules that count something else than money."""

    points: int
    available: int
    by_line: Mapping[int, int]
    by_rule: tuple[tuple[Rule, int, Fraction, Fraction], ...]


def judge(
    terms: Terms, lines: Sequence[Line], bill: Asked
) -> tuple[list[Any], int, Sums, Details, list[tuple[int, Rule]]]:
    """(each line's rule and outcome, how many rules were tried, the sums, the details, the lines that earn)."""
    reasons: dict[str, str] = {}
    conditions: dict[str, tuple[bool, str]] = {}
    for rule in terms.rules:
        reason = against(rule.match, bill)
        if reason is None and rule.when is not None and not asks_for_lines(rule.when):
            conditions[rule.code] = holds(rule.when, bill)
            reason = None if conditions[rule.code][0] else "when"
        if reason is not None:
            reasons[rule.code] = reason
    outcomes: list[Any] = []
    earning: list[tuple[int, Rule]] = []
    traces: dict[str, dict[int, str]] = {}
    tried = 0
    for place, line in enumerate(lines):
        found, outcome = None, "unmatched"
        tries = len(terms.rules)
        for number, rule in enumerate(terms.rules):
            if rule.code in reasons or not is_for(rule, line):
                continue
            if rule.when is not None and asks_for_lines(rule.when):
                verdict, trace = holds(rule.when, bill, line)
                traces.setdefault(rule.code, {})[place] = trace
                if not verdict:
                    continue
            found, tries = rule, number + 1
            outcome = "earned" if rule.earns else "skipped"
            if rule.earns and line.discount_minor and not rule.on_discounted:
                outcome = "discounted"
            break
        if found is not None and outcome == "earned":
            earning.append((place, found))
        tried = max(tried, tries)
        outcomes.append((found, outcome))
    sums = add_up(terms, lines, earning, bill)
    counted = [rule for rule, _, _, _ in sums.by_rule]
    among = {rule.code for rule in terms.rules[:tried]}
    details = Details(
        not_for=tuple(
            (r.code, reasons[r.code]) for r in terms.rules if r.code in reasons and r.code in among
        ),
        conditions=tuple(
            (r.code, *conditions[r.code]) for r in terms.rules if r.code in conditions and r.code in among
        ),
        line_conditions=tuple(
            (r.code, " ".join(traces[r.code].get(place, "-") for place in range(len(lines))))
            for r in terms.rules
            if r.code in traces
        ),
        multipliers=tuple(
            (r.code, r.multipliers[bill.tier].as_integer_ratio())
            for r in counted
            if bill.tier is not None and bill.tier in r.multipliers
        ),
        bases=tuple((r.code, r.base) for r in counted if r.base != "amount"),
    )
    return outcomes, tried, sums, details, earning


def add_up(
    terms: Terms,
    lines: Sequence[Line],
    earning: Sequence[tuple[int, Rule]],
    bill: Asked,
    paid_with: Collection[str] | None = None,
) -> Sums:
    """What these lines come to by their rules, as far as it was paid with these tenders (None: with any)."""
    by_rule: list[tuple[Rule, int, Fraction, Fraction]] = []
    by_line: dict[int, int] = {}
    now: dict[Fraction, Fraction] = {}
    all_of_it: dict[Fraction, Fraction] = {}
    points = [0, 0]
    for rule in terms.rules:
        own = [(place, lines[place]) for place, found in earning if found is rule]
        if not own:
            continue
        part = paid_part(terms, rule, bill, paid_with)
        rate = rule.multipliers.get(bill.tier or "", terms.multiplier(bill.tier))
        groups = [[one] for one in own] if terms.at == "line" else [own]
        amount, units = 0, Fraction(0)
        for place, group in enumerate(groups):
            more = int(sum(counted(terms, line) for _, line in group) * part // 1)
            count = counted_units(rule, [line for _, line in group], more, part, first=place == 0)
            amount, units = amount + more, units + count
            if terms.at == "line":
                earned = by_rate(terms, {rate: count * rule.rate})
                by_line[group[0][0]] = earned
                points[rule.held] += earned
        exact = units * rule.rate
        by_rule.append((rule, amount, units, exact))
        all_of_it[rate] = all_of_it.get(rate, Fraction(0)) + exact
        if not rule.held:
            now[rate] = now.get(rate, Fraction(0)) + exact
    if terms.at == "line":
        return Sums(sum(points), points[False], by_line, tuple(by_rule))
    whole = by_rate(terms, all_of_it)
    available = by_rate(terms, now) if any(rule.held for rule, _, _, _ in by_rule) else whole
    return Sums(whole, available, by_line, tuple(by_rule))


def by_rate(terms: Terms, exact: Mapping[Fraction, Fraction]) -> int:
    """Exact points by their multiplier, rounded as the programme says."""

    def whole(value: Fraction) -> int:
        return rounded(terms.mode, value.numerator, value.denominator)

    if terms.when == "after_multiplier":
        return whole(sum((points * rate for rate, points in exact.items()), Fraction(0)))
    return sum(whole(whole(points) * rate) for rate, points in exact.items())


def counted(terms: Terms, line: Line) -> int:
    """The amount of a line that earns, before it is seen how it was paid."""
    return max(line.amount_minor - line.tax_minor, 0) if terms.without_tax else line.amount_minor


def paid_part(terms: Terms, rule: Rule, bill: Asked, paid_with: Collection[str] | None = None) -> Fraction:
    """What part of the bill was paid so that the rule counts it, and with these tenders (None: with any)."""
    if not bill.tenders or not bill.total_minor:
        return Fraction(1)
    tenders = rule.match.get("tenders")
    unless_named = bill.tenders.keys() - (set() if terms.points_earn else {POINTS})
    counts = unless_named if tenders is None else set(tenders)
    if paid_with is not None:
        counts &= set(paid_with)
    return Fraction(sum(bill.tenders[one] for one in counts & bill.tenders.keys()), bill.total_minor)


def counted_units(rule: Rule, lines: Sequence[Line], amount: int, part: Fraction, *, first: bool) -> Fraction:
    """The units that a rule counts: minor units, items, or times, cut to whole steps."""
    if part == 0:
        return Fraction(0)
    match rule.base:
        case "amount":
            units = Fraction(amount)
        case "item":
            units = sum((quantity_of(line) for line in lines), Fraction(0))
        case "visit":
            units = Fraction(1 if first else 0)
        case _:
            units = Fraction(len(lines))
    return units - units % rule.step if rule.step else units
