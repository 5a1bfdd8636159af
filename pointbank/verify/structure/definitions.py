"""Definitions as PostgreSQL prints them, in a form that is equal where they say the same.

PostgreSQL 15 and 18 print alike. But what was dumped and restored (`tenant move`) comes back with other parentheses: an AND
within an AND is read as one. So white space, parentheses around a whole term, and AND in AND or OR in OR count for nothing;
all other grouping, and every cast, counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]|[^\s()'"]+""")

Item = str | list["Item"]
"""A word, or what stands in parentheses."""


def same(definition: str | None, other: str) -> bool:
    """Whether both say the same; None, which is not there, never does."""
    return definition is not None and normal(definition) == normal(other)


@lru_cache(maxsize=8192)
def normal(definition: str) -> str:
    """The definition with no more parentheses than it needs. Kept: each is asked for again by its neighbours and by the next
    tenant."""
    return _text(_group(iter(_TOKEN.findall(definition))))


def _group(tokens: Iterator[str]) -> list[Item]:
    """All up to the parenthesis that closes, or to the end."""
    items: list[Item] = []
    for word in tokens:
        if word == ")":
            break
        items.append(_group(tokens) if word == "(" else word)
    return items


def _text(items: list[Item]) -> str:
    return " OR ".join(" AND ".join(terms) for terms in _alternatives(items))


def _alternatives(items: list[Item]) -> list[list[str]]:
    """What OR joins, each as what AND joins."""
    found: list[list[str]] = []
    for alternative in _split(items, "OR"):
        terms: list[str] = []
        parts = _split(alternative, "AND")
        for part in parts:
            inner = _alternatives(part[0]) if len(part) == 1 and isinstance(part[0], list) else []
            if len(inner) == 1:
                terms += inner[0]
            elif inner and len(parts) == 1:
                found += inner
            else:
                terms.append(" ".join(item if isinstance(item, str) else f"({_text(item)})" for item in part))
        if terms:
            found.append(terms)
    return found


def _split(items: list[Item], word: str) -> list[list[Item]]:
    return [list(part) for is_word, part in groupby(items, key=lambda item: item == word) if not is_word]
