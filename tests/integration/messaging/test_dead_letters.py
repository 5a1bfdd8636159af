"""`pointbank dead-letters`, as an operator types it."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from pointbank.cli.app import app
from shared.config import Settings
from shared.db import connect
from shared.events import MessageDelivered
from shared.messaging import Item, Outcome, Tx
from shared.tenants import Tenant
from shared.tenants.provision import dsn_for
from tests.support.tenants import as_environment, running


async def bury(settings: Settings, tenant: Tenant, entries: int) -> None:
    """So many entries of earn's stream, none an event, die at redeem; each is a second younger than the one before."""
    async with running(settings, tenant, "redeem", {MessageDelivered: nobody}, hears=("earn",)) as redeem:
        await redeem.consumers[0].handle([(b"%d-0" % n, b"no event %d" % n) for n in range(1, entries + 1)])
    db = await connect(dsn_for(settings, tenant.database))
    await db.execute(
        "UPDATE redeem.dead_letters SET at = at + make_interval(secs => split_part(entry_id, '-', 1)::int)"
    )
    await db.close()


async def nobody(_: Tx, items: Sequence[Item[MessageDelivered]]) -> list[Outcome]:
    raise AssertionError(f"{len(items)} of these are events")


@pytest.fixture
def buried(settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    """A tenant with 103 dead letters."""
    as_environment(settings, monkeypatch)
    asyncio.run(bury(settings, tenant, 103))
    return tenant


def test_dead_letters_are_listed_shown_tried_again_and_dropped_by_command(buried: Tenant) -> None:
    def run(*words: str, ends_with: int = 0) -> str:
        done = CliRunner().invoke(app, ["dead-letters", *words, "--tenant", buried.code])
        assert done.exit_code == ends_with, (done.output, done.exception)
        return done.output

    def listed(*words: str) -> tuple[list[str], int]:
        found = json.loads(run("list", "--json", *words))
        return [one["entry_id"] for one in found["items"]], found["total"]

    newest_first = [f"{n}-0" for n in range(103, 0, -1)]
    assert listed() == (newest_first[:100], 103)
    assert listed("--most", "2") == (newest_first[:2], 103)
    assert listed("--most", "200") == (newest_first, 103)
    assert listed("--service", "earn") == ([], 0)
    assert listed("--code", "timed_out") == ([], 0)
    assert run("list").splitlines()[-1] == "100 of 103 shown; --most 103 shows all."
    assert "shown" not in run("list", "--most", "103")
    assert run("list", "--service", "earn") == "No dead letters.\n"

    first, second, third = json.loads(run("list", "--most", "3", "--json"))["items"]
    said = [first[name] for name in ("service", "stream", "code", "state")]
    assert said == ["redeem", "earn", "not_json", "open"]
    ids = [one["dead_letter_id"] for one in (first, second, third)]
    assert json.loads(run("show", ids[0]))["payload"] == "no event 103"
    assert run("show", ids[0], "--json") == run("show", ids[0])
    assert run("retry", ids[0]) == "1 of 1 dead letters: retry.\n"
    why = ("--reason", "its till sent it again")
    assert run("drop", *ids[1:], *why) == "2 of 2 dead letters: dropped.\n"
    assert run("drop", *ids[1:], *why, ends_with=1).startswith("0 of 2 dead letters: dropped.\nNot open")
    again = json.loads(run("drop", *ids[1:], *why, "--json", ends_with=1))
    assert again == {"state": "dropped", "moved": [], "not_open": ids[1:]}
    assert listed()[1] == 101  # what is to be tried again is not done with
    assert listed("--all")[1] == 103
    states = [one["state"] for one in json.loads(run("list", "--all", "--most", "4", "--json"))["items"]]
    assert states == ["retry", "dropped", "dropped", "open"]
