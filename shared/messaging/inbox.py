"""The inbox: each entry of a service stream is heard once. It keeps runs, not entries: a batch of neighbours is one row."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shared.db import Connection
from shared.messaging.queries import queries

Entry = tuple[str, int]
"""A stream, and the dense id of one of its entries."""
Run = tuple[str, int, int]
"""A stream, and the first and last of neighbouring entries."""


class HeardInPart(Exception):
    """Entries must be noted one by one, and later ones are noted already: begin again, in a new transaction, `singly`."""


async def hear(db: Connection, entries: Collection[Entry], *, singly: bool = False) -> list[Entry]:
    """Notes entries as heard, with this transaction; gives those that were heard before. Each only once in `entries`.

    Who notes an entry that another transaction is noting waits for it, and so holds only what comes before it: everybody
    notes in order. HeardInPart where that can't be kept in this transaction.
    """
    if singly:
        every = [(stream, n, n) for stream, n in sorted(entries)]
        fresh = set(await _note(db, every))
        return [run[:2] for run in every if run not in fresh]
    runs = runs_of(entries)
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


def runs_of(entries: Collection[Entry]) -> list[Run]:
    """The entries as runs of neighbours, in order; a batch is mostly one run for each stream."""
    runs: list[Run] = []
    stream, first, last = "", 0, 0
    for entry in sorted(entries):
        if entry[0] == stream and entry[1] == last + 1:
            last += 1
            continue
        if first:
            runs.append((stream, first, last))
        stream, first = entry
        last = first
    if first:
        runs.append((stream, first, last))
    return runs


async def _note(db: Connection, runs: Sequence[Run]) -> list[Run]:
    streams, firsts, lasts = zip(*runs, strict=True)
    rows = await queries.hear(db, streams=streams, firsts=firsts, lasts=lasts)
    return [(row[0], row[1], row[2]) for row in rows]
