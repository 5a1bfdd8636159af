"""Every service that dies, and that freezes, at every named point that it comes by: the books hold, and each was met."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.arena import Arena, running_arena
from tests.soak.nemesis import AT_POINTS
from tests.soak.seeds import run_seed
from tests.support.telling import Tell

pytestmark = pytest.mark.soak

TRIES = 3
"""A point that nobody came by in time is tried again."""


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    with running_arena() as made:
        yield made


@pytest.mark.parametrize("deed", ["dies", "freezes"])
async def test_every_point_is_met_and_nothing_is_lost(
    arena: Arena, tell: Tell, tmp_path: Path, deed: str
) -> None:
    left = [name for name in AT_POINTS if name.split()[1] == deed]
    for number in range(TRIES):
        outcome = await run_seed(arena, number, code="points", evidence=tmp_path, names=left)
        assert outcome.violations == []
        for one in outcome.faults:
            if one.missed is None:
                tell(f"{one.name}: answered after {one.answered:.1f} s, booked after {one.booked:.1f} s")
        left = [one.name for one in outcome.faults if one.missed is not None]
        if not left:
            break
    assert left == []
