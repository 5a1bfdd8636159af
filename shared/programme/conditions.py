"""Conditions: one JSON tree, the same wherever a document asks for something to hold.

    {"any": [{"bill.total_minor": {"gte": 10000}}, {"not": {"time.weekday": {"in": ["fri", "sat"]}}}]}

A node is an object, and all of its members must hold. `all` and `any` have a list of nodes, `not` one node; every other
member names a field and says how it compares. A comparison with what is not there (a bill without a channel) does not
hold, whatever it asks; `not` turns it round.

Which fields there are is the caller's word (`fields` of the rules, and of whoever else asks). A tree is compiled once per
version into closures, and tested with the result of each of its comparisons in the order in which they are written:
"tf-" is true, false. So a decision keeps why a condition held, in as many letters as it has comparisons.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from shared.errors import FieldError, pointer_to

Kind = Literal["number", "decimal", "text", "set", "time", "date"]
"""number: an integer. decimal: a text like "2.5", counted in millionths. set: several codes. time: "HH:MM", in minutes
of the day. date: "YYYY-MM-DD"."""

Get = Callable[[Any, Any], Any]
Test = Callable[[Any, Any], bool]
Path = tuple[str | int, ...]

MOST_COMPARISONS = 100
MOST_DEPTH = 10
MOST_VALUES = 1000
MOST_KNOWN = 1024
MILLION = 1_000_000
NEVER_HOLDS = "This can never hold together with what stands before it, or with what there is."
_NOTHING: Mapping[str, Collection[Any]] = {}


@dataclass(frozen=True, slots=True)
class Field:
    """What a tree may ask for. `get(subject, line)` gives it in the kind's own form, None where it is not there."""

    kind: Kind
    get: Get
    by_line: bool = False
    choices: frozenset[str] | None = None
    """All values there are, where they are few."""


Fields = Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a tree: where it stands in it, and what it asks."""

    path: Path
    field: str
    operator: str
    value: Any

    @property
    def words(self) -> str:
        """As people read it."""
        return f"{self.field} {self.operator} {json.dumps(self.value, ensure_ascii=False)}"


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A compiled tree."""

    comparisons: tuple[Comparison, ...]
    by_line: bool
    """Whether it has to be tested for each line."""
    _tests: tuple[Test, ...]
    _holds: Callable[[Sequence[bool]], bool]
    _known: dict[tuple[bool, ...], tuple[bool, str]]
    """What results come to: a condition has few comparisons, and its bills few results."""

    def test(self, subject: Any, line: Any = None) -> tuple[bool, str]:
        """Whether it holds, and the result of each comparison: a `t` or an `f`."""
        tests = self._tests
        if len(tests) == 1:
            results: tuple[bool, ...] = (tests[0](subject, line),)
        else:
            results = tuple([test(subject, line) for test in tests])
        found = self._known.get(results)
        if found is None:
            found = self._holds(results), "".join(["t" if result else "f" for result in results])
            if len(self._known) < MOST_KNOWN:
                self._known[results] = found
        return found

    def could_hold(self, subject: Any, fields: Collection[str]) -> bool:
        """Whether it holds by these fields, whatever the others may say."""
        return self._holds(
            [
                test(subject, None) if one.field in fields else one.path.count("not") % 2 == 0
                for one, test in zip(self.comparisons, self._tests, strict=True)
            ]
        )


Tell = Callable[[Any], Any]


def telling(conditions: Sequence[Condition], fields: Fields) -> list[Tell]:
    """Of each field that these conditions, which ask for no line, compare: what of a subject is told apart by it. Subjects of
    whom all of these tell the same have the same results in every comparison."""
    named: dict[str, set[Any]] = {}
    for condition in conditions:
        for one in condition.comparisons:
            values = one.value if isinstance(one.value, list) else [one.value]
            named.setdefault(one.field, set()).update(
                [_own(value, fields[one.field].kind) for value in values]
            )
    return [_tell(fields[name], values) for name, values in named.items()]


def _tell(field: Field, named: set[Any]) -> Tell:
    get = field.get
    if field.kind == "set":
        return lambda subject: frozenset(named.intersection(get(subject, None)))
    if field.kind == "text":
        others = named | {None}
        return lambda subject: value if (value := get(subject, None)) in others else ...
    bounds = sorted(named)  # the place between them, or on one

    def place(subject: Any) -> int | None:
        value = get(subject, None)
        return None if value is None else bisect_left(bounds, value) + bisect_right(bounds, value)

    return place


# ---- what is wrong with a tree -----------------------------------------------------------------

