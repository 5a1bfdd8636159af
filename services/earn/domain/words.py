"""A decision in English sentences, for whoever asks why."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from services.earn.domain.decision import Decision, Judged
from shared.money import exponent

_PASSED_OVER = {
    "currency_mismatch": "it counts in another currency",
    "occurred_too_early": "the bill happened before its backdating window",
}
_OUTCOMES = {
    "earned": "rule {rule} earns",
    "skipped": "rule {rule} earns nothing",
    "discounted": "rule {rule} passes over discounted lines",
    "unmatched": "no rule is for it",
}


def words(decision: Decision, *, line_ids: Sequence[str], total_minor: int, currency: str) -> list[str]:
    """What was decided and on what grounds, in the order in which it was worked out."""
    return list(_sentences(decision, line_ids, total_minor, currency))


def _sentences(decision: Decision, line_ids: Sequence[str], total_minor: int, currency: str) -> Iterator[str]:
    yield f"The bill is over {money(total_minor, currency)} in {len(line_ids)} line{'' if len(line_ids) == 1 else 's'}."
    match decision.status:
        case "anonymous":
            yield "It names no member, so it earns nothing."
        case "waiting":
            names = ", ".join(f"the {kind} {key}" for kind, key in decision.waiting_for)
            yield f"It waits for {names}, not known yet."
        case "unclaimed":
            yield "What it waits for did not come in time; it still settles when it comes."
        case _ if not decision.programmes and not decision.passed_over:
            yield "The member has no wallet in a programme that the bill is for."
    for programme, reason in decision.passed_over:
        yield f"It earns nothing in {programme}: {_PASSED_OVER[reason]}."
    for judged in decision.programmes:
        yield from _judged(judged, line_ids)


def _judged(judged: Judged, line_ids: Sequence[str]) -> Iterator[str]:
    tier = f"tier {judged.tier}" if judged.tier else "no tier"
    known = f", as told by event {judged.tier_event_id}" if judged.tier_event_id else ""
    yield f"In {judged.programme}, version {judged.version}, at {tier}{known}:"
    names = [f"Line {line_id}" for line_id in line_ids] or ["The whole bill"]
    for name, (rule, outcome, amount_minor, points) in zip(names, judged.lines, strict=True):
        tried = judged.rules[: judged.rules.index(rule)] if rule is not None else judged.rules
        after = f" (not: {', '.join(tried)})" if tried else ""
        worth = f", {points} points" if points is not None and outcome == "earned" else ""
        said = _OUTCOMES[outcome].format(rule=rule)
        yield f"{name}, {money(amount_minor, judged.currency)}: {said}{worth}{after}."
    for rule, timing, amount_minor, units_minor, numerator in judged.by_rule:
        steps = f", of which {money(units_minor, judged.currency)} in whole steps"
        counted = "" if units_minor == amount_minor else steps
        base = decimal(Fraction(numerator, judged.denominator))
        held = ", held" if timing == "hold" else ""
        yield f"Rule {rule}: {money(amount_minor, judged.currency)}{counted} earn {base} points{held}."
    multiplier = decimal(Fraction(*judged.multiplier))
    yield (
        f"Times {multiplier} and rounded: {judged.points} points, {judged.available} available and {judged.held} held."
    )


def money(amount_minor: int, currency: str) -> str:
    """The amount in major units with its currency: 9000 SAR is "90.00 SAR"."""
    digits = exponent(currency)
    whole, rest = divmod(amount_minor, 10**digits)
    return f"{whole}.{rest:0{digits}d} {currency}" if digits else f"{whole} {currency}"


def decimal(value: Fraction) -> str:
    """The fraction as a decimal where it is one, else as a fraction."""
    for digits in range(13):
        scaled = value * 10**digits
        if scaled.denominator == 1:
            text = str(scaled.numerator).rjust(digits + 1, "0")
            return f"{text[:-digits]}.{text[-digits:]}" if digits else text
    return f"{value.numerator}/{value.denominator}"
