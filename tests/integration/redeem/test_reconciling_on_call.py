"""A reconciliation that is asked for over HTTP begins with a seal: calls wait for it by turns. A dry run waits for none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.redeem.handlers import ON
from services.redeem.jobs.sealing import job_item
from services.redeem.jobs.sealing_on_call import Wanted, begin_run, seal_on_call, wait_for_seal
from shared.config import Settings
from shared.jobs import Job
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, asks
from tests.integration.redeem.gift_cards import Cards
from tests.support.facts import activated
from tests.support.gift_cards import GIFTS
from tests.support.tenants import running

NOTHING = {"wallets": 0, "days": 0, "postings": 0, "differences": 0, "found": []}


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Nothing is sealed or reconciled but when a test asks for it."""
    return settings.model_copy(update={"seal_every_s": 0.0, "reconcile_every_s": 0.0})


async def run(bank: Bank, **body: Any) -> dict[str, Any]:
    answer = await bank.client.post("/v1/reconciliation/runs", json=body, headers=bank.headers("operator"))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@asynccontextmanager
async def slow(bank: Bank) -> AsyncIterator[None]:
    """Whoever seals has to wait until this is over, as with a very large tenant; nobody else."""
    db = await bank.administrator()
    try:
        async with db.transaction():
            await db.execute("LOCK TABLE redeem.seal_leaves IN SHARE MODE")
            yield
    finally:
        await db.close()


async def seals(bank: Bank) -> int:
    count: int = await bank.auditor.fetchval("SELECT count(*) FROM redeem.seals")
    return count


async def test_a_call_that_waits_no_longer_for_the_seal_is_told_how_to_go_on(bank: Bank) -> None:
    await run(bank)
    before, member = await seals(bank), await bank.member(10)
    async with slow(bank):
        begun = await run(bank, within_s=0)
        assert begun == {"dry_run": False, **NOTHING, "next_cursor": begun["next_cursor"]}
        assert await run(bank, cursor=begun["next_cursor"], within_s=1) == begun
        # No posting waits for it.
        assert (await bank.redeem(asks(member, points=4))).status_code == 201
    done = await run(bank, cursor=begun["next_cursor"])
    assert (done["wallets"], done["postings"], done["next_cursor"]) == (1, 1, None)
    # The same once more: there is no second seal, and all was compared.
    assert await run(bank, cursor=begun["next_cursor"]) == {"dry_run": False, **NOTHING, "next_cursor": None}
    assert await seals(bank) == before + 1


async def test_where_the_process_that_seals_dies_another_goes_on(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await run(bank)
    before, _ = await seals(bank), await bank.member(10)
    async with slow(bank):
        async with running(
            settings, tenant, "redeem", ON, jobs=(Job("asked-seals", 1.0, seal_on_call, endless=True),)
        ) as dies:
            begun = await begin_run(dies)
            wanted = Wanted(begun, job_item(), dry_run=False, whole=False, resumed=False)
            assert await wait_for_seal(dies, wanted, within_s=0.5) is None
            mine = await run(bank, within_s=0)
            assert mine == {"dry_run": False, **NOTHING, "next_cursor": mine["next_cursor"]}
            assert mine["next_cursor"] is not None
        assert await seals(bank) == before
    done = await run(bank, cursor=mine["next_cursor"])
    assert (done["wallets"], done["postings"], done["next_cursor"]) == (1, 1, None)
    assert await seals(bank) == before + 1


async def test_a_dry_run_waits_for_no_seal_and_knows_what_none_has_yet(bank: Bank) -> None:
    await run(bank)
    before, _ = await seals(bank), [await bank.member(10) for _ in range(2)]
    async with slow(bank):
        would = await run(bank, dry_run=True)
        assert (would["wallets"], would["postings"], would["next_cursor"]) == (2, 2, None)
        begun = await run(bank, within_s=0)  # it is being sealed now
        assert await run(bank, dry_run=True) == would
        assert await seals(bank) == before
    done = await run(bank, cursor=begun["next_cursor"])
    assert (done["wallets"], done["postings"]) == (2, 2)


async def test_a_dry_run_meets_each_once_whether_a_seal_has_it_or_not(bank: Bank) -> None:
    await run(bank)
    twice, _, late = [await bank.member(10) for _ in range(3)]
    await bank.client.post("/v1/ledger/seals", json={}, headers=bank.headers("operator"))
    for member in (twice, late):
        await bank.redeem(asks(member, points=4))
    await bank.hear(activated("gifts", gift_cards=GIFTS))
    card = (await Cards(bank).sold(700))["card_id"]
    db = await bank.administrator()
    try:
        await db.execute("SET session_replication_role = replica")
        await db.execute("UPDATE redeem.gift_cards SET balance = 500, used = 200 WHERE card_id = $1", card)
        await db.execute("UPDATE redeem.lots SET remaining = 1 WHERE wallet_id = $1", late.wallet_id)
        await db.execute("DELETE FROM redeem.ledger WHERE wallet_id = $1 AND seq = 2", twice.wallet_id)
        would = await run(bank, dry_run=True)
        done = await run(bank)
    finally:
        await db.close()
    subjects = [one["subject"] for one in would["found"]]
    assert subjects[:-1] == [
        *sorted(2 * [f"wallet/{twice.wallet_id}"] + [f"wallet/{late.wallet_id}"]),
        f"gift_card/{card}",
    ]
    assert subjects[-1].startswith("posting/")  # the event of a line that is gone
    counts = {"wallets": 3, "days": 0, "postings": 4, "differences": 5}
    assert {name: would[name] for name in counts} == {name: done[name] for name in counts} == counts


async def test_cursors_of_dry_runs_and_of_real_ones_are_not_each_others(bank: Bank) -> None:
    await run(bank)
    await bank.member(10)
    for dry_run in (True, False):
        cursor = (await run(bank, dry_run=dry_run, within_s=0))["next_cursor"]
        answer = await bank.client.post(
            "/v1/reconciliation/runs",
            json={"dry_run": not dry_run, "cursor": cursor},
            headers=bank.headers("operator"),
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "field_type")
