"""All mistakes of a programme document at once, each with its JSON pointer."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.errors import FieldError, Refusal, pointer_to
from shared.money import minor_per_point
from shared.programme.acts import act_mistakes, acts_beyond_the_ledger, acts_never_earning, acts_twice
from shared.programme.campaign_mistakes import campaign_mistakes, card_mistakes, never_taking_effect
from shared.programme.earning_mistakes import (
    beyond_the_ledger,
    never_matching,
    rule_mistakes,
    unknown_tiers,
)
from shared.programme.header_mistakes import accepts_mistakes, zone_mistakes
from shared.programme.ladder import ladder_mistakes
from shared.programme.model import MAX_POINTS, NOT_YET, Programme, Tier
from shared.shapes import wanted

Document = Mapping[str, Any]

MAX_BIGINT = 2**63 - 1
MOST = 50
"""So many mistakes are told: the refusal is kept under its key, and a document can have very many."""


class ProgrammeInvalid(Refusal):
    code = "programme_invalid"


class UnreadVersion(Refusal):
    """An active version says what this release does not know: a later one allowed it. No bill and no caller is to blame."""

    code = "tenant_migrating"


def validate(document: Document) -> Programme:
    """The document as a model; refuses programme_invalid with every mistake. Null means left out."""
    given = without_nulls(document)
    return _without_mistakes(given, zone_mistakes(given.get("programme")))


def as_written(document: Document) -> Programme:
    """A version that may be older than some of the rules for new ones; else like `validate`."""
    return _without_mistakes(without_nulls(document), ())


def as_kept(document: Document) -> Programme:
    """A version that is there, as `as_written`; or it is younger than this release, and refuses tenant_migrating with its first
    mistake."""
    try:
        return as_written(document)
    except ProgrammeInvalid as invalid:
        raise _unread(document, invalid.errors[0]) from invalid


def must_be_known(document: Document, *, besides: Container[str]) -> None:
    """As `as_kept`, for who goes by nothing that the sections `besides` say. A section that is not known here may be anybody's."""
    given = without_nulls(document)
    errors = [*_parse(given)[1], *_mistakes(given)]
    mine = [error for error in errors if error.pointer.removeprefix("/").partition("/")[0] not in besides]
    if mine:
        raise _unread(document, min(mine, key=lambda error: (error.pointer, error.code)))


def _unread(document: Document, first: FieldError) -> UnreadVersion:
    header = document.get("programme")
    code = header.get("code") if isinstance(header, Mapping) else None
    return UnreadVersion(
        f"An active version of the programme {code} says what this release does not know ({first.pointer}: {first.detail})"
        " Another process may; ask again with the same key."
    )


def _without_mistakes(given: Document, further: Iterable[FieldError]) -> Programme:
    programme, errors = _parse(given)
    errors += _mistakes(given)
    errors += further
    if programme is None or errors:
        raise _invalid(errors)
    return programme


def validate_for_activation(document: Document) -> Programme:
    """Like `validate`, and the document must say how points are earned and how they are spent."""
    given = without_nulls(document)
    programme, errors = _parse(given)
    errors += _mistakes(given)
    errors += zone_mistakes(given.get("programme"))
    errors += _missing_for_activation(given)
    if programme is not None and not errors and programme.earning is not None:
        ladder = [tier.code for tier in _ladder(programme)]
        errors += never_matching(programme.earning, ladder)
        errors += never_taking_effect(programme.earning, ladder, ZoneInfo(programme.programme.time_zone))
        errors += acts_never_earning(programme.earning.acts, ladder)
    if programme is None or errors:
        raise _invalid(errors)
    return programme


def without_nulls(value: Any) -> Any:
    """The same JSON without members that are null: on the wire they mean that nothing was said."""
    if isinstance(value, Mapping):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def _invalid(errors: list[FieldError]) -> ProgrammeInvalid:
    errors = sorted(set(errors), key=lambda error: (error.pointer, error.code))
    count = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
    more = f"; the first {MOST} are told" if len(errors) > MOST else ""
    return ProgrammeInvalid(f"The programme document has {count}{more}.", errors=errors[:MOST])


def _parse(document: Document) -> tuple[Programme | None, list[FieldError]]:
    try:
        programme = Programme.model_validate(document)
        return programme, list(_beyond(programme))
    except ValidationError as failure:
        told = [_field_error(document, error) for error in failure.errors(include_url=False)]
        # A union tells its mistake once for each branch: the first is enough.
        return None, list({error.pointer: error for error in reversed(told)}.values())


