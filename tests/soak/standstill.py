"""A server that takes no step: all of its processes are stopped, and hold what they hold."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pointbank.embedded.process import Child, children

ROUNDS = 100


def _runs(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TZX"
    return False  # ended while we looked


def go_on(child: Child) -> None:
    """SIGCONT to it and all its children; whoever runs runs on."""
    for pid in (*children(child.pid), child.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def standing_still(child: Child) -> Iterator[int]:
    """Within, neither it nor any of its children takes a step; gives how many they are."""
    try:
        for _ in range(ROUNDS):
            # It first, so that it has no more children; one that it had a moment ago is found in the next round.
            running = [pid for pid in (child.pid, *children(child.pid)) if _runs(pid)]
            if not running:
                break
            for pid in running:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
        else:
            raise AssertionError(f"{child.pid} and its children do not stand still")
        yield 1 + len(children(child.pid))
    finally:
        go_on(child)
