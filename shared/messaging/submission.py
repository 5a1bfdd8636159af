"""What waits in a lane's queue: items that were submitted together, by their handlers, and whom to tell."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from shared.messaging.commands import Done, FromStream, Handler, Item, Outcome
from shared.messaging.inbox import Left


class Group:
    """Items that were submitted together, and the one future of their outcomes."""

    __slots__ = ("_error", "_left", "future", "outcomes")

    def __init__(self, size: int, future: asyncio.Future[list[Outcome]]) -> None:
        self.outcomes: list[Outcome] = [_PENDING] * size
        self.future = future
        self._left = size
        self._error: BaseException | None = None

    def settle(
        self, places: Sequence[int], outcomes: Sequence[Outcome], error: BaseException | None = None
    ) -> None:
        """Some of them are done, each once: a part of what was halved may be told again with the whole. The first error is the
        group's, once all are done."""
        for k, place in enumerate(places):
            if self.outcomes[place] is _PENDING:
                self.outcomes[place] = _FAILED if error is not None else outcomes[k]
                self._left -= 1
        self._error = self._error or error
        if self._left == 0 and not self.future.done():
            if self._error is None:
                self.future.set_result(self.outcomes)
            else:
                self.future.set_exception(self._error)


class Waiting:
    """Items of one submission that wait in the queue for the same handler, and whom to tell. `places` are theirs in the group.

    What nobody handles stays among its neighbours, for a batch's entries are to be few runs in the inbox: items without a command,
    and, as dense ids of the items' stream, `left`. `deliveries` is above one only for an item that is alone in it.
    """

    __slots__ = ("_group", "_places", "by_http", "deliveries", "done", "handler", "items", "left", "since")

    def __init__(
        self,
        items: list[Item[Any]],
        handler: Handler | None,
        group: Group,
        places: list[int],
        since: float,
        *,
        by_http: bool = False,
        deliveries: int = 1,
        left: list[int] | None = None,
    ) -> None:
        self.items, self.handler, self.since = items, handler, since
        self.left = [] if left is None else left
        self._group, self._places = group, places
        self.by_http = by_http
        self.deliveries = deliveries
        self.done = False

    @property
    def item(self) -> Item[Any]:
        """The only one."""
        [item] = self.items
        return item

    @property
    def abandoned(self) -> bool:
        """Nobody waits any more."""
        return self.done or self._group.future.done()

    def add(self, item: Item[Any], place: int) -> None:
        """One more, while it is being submitted."""
        self.items.append(item)
        self._places.append(place)

    @property
    def entries_left(self) -> Left:
        """What is noted with the items and has none: the stream, and the dense ids."""
        return _entry(self.items[0]).stream, self.left

    def split(self, most: int) -> tuple[Waiting, Waiting | None]:
        """The first items, so many at most, and the others."""
        if len(self.items) <= most:
            return self, None
        return self._part(0, most), self._part(most, len(self.items))

    def singly(self) -> list[Waiting]:
        """Each item by itself, to find the one that is to blame."""
        return [self] if len(self.items) == 1 else [self._part(k, k + 1) for k in range(len(self.items))]

    def _part(self, start: int, end: int) -> Waiting:
        left: list[int] = []
        if self.left:
            since = bisect_left(self.left, _entry(self.items[start]).n) if start else 0
            until = bisect_left(self.left, _entry(self.items[end]).n) if end < len(self.items) else None
            left = self.left[since:until]
        return Waiting(
            self.items[start:end],
            self.handler,
            self._group,
            self._places[start:end],
            self.since,
            by_http=self.by_http,
            deliveries=self.deliveries,
            left=left,
        )

    def answer(self, outcomes: Sequence[Outcome]) -> None:
        """Their outcomes."""
        if not self.done:
            self.done = True
            self._group.settle(self._places, outcomes)

    def fail(self, error: BaseException) -> None:
        """They have none."""
        if not self.done:
            self.done = True
            self._group.settle(self._places, (), error)


def _entry(item: Item[Any]) -> FromStream:
    assert isinstance(item.origin, FromStream), "what is left is left beside entries of its stream"
    return item.origin


_PENDING, _FAILED = Done(), Done()
"""Stand for an outcome that is not known yet, and for one that never will be: told from others by what they are."""
