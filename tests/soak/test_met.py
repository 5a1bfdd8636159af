"""Every fault that tells what it met has met something: entries in hand, open calls, lost answers, orphans; and the books hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.arena import Arena, running_arena
from tests.soak.bounds import LOST_COMMITS, MEETS
from tests.soak.seeds import run_seed
from tests.support.telling import Tell

pytestmark = pytest.mark.soak

TRIES = 3
"""A fault that nobody met is tried again."""
SEED = int(os.environ.get("POINTBANK_SOAK_SEED") or 77)
BETWEEN = ("between", "network", "a black hole", "half-open", "reset")
WIRES = sorted(name for name in MEETS if any(word in name for word in BETWEEN))
REST = sorted(MEETS - {*WIRES, LOST_COMMITS})
PARTS = (WIRES[:6], WIRES[6:], REST[:10], REST[10:20], REST[20:], [LOST_COMMITS])
IDS = ("some wires", "other wires", "some", "others", "the rest", "lost commits")


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    with running_arena() as made:
        yield made


@pytest.mark.parametrize("names", PARTS, ids=IDS)
async def test_each_meets_somebody_and_nothing_is_lost(
    arena: Arena, tell: Tell, tmp_path: Path, names: list[str]
) -> None:
    left = names
    for number in range(TRIES):
        outcome = await run_seed(arena, SEED + number, code="met", evidence=tmp_path, names=left)
        assert outcome.violations == []
        for one in outcome.faults:
            if one.missed is None:
                assert sum(one.met.values()) > 0, one
                met = ", ".join(f"{n} {what}" for what, n in one.met.items())
                tell(
                    f"seed {SEED + number}, {one.name} ({one.detail}): {met}; booked after {one.booked:.1f} s"
                )
        left = [one.name for one in outcome.faults if one.missed is not None]
        if not left:
            break
    assert left == []
