"""The guards of members, of their standing, and of what they are told."""

from __future__ import annotations

from tests.mutations.guards.model import Guard, lock

WAITS = "tests/integration/test_row_locks.py::test_who_comes_second_waits"
PASSES_BY = "tests/integration/test_row_locks.py::test_who_comes_second_passes_by"

GUARDS: dict[str, Guard] = {
    "a programme's versions": lock(
        "two versions of a programme get the same number",
        "services/members/queries.sql",
        "lock_programmes",
        f"{WAITS}[members]",
    ),
    "a merchant's versions": lock(
        "a merchant is written without waiting for who writes it",
        "services/members/queries.sql",
        "lock_merchants",
        f"{WAITS}[members]",
    ),
    "a card that is blocked": lock(
        "the events about a member are counted by two at once: of cards",
        "services/members/cards.sql",
        "lock_members_of_cards",
        f"{WAITS}[members]",
    ),
    "members who are merged": lock(
        "the same, of merges",
        "services/members/merges.sql",
        "lock_members",
        f"{WAITS}[members]",
    ),
    "segments of a member": lock(
        "the same, of segments",
        "services/members/segments.sql",
        "lock_members",
        f"{WAITS}[members]",
    ),
    "a member's birthday": lock(
        "the same, of birthdays",
        "services/members/birthdays.sql",
        "lock_members",
        f"{WAITS}[members]",
    ),
    "rates of a pair": lock(
        "two rates of a pair get the same number",
        "services/members/rates.sql",
        "lock_pairs",
        f"{WAITS}[members]",
    ),
    "a standing": lock(
        "a wallet's standing is judged by two at once",
        "services/tiers/queries.sql",
        "lock_standings",
        f"{WAITS}[tiers]",
    ),
    "a programme that is awaited": lock(
        "who waits for a programme does not meet who learns of it",
        "services/tiers/queries.sql",
        "await_programmes",
        f"{WAITS}[tiers]",
    ),
    "points of no year yet": lock(
        "who places points waits for another who does, and finds none left",
        "services/tiers/queries.sql",
        "take_unplaced",
        f"{PASSES_BY}[tiers]",
    ),
    "a dispatch": lock(
        "two senders take the same messages",
        "services/notifier/queries.sql",
        "claim_dispatch",
        f"{PASSES_BY}[notifier]",
    ),
    "a message on its own way": lock(
        "two senders take the same message",
        "services/notifier/queries.sql",
        "claim",
        f"{PASSES_BY}[notifier]",
    ),
    "a dispatch that is being settled": lock(
        "what was settled meanwhile is leased once more",
        "services/notifier/queries.sql",
        "renew_dispatches",
        f"{PASSES_BY}[notifier]",
    ),
    "a message that is being settled": lock(
        "the same of a message on its own way",
        "services/notifier/queries.sql",
        "renew",
        f"{PASSES_BY}[notifier]",
    ),
}
