"""What Redis has lost of a stream, as far as it can be known: what is only new to it is no loss."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Position = Callable[[], Awaitable[int | None]]


class Had:
    """How far a stream is known to have been in Redis: as its relay saw it and published it, and as it was heard."""

    def __init__(self, heard: Position) -> None:
        self._heard = heard
        self.through = 0

    def see(self, n: int) -> None:
        """It has, or had, the stream up to here."""
        self.through = max(self.through, n)

    async def look_back(self, published: Callable[[], Awaitable[int]]) -> None:
        """Learns how far it was heard, where that is further than it is `published`: asked first, seen after, for what another
        relay publishes meanwhile was not lost."""
        heard = await self._heard()
        if heard is not None and heard > self.through and heard > await published():
            self.through = heard
