"""How a bill's lines become points, exactly (`pointbank verify` computes the same a second time):

- A line is decided by the first rule, by falling priority and then by order in the document, that is for its bill (its
  merchant, brand, channel, tenders, and `when`) and for the line itself (its categories, sku, and `when`). Outcome `earned`;
  `skipped` when the rule skips; `discounted` when the rule passes over discounted lines and this one is; `unmatched` when
  no rule is for it. Only `earned` lines count. A bill without lines counts as one line over its total, without
  category, sku, tax and discount.
- What counts of a line is its amount, without its tax where tax is `excluded`. Of a bill that says its tenders only the
  part counts that was not paid with points, or that was paid with the tenders that the rule names: the sum of a rule's
  lines (`at: bill`) or each line (`at: line`) x that part / total, floored to a minor unit.
- A rule's lines earn an exact fraction: `points / per_minor` for each minor unit, `points / per_items` for each item (a
  line without a quantity is one), `points` once (visit) or for each line (fixed). With `whole_steps` what is counted is
  first cut to full steps: of each line when rounding is `at: line`, of the sum of that rule's lines when `at: bill`. Where
  nothing of a bill was paid in what counts, no base earns.
- `at: bill` rounds once, the sum over all rules; `at: line` rounds each line, then sums.
  `after_multiplier` multiplies first and rounds the product. `before_multiplier` rounds, multiplies by the tier's
  rate, and rounds that product in the same mode. Rules with `tier_multipliers` have their own rate in those tiers:
  then `before_multiplier` does so for all that has the same rate, and sums.
- What rules with `timing: hold` earn is held. With `at: bill` the whole is rounded once, then the part that is
  available now by itself, and the rest is held: the two always add up to the whole.
- A tier that this version's ladder doesn't know, or none, has the multiplier of the ladder's first tier; without a
  ladder it is 1.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import gcd, lcm
from typing import Literal

import msgspec

from shared.money import Ratio
from shared.programme.campaigns import CompiledCampaign, Ended, Entry, Tried, Worked
from shared.programme.checkout import CompiledCard, Offered, Stamped, offered
from shared.programme.conditions import Condition
from shared.programme.earned import Details, Earned, EarnedByRule, Inputs, JudgedLine, Outcome, Timing
from shared.programme.earning import Base
from shared.programme.holds import UNTIL_ACTIVATION, CompiledHold
from shared.programme.matching import Matcher, NotFor
from shared.programme.subject import POINTS_TENDER, Line, Subject, items_of
from shared.programme.trying import Trying


@dataclass(frozen=True, slots=True)
class _WholeBill:
    amount_minor: int
    categories: tuple[str, ...] = ()
    discount_minor: int = 0
    tax_minor: int = 0
    sku: str | None = None
    quantity: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    code: str
    priority: int
    match: Matcher
    when: Condition | None
    """For the whole bill."""
    line_when: Condition | None
    earns: bool
    timing: Timing
    on_discounted: bool
    base: Base
    weight: int
    """Points per unit, over the programme's denominator."""
    step: int
    """The units of a whole step; 1 where parts of a step count."""
    multipliers: Mapping[str, Ratio]
    hold: CompiledHold = UNTIL_ACTIVATION
    """Until when what it holds is held."""

    @property
    def plain(self) -> bool:
        """Whether categories and amounts alone decide."""
        return (
            not self.match.by_bill
            and self.match.skus is None
            and self.when is None
            and self.line_when is None
            and self.base == "amount"
            and not self.multipliers
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rulebook:
    """The earning rules of a version. `plain`: amounts and categories alone decide, so that bills without tenders need no
    subject; they are most of what is rung up, and take the shorter way."""

    rules: tuple[CompiledRule, ...]
    denominator: int
    rounding_at: Literal["line", "bill"]
    rounding_when: Literal["before_multiplier", "after_multiplier"]
    without_tax: bool
    points_earn: bool
    campaigns: tuple[CompiledCampaign, ...]
    """Those that give points."""
    offers: tuple[CompiledCampaign, ...]
    """Those that give something at the checkout."""
    cards: tuple[CompiledCard, ...]
    plain: bool
    holds: bool
    """Whether some rule holds its points."""
    asks: frozenset[str]
    """What is looked up for it alone: `brand`, `activity`, `segments`."""
    round: Callable[[int, int], int]
    _rule_for: Callable[[tuple[str, ...]], int]
    """The number of the rule that is for a line of these categories; that after the last where none is."""
    _candidates: Callable[[tuple[int, ...]], Callable[[tuple[str, ...], str | None], tuple[int, ...]]]
    """Of these rules, those that may be for such a line: the last of them is, whatever its line is."""
    _by_sku: bool
    _rulings: tuple[tuple[str | None, Outcome, Outcome], ...]
    """By that number: the rule, and the outcome of a line at full price and of one with a discount."""
    _tried: tuple[tuple[str, ...], ...]
    """By that number: the rules that such a line tried."""
    _multipliers: Mapping[str | None, Ratio]
    _trying: Trying
    _all: tuple[int, ...]
    """The numbers of all rules."""
    _asks_nothing: bool
    """Whether no rule asks for more of the bill than its lines."""

    def earn(
        self, lines: Sequence[Line], total_minor: int, tier: str | None, subject: Subject | None = None
    ) -> Earned:
        """What the lines of a bill are worth to a member of that tier. Only a plain book needs no subject."""
        multiplier = self._multipliers.get(tier) or self._multipliers[None]
        counted = lines or (_WholeBill(total_minor),)
        if subject is None:
            assert self.plain, "rules that ask for the bill are given it"
            judge = self._by_line if self.rounding_at == "line" else self._by_bill
            return judge(counted, multiplier)
        return self._of_subject(counted, multiplier, subject)

    def _points(self, numerator: int, multiplier: Ratio) -> int:
        times, over = multiplier
        if self.rounding_when == "after_multiplier":
            return self.round(numerator * times, self.denominator * over)
        return self.round(self.round(numerator, self.denominator) * times, over)

    # ---- plain rules: categories and amounts

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

    # ---- rules that ask for more

    def _of_subject(self, lines: Sequence[Line], multiplier: Ratio, subject: Subject) -> Earned:
        eligible, refused, conditions = self._for_bill(subject)
        candidates, rulings, rules = self._candidates(eligible), self._rulings, self.rules
        by_sku, none = self._by_sku, len(rules)
        judged: list[JudgedLine] = []
        entries: list[Entry] = []
        # Their discount may be what the till says that it took off for campaigns: before that they had none.
        undiscounted: list[Entry] = []
        claimed = sum(subject.claims.values())
        traces: dict[int, list[str]] = {}
        last = 0
        for place, line in enumerate(lines):
            for number in candidates(line.categories, line.sku if by_sku else None):
                condition = rules[number].line_when if number < none else None
                if condition is None:
                    break
                holds, trace = condition.test(subject, line)
                traces.setdefault(number, ["-"] * len(lines))[place] = trace
                if holds:
                    break
            last = max(last, number)
            code, outcome, with_discount = rulings[number]
            if line.discount_minor:
                outcome = with_discount
            if outcome == "earned":
                amount = line.amount_minor
                if self.without_tax:
                    amount = max(amount - line.tax_minor, 0)
                entries.append((place, number, amount, items_of(line)))
            elif outcome == "discounted" and line.discount_minor <= claimed:
                undiscounted.append((place, number, line.amount_minor, items_of(line)))
            judged.append((code, outcome, line.amount_minor, None))
        tally = self._tally(entries, multiplier, subject)
        if self.rounding_at == "line":
            judged = [
                (code, outcome, amount, tally.by_line.get(place, 0))
                for place, (code, outcome, amount, _) in enumerate(judged)
            ]
        campaigns: tuple[Tried, ...] = ()
        ended: tuple[Ended, ...] = ()
        if self.campaigns:

            def of_some(some: Sequence[Entry], paid_with: Collection[str] | None) -> Worked:
                return self._sums(some, multiplier, subject, paid_with)

            paid = self._paid(entries, subject)
            campaigns, ended = self._trying.tried(subject, lines, paid, tally, of_some, self)
        return Earned(
            tally.points,
            tally.available,
            tally.points - tally.available,
            multiplier,
            self._tried[last],
            tuple(judged),
            tally.by_rule,
            Details(
                self._inputs(subject),
                tuple([(rules[number].code, reason) for number, reason in refused if number <= last]),
                tuple(
                    [
                        (rules[number].code, holds, trace)
                        for number, holds, trace in conditions
                        if number <= last
                    ]
                ),
                tuple([(rules[number].code, " ".join(traces[number])) for number in sorted(traces)]),
                tally.multipliers,
                tuple([(rules[number].code, rules[number].base) for number in tally.others]),
                campaigns,
                ended=ended,
                form=4 if self.campaigns or self.offers else 1,
            ),
            self._offers(subject.before_claims(), lines, sorted([*entries, *undiscounted]))
            if self.offers
            else (),
            self._stamps(subject, lines, entries) if self.cards else (),
        )

    def _offers(
        self, subject: Subject, lines: Sequence[Line], entries: Sequence[Entry]
    ) -> tuple[Offered, ...]:
        return offered([(one, one.reach(subject, lines, entries)) for one in self.offers], subject, lines)

    def _stamps(
        self, subject: Subject, lines: Sequence[Line], entries: Sequence[Entry]
    ) -> tuple[Stamped, ...]:
        found = [card.stamp(subject, lines, entries) for card in self.cards]
        return tuple([one for one in found if one is not None])

    def _inputs(self, subject: Subject) -> Inputs | None:
        brand = subject.brand if "brand" in self.asks else None
        activity = subject.activity if "activity" in self.asks else None
        segments = tuple(sorted(subject.segments)) if "segments" in self.asks else None
        if activity is not None:
            return Inputs(brand, activity.bills, activity.last_bill_at, activity.enrolled_at, segments)
        return None if brand is None and segments is None else Inputs(brand, segments=segments)

    def _for_bill(
        self, subject: Subject
    ) -> tuple[tuple[int, ...], Sequence[tuple[int, NotFor]], Sequence[tuple[int, bool, str]]]:
        if self._asks_nothing:
            return self._all, (), ()
        eligible: list[int] = []
        refused: list[tuple[int, NotFor]] = []
        conditions: list[tuple[int, bool, str]] = []
        for number, rule in enumerate(self.rules):
            reason = rule.match.not_for(subject) if rule.match.by_bill else None
            if reason is None and rule.when is not None:
                holds, trace = rule.when.test(subject)
                conditions.append((number, holds, trace))
                if not holds:
                    reason = "when"
            if reason is None:
                eligible.append(number)
            else:
                refused.append((number, reason))
        return tuple(eligible), refused, conditions

    def _tally(
        self,
        entries: Sequence["Entry"],
        multiplier: Ratio,
        subject: Subject,
        paid_with: Collection[str] | None = None,
    ) -> "Tally":
        by_line = self.rounding_at == "line"
        sums: dict[int, list[int]] = {}
        parts: dict[int, Ratio | None] = {}
        if subject.tenders:
            parts = {
                number: self._part(self.rules[number], subject, paid_with) for _, number, _, _ in entries
            }
        own: dict[int, int] = {}
        exact: list[dict[Ratio, int]] = [{}, {}]
        lines = [0, 0]
        for place, number, amount, items in entries:
            found = sums.get(number)
            if not by_line:
                if found is None:
                    sums[number] = [amount, items, 1]
                else:
                    found[0] += amount
                    found[1] += items
                    found[2] += 1
                continue
            rule, part = self.rules[number], parts.get(number)
            counts = _part_of(amount, part)
            times = 0 if found is not None and rule.base == "visit" else 1
            units = _units(rule, counts, items, times, part)
            rate = rule.multipliers.get(subject.tier or "", multiplier)
            own[place] = self._points(units * rule.weight, rate)
            lines[rule.timing == "hold"] += own[place]
            kept = sums.setdefault(number, [0, 0, 0])
            kept[0] += counts
            kept[1] += units
        by_rule: list[EarnedByRule] = []
        others: list[int] = []
        multipliers: list[tuple[str, Ratio]] = []
        for number in sorted(sums):
            rule = self.rules[number]
            if by_line:
                amount, units, _ = sums[number]
            else:
                amount, items, times = sums[number]
                part = parts.get(number)
                amount = _part_of(amount, part)
                units = _units(rule, amount, items, times, part)
            numerator = units * rule.weight
            rate = rule.multipliers.get(subject.tier or "", multiplier)
            if rule.base != "amount":
                others.append(number)
            if rate is not multiplier:
                multipliers.append((rule.code, rate))
            group = exact[rule.timing == "hold"]
            group[rate] = group.get(rate, 0) + numerator
            by_rule.append((rule.code, rule.timing, amount, units, numerator))
        now, held = exact
        if by_line:
            points, available = sum(lines), lines[0]
        else:
            available = self.together(now)
            points = self.together(_added(now, held)) if held else available
        return Tally(points, available, own, tuple(by_rule), tuple(others), tuple(multipliers), now, held)

    def _sums(
        self,
        entries: Sequence["Entry"],
        multiplier: Ratio,
        subject: Subject,
        paid_with: Collection[str] | None,
    ) -> Worked:
        """What some lines come to, before it is rounded; of a bill that says its tenders, what was paid with these."""
        if self.rounding_at == "line" or subject.tenders:
            return self._tally(entries, multiplier, subject, paid_with)
        sums: dict[int, tuple[int, int, int]] = {}
        for _, number, amount, items in entries:
            amounts, counted, times = sums.get(number, (0, 0, 0))
            sums[number] = amounts + amount, counted + items, times + 1
        amounts_ = [0, 0]
        exact: tuple[dict[Ratio, int], dict[Ratio, int]] = {}, {}
        for number, (amount, items, times) in sums.items():
            rule = self.rules[number]
            held = rule.timing == "hold"
            rate = rule.multipliers.get(subject.tier or "", multiplier)
            amounts_[held] += amount
            group = exact[held]
            group[rate] = group.get(rate, 0) + _units(rule, amount, items, times, None) * rule.weight
        return Sums((amounts_[0], amounts_[1]), *exact)

    @property
    def rounds_first(self) -> bool:
        """Whether base points are rounded before they are multiplied."""
        return self.rounding_when == "before_multiplier"

    def is_held(self, number: int) -> bool:
        """Whether the rule of this number holds its points."""
        return self.rules[number].timing == "hold"

    def exactly(self, groups: Mapping[Ratio, int]) -> Ratio:
        """The exact points of numerators by their multiplier."""
        over = lcm(*[over for _, over in groups])
        total = sum([numerator * times * (over // own) for (times, own), numerator in groups.items()])
        shared = gcd(total, self.denominator * over)
        return total // shared, self.denominator * over // shared

    def together(self, groups: Mapping[Ratio, int]) -> int:
        """The points of exact numerators by their multiplier."""
        if len(groups) == 1:
            [(multiplier, numerator)] = groups.items()
            return self._points(numerator, multiplier)
        if self.rounding_when == "before_multiplier":
            return sum([self._points(numerator, multiplier) for multiplier, numerator in groups.items()])
        return self.round(*self.exactly(groups))

    def _part(
        self, rule: CompiledRule, subject: Subject, paid_with: Collection[str] | None = None
    ) -> Ratio | None:
        """What part of the bill counts for the rule, and was paid with these tenders; None: all of it."""
        own, points_earn = rule.match.tenders, self.points_earn
        paid = sum(
            [
                amount
                for tender, amount in subject.tenders.items()
                if (tender in own if own is not None else points_earn or tender != POINTS_TENDER)
                and (paid_with is None or tender in paid_with)
            ]
        )
        return None if paid == subject.total_minor else (paid, subject.total_minor)

    def _paid(self, entries: Sequence["Entry"], subject: Subject) -> Sequence["Entry"]:
        """Those of lines of which anything was paid in what counts for their rule."""
        if not subject.tenders:
            return entries
        parts = {number: self._part(self.rules[number], subject) for _, number, _, _ in entries}
        return [entry for entry in entries if (part := parts[entry[1]]) is None or part[0]]


class Sums(msgspec.Struct, frozen=True, gc=False):
    """What some lines come to: what counts of those that earn now and of those that are held, and the exact points before the
    multiplier, by multiplier."""

    amounts: tuple[int, int]
    now: dict[Ratio, int]
    held: dict[Ratio, int]


class Tally(msgspec.Struct, frozen=True, gc=False):
    """What some lines come to: their points, those available now, each line's own where rounding is by line, the sums of
    each rule, and the exact points before the multiplier, by multiplier."""

    points: int
    available: int
    by_line: dict[int, int]
    by_rule: tuple[EarnedByRule, ...]
    others: tuple[int, ...]
    """Rules that count something else than money."""
    multipliers: tuple[tuple[str, Ratio], ...]
    now: dict[Ratio, int]
    held: dict[Ratio, int]

    @property
    def amounts(self) -> tuple[int, int]:
        """What counts of lines that earn now, and of those that are held."""
        now = held = 0
        for _, timing, amount, _, _ in self.by_rule:
            if timing == "hold":
                held += amount
            else:
                now += amount
        return now, held


def _added(some: Mapping[Ratio, int], more: Mapping[Ratio, int]) -> dict[Ratio, int]:
    return {
        key: some.get(key, 0) + more.get(key, 0) for key in (*some, *[one for one in more if one not in some])
    }


def _part_of(amount: int, part: Ratio | None) -> int:
    return amount if part is None else amount * part[0] // part[1]


def _units(rule: CompiledRule, amount: int, items: int, times: int, part: Ratio | None) -> int:
    match rule.base:
        case "amount":
            units = amount
        case "item":
            units = items
        case "visit":
            units = min(times, 1)
        case _:  # fixed
            units = times
    if part is not None and part[0] == 0:
        return 0
    return units - units % rule.step
