"""A new lock or uniqueness has a guard in the list, or a reason why it has none: else it would be lost without a word."""

from __future__ import annotations

from tests.mutations import mutants
from tests.mutations.guards import GUARDS
from tests.mutations.guards.counting import keys, locks, taken_out
from tests.mutations.guards.exceptions import EXCEPTIONS

PATCHES = [patch for guard in GUARDS.values() for patch in guard.patches]


def test_every_lock_and_every_uniqueness_has_a_guard_or_a_reason() -> None:
    guarded = taken_out([*PATCHES, *mutants.NO_WALLET_LOCK])
    bare = {str(place) for place in (*locks(), *keys()) if (place.file, place.line) not in guarded}
    assert bare - EXCEPTIONS.keys() == set(), "tests/mutations/guards: a guard, or a line in exceptions.py"
    assert EXCEPTIONS.keys() - bare == set(), "these have a guard by now, or are gone"


def test_no_more_is_left_out_than_is_counted() -> None:
    assert len(list(locks())) >= 55
    assert len(list(keys())) >= 70
    assert all(len(reason) > 20 for reason in EXCEPTIONS.values())
