"""What is done to a running town. Each fault takes a while, and is over when its function returns.

A name in `FAULTS` is what a run prints; the dice that a fault is given decide the rest, so that a seed replays it.
"""

from tests.soak.nemesis import (
    caches,
    clocks,
    deletions,
    disks,
    edges,
    incoming,
    leases,
    postgres,
    processes,
    restores,
    retention,
    standing,
    wires,
)
from tests.soak.nemesis.field import Fault, Field, Missed, Skipped

__all__ = ["AT_POINTS", "FAULTS", "Field", "Missed", "Skipped"]

FAULTS: dict[str, Fault] = {
    **processes.FAULTS,
    **postgres.FAULTS,
    **caches.FAULTS,
    **standing.FAULTS,
    **wires.FAULTS,
    **edges.FAULTS,
    **incoming.FAULTS,
    **disks.FAULTS,
    **clocks.FAULTS,
    **leases.FAULTS,
    **retention.FAULTS,
    **restores.FAULTS,
    **deletions.FAULTS,
}

AT_POINTS: dict[str, Fault] = {**processes.AT_POINTS, **leases.AT_POINTS}
"""Each service that dies, and that freezes, at each point that it comes by: asked for by name, not drawn."""
