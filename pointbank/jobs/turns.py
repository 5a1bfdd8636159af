"""A job that a service does by itself too, asked for over HTTP: turn after turn, until nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pointbank.api import Api
from shared.ids import uuid7


async def ask_in_turns(
    api: Api,
    path: str,
    counts: Sequence[str],
    *,
    towards_left: Sequence[str],
    dry_run: bool,
    said: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """What all turns came to, by the names in `counts`. `towards_left`: those of them that a turn's `left` counts too. `said`: how
    many of these are done so far, and how many are left at least. What a turn moves nothing of is left to the service's own job."""
    done = dict.fromkeys(counts, 0)
    while True:
        turn = await api.call("POST", path, {"dry_run": dry_run}, key=f"turn-{uuid7()}", role="operator")
        done = {name: done[name] + turn[name] for name in counts}
        said(sum(done[name] for name in towards_left), turn["left"])
        if dry_run or not turn["left"] or not any(turn[name] for name in towards_left):
            return {**done, "dry_run": dry_run}
