"""What a PromQL expression names: enough of the language to hold expressions against what the services really export."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<range>\[[^\]]*\])|(?P<number>\d[\w.]*)"""
    r"""|(?P<name>[a-zA-Z_:$][\w:$]*)|(?P<other>=~|!~|!=|==|<=|>=|.))""",
    re.DOTALL,
)
_FUNCTIONS = {
    "abs", "absent", "delta", "histogram_quantile", "increase", "max_over_time", "min_over_time", "rate", "time",
}  # fmt: skip
_AGGREGATIONS = {"avg", "count", "max", "min", "sum"}
_GROUPING = {"by", "group_left", "group_right", "ignoring", "on", "without"}
_WORDS = {"and", "bool", "offset", "or", "unless"}


class Selected(NamedTuple):
    """A series that is asked for, with the labels and values it is chosen by."""

    name: str
    labels: tuple[tuple[str, str, str], ...]


class Named(NamedTuple):
    """All that an expression names."""

    series: tuple[Selected, ...]
    grouped_by: frozenset[str]


def named(expression: str) -> Named:
    """Raises ValueError for a word that is none of PromQL's."""
    tokens = list(_tokens(expression))
    series: list[Selected] = []
    grouped: set[str] = set()
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        at += 1
        if kind != "name":
            continue
        following = tokens[at][1] if at < len(tokens) else ""
        if text in _GROUPING and following == "(":
            end = at + [other for _, other in tokens[at:]].index(")")
            grouped |= {word for what, word in tokens[at:end] if what == "name"}
            at = end + 1
        elif text in _AGGREGATIONS or text in _WORDS or text in _GROUPING:
            continue
        elif following == "(":
            if text not in _FUNCTIONS:
                raise ValueError(f"{text} is no function that is known here")
        elif following == "{":
            end = at + [other for _, other in tokens[at:]].index("}")
            inside = [word for _, word in tokens[at + 1 : end] if word != ","]
            labels = tuple(
                (inside[k], inside[k + 1], inside[k + 2].strip("\"'")) for k in range(0, len(inside), 3)
            )
            series.append(Selected(text, labels))
            at = end + 1
        else:
            series.append(Selected(text, ()))
    return Named(tuple(series), frozenset(grouped))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(expression):
        assert found.lastgroup is not None
        if found.lastgroup not in {"range", "number"}:
            yield found.lastgroup, found[found.lastgroup]
