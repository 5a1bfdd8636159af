"""One guard taken out at a time, and the tests that must notice it: no more of the suite is needed to see that it is gone."""

from tests.mutations.guards import bank, bills, hashes, holding, once, people, pipe
from tests.mutations.guards.model import Guard

__all__ = ["GUARDS", "Guard"]

GUARDS: dict[str, Guard] = {
    **pipe.GUARDS,
    **bank.GUARDS,
    **bills.GUARDS,
    **people.GUARDS,
    **once.GUARDS,
    **holding.GUARDS,
    **hashes.GUARDS,
}
