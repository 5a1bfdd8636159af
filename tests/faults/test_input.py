"""Bad input under load: repeated, shuffled, unreadable, refused by PostgreSQL, too slow, deadly. It stops nobody but itself."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pointbank.generate import Bill
from pointbank.operating.dead_letters import list_dead_letters
from shared.config import Settings
from shared.db import connect
from shared.messaging.keys import SERVICES, Keys
from shared.messaging.lowering import HIGHEST
from shared.tenants.provision import dsn_for
from tests.faults.conftest import World, running_world
from tests.support import deadly
from tests.support.desk import SOURCE, event
from tests.support.moments import strike
from tests.support.patience import PATIENCE_S
from tests.support.telling import Tell
from tests.support.town import Load, Town, Trade

ATTEMPTS = 3
BATCH_ITEMS: int = Settings.model_fields["batch_items"].default
"""A full batch of entries."""
AT_ONCE_MS = 3
"""Within so much two neighbours of a stream were given by one read."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """As the others', but its time-outs and tries end within a test, and its earn can be killed by a bill."""
    impatient = {
        "POINTBANK_RECLAIM_IDLE_MS": "1000",
        "POINTBANK_POISON_ATTEMPTS": str(ATTEMPTS),
        "POINTBANK_STATEMENT_TIMEOUT_MS": "700",
    }
    replicas = {**dict.fromkeys(SERVICES, 1), "earn": 2}  # input is earn's business
    apps = {"earn": "tests.support.deadly:create"}
    with running_world(environment=impatient, apps=apps, replicas=replicas, forked=True) as made:
        yield made


async def dead_letters(town: Town) -> list[tuple[str, str]]:
    """(code, entry) of all that ever died in this town, in any service."""
    letters = await list_dead_letters(town.settings, town.tenant, everything=True)
    return sorted((letter.code, letter.entry_id) for letter in letters)


async def test_a_fifth_of_the_input_repeated_and_all_of_it_shuffled_counts_once(
    world: World, town: Town, rng: random.Random, tell: Tell
) -> None:
    bills = town.bills(600)
    offers = [town.offer(bill) for bill in bills + rng.sample(bills, 120)]
    rng.shuffle(offers)
    by_http = rng.sample(bills, 60)  # and some come the other way as well

    async def knock(trade: Trade) -> None:
        for bill in by_http:
            assert (await trade.call(town.post(bill))).status in {200, 201}

    async with town.open() as trade, Load(trade, rng, most_bills=0).running():
        calls = asyncio.create_task(knock(trade))
        for start in range(0, len(offers), 60):
            await trade.till.offer(offers[start : start + 60])
        tell(f"in the middle of it: {await strike(world.fleet, town, lambda: None, rng=rng)}")
        await calls
        await trade.till.wait(settled=True)
        assert trade.till.counts.rejected == 0
        assert trade.till.counts.answers == len(offers)
    await town.verified()
    assert await dead_letters(town) == []


async def test_poison_of_seven_kinds_dies_and_its_neighbours_do_not(
    world: World, town: Town, rng: random.Random, tell: Tell
) -> None:
    good = town.body(town.bills(1)[0])

    def bad(ref: str, **changed: object) -> dict[str, object]:
        return {**good, "bill_ref": ref, **changed}

    without_currency = {name: value for name, value in bad("P-4").items() if name != "currency"}
    poison = {
        "not_json": event(bad("P-1"), id="P-1")[:-9],
        "not_utf8": event(bad("P-2", cashier="CASHIER"), id="P-2").replace(b"CASHIER", b"\xff\xfe"),
        "type_unknown": event(bad("P-3"), id="P-3", type="bill.imagined.v1"),
        "field_missing": event(without_currency, id="P-4"),
        "field_type": event(bad("P-5", total_minor="10500"), id="P-5"),
        "amount_out_of_range": event(bad("P-6", total_minor=10**40, lines=[]), id="P-6"),
        "tenant_mismatch": event(bad("P-7"), id="P-7", tenantid="somebody-else"),
    }
    kinds = sorted(poison)
    rng.shuffle(kinds)
    placed: dict[str, str] = {}

    async with town.open() as trade, Load(trade, rng).running() as load:

        async def poison_all() -> None:
            for kind in kinds:
                entry = await trade.till.place(poison[kind], source=SOURCE)
                placed[entry] = kind
                await trade.till.offer([town.offer(bill) for bill in town.bills(3)])

        tell(f"poisoned with {await strike(world.fleet, town, poison_all, rng=rng)}")
        await asyncio.sleep(rng.uniform(0.0, 0.5))
        load.end()
    await town.verified()
    assert await dead_letters(town) == sorted((kind, entry) for entry, kind in placed.items())
    assert trade.till.unanswered == 0


