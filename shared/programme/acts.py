"""Acts besides bills that earn: what people declare of them, what is wrong with it, and how an act becomes points.

- An act type earns `points`, or a `rate`: points per so many of a whole number in its data, rounded in the mode of the programme.
- `maximum` is the most that one such act gives. Then what is left of the member's caps and of the budget of the type is given;
  both are counted like a campaign's, under `act:<code>`. Tier rates and campaigns have no part in it.
- A referral earns `points`, or `points_each`, for two: each by an act of its own, whose data says the `role`: `referrer` or
  `referred`.
- `when` asks for the tier, the time, `act.merchant`, and the fields that the data's schema declares: `act.data.<name>`.

`pointbank verify` computes the same a second time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from itertools import islice
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry

from shared.errors import FieldError, pointer_to
from shared.money import Ratio, RoundingMode, decimal_ratio, minor_per_point, round_ratio
from shared.programme.campaigns import BudgetKey, Cap, CapKey, Room, Spent, caps_of
from shared.programme.conditions import (
    NEVER_HOLDS,
    Condition,
    Field,
    Fields,
    compile_condition,
    contradiction,
    mistakes,
)
from shared.programme.days import since
from shared.programme.earning import ActType, On
from shared.programme.subject import FIELDS, NOT_YET

MOST_SCHEMA_BYTES = 16 * 1024
MOST_DATA_ERRORS = 20
_NEVER = frozenset(
    {"$ref", "$dynamicRef", "$id", "$anchor", "$dynamicAnchor", "$vocabulary", "pattern", "patternProperties"}
)
"""Nothing of a schema is looked up elsewhere or comes back to itself; and no pattern of one can keep a process busy."""
_BY_NAME = ("properties", "$defs", "dependentSchemas")
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE = (
    "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems",
    "unevaluatedProperties",
)  # fmt: skip


# ---- what is wrong with it


def act_mistakes(number: int, act: Mapping[str, Any]) -> Iterator[FieldError]:
    """What is wrong with an act type by itself, in any document as it came."""
    path = ("earning", "acts", number)
    on = act.get("on", "reported")
    if len(act.keys() & {"points", "rate", "points_each"}) != 1:
        yield _wrong(path, "It earns either points, or a rate, or as a referral points for each of both.")
    if on == "referral":
        if "minimum_minor" not in act:
            said = "A referral says what the first bill has to come to."
            yield FieldError(pointer_to((*path, "minimum_minor")), "field_missing", said)
    else:
        for name in ("points_each", "minimum_minor"):
            if name in act:
                yield _wrong((*path, name), f"Only a referral has {name}.")
    if "rate" in act and "maximum" not in act:
        yield FieldError(
            pointer_to((*path, "maximum")), "field_missing", "An act that earns by a rate has a maximum."
        )
    if on != "reported":
        for name in ("data", "rate"):
            if name in act:
                yield _wrong((*path, name), f"Nobody reports it, so it has no {name}.")
    budget = act.get("budget")
    if isinstance(budget, Mapping) and len(budget.keys() & {"points", "money_minor"}) != 1:
        yield _wrong((*path, "budget"), "A budget is in points or in money.")
    schema = act.get("data")
    found = list(_schema_mistakes(schema, (*path, "data"))) if schema is not None else []
    yield from found
    rate = act.get("rate")
    of = rate.get("of") if isinstance(rate, Mapping) else None
    if isinstance(of, str) and not found and (of, "integer") not in set(_kinds(schema)):
        yield _wrong((*path, "rate", "of"), f"The schema of the data declares no integer {of}.")
    if "when" in act and not found:
        yield from mistakes(act["when"], fields_of(schema), (*path, "when"), not_yet=NOT_YET)


def acts_twice(acts: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[FieldError]:
    """Types that come of the same thing: of what nobody reports there is one each."""
    seen: set[Any] = set()
    for number, act in acts:
        on = act.get("on", "reported")
        if isinstance(on, str) and on != "reported" and on in seen:
            yield _wrong(("earning", "acts", number, "on"), f"Another act comes of {on} already.")
        seen.add(str(on))


def acts_beyond_the_ledger(acts: Sequence[ActType], most_points: Fraction) -> Iterator[FieldError]:
    """Act types whose points, or their money, no accrual can hold; in a document whose shape is right."""
    for number, act in enumerate(acts):
        name = "maximum" if act.points is None else "points"
        points = act.maximum if act.points is None else act.points
        if act.points_each is not None:
            name, points = "points_each", max(act.points_each.referrer, act.points_each.referred)
        if points is not None and points > most_points:
            yield _wrong(
                ("earning", "acts", number, name), "So many points, or their money, no wallet can hold."
            )


def acts_never_earning(acts: Sequence[ActType], ladder: Collection[str]) -> Iterator[FieldError]:
    """Act types whose condition can never hold."""
    for number, act in enumerate(acts):
        if act.when is None:
            continue
        if (at := contradiction(act.when, fields_of(act.data), only={"tier": ladder})) is not None:
            yield _wrong(("earning", "acts", number, "when", *at), NEVER_HOLDS)


def _schema_mistakes(schema: Any, path: tuple[str | int, ...]) -> Iterator[FieldError]:
    if not isinstance(schema, Mapping):
        return
    try:
        if len(msgspec.json.encode(schema)) > MOST_SCHEMA_BYTES:
            yield _wrong(path, f"A schema has at most {MOST_SCHEMA_BYTES} bytes.")
            return
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        yield _wrong((*path, *error.absolute_path), f"It is no JSON Schema: {error.message[:200]}.")
        return
    except RecursionError:
        yield _wrong(path, "It is nested too deeply.")
        return
    if schema.get("type") != "object":
        yield _wrong((*path, "type"), "An act's data is an object.")
    yield from _refused(schema, path)


def _refused(schema: Any, path: tuple[str | int, ...]) -> Iterator[FieldError]:
    if not isinstance(schema, Mapping):
        return
    for name in schema:
        if name in _NEVER:
            yield _wrong((*path, name), f"{name} is not taken here.")
    for name in _BY_NAME:
        for key, part in schema.get(name, {}).items():
            yield from _refused(part, (*path, name, key))
    for name in _LISTED:
        for place, part in enumerate(schema.get(name, ())):
            yield from _refused(part, (*path, name, place))
    for name in _SINGLE:
        yield from _refused(schema.get(name), (*path, name))


def _wrong(path: Sequence[str | int], detail: str) -> FieldError:
    return FieldError(pointer_to(path), "programme_invalid", detail)


def _kinds(schema: Any) -> Iterator[tuple[str, str]]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    for name, part in properties.items() if isinstance(properties, Mapping) else ():
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(kind, str):
            yield name, kind


# ---- as it is judged


class ActSubject:
    """An act as conditions ask about it."""

    def __init__(
        self,
        *,
        occurred_at: datetime,
        zone: ZoneInfo,
        tier: str | None,
        merchant: str | None,
        data: Mapping[str, Any],
    ) -> None:
        self.local = occurred_at.astimezone(zone)
        self.tier, self.merchant, self.data = tier, merchant, data


def _number(name: str) -> Field:
    def get(act: ActSubject, _: object) -> int | None:
        value = act.data.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    return Field("number", get)


def _text(name: str) -> Field:
    def get(act: ActSubject, _: object) -> str | None:
        value = act.data.get(name)
        return value if isinstance(value, str) else None

    return Field("text", get)


_SHARED: Fields = {
    name: field for name, field in FIELDS.items() if name == "tier" or name.startswith("time.")
} | {"act.merchant": Field("text", lambda act, _: act.merchant)}


def fields_of(schema: Mapping[str, Any] | None) -> Fields:
    """What a condition of an act with such data may ask for."""
    own = {
        f"act.data.{name}": _number(name) if kind == "integer" else _text(name)
        for name, kind in _kinds(schema)
        if kind in {"integer", "string"}
    }
    return {**_SHARED, **own}


class ActWorth(msgspec.Struct, frozen=True, gc=False):
    """What an act would give but for caps and budget. Result `able`, `when` or `nothing`; `units` is what a rate counted."""

    result: str
    condition: str
    units: int | None
    wanted: int


@dataclass(frozen=True, slots=True, eq=False)
class CompiledAct:
    """An act type of one version."""

    code: str
    on: On
    points: int | None
    rate: tuple[Ratio, str] | None
    """Points for one, and the name of what is counted."""
    mode: RoundingMode
    when: Condition | None
    maximum: int | None
    caps: tuple[Cap, ...]
    budget: int | None
    """In points."""
    _validator: Draft202012Validator | None
    each: Mapping[str, int] | None = None
    """Of a referral: the points by role, in place of `points`."""
    minimum_minor: int | None = None
    member_caps: tuple[Cap, ...] = ()
    """The programme's own, for all that it gives a member."""

    @property
    def counter(self) -> str:
        """The name that its caps and budget are counted under; no campaign's code has a colon."""
        return f"act:{self.code}"

    def objections(self, data: Mapping[str, Any]) -> list[FieldError]:
        """What of the data the schema does not allow, with pointers into the act."""
        if self._validator is None:
            return (
                []
                if not data
                else [FieldError("/data", "act_data_invalid", "An act of this type has no data.")]
            )
        try:
            errors = list(islice(self._validator.iter_errors(data), MOST_DATA_ERRORS))
        except RecursionError:
            return [FieldError("/data", "act_data_invalid", "The schema is nested too deeply for it.")]
        found = [
            FieldError(
                pointer_to(("data", *error.absolute_path)),
                "act_data_invalid",
                _said(error.validator, error.validator_value),
            )
            for error in errors
        ]
        return sorted(found, key=lambda one: (one.pointer, one.detail))

    def worth(self, subject: ActSubject) -> ActWorth:
        """What it would give."""
        trace = ""
        if self.when is not None:
            holds, trace = self.when.test(subject)
            if not holds:
                return ActWorth("when", trace, None, 0)
        units = None
        if self.each is not None:
            wanted = self.each[subject.data["role"]]
        elif self.rate is None:
            assert self.points is not None
            wanted = self.points
        else:
            (numerator, denominator), name = self.rate
            given = subject.data.get(name)
            units = given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else 0
            wanted = round_ratio(self.mode, units * numerator, denominator)
        if self.maximum is not None:
            wanted = min(wanted, self.maximum)
        return ActWorth("able" if wanted else "nothing", trace, units, wanted)

    def counters(self, programme: str, wallet_id: UUID, today: date) -> Iterator[CapKey | BudgetKey]:
        """The counters that have to be known, and held, before it is given."""
        for period, _ in self.caps:
            yield wallet_id, self.counter, period, since(period, today)
        for period, _ in self.member_caps:
            yield wallet_id, "", period, since(period, today)
        if self.budget is not None:
            yield programme, self.counter

    def within(
        self, programme: str, wallet_id: UUID, today: date, wanted: int, spent: Spent
    ) -> tuple[int, tuple[Room, ...], tuple[Room, ...], tuple[int, int] | None]:
        """(points that it gives after what was given before; its caps, the programme's and its budget as they were found)."""
        own, shared = (
            tuple(
                [
                    Room(period, first, spent.get((wallet_id, counter, period, first), 0), limit)
                    for period, limit in caps
                    for first in (since(period, today),)
                ]
            )
            for counter, caps in ((self.counter, self.caps), ("", self.member_caps))
        )
        most = [room.limit - room.spent for room in (*own, *shared)]
        budget = None
        if self.budget is not None:
            budget = spent.get((programme, self.counter), 0), self.budget
            most.append(budget[1] - budget[0])
        return max(min([wanted, *most]), 0), own, shared, budget


