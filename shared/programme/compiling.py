"""The rules of a section, as people write them, become the rulebook that bills are judged with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import lcm

from shared.money import ROUNDINGS, Ratio, decimal_ratio
from shared.programme.campaigns import CompiledCampaign
from shared.programme.checkout import CompiledCard
from shared.programme.conditions import MILLION, Condition, compile_condition
from shared.programme.earned import Outcome
from shared.programme.earning import Base, Earning, Rule
from shared.programme.holds import compile_hold
from shared.programme.matching import matcher_of
from shared.programme.rules import CompiledRule, Rulebook
from shared.programme.subject import FIELDS
from shared.programme.trying import Trying


def compile_rules(
    earning: Earning,
    multipliers: Mapping[str | None, Ratio],
    campaigns: Sequence[CompiledCampaign] = (),
    cards: Sequence[CompiledCard] = (),
) -> Rulebook:
    """The rules of a valid section, with the multipliers of the ladder's tiers (None: without a tier)."""
    ordered = sorted(
        earning.rules, key=lambda rule: -rule.priority
    )  # stable: ties stay in the document's order
    denominator = lcm(*(_rate(rule, earning)[1] for rule in ordered))
    rules = tuple(_compile_rule(rule, earning, denominator) for rule in ordered)
    points = tuple(one for one in campaigns if one.effect.checkout is None)
    codes = tuple(rule.code for rule in rules)
    return Rulebook(
        rules=rules,
        denominator=denominator,
        rounding_at=earning.rounding.at,
        rounding_when=earning.rounding.when,
        without_tax=earning.tax == "excluded",
        points_earn=earning.paid_with_points == "earns",
        campaigns=points,
        offers=tuple(one for one in campaigns if one.effect.checkout is not None),
        cards=tuple(cards),
        plain=all(rule.plain for rule in rules) and earning.tax == "included" and not campaigns and not cards,
        holds=any(rule.timing == "hold" for rule in rules),
        asks=frozenset([*_asks(rules), *_asks(campaigns), *_asks([card.counts for card in cards])]),
        round=ROUNDINGS[earning.rounding.mode],
        _rule_for=_matcher(rules),
        _candidates=_candidates(rules),
        _by_sku=any(rule.match.skus is not None for rule in rules),
        _rulings=(*map(_ruling, rules), (None, "unmatched", "unmatched")),
        _tried=(*(codes[: number + 1] for number in range(len(codes))), codes),
        _multipliers=multipliers,
        _trying=Trying(points),
        _all=tuple(range(len(rules))),
        _asks_nothing=not any(rule.match.by_bill or rule.when is not None for rule in rules),
    )


def _asks(rules: Sequence[CompiledRule | CompiledCampaign]) -> Iterator[str]:
    for rule in rules:
        if rule.match.brands is not None:
            yield "brand"
        for condition in (rule.when, rule.line_when):
            yield from asked_by(condition)


def asked_by(condition: Condition | None) -> Iterator[str]:
    """What a condition needs that is looked up for it alone."""
    for one in condition.comparisons if condition is not None else ():
        if one.field == "bill.brand":
            yield "brand"
        if one.field == "member.segments":
            yield "segments"
        elif one.field.startswith("member."):
            yield "activity"


def base_of(rule: Rule, earning: Earning) -> Base:
    """What the rule counts."""
    return rule.base or earning.base


def _rate(rule: Rule, earning: Earning) -> Ratio:
    if rule.rate is None:
        return 0, 1
    numerator, denominator = decimal_ratio(rule.rate.points)
    match base_of(rule, earning):
        case "amount":
            return numerator, denominator * (rule.rate.per_minor or 1)
        case "item":
            return numerator, denominator * (rule.rate.per_items or 1) * MILLION
        case _:
            return numerator, denominator


def _step(rule: Rule, base: Base) -> int:
    if rule.rate is None or not rule.rate.whole_steps:
        return 1
    match base:
        case "amount":
            return rule.rate.per_minor or 1
        case "item":
            return (rule.rate.per_items or 1) * MILLION
        case _:
            return 1


def _compile_rule(rule: Rule, earning: Earning, denominator: int) -> CompiledRule:
    numerator, own = _rate(rule, earning)
    base = base_of(rule, earning)
    when = None if rule.when is None else compile_condition(rule.when, FIELDS)
    return CompiledRule(
        code=rule.code,
        priority=rule.priority,
        match=matcher_of(rule.match),
        when=when if when is not None and not when.by_line else None,
        line_when=when if when is not None and when.by_line else None,
        earns=rule.action == "earn",
        timing=rule.timing,
        on_discounted=rule.on_discounted,
        base=base,
        weight=numerator * (denominator // own),
        step=_step(rule, base),
        multipliers={
            tier: decimal_ratio(multiplier) for tier, multiplier in (rule.tier_multipliers or {}).items()
        },
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
        if rule.match.categories is None:
            for_any = number
            break
        for category in rule.match.categories:
            first.setdefault(category, number)

    @lru_cache(maxsize=4096)  # a shop has few combinations of categories, and rings them up all day
    def rule_for(categories: tuple[str, ...]) -> int:
        return min([first.get(category, for_any) for category in categories], default=for_any)

    return rule_for


def _candidates(
    rules: tuple[CompiledRule, ...],
) -> Callable[[tuple[int, ...]], Callable[[tuple[str, ...], str | None], tuple[int, ...]]]:
    none = len(rules)

    @lru_cache(maxsize=256)  # by the kinds of bills that rules tell apart
    def of_bill(eligible: tuple[int, ...]) -> Callable[[tuple[str, ...], str | None], tuple[int, ...]]:
        @lru_cache(maxsize=4096)
        def of_line(categories: tuple[str, ...], sku: str | None) -> tuple[int, ...]:
            found: list[int] = []
            for number in eligible:
                if rules[number].match.is_for(categories, sku):
                    found.append(number)
                    if rules[number].line_when is None:
                        return tuple(found)
            return (*found, none)

        return of_line

    return of_bill