def _beyond(programme: Programme) -> Iterator[FieldError]:
    """What is wrong with a section in the light of another."""
    header, earning, gift_cards = programme.programme, programme.earning, programme.gift_cards
    if gift_cards is not None:
        one, other = header.card_prefix, gift_cards.serial_prefix
        if one.startswith(other) or other.startswith(one):
            yield _invalid_at(
                "/gift_cards/serial_prefix",
                f"Members' cards begin with {one}: a serial must look like no such number.",
            )
    if earning is None:
        return
    ladder = _ladder(programme)
    per_point = Fraction(*minor_per_point(header.point_value, header.currency))
    most_points = min(Fraction(MAX_POINTS), MAX_BIGINT / per_point)
    yield from unknown_tiers(earning, [tier.code for tier in ladder])
    yield from beyond_the_ledger(
        earning, multipliers=[Fraction(tier.multiplier) for tier in ladder], most_points=most_points
    )
    yield from acts_beyond_the_ledger(earning.acts, most_points)


def _ladder(programme: Programme) -> Sequence[Tier]:
    return programme.tiers.ladder if programme.tiers is not None else ()


_CODES = {
    "extra_forbidden": ("field_unknown", "This field is not known."),
    "missing": ("field_missing", "This field is missing."),
    "union_tag_not_found": ("field_missing", "This field is missing."),
}