def _said(keyword: Any, value: Any) -> str:
    # jsonschema's own sentence quotes the data, and details never do.
    limit = f" {value}" if isinstance(value, int | str) and len(str(value)) <= 100 else ""
    return f"It does not keep to the schema's {keyword}{limit}."


def compile_act(
    act: ActType, mode: RoundingMode, point_value: str, currency: str, member_caps: tuple[Cap, ...] = ()
) -> CompiledAct:
    """An act type without mistakes, ready to be judged by. `member_caps`: the programme's."""
    rate = None
    if act.rate is not None:
        numerator, denominator = decimal_ratio(act.rate.points)
        rate = (numerator, denominator * act.rate.per), act.rate.of
    numerator, denominator = minor_per_point(point_value, currency)
    budget = act.budget
    in_points = None
    if budget is not None:
        in_points = (
            budget.points if budget.money_minor is None else budget.money_minor * denominator // numerator
        )
    return CompiledAct(
        code=act.code,
        on=act.on,
        points=act.points,
        rate=rate,
        mode=mode,
        when=None if act.when is None else compile_condition(act.when, fields_of(act.data)),
        maximum=act.maximum,
        caps=caps_of(act.member_caps),
        member_caps=member_caps,
        budget=in_points,
        # A registry of its own: the library's default one looks references up by HTTP.
        _validator=None if act.data is None else Draft202012Validator(act.data, registry=Registry()),
        each=None if act.points_each is None else act.points_each.model_dump(),
        minimum_minor=act.minimum_minor,
    )