async def test_a_till_that_takes_the_highest_id_there_is_keeps_no_other_from_offering(town: Town) -> None:
    """Redis gives none above it: the stream is full for good, unless earn sets it back once all in it was heard."""
    bills = town.bills(60)
    keys = Keys(town.settings.cell, town.tenant)
    async with town.open() as trade:
        for start, end in ((0, 20), (20, 40), (40, 60)):
            await trade.till.offer([town.offer(bill) for bill in bills[start:end]])
            async with Redis.from_url(town.settings.redis_url) as redis:
                await redis.xadd(keys.pos, {"event": b"x"}, id=f"{HIGHEST}-{HIGHEST}")
                with pytest.raises(ResponseError, match="exhausted"):
                    await redis.xadd(keys.pos, {"event": b"y"})
        await trade.till.offer([town.offer(bill) for bill in town.bills(5)])
        await trade.till.wait(settled=True)
        assert (trade.till.counts.rejected, trade.till.unanswered) == (0, 0)
        assert trade.till.counts.answers == 65
    await town.verified()
    assert {code for code, _ in await dead_letters(town)} == {"not_json"}


@asynccontextmanager
async def hated(town: Town, bill: Bill, reaction: str) -> AsyncIterator[None]:
    """Within, PostgreSQL reacts badly to one bill of this tenant: a trigger that an administrator made by mistake."""
    db: asyncpg.Connection[asyncpg.Record] = await connect(dsn_for(town.settings, f"pb_{town.tenant}"))
    try:
        await db.execute(
            f"""
            CREATE FUNCTION earn.hate() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.bill_ref = '{bill.event_id}' THEN {reaction}; END IF; RETURN NEW; END $$;
            GRANT EXECUTE ON FUNCTION earn.hate() TO PUBLIC;
            CREATE TRIGGER hate BEFORE INSERT ON earn.bills FOR EACH ROW EXECUTE FUNCTION earn.hate();
            """
        )
        yield
        await db.execute("DROP TRIGGER hate ON earn.bills; DROP FUNCTION earn.hate();")
    finally:
        await db.close()


async def read_with(town: Town, bill: Bill) -> int:
    """How many entries a process was given by the one read that gave it this bill, which is in the stream already; waits for
    that read."""
    pos = Keys(town.settings.cell, town.tenant).pos
    redis: Any = Redis.from_url(town.settings.redis_url)
    async with redis, asyncio.timeout(PATIENCE_S):
        entry = next(
            entry
            for entry, fields in await redis.xrevrange(pos)
            if msgspec.json.decode(fields[b"event"])["id"] == bill.event_id
        )
        while True:
            pending = await redis.xpending_range(pos, "earn", "-", "+", 2 * BATCH_ITEMS)
            if row := next((row for row in pending if row["message_id"] == entry), None):
                return len(of_one_read(pending, row))
            await asyncio.sleep(0.002)


