"""What is done to a running town. Each fault takes a while, and is over when its function returns.

A name in `FAULTS` is what a run prints; the dice that a fault is given decide the rest, so that a seed replays it.
"""

from tests.soak.nemesis import caches, clocks, disks, incoming, leases, postgres, processes, retention, wires
from tests.soak.nemesis.field import Fault, Field, Missed, Skipped

__all__ = ["AT_POINTS", "FAULTS", "Field", "Missed", "Skipped"]

FAULTS: dict[str, Fault] = {
    **processes.FAULTS,
    **postgres.FAULTS,
    **caches.FAULTS,
    **wires.FAULTS,
    **incoming.FAULTS,
    **disks.FAULTS,
    **clocks.FAULTS,
    **leases.FAULTS,
    **retention.FAULTS,
}

AT_POINTS: dict[str, Fault] = {**processes.AT_POINTS, **leases.AT_POINTS}
"""Each service that dies, and that freezes, at each point that it comes by: asked for by name, not drawn."""
