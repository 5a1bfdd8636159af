"""What 1 % poison costs everybody else: the p99 of good bills with it and without, by turns within one run."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from pointbank.journal import Answered
from pointbank.till import Till, open_till
from pointbank.tills import till_url
from shared.db import connect, database_of
from shared.tenants.provision import dsn_for
from tests.faults.conftest import World, running_world
from tests.soak.arena import FEW_TRIES
from tests.support.desk import SOURCE, event
from tests.support.telling import Tell
from tests.support.town import Town, found_town, leave

pytestmark = pytest.mark.soak

BLOCK, BLOCKS = 250, 8
"""Bills of a block, and how many pairs of blocks a round has: 2,000 good bills each way."""
ROUNDS = 2
"""It is judged by all of them: one more until the bound is met would lean towards meeting it."""
PER_SECOND = 100
MOST = 1.2
KINDS = (b"not an event", b"\xff\xfe", b'{"specversion": "1.0"}', b"[" * 5_000)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_world(environment=FEW_TRIES) as made:
        yield made


class Stopwatch:
    """Seconds from a bill's offer to its answer."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self.took: list[float] = []

    def begin(self, event_id: str) -> None:
        self._began[event_id] = time.monotonic()

    def answered(self, answer: Answered) -> None:
        began = self._began.pop(answer.id or "", None)
        if began is not None:
            self.took.append(time.monotonic() - began)


async def _block(town: Town, till: Till, watch: Stopwatch, *, poison: Iterator[int] | None) -> list[float]:
    """Good bills at an even rate, one of a hundred entries beside them poison where that is counted; gives how long each took."""
    watch.took = []
    began = time.monotonic()
    for number, bill in enumerate(town.bills(BLOCK)):
        watch.begin(bill.event_id)
        await till.offer([town.offer(bill)])
        if poison is not None and number % 100 == 50:
            bad = {**town.body(bill), "bill_ref": f"POISON-{bill.event_id}"}
            kinds = (*KINDS, event(bad, id=f"POISON-{bill.event_id}"))
            await till.place(kinds[next(poison) % len(kinds)], source=SOURCE)
        due = began + (number + 1) / PER_SECOND
        # Answers are read while it waits, so that each is seen when it comes.
        while time.monotonic() < due:
            await till.offer([])
            await asyncio.sleep(0.002)
    await till.wait(timeout_s=60)
    return watch.took


@asynccontextmanager
async def poisoned_rows(town: Town) -> AsyncIterator[None]:
    """Within, PostgreSQL refuses bills of one kind: a batch that has one is written in halves until that one is found."""
    db = await connect(dsn_for(town.settings, database_of(town.tenant)))
    try:
        await db.execute(
            """
            CREATE FUNCTION earn.hate() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.bill_ref LIKE 'POISON-%' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
            GRANT EXECUTE ON FUNCTION earn.hate() TO PUBLIC;
            CREATE TRIGGER hate BEFORE INSERT ON earn.bills FOR EACH ROW EXECUTE FUNCTION earn.hate();
            """
        )
        yield
        await db.execute("DROP TRIGGER hate ON earn.bills; DROP FUNCTION earn.hate()")
    finally:
        await db.close()


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


async def test_one_poisoned_entry_in_a_hundred_hardly_slows_the_others(world: World, tell: Tell) -> None:
    town = await found_town(world.fleet, "poisoned", members=30)
    watch, numbers = Stopwatch(), itertools.count()
    clean: list[float] = []
    beside: list[float] = []
    url, cell = till_url(town.settings, town.tenant), town.settings.cell
    opened = open_till(url, town.journal, tenant=town.tenant, cell=cell, on_answer=watch.answered)
    async with poisoned_rows(town), opened as till:
        await _block(town, till, watch, poison=numbers)  # both ways are warm
        ratio = float("inf")
        for _ in range(ROUNDS):
            for number in range(BLOCKS):
                for poisoned in (False, True) if number % 2 else (True, False):
                    taken = await _block(town, till, watch, poison=numbers if poisoned else None)
                    (beside if poisoned else clean).extend(taken)
            ratio = p99(beside) / p99(clean)
            tell(
                f"p99 of {len(beside)} good bills beside 1 % poison {p99(beside) * 1e3:.0f} ms, "
                f"of {len(clean)} without {p99(clean) * 1e3:.0f} ms: {ratio:.2f}; "
                f"median {statistics.median(beside) * 1e3:.0f} and {statistics.median(clean) * 1e3:.0f} ms"
            )
    assert ratio <= MOST
    await town.verified()
    await leave(town)
