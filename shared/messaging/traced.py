"""The lane of a process that has traces. A process without them has the plain one, and pays nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.messaging.commands import Item, Outcome
from shared.messaging.lane import Lane
from shared.traces import Traces


class TracedLane(Lane):
    """Each item with a trace gets a span, from its coming to its outcome; what it says is that span's child."""

    traces: Traces
    of: str
    """The tenant."""

    async def submit_many(self, items: Sequence[Item[Any]], left: Sequence[int] = ()) -> list[Outcome]:
        """As the lane does."""
        spans = self.traces.submitted(items, self.of)
        try:
            outcomes = await super().submit_many(items, left)
        except BaseException as error:
            self.traces.settled(spans, error)
            raise
        self.traces.settled(spans, outcomes)
        return outcomes
