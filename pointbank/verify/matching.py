"""Two sides that must be the same rows, each exactly once: facts and their events, what was sent and what came of it.

However many rows there are, little is kept of them: each side's rows are summed as keyed hashes, in buckets by their key.
Equal sums, equal rows. Where a bucket differs, a second walk over both sides keeps that bucket's rows, and names them.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from pointbank.verify.report import Check

BUCKETS = 1 << 12
MOST_SUSPECTS = 64
"""Buckets looked into at most: enough for examples, and a bound on memory when everything is wrong."""

# Python's own hash of bytes is a keyed one (SipHash, 64 bits), with a key of this process. The salt keeps it secret also
# where somebody fixed PYTHONHASHSEED: nobody who writes the rows can make two sets that sum up to the same.
_SALT = os.urandom(16)
_encode = msgspec.msgpack.Encoder(enc_hook=str).encode

Row = tuple[Any, ...]


class Matching:
    """Rows are tuples that begin with their key. `ours` and `theirs` name the sides in examples."""

    def __init__(self, check: Check, fields: Sequence[str], *, ours: str, theirs: str) -> None:
        self.check = check
        self._fields, self._ours, self._theirs = fields, ours, theirs
        self._suspects: frozenset[int] | None = None
        self._found: tuple[dict[Any, list[Row]], dict[Any, list[Row]]] = (
            defaultdict(list),
            defaultdict(list),
        )
        self._left = [0] * BUCKETS
        self._right = [0] * BUCKETS
        self._counts = [0, 0]

    def ours(self, row: Row) -> None:
        """A row of the first side."""
        self._add(0, self._left, row)

    def theirs(self, row: Row) -> None:
        """A row of the other side."""
        self._add(1, self._right, row)

    def _add(self, side: int, sums: list[int], row: Row) -> None:
        bucket = hash(row[0]) % BUCKETS
        if self._suspects is None:
            sums[bucket] += hash(_SALT + _encode(row))
            self._counts[side] += 1
        elif bucket in self._suspects:
            self._found[side][row[0]].append(row)

    def close(self) -> bool:
        """Ends the first walk; whether both sides are the same."""
        self.check.compared += max(self._counts)
        sums = enumerate(zip(self._left, self._right, strict=True))
        different = [] if self._left == self._right else [k for k, (left, right) in sums if left != right]
        if len(different) > MOST_SUSPECTS:
            self.check.note(
                f"of {BUCKETS:,} parts differ; {MOST_SUSPECTS} of them are looked into", len(different)
            )
        self._suspects = frozenset(different[:MOST_SUSPECTS])
        return not different

    def explain(self) -> None:
        """Ends the second walk: names the rows that differ."""
        ours, theirs = self._found
        for key in sorted(ours.keys() | theirs.keys(), key=str):
            left, right = Counter(ours.get(key, [])), Counter(theirs.get(key, []))
            if left != right:
                self.check.wrong(f"{told(key)}: {self._difference(left - right, right - left)}")
        if not self.check.broken:
            self.check.wrong(f"{self._ours} and {self._theirs} differ, and did not when they were read again")

    def _difference(self, left: Counter[Row], right: Counter[Row]) -> str:
        if not right:
            return f"in {self._ours}, not in {self._theirs}"
        if not left:
            return f"in {self._theirs}, not in {self._ours}"
        mine, other = next(iter(left)), next(iter(right))
        parts = [
            f"{name} is {told(a)} in {self._ours}, {told(b)} in {self._theirs}"
            for name, a, b in zip(self._fields, mine[1:], other[1:], strict=True)
            if a != b
        ]
        return "; ".join(parts) or f"{left.total()} in {self._ours}, {right.total()} in {self._theirs}"


def told(value: Any) -> str:
    """A value as a person reads it: ids as UUIDs, parts joined."""
    if isinstance(value, bytes):
        text = value.hex()
        return (
            "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
            if len(value) == 16
            else text
        )
    if isinstance(value, tuple):
        return "/".join(map(told, value))
    return str(value)
