"""What each service says that it heard: nothing that was never said, and nothing left out below its position."""

from __future__ import annotations

from pointbank.verify.books import Books
from pointbank.verify.messaging.topology import HEARERS, SERVICES

KEPT = 200_000
"""So many entries below a position the inbox still names; what lies wholly below may be forgotten."""


async def check_hearing(books: Books, planned: dict[str, int]) -> None:
    """Holds every inbox and position against what was said; `planned` are the last dense ids."""
    check = books.check(
        "inboxes", 1, "each event is applied where it must be heard, and nothing is that was never said"
    )
    for hearer in SERVICES:
        rows = await books.snapshot.service_rows("messaging/outbox.sql", "inbox", hearer)
        known = {row["stream"]: row for row in rows}
        for stream in known.keys() - {stream for stream, hearers in HEARERS.items() if hearer in hearers}:
            check.wrong(f"{hearer} has a position on {stream}, which it does not hear")
        for stream, hearers in HEARERS.items():
            if hearer not in hearers:
                continue
            said, row = planned[stream], known.get(stream)
            if row is None:
                if said:
                    check.note(f"events of {stream} not applied by {hearer}", said)
                continue
            applied, highest, below = row["applied_through"], row["highest"], row["below"]
            check.compared += said
            if max(applied, highest) > said:
                check.wrong(
                    f"{hearer} has applied event {max(applied, highest)} of {stream}, which ends at {said}"
                )
            # Up to the position there is no gap; runs far below it may be gone.
            begins = row["lowest"] if below else applied + 1
            if begins > max(1, applied - KEPT):
                check.wrong(f"{hearer}: the inbox of {stream} begins at {begins}, the position is {applied}")
            elif below != applied + 1 - begins:
                check.wrong(f"{hearer} is at {applied} of {stream}; from {begins} on its inbox names {below}")
            missing = said - applied - row["above"]
            if missing > 0:
                check.note(f"events of {stream} not applied by {hearer}", missing)
    await _dead_letters(books, planned)


async def _dead_letters(books: Books, planned: dict[str, int]) -> None:
    check = books.check("dead-letters", 9, "each dead letter is an entry that came, and died once")
    for row in await books.snapshot.rows("messaging/hearing.sql", "dead_letters"):
        check.compared += row["n"]
        check.note(f"{row['state']} {row['code']} at {row['service']}", row["n"])
    for row in await books.snapshot.rows("messaging/hearing.sql", "died_twice"):
        check.wrong(f"entry {row['entry_id']} of {row['stream']} died {row['n']} times at {row['service']}")
    for row in await books.snapshot.rows("messaging/hearing.sql", "no_entries"):
        check.wrong(f"{row['service']}: {row['entry_id']} of {row['stream']} is no entry's name")
    for row in await books.snapshot.rows("messaging/hearing.sql", "highest"):
        ends = planned.get(row["stream"], 0)
        if row["highest"] > ends:
            check.wrong(
                f"{row['service']}: entry {row['highest']} of {row['stream']} died, which ends at {ends}"
            )
