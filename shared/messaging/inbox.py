"""The inbox: each entry of a service stream is heard once. It keeps runs, not entries: a batch of neighbours is one row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from shared.db import Connection
from shared.messaging.queries import queries

Entry = tuple[str, int]
"""A stream, and the dense id of one of its entries."""
Run = tuple[str, int, int]
"""A stream, and the first and last of neighbouring entries."""
Left = tuple[str, Sequence[int]]
"""A stream, and the dense ids of entries of it that nobody here handles."""


class HeardInPart(Exception):
    """Entries must be noted one by one, and later ones are noted already: begin again, in a new transaction, `singly`."""


async def hear(db: Connection, runs: Sequence[Run], *, singly: bool = False) -> list[Entry]:
    """Notes entries as heard, with this transaction; gives those that were heard before. `runs` in order, each entry in one.

    Who notes an entry that another transaction is noting waits for it, and so holds only what comes before it: everybody
    notes in order. HeardInPart where that can't be kept in this transaction.
    """
    if singly:
        every = [(stream, n, n) for stream, first, last in runs for n in range(first, last + 1)]
        fresh = set(await _note(db, every))
        return [run[:2] for run in every if run not in fresh]
    new = await _note(db, runs)
    if len(new) == len(runs) and all(first == run[1] for (_, first, _), run in zip(new, runs, strict=True)):
        return []
    # Some were heard before: which, is asked entry by entry for the runs that they are in.
    noted = {(stream, last): first for stream, first, last in new}
    doubtful: list[Run] = []
    heard: list[Entry] = []
    for stream, first, last in runs:
        begins = noted.get((stream, last))
        if begins is not None and doubtful:
            raise HeardInPart
        if begins is None and first == last:
            heard.append((stream, last))
        elif begins is None:
            doubtful += [(stream, n, n) for n in range(first, last + 1)]
        else:
            heard += [(stream, n) for n in range(first, begins)]
    if doubtful:
        fresh = set(await _note(db, doubtful))
        heard += [(stream, n) for stream, n, _ in doubtful if (stream, n, n) not in fresh]
    return heard


def runs_of(stream: str, ns: Iterable[int]) -> list[Run]:
    """The entries of a stream as runs of neighbours, in order; each once. A batch is mostly one run."""
    ordered = sorted(set(ns))
    if ordered[-1] - ordered[0] == len(ordered) - 1:
        return [(stream, ordered[0], ordered[-1])]
    starts = [k for k in range(1, len(ordered)) if ordered[k] != ordered[k - 1] + 1]
    bounds = [0, *starts, len(ordered)]
    return [(stream, ordered[first], ordered[end - 1]) for first, end in pairwise(bounds)]


async def _note(db: Connection, runs: Sequence[Run]) -> list[Run]:
    streams, firsts, lasts = zip(*runs, strict=True)
    rows = await queries.hear(db, streams=streams, firsts=firsts, lasts=lasts)
    return [(row[0], row[1], row[2]) for row in rows]
