"""A value of any type that an event is made of: each field given, each list with one item."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect

_PLAIN: dict[type[inspect.Type], Any] = {
    inspect.BoolType: True,
    inspect.IntType: 1,
    inspect.StrType: "a",
    inspect.AnyType: {"a": 1},
    inspect.DecimalType: "0.10",
    inspect.DateTimeType: "2026-06-01T09:00:00Z",
    inspect.DateType: "2026-06-01",
    inspect.UUIDType: "01a00000-0000-7000-8000-000000000000",
}


def sample(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """What this struct looks like in JSON; fails where its decoder would not take it."""
    made: dict[str, Any] = _of(inspect.type_info(struct))
    msgspec.convert(made, struct, strict=True)
    return made


def _of(kind: inspect.Type) -> Any:
    match kind:
        case inspect.StructType(fields=fields):
            return {field.encode_name: _of(field.type) for field in fields}
        case inspect.UnionType(types=types):
            return _of(next(one for one in types if not isinstance(one, inspect.NoneType)))
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return [_of(item)]
        case inspect.TupleType(item_types=items):
            return [_of(item) for item in items]
        case inspect.DictType(key_type=key, value_type=value):
            return {_of(key): _of(value)}
        case _:
            return _PLAIN[type(kind)]