def _field_error(document: Document, error: ErrorDetails) -> FieldError:
    path = list(_json_path(document, error["loc"]))
    kind = error["type"]
    if kind in {"union_tag_not_found", "union_tag_invalid"}:
        path.append("policy")
    if kind in _CODES:
        code, detail = _CODES[kind]
        return FieldError(pointer_to(path), code, detail)
    field = str(path[-1]) if path else ""
    value = error["input"].get(field) if kind == "union_tag_invalid" else error["input"]
    if isinstance(value, str) and value in NOT_YET.get(field, ()):
        return FieldError(pointer_to(path), "programme_invalid", f"{value} is not available yet.")
    message = error["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        message = wanted(error["ctx"]["pattern"]) or message
    code = "field_type" if kind.endswith("_type") else "programme_invalid"
    return FieldError(pointer_to(path), code, f"{message[:1].upper()}{message[1:]}.")


def _json_path(document: Any, loc: tuple[str | int, ...]) -> Iterator[str | int]:
    """The part of pydantic's location that is JSON: it also names union members and dictionary keys."""
    at: Any = document
    for number, step in enumerate(loc):
        inside = step in at if isinstance(at, Mapping) else isinstance(at, list) and step in range(len(at))
        if inside:
            at = at[step]
        elif number != len(loc) - 1 or not isinstance(at, Mapping) or step == "[key]":
            continue
        yield step


# What follows reads the document as it came, so that it also speaks when something else is wrong. It passes over
# whatever has not the right shape: that mistake is already told.


def _mistakes(document: Document) -> list[FieldError]:
    found: list[FieldError] = []
    for number, rule in _objects(document, "earning", "rules"):
        found += rule_mistakes(number, rule, document["earning"])
    found += _repeated("/earning/rules", _objects(document, "earning", "rules"))
    header = document.get("programme")
    found += accepts_mistakes(header)
    zone = header.get("time_zone") if isinstance(header, Mapping) else None
    for number, campaign in _objects(document, "earning", "campaigns"):
        found += campaign_mistakes(number, campaign, zone)
    found += _repeated("/earning/campaigns", _objects(document, "earning", "campaigns"))
    for number, card in _objects(document, "earning", "stamp_cards"):
        found += card_mistakes(number, card)
    found += _repeated("/earning/stamp_cards", _objects(document, "earning", "stamp_cards"))
    for number, act in _objects(document, "earning", "acts"):
        found += act_mistakes(number, act)
    found += acts_twice(_objects(document, "earning", "acts"))
    found += _repeated("/earning/acts", _objects(document, "earning", "acts"))
    ladder = list(_objects(document, "tiers", "ladder"))
    found += _repeated("/tiers/ladder", ladder)
    found += _ladder_mistakes(ladder)
    found += _redemption_mistakes(document, [tier.get("code") for _, tier in ladder])
    return found


def _objects(document: Document, section: str, field: str) -> Iterator[tuple[int, Document]]:
    within = document.get(section)
    values = within.get(field) if isinstance(within, Mapping) else None
    for number, value in enumerate(values if isinstance(values, list) else ()):
        if isinstance(value, Mapping):
            yield number, value


def _invalid_at(pointer: str, detail: str) -> FieldError:
    return FieldError(pointer, "programme_invalid", detail)


def _repeated(
    pointer: str, values: Iterator[tuple[int, Document]] | list[tuple[int, Document]]
) -> Iterator[FieldError]:
    seen: set[str] = set()
    for number, value in values:
        code = value.get("code")
        if not isinstance(code, str):
            continue
        if code in seen:
            yield _invalid_at(f"{pointer}/{number}/code", f"{code} stands here a second time.")
        seen.add(code)


def _ladder_mistakes(ladder: list[tuple[int, Document]]) -> Iterator[FieldError]:
    highest = 0
    for number, tier in ladder:
        pointer = f"/tiers/ladder/{number}/entry"
        if number == 0:
            if "entry" in tier:
                yield _invalid_at(pointer, "Everybody starts in the first tier: it has no entry.")
            continue
        if "entry" not in tier:
            yield FieldError(pointer, "field_missing", "Every tier after the first has an entry.")
            continue
        entry = tier["entry"]
        if isinstance(entry, Mapping):
            if not entry.keys() & {"points", "when"}:
                yield FieldError(pointer, "field_missing", "It has points, a condition (`when`), or both.")
            if "when" in entry:
                yield from ladder_mistakes(entry["when"], ("tiers", "ladder", number, "entry", "when"))
                continue  # besides a condition any number may stand
        threshold = _threshold(entry)
        if threshold is None:
            continue
        if threshold <= highest:
            yield _invalid_at(f"{pointer}/points/gte", f"It must be above {highest}, the tier before.")
        highest = max(highest, threshold)


def _redemption_mistakes(document: Document, ladder: list[Any]) -> Iterator[FieldError]:
    for field, name in (("member_limits", "per"), ("velocity", "minutes")):
        seen: list[Any] = []
        for number, value in _objects(document, "redemption", field):
            if name not in value:
                continue
            if value[name] in seen:
                yield _invalid_at(
                    f"/redemption/{field}/{number}/{name}", f"{value[name]} stands here a second time."
                )
            seen.append(value[name])
    section = document.get("redemption")
    if not isinstance(section, Mapping):
        return
    least = _least(section)
    for number, limit in _objects(document, "redemption", "member_limits"):
        points = limit.get("points")
        if _is_count(points) and points < least:
            yield _invalid_at(
                f"/redemption/member_limits/{number}/points",
                f"Nothing could ever be spent: the least is {least} points.",
            )
    taking: set[Any] = set()
    for number, value in _objects(document, "redemption", "acceptance"):
        merchant = value.get("merchant")
        if isinstance(merchant, str) and merchant in taking:
            yield _invalid_at(
                f"/redemption/acceptance/{number}/merchant", f"{merchant} stands here a second time."
            )
        taking.add(merchant if isinstance(merchant, str) else None)
    tiers = section.get("tiers")
    for number, tier in enumerate(tiers if isinstance(tiers, list) else ()):
        if isinstance(tier, str) and tier not in ladder:
            yield _invalid_at(f"/redemption/tiers/{number}", f"{tier} is not on the ladder.")
        elif isinstance(tiers, list) and tier in tiers[:number]:
            yield _invalid_at(f"/redemption/tiers/{number}", f"{tier} stands here a second time.")


def _least(section: Document) -> int:
    """The smallest number of points that can be asked for: the minimum, rounded up to a whole step."""
    minimum, step = (section.get(name, 1) for name in ("minimum_points", "step_points"))
    return -(-minimum // step) * step if _is_count(minimum) and _is_count(step) else 0


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _threshold(entry: Any) -> int | None:
    points = entry.get("points") if isinstance(entry, Mapping) else None
    threshold = points.get("gte") if isinstance(points, Mapping) else None
    return threshold if _is_count(threshold) else None


def _missing_for_activation(document: Document) -> Iterator[FieldError]:
    if not any(rule.get("action") == "earn" for _, rule in _objects(document, "earning", "rules")):
        yield FieldError("/earning/rules", "field_missing", "An active programme has a rule that earns.")
    if "redemption" not in document:
        yield FieldError("/redemption", "field_missing", "An active programme says how points are spent.")
