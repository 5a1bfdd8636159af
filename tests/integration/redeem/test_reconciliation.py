"""Reconciliation: what changed is compared once, what does not agree is a row until somebody has closed it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from pointbank.jobs.sealing import reconcile_tenant, writer_of
from services.redeem.domain.accruals import DayCompared
from services.redeem.domain.reconciliation import ReconcilePage, SealCompared
from services.redeem.handlers import ON
from services.redeem.handlers import reconcile as handler
from services.redeem.jobs import reconciling, reconciling_dry
from services.redeem.jobs.reconciling import Total
from shared.config import Settings
from shared.db import Connection, connect
from shared.ids import uuid7
from shared.messaging.commands import FromJob, Item, Outcome
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, accrued, asks
from tests.integration.redeem.gift_cards import Cards
from tests.support.facts import activated
from tests.support.gift_cards import GIFTS
from tests.support.http import assert_problem


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Nothing is sealed or reconciled but when a test asks for it."""
    return settings.model_copy(update={"seal_every_s": 0.0, "reconcile_every_s": 0.0})


@pytest_asyncio.fixture(loop_scope="module")
async def books(settings: Settings, tenant: Tenant) -> AsyncIterator[Connection]:
    """An administrator, who can change anything."""
    db = await connect(settings.admin_dsn(), database=tenant.database)
    await db.execute("SET session_replication_role = replica; SET search_path = redeem")
    try:
        yield db
    finally:
        await db.close()


async def run(bank: Bank, **body: Any) -> dict[str, Any]:
    answer = await bank.client.post("/v1/reconciliation/runs", json=body, headers=bank.headers("operator"))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def listed(bank: Bank, **query: Any) -> list[dict[str, Any]]:
    answer = await bank.client.get(
        "/v1/reconciliation/differences", params=query, headers=bank.headers("auditor")
    )
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_only_what_changed_is_compared_and_what_agrees_says_nothing(bank: Bank) -> None:
    await run(bank)
    members = [await bank.member(10, 5) for _ in range(3)]
    counts = {"wallets": 3, "days": 0, "postings": 6, "differences": 0}
    seals = await bank.auditor.fetch("SELECT no FROM redeem.seals")
    # No seal covers them yet; a run would begin with one, and so says what it will do.
    assert await run(bank, dry_run=True) == {"dry_run": True, **counts, "found": [], "next_cursor": None}
    assert await bank.auditor.fetch("SELECT no FROM redeem.seals") == seals
    assert await run(bank) == {"dry_run": False, **counts, "found": [], "next_cursor": None}
    assert (await run(bank))["wallets"] == 0
    for _ in range(2):  # twice between two runs, under two seals
        await bank.redeem(asks(members[1], points=4))
        await bank.client.post("/v1/ledger/seals", json={}, headers=bank.headers("operator"))
    for dry_run in (True, False):
        done = await run(bank, dry_run=dry_run)
        assert (done["wallets"], done["postings"]) == (1, 2)
    assert await listed(bank) == []


def shown(bank: Bank, kind: str) -> float | None:
    """What the metric says of a kind."""
    labels = {"service": "redeem", "tenant": bank.code, "kind": kind}
    return bank.runtime.metrics.registry.get_sample_value("pointbank_reconciliation_differences", labels)


