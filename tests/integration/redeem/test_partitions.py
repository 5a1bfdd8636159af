"""Partitions are there before their time: what a dry run says is missing is what a run makes, once, whoever runs."""

import asyncio
from typing import Any

from pointbank.jobs.partitions import partitions_of
from shared.config import Settings
from shared.messaging.keys import SERVICES
from tests.integration.redeem.conftest import Bank

THERE = """
    SELECT count(*) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    JOIN pg_trigger AS t ON t.tgrelid = c.oid AND t.tgname = 'refuse_truncate'
    WHERE c.relname = ANY($1)
"""


async def run(bank: Bank, **body: Any) -> dict[str, Any]:
    answer = await bank.client.post("/v1/partition-runs", json=body, headers=bank.headers("operator"))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def missing(found: dict[str, Any]) -> list[str]:
    return [one["partition"] for one in found["partitions"] if not one["there"]]


async def test_what_is_said_to_be_missing_is_what_is_made(bank: Bank, settings: Settings) -> None:
    whole = await run(bank, dry_run=True)
    assert (whole["made"], missing(whole)) == (0, [])
    assert {one["table"] for one in whole["partitions"]} >= {"ledger", "outbox", "audit"}
    lost = [
        [one["partition"] for one in whole["partitions"] if one["table"] == table][-1]
        for table in ("audit", "ledger")
    ]
    db = await bank.administrator()
    try:
        await db.execute(f"DROP TABLE redeem.{lost[0]}; DROP TABLE redeem.{lost[1]}")
        await db.execute(f"DROP TABLE earn.{lost[0]}")
    finally:
        await db.close()

    would = await run(bank, dry_run=True)
    assert (would["made"], missing(would)) == (2, lost)
    seen = await partitions_of(settings, bank.code, dry_run=True)
    assert {service: ahead.made for service, ahead in seen.items()} == dict.fromkeys(SERVICES, 0) | {
        "earn": 1,
        "redeem": 2,
    }
    assert await bank.auditor.fetchval(THERE, lost) == 3  # of the three services that lost nothing

    at_once = await asyncio.gather(*[partitions_of(settings, bank.code, dry_run=False) for _ in range(2)])
    assert sum(done["redeem"].made for done in at_once) == 2
    assert sum(done["earn"].made for done in at_once) == 1
    assert await bank.auditor.fetchval(THERE, lost) == 6
    again = await run(bank)
    assert (again["made"], again["partitions"]) == (0, whole["partitions"])
    refused = await bank.client.post("/v1/partition-runs", json={}, headers=bank.headers("till"))
    assert refused.status_code == 403
