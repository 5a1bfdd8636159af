"""All checks in their order, over one snapshot; and once more over what differed, to name it."""

from __future__ import annotations

from redis.asyncio import Redis

from pointbank.verify.books import Books, Progress
from pointbank.verify.database import Snapshot
from pointbank.verify.ledger.trust import Trust
from pointbank.verify.listener import Listener
from pointbank.verify.messaging.hearing import check_hearing
from pointbank.verify.messaging.streams import Copy, compare_entries, compare_head
from pointbank.verify.messaging.topology import SERVICES
from pointbank.verify.report import Report
from pointbank.verify.settled import check_settled
from pointbank.verify.structure.catalogue import check_catalogue
from pointbank.verify.till.acknowledged import Acknowledged
from pointbank.verify.till.journal import Journal


async def check_all(
    report: Report,
    snapshot: Snapshot,
    redis: Redis,
    copies: dict[str, Copy],
    *,
    journal: Journal | None,
    progress: Progress,
    trust: Trust | None = None,
    suspended: bool = False,
) -> None:
    """Everything that can be held against everything else. Copies and journal are as they were before the snapshot."""
    books = Books(report.tenant, snapshot, report, progress)
    await books.load()
    async with books.part("what is settled"):
        await check_settled(report, snapshot, journal)
    listener = Listener(books, trust or Trust())
    planned = await _listen(books, listener, redis, copies)
    async with books.part("what was heard"):
        await check_hearing(books, planned)
    await listener.walk()
    acknowledged = Acknowledged(books)
    if journal is None:
        acknowledged.without_journal()
    else:
        async with books.part("the journal"):
            await acknowledged.walk(journal)
    async with books.part("the catalogue"):
        await check_catalogue(books, suspended=suspended)
    different = [matching for matching in books.matchings.values() if not matching.close()]
    if different:
        progress("what differs")
        books.closed = True
        again = Listener(books, trust or Trust())
        for service in SERVICES:
            await again.listen(service, Copy.nothing())
        await again.walk()
        for matching in different:
            matching.explain()


async def _listen(books: Books, listener: Listener, redis: Redis, copies: dict[str, Copy]) -> dict[str, int]:
    heads = books.check(
        "streams:heads", 6, "each stream is published as far as its head says, under PostgreSQL's hash"
    )
    entries = books.check(
        "streams:entries", 6, "each entry that a stream still holds is what PostgreSQL said, without holes"
    )
    planned = {}
    for service in SERVICES:
        copy = copies[service]
        walk = await listener.listen(service, copy)
        planned[service] = walk.planned
        compare_head(heads, service, copy, walk.planned, walk.hash_at_watched)
        await compare_entries(entries, redis, copy, walk.planned)
        copy.digests.clear()
    return planned