_ORDERED = frozenset({"eq", "ne", "gt", "gte", "lt", "lte", "between", "in", "not_in"})
_OPERATORS: dict[Kind, frozenset[str]] = {
    "number": _ORDERED,
    "decimal": _ORDERED,
    "time": _ORDERED,
    "date": _ORDERED,
    "text": frozenset({"eq", "ne", "in", "not_in"}),
    "set": frozenset({"any_of", "all_of", "none_of"}),
}
_LISTS = frozenset({"in", "not_in", "any_of", "all_of", "none_of"})
_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?", re.ASCII)
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_SAID: dict[Kind, str] = {
    "number": "It is compared with an integer.",
    "decimal": 'It is compared with a decimal in quotes, as in "2.5".',
    "text": "It is compared with a text.",
    "set": "It is compared with texts.",
    "time": 'It is compared with a time of day, as in "18:30".',
    "date": 'It is compared with a date, as in "2026-11-22".',
}


def mistakes(
    tree: Any, fields: Fields, path: Path, *, not_yet: Sequence[str] = (), where: str = "yet"
) -> Iterator[FieldError]:
    """Every mistake of a tree that stands at `path` of its document. `not_yet`: fields that are named in the domain, and
    that nobody can tell `where` it is asked."""
    found = list(_node_mistakes(tree, fields, path, not_yet, where, 1))
    yield from found
    if not found and sum(1 for _ in _comparisons(tree, ())) > MOST_COMPARISONS:
        yield _wrong(path, f"A condition has at most {MOST_COMPARISONS} comparisons.")


def _node_mistakes(
    node: Any, fields: Fields, path: Path, not_yet: Sequence[str], where: str, depth: int
) -> Iterator[FieldError]:
    if not isinstance(node, Mapping):
        yield FieldError(pointer_to(path), "field_type", "A condition is an object.")
        return
    if depth > MOST_DEPTH:
        yield _wrong(path, f"Conditions are nested at most {MOST_DEPTH} deep.")
        return
    if not node:
        yield _wrong(path, "A condition asks for something; leave it out where nothing is asked.")
    for name, asked in node.items():
        at = (*path, name)
        if name in {"all", "any"}:
            if not isinstance(asked, list) or not asked:
                yield FieldError(pointer_to(at), "field_type", f"`{name}` has a list of conditions.")
                continue
            for number, part in enumerate(asked):
                yield from _node_mistakes(part, fields, (*at, number), not_yet, where, depth + 1)
        elif name == "not":
            yield from _node_mistakes(asked, fields, at, not_yet, where, depth + 1)
        elif name in fields:
            yield from _comparison_mistakes(asked, fields[name], at)
        elif name in not_yet:
            yield _wrong(at, f"{name} is not available {where}.")
        else:
            yield FieldError(pointer_to(at), "field_unknown", "There is no such field to ask for.")


def _comparison_mistakes(asked: Any, field: Field, path: Path) -> Iterator[FieldError]:
    kind = field.kind
    allowed = _OPERATORS[kind]
    if not isinstance(asked, Mapping) or not asked:
        said = f"Say how it compares: an object with {', '.join(sorted(allowed))}."
        yield FieldError(pointer_to(path), "field_type", said)
        return
    for operator, value in asked.items():
        at = (*path, operator)
        if operator not in allowed:
            yield FieldError(pointer_to(at), "field_unknown", f"Here are {', '.join(sorted(allowed))}.")
        elif operator in _LISTS or operator == "between":
            found = list(_list_mistakes(operator, value, kind, at))
            yield from found or _no_choice(value, field, at)
        elif not _fits(value, kind):
            yield FieldError(pointer_to(at), "field_type", _SAID[kind])
        else:
            yield from _no_choice([value], field, at)


def _no_choice(values: Sequence[Any], field: Field, path: Path) -> Iterator[FieldError]:
    if field.choices is not None and not field.choices.issuperset(values):
        yield _wrong(path, f"It is one of {', '.join(sorted(field.choices))}.")


def _list_mistakes(operator: str, value: Any, kind: Kind, path: Path) -> Iterator[FieldError]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_VALUES:
        yield FieldError(pointer_to(path), "field_type", f"It is a list of 1 to {MOST_VALUES} values.")
        return
    wrong = [number for number, one in enumerate(value) if not _fits(one, kind)]
    for number in wrong:
        yield FieldError(pointer_to((*path, number)), "field_type", _SAID[kind])
    if operator == "between" and not wrong:
        if len(value) != 2:
            yield _wrong(path, "It lies between two values, both included.")
        elif kind != "time" and _own(value[0], kind) > _own(value[1], kind):
            yield _wrong(path, "The first value is not above the second.")