def of_one_read(pending: list[Any], row: Any) -> list[Any]:
    """The rows of XPENDING, in the order of the stream, that one read gave together with this one.

    Redis keeps when it gave an entry to whom. A read gives neighbours to one consumer at one moment; Redis 7.0 looks at the clock
    for each entry, so that the moments of a read may lie some milliseconds apart, never its neighbours' far.
    """

    def together(one: Any, other: Any) -> bool:
        apart = abs(one["time_since_delivered"] - other["time_since_delivered"])
        return all(one[key] == other[key] for key in ("consumer", "times_delivered")) and apart <= AT_ONCE_MS

    reads: list[list[Any]] = []
    for one in pending:
        if reads and together(reads[-1][-1], one):
            reads[-1].append(one)
        else:
            reads.append([one])
    return next(read for read in reads if row in read)


async def offered_in_one_batch(trade: Trade, bills: Iterable[Bill]) -> None:
    """One XADD after another without a pause: more than a full batch waits at once."""
    await trade.till.offer([trade.town.offer(bill) for bill in bills])


@pytest.mark.parametrize(
    ("reaction", "code"),
    [
        ("RAISE EXCEPTION 'I do not like this bill'", "database_refused"),
        ("PERFORM pg_sleep(30)", "timed_out"),
    ],
    ids=["it raises", "it sleeps"],
)
async def test_an_entry_that_postgresql_alone_can_refuse_dies_alone_in_a_full_batch(
    world: World, town: Town, rng: random.Random, tell: Tell, reaction: str, code: str
) -> None:
    bills = town.bills(BATCH_ITEMS + 100)
    culprit = bills[rng.randrange(200, 400)]
    reads: list[asyncio.Task[int]] = []

    async def place(trade: Trade) -> None:
        await offered_in_one_batch(trade, bills)
        reads.append(asyncio.create_task(read_with(town, culprit)))

    async with (
        hated(town, culprit, reaction),
        town.open(patience_s=30) as trade,
        Load(trade, rng, most_bills=0).running() as load,
    ):
        moment = await strike(
            world.fleet,
            town,
            lambda: place(trade),
            rng=rng,
            needs=lambda moment: moment.open_calls["earn"],
        )
        tell(f"{len(bills)} bills with {culprit.event_id} among them placed, with {moment}")
        [read] = await asyncio.gather(*reads)
        tell(f"{read} entries were in one batch, {culprit.event_id} among them")
        assert read == BATCH_ITEMS
        await trade.till.wait(timeout_s=60)
        load.end()
        answer = trade.till.answer_to(culprit.source, culprit.event_id)
        assert answer is not None
        assert (answer.status, answer.code) == ("rejected", code)
        assert trade.till.counts.rejected == 1
        entry = answer.entry
    await town.verified()
    assert await dead_letters(town) == [(code, entry)]


async def test_an_entry_that_kills_its_process_dies_after_some_processes_did(
    world: World, town: Town, rng: random.Random, tell: Tell
) -> None:
    earn = world.fleet.of("earn")
    bills = town.bills(300)
    culprit = bills[rng.randrange(100, 200)]
    culprit.content["cashier"] = deadly.CASHIER
    before = sum(replica.deaths for replica in earn)
    with world.fleet.supervised(*[replica.name for replica in earn]):
        async with town.open(patience_s=60) as trade, Load(trade, rng, most_bills=0).running() as load:
            moment = await strike(world.fleet, town, lambda: offered_in_one_batch(trade, bills), rng=rng)
            tell(f"{culprit.event_id} placed among {len(bills)} bills, with {moment}")
            await trade.till.wait(timeout_s=90)
            load.end()
            answer = trade.till.answer_to(culprit.source, culprit.event_id)
            assert answer is not None
            assert (answer.status, answer.code) == ("rejected", "delivery_limit")
            assert trade.till.counts.rejected == 1
        deaths = sum(replica.deaths for replica in world.fleet.of("earn")) - before
        tell(f"{deaths} processes died of it")
        assert deaths >= ATTEMPTS
    await town.verified()
    assert await dead_letters(town) == [("delivery_limit", answer.entry)]