async def test_what_does_not_agree_is_a_row_until_somebody_closed_it(bank: Bank, books: Connection) -> None:
    await run(bank)
    rich, lost, short = [(await bank.member(10)).wallet_id for _ in range(3)]
    await bank.hear(activated("gifts", gift_cards=GIFTS))
    card = UUID((await Cards(bank).sold(700))["card_id"])
    await bank.client.post("/v1/ledger/seals", json={}, headers=bank.headers("operator"))
    await books.execute(
        "UPDATE wallets SET available = available + 7, issued = issued - 7 WHERE wallet_id = $1", rich
    )
    await books.execute("DELETE FROM ledger WHERE wallet_id = $1", lost)
    await books.execute("UPDATE lots SET remaining = 4 WHERE wallet_id = $1", short)
    await books.execute("UPDATE gift_cards SET balance = 500, used = 200 WHERE card_id = $1", card)
    would = await run(bank, dry_run=True)
    assert await listed(bank) == []
    done = await run(bank)
    assert (done["wallets"], done["differences"]) == (would["wallets"], would["differences"]) == (3, 7)

    rows = await listed(bank)
    [untold] = [row for row in rows if row["kind"] == "events"]
    assert (untold["expected"], untold["found"]) == (
        "nothing",
        f"{lost} 10",
    )  # its line is gone, its event is not
    held = {(row["kind"], row["subject"]): (row["expected"], row["found"]) for row in rows}
    assert held == {(row["kind"], row["subject"]): (row["expected"], row["found"]) for row in would["found"]}
    assert held.keys() == {
        ("buckets", f"wallet/{rich}"),
        ("lots", f"wallet/{rich}"),
        ("lines", f"wallet/{lost}"),
        ("events", untold["subject"]),
        ("buckets", f"wallet/{lost}"),
        ("lots", f"wallet/{short}"),
        ("buckets", f"gift_card/{card}"),
    }
    assert held["buckets", f"gift_card/{card}"] == (
        "issued -700 balance 700 used 0 expired 0",
        "issued -700 balance 500 used 200 expired 0",
    )
    assert held["lines", f"wallet/{lost}"] == ("0", "1")
    assert held["lots", f"wallet/{short}"] == (
        "available 10 held 0 reserved 0",
        "available 4 held 0 reserved 0",
    )
    assert {row["state"] for row in rows} == {"open"}
    assert shown(bank, "lots") == 2
    assert (await bank.wallet(short))["available"] == 10  # nothing was repaired

    [row] = [row for row in rows if row["subject"] == f"wallet/{short}"]
    path = f"/v1/reconciliation/differences/{row['difference_id']}"
    finance = bank.headers("finance")
    given = await bank.client.post(path, json={"owner": "noor@example.com"}, headers=finance)
    assert (given.json()["owner"], given.json()["state"]) == ("noor@example.com", "open")
    unreasoned = await bank.client.post(path, json={"state": "closed"}, headers=bank.headers("finance"))
    assert_problem(unreasoned, 422, "field_missing")
    closing = {"state": "closed", "reason": "Corrected by hand, ticket 42."}
    assert_problem(
        await bank.client.post(path, json=closing, headers=bank.headers("support")), 403, "scope_missing"
    )
    for token, code in (
        ({"kind": "service"}, "person_required"),
        ({"merchant": "riyadh-mall"}, "scope_missing"),
    ):
        refused = await bank.client.post(path, json=closing, headers=bank.headers("finance", **token))
        assert_problem(refused, 403, code)
    # While somebody reads what was listed, another run finds more.
    await books.execute("UPDATE lots SET remaining = 2 WHERE wallet_id = $1", short)
    await bank.hear(accrued(short, 1))
    await run(bank)
    seen = {name: row[name] for name in ("expected", "found")}
    changed = await bank.client.post(path, json={**closing, **seen}, headers=bank.headers("finance"))
    problem = assert_problem(changed, 409, "difference_changed")
    assert [error["pointer"] for error in problem["errors"]] == ["/expected", "/found"]
    [row] = [one for one in await listed(bank) if one["subject"] == row["subject"]]
    assert (row["state"], row["found"]) == ("open", "available 3 held 0 reserved 0")
    seen = {name: row[name] for name in ("expected", "found")}
    closed = await bank.client.post(path, json={**closing, **seen}, headers=bank.headers("finance"))
    await reconciling.show_open(bank.runtime)  # every few seconds, in each process
    assert shown(bank, row["kind"]) == 1
    assert {name: closed.json()[name] for name in ("owner", "state", "reason")} == {
        "owner": "noor@example.com",
        **closing,
    }
    assert row["difference_id"] not in {one["difference_id"] for one in await listed(bank)}
    assert [one["difference_id"] for one in await listed(bank, state="closed")] == [row["difference_id"]]
    audit = await bank.auditor.fetchrow(
        "SELECT actor, before, after FROM redeem.audit WHERE action = 'reconciliation.decide' ORDER BY id DESC LIMIT 1"
    )
    assert audit is not None
    assert audit["actor"] == "test-finance"
    assert (json.loads(audit["before"])["state"], json.loads(audit["after"])["state"]) == ("open", "closed")
    assert {name: json.loads(audit["after"])[name] for name in seen} == seen
    missing = f"/v1/reconciliation/differences/{uuid7()}"
    assert_problem(
        await bank.client.post(missing, json=closing, headers=bank.headers("finance")), 404, "not_found"
    )

    # Seen again: an open one stays the same row, a closed one is a new one.
    for wallet_id in (rich, short):
        await bank.hear(accrued(wallet_id, 1))
    await run(bank)
    again = await listed(bank)
    kept = {one["difference_id"] for one in again} & {one["difference_id"] for one in rows}
    assert len(kept) == 6
    [new] = [one for one in again if one["difference_id"] not in kept]
    assert (new["subject"], new["state"], new["owner"]) == (f"wallet/{short}", "open", None)
    for decision in (
        {"state": "open", "reason": "again"},
        {"state": "explained", "reason": "x"},
        {"owner": "a"},
    ):
        decided = await bank.client.post(path, json=decision, headers=bank.headers("finance"))
        assert_problem(decided, 409, "difference_closed")


