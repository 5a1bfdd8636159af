"""Python's garbage collector in a process that writes batches."""

from __future__ import annotations

import gc


def settle_garbage_collector() -> None:
    """What is loaded by now stays: it is left out of every collection, and collections of short-lived batches are rarer."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
