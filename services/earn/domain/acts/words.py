"""A decision about an act in English sentences, for whoever asks why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from services.earn.domain.acts.judge import ActDecision, ActJudged

_PASSED_OVER = {
    "programme_closed": "it was closed before the act happened",
    "act_unknown": "it declares no such act",
    "occurred_too_early": "the act happened before its backdating window",
    "act_data_invalid": "its schema does not allow the data",
}

Told = Mapping[tuple[str, int, str], Sequence[str]]
"""By programme, version and act type: what its condition compares, each in words."""


def words(decision: ActDecision, told: Told) -> list[str]:
    """What was decided and on what grounds, in the order in which it was worked out."""
    return list(_sentences(decision, told))


def _sentences(decision: ActDecision, told: Told) -> Iterator[str]:
    match decision.status:
        case "waiting":
            names = ", ".join(f"the {kind} {key}" for kind, key in decision.waiting_for)
            yield f"It waits for {names}, not known yet."
        case "unclaimed":
            yield "What it waits for did not come in time; it still settles when it comes."
        case _ if not decision.programmes and not decision.passed_over:
            yield "The member has no wallet in a programme that the act is for."
    for programme, reason in decision.passed_over:
        yield f"It earns nothing in {programme}: {_PASSED_OVER[reason]}."
    for judged in decision.programmes:
        yield from _judged(judged, told)


def _judged(judged: ActJudged, told: Told) -> Iterator[str]:
    tier = f"tier {judged.tier}" if judged.tier else "no tier"
    known = f", as told by event {judged.tier_event_id}" if judged.tier_event_id else ""
    yield f"In {judged.programme}, version {judged.version}, at {tier}{known}: act type {judged.act}."
    if (told_of := judged.referral) is not None:
        yield f"It is for the {told_of.role}, because of bill {told_of.bill_id}, the first of the referred member."
        yield f"The bill came to {told_of.amount_minor}; {told_of.minimum_minor} is the least that it has to come to."
    if judged.condition:
        asked = told.get((judged.programme, judged.version, judged.act), ())
        said = "; ".join(
            f"{text}: {'yes' if result == 't' else 'no'}"
            for text, result in zip(asked, judged.condition, strict=False)
        )
        yield f"Its condition {'does not hold' if judged.result == 'when' else 'holds'} ({said})."
    if judged.result == "when":
        return
    counted = "" if judged.units is None else f", {judged.units} counted"
    yield f"It is worth {judged.wanted} points{counted}."
    if judged.budget is not None:
        yield f"Of its budget of {judged.budget[1]} points, {judged.budget[0]} had been given."
    for room in judged.caps:
        yield f"Of the member's {room.limit} points a {room.period}, {room.spent} had been given since {room.since}."
    for room in judged.member_caps:
        yield (
            f"Of the {room.limit} points that the programme gives a member a {room.period}, {room.spent} had been given "
            f"since {room.since}."
        )
    yield f"It gives {judged.points} points."
