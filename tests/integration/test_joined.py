"""A transaction in two round trips, and what asyncpg and PostgreSQL do for it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from shared.config import Settings
from shared.db import Pool, open_pool
from shared.joined import Joined

NOTE = "INSERT INTO joined_notes (what) VALUES ($1)"
NOTED = "SELECT array_agg(what ORDER BY what) FROM joined_notes"
MAKE = """
CREATE TABLE joined_notes (what text);
CREATE TYPE joined_kind AS ENUM ('new');
CREATE FUNCTION joined_no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE check_violation; END $$;
CREATE CONSTRAINT TRIGGER no AFTER INSERT ON joined_notes DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (new.what = 'refused at the commit') EXECUTE FUNCTION joined_no();
"""
DROP = """
DROP TABLE IF EXISTS joined_notes;
DROP FUNCTION IF EXISTS joined_no;
DROP TYPE IF EXISTS joined_kind;
"""


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    admin = await asyncpg.connect(settings.admin_dsn())
    login = urlsplit(settings.admin_dsn())
    try:
        await admin.execute(MAKE)
        async with await open_pool(
            settings,
            database=login.path.removeprefix("/"),
            user=login.username or "",
            password=login.password or "",
            size=2,
            application="test",
        ) as pool:
            yield pool
    finally:
        await admin.execute(DROP)
        await admin.close()


async def do(db: Any, *statements: tuple[str, object], last_commits: bool) -> None:
    """One transaction of these statements with their one parameter."""
    async with Joined(db) as transaction:
        for place, (sql, parameter) in enumerate(statements, start=1):
            if last_commits and place == len(statements):
                transaction.commit_with_next(sql)
            await db.execute(sql, parameter)


async def noted(pool: Pool) -> list[str] | None:
    """What another connection sees."""
    async with pool.acquire() as other:
        found: list[str] | None = await other.fetchval(NOTED)
        return found


async def test_it_takes_two_round_trips_and_is_one_transaction(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool.acquire() as db:
        await do(db, ("SELECT $1::int", 1), (NOTE, "prepared by then"), last_commits=True)
        raw: Any = db
        joins = raw._con._protocol.joins
        writes: list[bytes] = []
        write = joins._write

        def see(data: Any) -> None:
            writes.append(bytes(data))
            write(data)

        monkeypatch.setattr(joins, "_write", see)
        await do(db, ("SELECT $1::int", 1), (NOTE, "in two"), last_commits=True)
        assert [(b"pb_begin" in one, b"pb_commit" in one) for one in writes] == [(True, False), (False, True)]
        assert [one.count(b"S\0\0\0\x04") for one in writes] == [1, 1], "one answer to each"
        await do(db, (NOTE, "alone"), last_commits=True)
        await do(db, (NOTE, "by a COMMIT of its own"), last_commits=False)
    assert await noted(pool) == ["alone", "by a COMMIT of its own", "in two", "prepared by then"]


async def test_what_is_raised_inside_leaves_nothing(pool: Pool) -> None:
    async def give_up(*statements: str) -> None:
        async with Joined(db):
            for what in statements:
                await db.execute(NOTE, what)
            raise ValueError("decided against")

    async with pool.acquire() as db:
        for statements in ((), ("one",), ("one", "another")):
            with pytest.raises(ValueError, match="decided against"):
                await give_up(*statements)
            assert not db.is_in_transaction()
        await db.execute(NOTE, "outside")
        assert not db.is_in_transaction(), "of a transaction that was given up nothing is left to join"
    assert await noted(pool) == ["outside"]


@pytest.mark.parametrize("last_commits", [False, True])
@pytest.mark.parametrize("before", [0, 1])
async def test_a_statement_that_fails_leaves_nothing(pool: Pool, *, before: int, last_commits: bool) -> None:
    async with pool.acquire() as db:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await do(db, *[(NOTE, "before")] * before, ("SELECT 1 / $1::int", 0), last_commits=last_commits)
        assert not db.is_in_transaction()
        await do(db, (NOTE, "after"), last_commits=True)
    assert await noted(pool) == ["after"]


async def test_no_statement_of_asyncpgs_own_commits(pool: Pool) -> None:
    """It asks about a type that it sees for the first time, between our statement and the one that was told to commit."""
    fails = "SELECT 1 / (CASE WHEN $1::joined_kind = 'new' THEN 0 END)"
    async with pool.acquire() as db:
        for _ in range(2):
            with pytest.raises(asyncpg.DivisionByZeroError):
                await do(db, (NOTE, "before"), (fails, "new"), last_commits=True)
            assert await noted(pool) is None
            await db.reload_schema_state()


async def test_only_the_statement_that_was_named_commits(pool: Pool) -> None:
    async def give_up(db: Any) -> None:
        async with Joined(db) as transaction:
            await db.execute(NOTE, "before")
            transaction.commit_with_next("SELECT $1::int")
            await db.execute(NOTE, "between")
            raise ValueError("decided against")

    async with pool.acquire() as db:
        await do(db, ("SELECT $1::int", 1), (NOTE, "prepared by then"), last_commits=False)
        with pytest.raises(ValueError, match="decided against"):
            await give_up(db)
    assert await noted(pool) == ["prepared by then"]


async def test_what_keeps_it_from_committing_is_raised(pool: Pool) -> None:
    async with pool.acquire() as db:
        with pytest.raises(asyncpg.CheckViolationError):
            await do(db, ("SELECT $1::int", 1), (NOTE, "refused at the commit"), last_commits=True)
        assert not db.is_in_transaction()
    assert await noted(pool) is None


@pytest.mark.parametrize("before", [0, 1])
async def test_what_is_broken_off_leaves_nothing(pool: Pool, *, before: int) -> None:
    async with pool.acquire() as db:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await do(db, *[(NOTE, "before")] * before, ("SELECT pg_sleep($1)", 5), last_commits=False)
        assert not db.is_in_transaction()
    assert await noted(pool) is None


async def test_a_connection_that_breaks_inside_is_told_as_ever(pool: Pool) -> None:
    end = "SELECT pg_terminate_backend(pg_backend_pid()), $1::int"
    async with pool.acquire() as db:
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await do(db, (NOTE, "lost"), (end, 1), last_commits=True)
    assert await noted(pool) is None
