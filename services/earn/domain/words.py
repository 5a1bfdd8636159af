"""A decision in English sentences, for whoever asks why."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from services.earn.domain.decision import Decision, Judged
from shared.money import exponent
from shared.programme.campaigns import Tried
from shared.programme.checkout import Offered, Stamped
from shared.programme.earned import Details
from shared.programme.fared import fared

_PASSED_OVER = {
    "currency_mismatch": "it counts in another currency, and has no rate for this one",
    "programme_closed": "it was closed before the bill happened",
    "occurred_too_early": "the bill happened before its backdating window",
    "amount_out_of_range": "converted into its currency the bill is more than one may be",
}
_NOT_FOR = {
    "merchants": "it is for other merchants",
    "brands": "it is for other brands",
    "channels": "it is for other channels",
    "tenders": "it is for what is paid by other means",
    "when": "its condition does not hold",
}
_RESULTS = {
    "window": "is not open at that time",
    "no_lines": "counts none of its lines",
    "nothing": "comes to no whole point",
    "not_best": "gives nothing: another one gives more",
    "excluded": "gives nothing: another one excludes it",
    "used_up": "gives nothing: its budget, or the member's cap, is used up",
    "unclaimed": "could have been given, and was not claimed",
    "unknown": "was claimed, and there is no such campaign at that time",
}
_OUTCOMES = {
    "earned": "rule {rule} earns",
    "skipped": "rule {rule} earns nothing",
    "discounted": "rule {rule} passes over discounted lines",
    "unmatched": "no rule is for it",
}


Told = Mapping[tuple[str, int, str], Sequence[str]]
"""By programme, version, and rule or "campaign" and its code: what its condition compares, each in words."""


_GUARDS = {
    "member_rate": "{found} bills of the member lie close together, more than {most}",
    "terminal_rate": "{found} bills of members at this terminal lie close together, more than {most}",
    "duplicate": "{found} bills of the member over this amount at this terminal lie close together",
    "own_card": "The cashier is the member",
    "many_cards": "{found} members at this terminal lie close together, more than {most}",
    "refund_loop": "{found} refunds of the member's bills came in the days before, more than {most}",
}


def words(
    decision: Decision,
    *,
    line_ids: Sequence[str],
    total_minor: int,
    currency: str,
    told: Told | None = None,
    identity_kind: str | None = None,
) -> list[str]:
    """What was decided and on what grounds, in the order in which it was worked out. `identity_kind`: how the bill named its
    member; what it named stands nowhere but as a hash."""
    return list(_sentences(decision, line_ids, total_minor, currency, told or {}, identity_kind))


def _sentences(
    decision: Decision,
    line_ids: Sequence[str],
    total_minor: int,
    currency: str,
    told: Told,
    identity_kind: str | None,
) -> Iterator[str]:
    yield f"The bill is over {money(total_minor, currency)} in {len(line_ids)} line{'' if len(line_ids) == 1 else 's'}."
    match decision.status:
        case "anonymous":
            yield "It names no member, so it earns nothing."
        case "waiting":
            names = ", ".join(_awaited(kind, key, identity_kind) for kind, key in decision.waiting_for)
            yield f"It waits for {names}, not known yet."
        case "unclaimed":
            yield "What it waits for did not come in time; it still settles when it comes."
        case _ if not decision.programmes and not decision.passed_over:
            yield "The member has no wallet in a programme that the bill is for."
    for programme, reason in decision.passed_over:
        yield f"It earns nothing in {programme}: {_PASSED_OVER[reason]}."
    for judged in decision.programmes:
        yield from _judged(judged, line_ids, told)
    currencies = {judged.programme: judged.currency for judged in decision.programmes}
    for programme, campaign, *amounts in decision.variances:
        claimed, granted = [_in_its_own(amount, currencies.get(programme)) for amount in amounts]
        yield f"The till gave {claimed} for campaign {campaign} of {programme}; {granted} were granted."


def _awaited(kind: str, key: str, identity_kind: str | None) -> str:
    match kind, key:
        case "identity", _:
            return f"a member with the {identity_kind or 'identity'} that it names"
        case "programme", "*":
            return "any programme"
        case _:
            return f"the {kind} {key}"


def _judged(judged: Judged, line_ids: Sequence[str], told: Told) -> Iterator[str]:
    tier = f"tier {judged.tier}" if judged.tier else "no tier"
    known = f", as told by event {judged.tier_event_id}" if judged.tier_event_id else ""
    yield f"In {judged.programme}, version {judged.version}, at {tier}{known}:"
    if (by := judged.conversion) is not None:
        total = money(by.total_minor, judged.currency)
        yield (
            f"Converted it is over {total}: one {by.from_currency} is {by.rate} {judged.currency} by rate {by.number}, "
            f"from {by.valid_from:%Y-%m-%dT%H:%M:%SZ} on, as {by.source} says."
        )
    details = judged.details or Details()
    if details.inputs is not None and details.inputs.bills is not None:
        count = details.inputs.bills
        yield f"{count} bill{'' if count == 1 else 's'} of the member had been judged before."
    for code, reason in details.not_for:
        yield f"Rule {code} is not for this bill: {_NOT_FOR[reason]}."
    for code, holds, trace in details.conditions:
        yield f"The condition of {code} {'holds' if holds else 'does not hold'}{_comparisons(judged, code, trace, told)}."
    bases = dict(details.bases)
    names = [f"Line {line_id}" for line_id in line_ids] or ["The whole bill"]
    for name, (rule, outcome, amount_minor, points) in zip(names, judged.lines, strict=True):
        tried = judged.rules[: judged.rules.index(rule)] if rule is not None else judged.rules
        after = f" (not: {', '.join(tried)})" if tried else ""
        worth = f", {points} points" if points is not None and outcome == "earned" else ""
        said = _OUTCOMES[outcome].format(rule=rule)
        yield f"{name}, {money(amount_minor, judged.currency)}: {said}{worth}{after}."
    for rule, timing, amount_minor, units_minor, numerator in judged.by_rule:
        match bases.get(rule):
            case None:
                steps = f", of which {money(units_minor, judged.currency)} in whole steps"
                counted = "" if units_minor == amount_minor else steps
            case "item":
                counted = f", {decimal(Fraction(units_minor, 1_000_000))} items counted,"
            case _:
                counted = f", counted {units_minor} times,"
        base = decimal(Fraction(numerator, judged.denominator))
        held = ", held" if timing == "hold" else ""
        yield f"Rule {rule}: {money(amount_minor, judged.currency)}{counted} earn {base} points{held}."
    for rule, own in details.multipliers:
        yield f"Rule {rule} has its own multiplier at {tier}: {decimal(Fraction(*own))}."
    points, available = details.base or (judged.points, judged.available + judged.reviewed)
    multiplier = decimal(Fraction(*judged.multiplier))
    yield f"Times {multiplier} and rounded: {points} points, {available} available and {points - available} held."
    for one in fared(details):
        yield f"Campaign {one.campaign} {_campaign(judged, one, told)}."
    for room in details.caps:
        yield f"Of the member's {room.limit} points a {room.period}, {room.spent} had been given since {room.since}."
    if details.cut:
        yield f"{details.cut} points are beyond the most that may be earned."
    for offered in judged.offers:
        yield f"Campaign {offered.campaign} {_offered(judged, offered, told)}."
    for stamped in judged.stamps:
        yield f"Stamp card {stamped.card} {_stamped(judged, stamped, told)}."
    if details.base is not None:
        free = judged.available + judged.reviewed
        yield f"Together: {judged.points} points, {free} available and {judged.points - free} held."
    for pattern, found, most in ((one.pattern, one.found, one.most) for one in judged.seen if one.flagged):
        yield f"{_GUARDS[pattern].format(found=found, most=most)}: flagged."
    if judged.flagged and judged.points:
        yield "All its points are held until somebody has looked at it."


def _campaign(judged: Judged, one: Tried, told: Told) -> str:
    compared = (
        "" if " " in one.condition else _comparisons(judged, f"campaign {one.campaign}", one.condition, told)
    )
    arm = f", in its arm {one.arm}" if one.arm is not None else ""
    match one.result:
        case "applied":
            said = f"gives {one.points} points{arm}{compared}"
        case "control":
            said = f"gives nothing: the member is in its arm {one.arm}. It would have given {one.wanted} points{compared}"
        case result if result in _NOT_FOR:
            return f"is not for this bill: {_NOT_FOR[result]}{compared}"
        case result:
            would = f"; it would have given {one.wanted} points" if one.wanted else ""
            said = f"{_RESULTS[result]}{compared}{would}"
    if one.budget is not None:
        said += f"; {one.budget[0]} points of its {one.budget[1]} had been given"
    for room in one.caps:
        said += f"; {room.spent} of the member's {room.limit} points a {room.period} had been given"
    return said


def _offered(judged: Judged, one: Offered, told: Told) -> str:
    compared = (
        "" if " " in one.condition else _comparisons(judged, f"campaign {one.campaign}", one.condition, told)
    )
    worth = money(one.worth_minor, judged.currency)
    kind = {
        "discount": f"a discount of {worth}",
        "free_item": f"a free {one.what}",
        "reward": f"the reward {one.what}",
    }
    gift = kind[one.kind or "discount"]
    match one.result:
        case "applied" | "offered":
            granted = money(one.granted_minor, judged.currency)
            less = f", of it {granted}" if one.granted_minor != one.worth_minor else ""
            said = f"{'gives' if one.result == 'applied' else 'offers'} {gift}{less}{compared}"
        case "control":
            said = f"gives nothing: the member is in its arm {one.arm}. It would have given {gift}{compared}"
        case result if result in _NOT_FOR:
            return f"is not for this bill: {_NOT_FOR[result]}{compared}"
        case result:
            said = f"{_RESULTS[result]}{compared}"
    if one.budget is not None:
        spent, limit = (money(amount, judged.currency) for amount in one.budget)
        said += f"; {spent} of its {limit} had been given"
    for room in one.caps:
        said += f"; {room.spent} of the member's {room.limit} times a {room.period} were used"
    return said


def _stamped(judged: Judged, one: Stamped, told: Told) -> str:
    compared = (
        "" if " " in one.condition else _comparisons(judged, f"stamp card {one.card}", one.condition, told)
    )
    match one.result:
        case "stamped":
            full = (
                f", and {len(one.effects)} times it is full: the reward {one.reward}" if one.effects else ""
            )
            said = f"gets {one.stamps} stamps beside {one.before} of {one.needed}"
            return f"{said}{full}{compared}"
        case "nothing":
            return f"gets no whole stamp{compared}"
        case result if result in _NOT_FOR:
            return f"is not for this bill: {_NOT_FOR[result]}{compared}"
        case result:
            return f"{_RESULTS[result]}{compared}"


def _comparisons(judged: Judged, code: str, trace: str, told: Told) -> str:
    asked = told.get((judged.programme, judged.version, code), ())
    said = [f"{text}: {'yes' if result == 't' else 'no'}" for text, result in zip(asked, trace, strict=False)]
    return f" ({'; '.join(said)})" if said else ""


def _in_its_own(amount_minor: int, currency: str | None) -> str:
    """An amount in the currency of its programme; None: the bill was not judged there."""
    return f"{amount_minor} minor units" if currency is None else money(amount_minor, currency)


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