async def test_a_posting_that_is_not_told_as_it_was_posted_is_a_difference(
    bank: Bank, books: Connection
) -> None:
    await run(bank)
    posted = [accrued(uuid7(), points) for points in (10, 20, 30, 40, 50)]
    lost, twice, otherwise, elsewhere, unposted = posted
    await bank.hear(*posted)
    await bank.client.post("/v1/ledger/seals", json={}, headers=bank.headers("operator"))
    rows = "xid, at, event_id, payload"
    told = "convert_from(payload, 'UTF8') LIKE '%points.credited%' AND convert_from(payload, 'UTF8') LIKE '%' || $1 || '%'"
    another = "convert_to(replace(convert_from(payload, 'UTF8'), $2, $3), 'UTF8')"
    await books.execute(f"DELETE FROM outbox WHERE {told}", str(lost.accrual_id))
    await books.execute(
        f"INSERT INTO outbox ({rows}) SELECT {rows} FROM outbox WHERE {told}", str(twice.accrual_id)
    )
    for one, was, now in (
        (otherwise, '"credited":{"points":30', '"credited":{"points":31'),
        (elsewhere, f'"wallet_id":"{elsewhere.wallet_id}"', f'"wallet_id":"{lost.wallet_id}"'),
    ):
        await books.execute(
            f"UPDATE outbox SET payload = {another} WHERE {told}", str(one.accrual_id), was, now
        )
    await books.execute("DELETE FROM ledger WHERE wallet_id = $1", unposted.wallet_id)
    would, done = await run(bank, dry_run=True), await run(bank)
    assert (would["postings"], would["differences"]) == (done["postings"], done["differences"])
    ours = {f"posting/{one.accrual_id}" for one in posted}
    held = {
        one["subject"]: (one["expected"], one["found"])
        for one in await listed(bank)
        if one["kind"] == "events" and one["subject"] in ours
    }
    assert held == {
        f"posting/{lost.accrual_id}": (f"{lost.wallet_id} 10", "nothing"),
        f"posting/{twice.accrual_id}": (
            f"{twice.wallet_id} 20",
            f"{twice.wallet_id} 20, {twice.wallet_id} 20",
        ),
        f"posting/{otherwise.accrual_id}": (f"{otherwise.wallet_id} 30", f"{otherwise.wallet_id} 31"),
        f"posting/{elsewhere.accrual_id}": (f"{elsewhere.wallet_id} 40", f"{lost.wallet_id} 40"),
        f"posting/{unposted.accrual_id}": ("nothing", f"{unposted.wallet_id} 50"),
    }
    assert (await run(bank))["postings"] == 0


