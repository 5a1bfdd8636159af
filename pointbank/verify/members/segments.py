"""Segments: each stay is what was told of it last, and earn keeps every word that it heard."""

from __future__ import annotations

from datetime import datetime

from pointbank.verify.books import Books
from pointbank.verify.events import Envelope, MemberSegmented

HEARERS = ("earn", "tiers")


class Segments:
    """The side of members' stays and of earn's words, and the side of the events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._told = books.match(
            "segments:told", 5, "each stay in a segment is what its last event says", ("until_at",),
            ours="the stays", theirs="the events",
        )  # fmt: skip
        self._learned = books.match(
            "segments:learned", 8, "each word about a segment that earn and tiers heard is kept there",
            ("segment", "from_at", "until_at"), ours="the events", theirs="the hearers",
        )  # fmt: skip
        self._last: dict[tuple[str, str, datetime], tuple[int, datetime | None]] = {}

    async def walk(self) -> None:
        """Every stay that members keeps, and every word that earn keeps. After the events of members."""
        snapshot = self._books.snapshot
        async for page in snapshot.pages("members/segments.sql", "stays"):
            for member_id, segment, from_at, until_at in page:
                self._told.ours(((member_id, segment, from_at), until_at))
        for key, (_, until_at) in self._last.items():
            self._told.theirs((key, until_at))
        async for page in snapshot.pages("members/segments.sql", "learned"):
            for hearer, member_id, sequence, segment, from_at, until_at in page:
                self._learned.theirs(((hearer, member_id, sequence), segment, from_at, until_at))

    def on_segmented(self, n: int | None, envelope: Envelope, told: MemberSegmented) -> None:
        """member.segmented."""
        key, place = (told.member_id, told.segment, told.from_at), int(envelope.sequence)
        if place > self._last.get(key, (0, None))[0]:
            self._last[key] = place, told.until_at
        for hearer in HEARERS:
            if self._books.heard["members", hearer].applied(n):
                word = told.segment, told.from_at, told.until_at
                self._learned.ours(((hearer, told.member_id, place), *word))