def _fits(value: Any, kind: Kind) -> bool:
    if kind == "number":
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 10**15
    if not isinstance(value, str):
        return False
    match kind:
        case "decimal":
            return _DECIMAL.fullmatch(value) is not None
        case "time":
            return _TIME.fullmatch(value) is not None
        case "date":
            return _DATE.fullmatch(value) is not None and _is_date(value)
        case _:
            return 1 <= len(value) <= 200


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _wrong(path: Path, detail: str) -> FieldError:
    return FieldError(pointer_to(path), "programme_invalid", detail)


# ---- a tree as closures ------------------------------------------------------------------------


def millionths(text: str) -> int:
    """A decimal of at most six digits after its point, in millionths: "2.5" is 2500000."""
    whole, _, fraction = text.partition(".")
    return int(whole) * MILLION + int(fraction.ljust(6, "0"))


def _own(value: Any, kind: Kind) -> Any:
    match kind:
        case "decimal":
            return millionths(value)
        case "time":
            return int(value[:2]) * 60 + int(value[3:])
        case _:
            return value


def compile_condition(tree: Mapping[str, Any], fields: Fields) -> Condition:
    """A tree without mistakes, ready to be tested."""
    comparisons = tuple(_comparisons(tree, ()))
    tests = tuple([_test(one, fields[one.field]) for one in comparisons])
    by_line = any(fields[one.field].by_line for one in comparisons)
    places = {one.path: number for number, one in enumerate(comparisons)}
    flat = all(len(one.path) == 2 for one in comparisons)  # field and operator: all of them must hold
    return Condition(comparisons, by_line, tests, all if flat else _holds(tree, (), places), {})


def _comparisons(node: Mapping[str, Any], path: Path) -> Iterator[Comparison]:
    for name, asked in node.items():
        at = (*path, name)
        if name in {"all", "any"}:
            for number, part in enumerate(asked):
                yield from _comparisons(part, (*at, number))
        elif name == "not":
            yield from _comparisons(asked, at)
        else:
            for operator, value in asked.items():
                yield Comparison((*at, operator), name, operator, value)


def _holds(
    node: Mapping[str, Any], path: Path, places: Mapping[Path, int]
) -> Callable[[Sequence[bool]], bool]:
    parts: list[Callable[[Sequence[bool]], bool]] = []
    for name, asked in node.items():
        at = (*path, name)
        if name in {"all", "any"}:
            inner = [_holds(part, (*at, number), places) for number, part in enumerate(asked)]
            parts.append(_all_of(inner) if name == "all" else _any_of(inner))
        elif name == "not":
            parts.append(_not(_holds(asked, at, places)))
        else:
            parts += [_at(places[(*at, operator)]) for operator in asked]
    return parts[0] if len(parts) == 1 else _all_of(parts)


def _at(place: int) -> Callable[[Sequence[bool]], bool]:
    return lambda results: results[place]


def _not(part: Callable[[Sequence[bool]], bool]) -> Callable[[Sequence[bool]], bool]:
    return lambda results: not part(results)


def _all_of(parts: Sequence[Callable[[Sequence[bool]], bool]]) -> Callable[[Sequence[bool]], bool]:
    return lambda results: all(part(results) for part in parts)


def _any_of(parts: Sequence[Callable[[Sequence[bool]], bool]]) -> Callable[[Sequence[bool]], bool]:
    return lambda results: any(part(results) for part in parts)


def _test(one: Comparison, field: Field) -> Test:
    get, kind = field.get, field.kind
    match one.operator:
        case "in":
            allowed = frozenset(_own(value, kind) for value in one.value)
            return lambda subject, line: get(subject, line) in allowed  # None is in no list
        case "not_in":
            refused = frozenset(_own(value, kind) for value in one.value)
            return lambda subject, line: (value := get(subject, line)) is not None and value not in refused
        case "any_of" | "all_of" | "none_of":
            return _set_test(one.operator, frozenset(one.value), get)
        case "between":
            low, high = (_own(value, kind) for value in one.value)
            if low > high:  # times of day, over midnight
                return lambda subject, line: (
                    (value := get(subject, line)) is not None and (value >= low or value <= high)
                )
            return lambda subject, line: (value := get(subject, line)) is not None and low <= value <= high
        case _:
            return _simple_test(one.operator, _own(one.value, kind), get)