async def test_two_that_reconcile_share_the_work_and_what_was_left_is_gone_on_with(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(bank)
    monkeypatch.setattr(handler, "LEAVES", 2)
    for _ in range(9):
        await bank.member(3)
    await bank.client.post("/v1/ledger/seals", json={}, headers=bank.headers("operator"))
    await bank.runtime.do(ReconcilePage(), job="reconcile")  # and dies
    async with writer_of(settings, bank.code) as other:

        async def step(page: ReconcilePage | DayCompared | SealCompared) -> Outcome:
            [outcome] = await other.write([Item(page, FromJob("x"), str(uuid7()), "x")], ON[type(page)])
            return outcome

        await asyncio.gather(reconciling.run(bank.runtime), reconciling.reconcile(other.pool, step))
    runs = await bank.auditor.fetch(
        "SELECT no, from_seal, to_seal, wallets, differences, finished_at FROM redeem.reconciliations ORDER BY no"
    )
    assert (runs[-1]["wallets"], runs[-1]["differences"]) == (9, 0)
    assert all(row["finished_at"] for row in runs)
    assert [row["from_seal"] for row in runs] == [0, *(row["to_seal"] for row in runs[:-1])]
    assert await reconciling.run(bank.runtime) == Total(0, 0)


async def test_over_http_a_run_is_made_in_portions_and_so_is_its_dry_run(
    bank: Bank, books: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(bank)
    for module in (handler, reconciling_dry):
        monkeypatch.setattr(module, "LEAVES", 2)
    monkeypatch.setattr(reconciling_dry, "HEADS", 2)
    old = [await bank.member(3) for _ in range(3)]
    await bank.client.post("/v1/ledger/seals", json={}, headers=bank.headers("operator"))
    new = [await bank.member(3) for _ in range(4)]
    for one in (old[0], new[-1]):
        await books.execute("UPDATE lots SET remaining = 1 WHERE wallet_id = $1", one.wallet_id)

    async def portions(**body: Any) -> dict[str, Any]:
        total, calls = await run(bank, within_s=0, **body), 1
        while total["next_cursor"] is not None:
            if calls == 2:  # what no seal had is sealed meanwhile, and somebody comes
                await bank.member(3)
                await bank.client.post("/v1/ledger/seals", json={}, headers=bank.headers("operator"))
            said = await run(bank, within_s=0, cursor=total["next_cursor"], **body)
            total |= {name: total[name] + said[name] for name in ("wallets", "postings", "differences")}
            total |= {"found": total["found"] + said["found"], "next_cursor": said["next_cursor"]}
            calls += 1
        assert calls > 4
        return total

    would = await portions(dry_run=True)
    assert {one["subject"] for one in would["found"]} == {
        f"wallet/{one.wallet_id}" for one in (old[0], new[-1])
    }
    assert (would["wallets"], would["postings"], would["differences"]) == (8, 8, 2)
    done = await portions()
    assert (done["wallets"], done["postings"], done["differences"]) == (9, 9, 2)
    assert_problem(
        await bank.client.post(
            "/v1/reconciliation/runs", json={"cursor": "x"}, headers=bank.headers("operator")
        ),
        422,
        "field_type",
    )


async def test_the_command_does_the_same(bank: Bank, settings: Settings, books: Connection) -> None:
    await run(bank)
    wallet_id: UUID = (await bank.member(5)).wallet_id
    await books.execute("UPDATE lots SET remaining = 1 WHERE wallet_id = $1", wallet_id)
    would = await reconcile_tenant(settings, bank.code, actor="test", dry_run=True)
    assert (would["wallets"], [one["subject"] for one in would["found"]]) == (1, [f"wallet/{wallet_id}"])
    assert await reconcile_tenant(settings, bank.code, actor="test") == {
        "dry_run": False,
        "wallets": 1,
        "days": 0,
        "postings": 1,
        "differences": 1,
        "found": [],
    }