def _simple_test(operator: str, than: Any, get: Get) -> Test:
    match operator:
        case "eq":
            return lambda subject, line: get(subject, line) == than  # `than` is never None
        case "ne":
            return lambda subject, line: (value := get(subject, line)) is not None and value != than
        case "gt":
            return lambda subject, line: (value := get(subject, line)) is not None and value > than
        case "gte":
            return lambda subject, line: (value := get(subject, line)) is not None and value >= than
        case "lt":
            return lambda subject, line: (value := get(subject, line)) is not None and value < than
        case "lte":
            return lambda subject, line: (value := get(subject, line)) is not None and value <= than
    raise AssertionError(operator)


def _set_test(operator: str, asked: frozenset[str], get: Get) -> Test:
    match operator:
        case "any_of":
            return lambda subject, line: not asked.isdisjoint(get(subject, line))
        case "all_of":
            return lambda subject, line: asked.issubset(get(subject, line))
    return lambda subject, line: asked.isdisjoint(get(subject, line))


# ---- what can't hold ---------------------------------------------------------------------------


def contradiction(
    tree: Mapping[str, Any], fields: Fields, *, only: Mapping[str, Collection[Any]] = _NOTHING
) -> Path | None:
    """The comparison by which a tree without mistakes can never hold, as far as that can be seen: what must hold together
    leaves no value. `only`: of some fields all values that there are. None: nothing was seen."""
    known: Bounds = {name: (None, None, frozenset(values), frozenset()) for name, values in only.items()}
    return _contradiction(tree, fields, known, ())


Bounds = dict[str, tuple[Any, Any, frozenset[Any] | None, frozenset[Any]]]
"""By field: above or equal, below or equal, one of, none of."""


def _contradiction(node: Mapping[str, Any], fields: Fields, outer: Bounds, path: Path) -> Path | None:
    bounds = dict(outer)
    for at, one, field in _together(node, path, fields):
        bounds[one.field] = _narrowed(bounds.get(one.field, (None, None, None, frozenset())), one, field.kind)
        if _empty(*bounds[one.field]):
            return at
    for at, parts in _alternatives(node, path):
        found = [_contradiction(part, fields, bounds, (*at, number)) for number, part in enumerate(parts)]
        if all(found):
            return found[0]
    return None


def _together(
    node: Mapping[str, Any], path: Path, fields: Fields
) -> Iterator[tuple[Path, Comparison, Field]]:
    for name, asked in node.items():
        at = (*path, name)
        if name == "all":
            for number, part in enumerate(asked):
                yield from _together(part, (*at, number), fields)
        elif name not in {"any", "not"} and fields[name].kind != "set":
            for operator, value in asked.items():
                yield (*at, operator), Comparison((*at, operator), name, operator, value), fields[name]


def _alternatives(node: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, list[Mapping[str, Any]]]]:
    for name, asked in node.items():
        if name == "any":
            yield (*path, name), asked
        elif name == "all":
            for number, part in enumerate(asked):
                yield from _alternatives(part, (*path, name, number))


def _narrowed(
    known: tuple[Any, Any, frozenset[Any] | None, frozenset[Any]], one: Comparison, kind: Kind
) -> tuple[Any, Any, frozenset[Any] | None, frozenset[Any]]:
    low, high, allowed, refused = known
    match one.operator:
        case "eq" | "in":
            values = one.value if one.operator == "in" else [one.value]
            these = frozenset(_own(value, kind) for value in values)
            allowed = these if allowed is None else allowed & these
        case "ne" | "not_in":
            values = one.value if one.operator == "not_in" else [one.value]
            refused |= {_own(value, kind) for value in values}
        case "between":
            first, second = (_own(value, kind) for value in one.value)
            if first <= second:
                low, high = _higher(low, first), _lower(high, second)
        case "gte":
            low = _higher(low, _own(one.value, kind))
        case "lte":
            high = _lower(high, _own(one.value, kind))
        case "gt" if kind != "date":  # all other kinds are whole numbers
            low = _higher(low, _own(one.value, kind) + 1)
        case "lt" if kind != "date":
            high = _lower(high, _own(one.value, kind) - 1)
        case "gt":
            low, refused = _higher(low, one.value), refused | {one.value}
        case "lt":
            high, refused = _lower(high, one.value), refused | {one.value}
    return low, high, allowed, refused


def _higher(low: Any, other: Any) -> Any:
    return other if low is None else max(low, other)


def _lower(high: Any, other: Any) -> Any:
    return other if high is None else min(high, other)


def _empty(low: Any, high: Any, allowed: frozenset[Any] | None, refused: frozenset[Any]) -> bool:
    if low is not None and high is not None and (low > high or (low == high and low in refused)):
        return True
    return allowed is not None and not any(
        value not in refused and (low is None or value >= low) and (high is None or value <= high)
        for value in allowed
    )
