"""Rewards that issue themselves at a number of points: once to a member, whoever credits at once, and to all who are due."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec

from pointbank.desk import open_desk
from services.redeem.domain.codes import benefit_code
from services.redeem.domain.thresholds import IssueReached
from services.redeem.handlers import ON
from services.redeem.jobs.benefits_due import issue, learn_job, run
from shared.config import Settings
from shared.messaging import Done, FromJob, Item
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, Member, accrued, asks
from tests.integration.redeem.test_acts import approver, post
from tests.integration.redeem.test_asked import reversal
from tests.integration.redeem.test_expiring import GONE, NOW
from tests.integration.redeem.test_rewards import put, use
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import AT, activated, heard
from tests.support.http import assert_problem
from tests.support.tenants import running

OF_BALANCE = {"points": 100, "of": "balance"}


async def mine(bank: Bank, member: Member, reward: str) -> list[Any]:
    answer = await bank.client.get(
        "/v1/benefits", params={"wallet_id": str(member.wallet_id)}, headers=bank.headers("support")
    )
    assert answer.status_code == 200, answer.text
    return [one for one in answer.json()["items"] if one["reward"] == reward]


async def in_portions(bank: Bank, **body: Any) -> tuple[dict[str, int], bool]:
    """A run over HTTP, each call of one step over one wallet: what was issued of each reward, and whether it took many."""
    issued, calls, cursor = dict[str, int](), 0, None
    while cursor is not None or not calls:
        asked = {"step": 1, "within_s": 0, **body} | ({"cursor": cursor} if cursor else {})
        answer = await bank.client.post("/v1/benefits/runs", json=asked, headers=bank.headers("operator"))
        assert answer.status_code == 200, answer.text
        for one in answer.json()["rewards"]:
            issued[one["reward"]] = issued.get(one["reward"], 0) + one["issued"]
        calls, cursor = calls + 1, answer.json()["next_cursor"]
    return issued, calls > 4


async def test_a_reward_issues_itself_once_with_the_credit_that_reaches_its_points(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await bank.hear(activated("self", expiry={"policy": "never"}))
    at = {"programme": "self", "unit_cost_minor": 12}
    early = await bank.member(60, programme="self")
    await put(bank, "mug", issues_at={"points": 100, "of": "balance"}, **at)
    await put(bank, "cap", issues_at={"points": 150, "of": "earned"}, stock=2, **at)

    # A hundred credits of one point each, in two processes, while it is spent: it passes 100 once or more often, and has one.
    raced = await bank.member(programme="self")
    async with running(settings, tenant, "redeem", ON) as other:
        await run(other, dry_run=True)
        lanes = (bank.runtime.lane, other.lane)
        await asyncio.gather(issue(other))
        credits = [
            lanes[k % 2].submit(
                heard(accrued(raced.wallet_id, 1, member_id=raced.member_id, programme="self"))
            )
            for k in range(120)
        ]
        await asyncio.gather(*credits, issue(other), issue(bank.runtime))
        spent = await bank.redeem(asks(raced, programme="self", points=40))
        assert spent.status_code == 201
        more = [
            lanes[k % 2].submit(
                heard(accrued(raced.wallet_id, 1, member_id=raced.member_id, programme="self"))
            )
            for k in range(60)
        ]
        await asyncio.gather(*more, issue(other))
    [mug], [cap] = await mine(bank, raced, "mug"), await mine(bank, raced, "cap")
    assert (mug["origin"], mug["redemption_id"], mug["status"]) == ("threshold", None, "issued")
    told = await bank.told(cap["benefit_id"])
    assert [(one["type"], one["data"]["origin"]) for one in told] == [("benefit.issued.v1", "threshold")]

    # Points that come and go in one batch have passed it, too; those who had them before it was declared get it by the run.
    quick = await bank.member(programme="self")
    await asyncio.gather(
        *[
            bank.runtime.lane.submit(
                heard(accrued(quick.wallet_id, 101, member_id=quick.member_id, programme="self"))
            ),
            bank.redeem(asks(quick, programme="self", points=101)),
        ]
    )
    assert len(await mine(bank, quick, "mug")) == 1
    assert await mine(bank, early, "mug") == []
    await put(bank, "old", issues_at={"points": 50, "of": "balance"}, windows=[{"tiers": ["gold"]}], **at)
    dry = await bank.client.post(
        "/v1/benefits/runs", json={"dry_run": True}, headers=bank.headers("operator")
    )
    assert dry.json()["issued"] == 0  # it is for gold members, and there are none
    await put(bank, "old", issues_at={"points": 50, "of": "balance"}, **at)
    others = [await bank.member(60, programme="self") for _ in range(2)]
    await put(bank, "few", issues_at={"points": 55, "of": "balance"}, stock=2, **at)
    dry = await bank.client.post(
        "/v1/benefits/runs", json={"dry_run": True}, headers=bank.headers("operator")
    )
    expected = dry.json()
    issued = {one["reward"]: one["issued"] for one in expected["rewards"]}
    # Early and raced, the others by their credit; of those with 55 points two, for there are no more.
    assert (issued["old"] >= 2, issued["few"], expected["next_cursor"]) == (True, 2, None)
    assert await in_portions(bank, dry_run=True) == (issued, True)
    async with open_desk(settings, bank.code) as desk:
        at_once = await asyncio.gather(run(desk, dry_run=False, step=1), in_portions(bank))
    theirs = {one.reward: one.issued for one in at_once[0].rewards}
    ours = at_once[1][0]
    assert {name: theirs.get(name, 0) + ours.get(name, 0) for name in issued} == issued
    [old] = await mine(bank, early, "old")
    assert [len(await mine(bank, one, "old")) for one in others] == [1, 1]
    assert (await run(bank.runtime, dry_run=False)).issued == 0

    # The stock bounds it: of three who earn enough the third has none, until there is more.
    two, three = await bank.member(200, programme="self"), await bank.member(200, programme="self")
    assert [len(await mine(bank, one, "cap")) for one in (raced, two, three)] == [1, 1, 0]
    await put(bank, "cap", issues_at={"points": 150, "of": "earned"}, stock=3, **at)
    await issue(bank.runtime)
    assert len(await mine(bank, three, "cap")) == 1

    # Its code is shown to who shows it to the member, not to a merchant's till, and it is used like any other.
    path = f"/v1/benefits/{old['benefit_id']}/code"
    shown = await bank.client.get(path, headers=bank.headers("ecommerce"))
    assert shown.headers["cache-control"] == "no-store"
    code = shown.json()["code"]
    assert code == benefit_code(bank.runtime.tenant.identity_key, await _id_of(bank, old))
    narrow = await bank.client.get(path, headers=bank.headers("till", merchant="riyadh-mall"))
    assert_problem(narrow, 403, "scope_missing")
    before = await liability(bank, "old")
    assert (await use(bank, code)).json()["unit_cost"] == {"amount_minor": 12, "currency": "SAR"}
    after = await liability(bank, "old")
    assert (before["open"] - 1, before["liability"]["amount_minor"] - 12) == (
        after["open"],
        after["liability"]["amount_minor"],
    )
    assert (after["consumed"], after["consumed_cost"]["amount_minor"]) == (1, 12)

    spoilt = {
        "a reward that issued itself too early": (
            "UPDATE redeem.reward_versions SET document = replace(document::text, '150', '1500')::json WHERE reward = 'cap'",
            {"benefits"},
        ),
        "a reward that issued itself for points that were over": (
            """
            UPDATE redeem.lots SET expires_at = timestamptz '2026-01-01'
            WHERE wallet_id IN (SELECT wallet_id FROM redeem.benefits WHERE reward = 'mug')
            """,
            {"benefits"},
        ),
        "a reward that issued itself to a balance that silence had ended": (
            """
            UPDATE earn.programmes
            SET document = jsonb_set(document::jsonb, '{expiry}', '{"policy": "inactivity", "months": 1}')::json
            WHERE programme = 'self'
            """,
            {"benefits"},
        ),
        "a reward that was issued twice": (
            """
            DROP INDEX redeem.benefits_threshold_once;
            UPDATE redeem.benefits AS b SET reward = 'cap' WHERE b.reward = 'mug' AND EXISTS (
                SELECT FROM redeem.benefits AS o WHERE o.wallet_id = b.wallet_id AND o.reward = 'cap'
            )
            """,
            {"benefits", "benefits:told", "rewards:stock", "catalogue:constraints"},
        ),
        "a reward that a closed programme issued by itself": (
            """
            UPDATE earn.programmes SET document = jsonb_set(document::jsonb, '{programme,closed}', 'true')::json
            WHERE programme = 'self'
            """,
            {"benefits"},
        ),
        "a reward that no version of its programme issued": (
            "UPDATE redeem.benefits SET programme_version = 9 WHERE reward = 'cap'",
            {"benefits"},
        ),
    }
    names = frozenset(
        {
            "benefits",
            "benefits:told",
            "benefits:liability",
            "rewards:stock",
            "ledger:balances",
            "catalogue:constraints",
        }
    )
    await assert_whole_until_spoilt(settings, bank.code, names, spoilt)


async def liability(bank: Bank, reward: str) -> Any:
    answer = await bank.client.get("/v1/benefits/liability", headers=bank.headers("finance"))
    assert answer.status_code == 200, answer.text
    [found] = [one for one in answer.json()["items"] if one["reward"] == reward]
    return found


async def _id_of(bank: Bank, benefit: Any) -> Any:
    return await bank.auditor.fetchval(
        "SELECT benefit_id FROM redeem.benefits WHERE benefit_id = $1::text::uuid", benefit["benefit_id"]
    )


async def test_points_that_expired_unswept_pass_no_threshold(bank: Bank) -> None:
    await bank.hear(activated("gone", expiry={"policy": "never"}))
    await put(bank, "mug", issues_at=OF_BALANCE, programme="gone", unit_cost_minor=12)
    await learn_job(bank.runtime)
    before = await bank.member(90, programme="gone", expires_at=GONE)
    await bank.hear(accrued(before.wallet_id, 20, member_id=before.member_id, programme="gone"))
    late = await bank.member(100, programme="gone", expires_at=GONE)
    assert (await run(bank.runtime, dry_run=True)).issued == 0
    assert await issue(bank.runtime) == 0
    assert [await mine(bank, one, "mug") for one in (before, late)] == [[], []]

    await bank.hear(accrued(before.wallet_id, 80, member_id=before.member_id, programme="gone"))
    assert (await run(bank.runtime, dry_run=True)).issued == 1
    assert await issue(bank.runtime) == 1
    assert len(await mine(bank, before, "mug")) == 1


async def test_a_balance_that_silence_ended_reaches_no_threshold(bank: Bank) -> None:
    await bank.hear(activated("silent", expiry={"policy": "inactivity", "months": 1}))
    silent = await bank.member(100, programme="silent", at=AT)
    there = await bank.member(100, programme="silent", at=NOW)
    await put(bank, "mug", issues_at=OF_BALANCE, programme="silent", unit_cost_minor=12)
    assert (await run(bank.runtime, dry_run=True)).issued == 1
    assert await issue(bank.runtime) == 1
    assert await mine(bank, silent, "mug") == []
    assert len(await mine(bank, there, "mug")) == 1


async def test_a_closed_programme_issues_nothing_by_itself(bank: Bank) -> None:
    await bank.hear(activated("shut", expiry={"policy": "never"}))
    there = await bank.member(100, programme="shut")
    late = await bank.member(programme="shut")
    await put(bank, "mug", issues_at=OF_BALANCE, programme="shut", unit_cost_minor=12)
    told = activated("shut", 2, expiry={"policy": "never"})
    await bank.hear(msgspec.structs.replace(told, document=_closed(told.document)))
    await learn_job(bank.runtime)
    assert (await run(bank.runtime, dry_run=True)).issued == 0
    assert await issue(bank.runtime) == 0
    await bank.hear(accrued(late.wallet_id, 100, member_id=late.member_id, programme="shut"))
    assert [await mine(bank, one, "mug") for one in (there, late)] == [[], []]

    await bank.hear(activated("shut", 3, expiry={"policy": "never"}))  # open again
    assert (await run(bank.runtime, dry_run=True)).issued == 2
    assert await issue(bank.runtime) == 2


async def test_a_blocked_wallet_is_issued_its_reward_once_it_is_unblocked(bank: Bank) -> None:
    await bank.hear(activated("barred", expiry={"policy": "never"}))
    await put(bank, "mug", issues_at=OF_BALANCE, programme="barred", unit_cost_minor=12)
    await learn_job(bank.runtime)
    passing, there = [await bank.member(points, programme="barred") for points in (90, 90)]
    for one in (passing, there):
        await post(bank, f"wallets/{one.wallet_id}/block", {"reason": "fraud"})
    await bank.hear(accrued(passing.wallet_id, 20, member_id=passing.member_id, programme="barred"))
    assert (await run(bank.runtime, dry_run=True)).issued == 0
    assert await issue(bank.runtime) == 0
    # A page that was read before the block is looked at again under the locks.
    asked = IssueReached("barred", "mug", (passing.wallet_id,))
    outcome = await bank.runtime.do(asked, job="benefits")
    assert isinstance(outcome, Done)
    assert msgspec.json.decode(outcome.body) == {"benefits": 0}
    assert await mine(bank, passing, "mug") == []

    await approver(bank, f"wallets/{passing.wallet_id}/unblock", {"reason": "mistake"})
    assert (await run(bank.runtime, dry_run=True)).issued == 1
    assert await issue(bank.runtime) == 1
    assert len(await mine(bank, passing, "mug")) == 1
    assert await mine(bank, there, "mug") == []


def _closed(document: Any) -> Any:
    return {**document, "programme": {**document["programme"], "closed": True}}


async def test_points_that_only_repay_a_debt_pass_no_threshold(bank: Bank) -> None:
    await bank.hear(activated("owing", expiry={"policy": "never"}))
    member = await bank.member(programme="owing")
    first = accrued(member.wallet_id, 100, member_id=member.member_id, programme="owing")
    await bank.hear(first)
    assert (await bank.redeem(asks(member, programme="owing", points=100))).status_code == 201
    await bank.hear(reversal(first, 100, on_spent="debt"))
    await put(bank, "mug", issues_at=OF_BALANCE, programme="owing", unit_cost_minor=12)
    await learn_job(bank.runtime)
    await bank.hear(accrued(member.wallet_id, 150, member_id=member.member_id, programme="owing"))
    assert await mine(bank, member, "mug") == []
    await bank.hear(accrued(member.wallet_id, 50, member_id=member.member_id, programme="owing"))
    assert len(await mine(bank, member, "mug")) == 1


async def test_of_two_runs_in_one_batch_each_is_told_what_it_issued_itself(bank: Bank) -> None:
    await bank.hear(activated("twice", expiry={"policy": "never"}))
    one, two = [await bank.member(150, programme="twice") for _ in range(2)]
    for reward in ("cap", "mug"):
        await put(bank, reward, issues_at=OF_BALANCE, programme="twice")
    runs = [
        (IssueReached("twice", "mug", (one.wallet_id, two.wallet_id)), "night"),
        (IssueReached("twice", "cap", (one.wallet_id,)), "hand"),
        (IssueReached("twice", "cap", (one.wallet_id, two.wallet_id)), "other"),
    ]
    items = [Item(run, FromJob(by), request_id=by, actor=f"job:{by}") for run, by in runs]
    done = [outcome for outcome in await bank.runtime.lane.submit_many(items) if isinstance(outcome, Done)]
    assert [msgspec.json.decode(outcome.body) for outcome in done] == [{"benefits": n} for n in (2, 1, 1)]
    said = await bank.auditor.fetch(
        "SELECT b.reward, a.actor FROM redeem.benefits AS b JOIN redeem.audit AS a ON a.object = 'benefit/' || b.benefit_id"
        " WHERE b.wallet_id = $1 ORDER BY b.reward",
        one.wallet_id,
    )
    assert [tuple(row) for row in said] == [("cap", "job:hand"), ("mug", "job:night")]


async def test_points_that_had_ended_by_silence_when_they_were_told_pass_no_threshold(bank: Bank) -> None:
    """The first of a member, told months late: nobody can spend them, swept or not."""
    await bank.hear(activated("untold", expiry={"policy": "inactivity", "months": 1}))
    await put(bank, "mug", issues_at=OF_BALANCE, programme="untold", unit_cost_minor=12)
    await learn_job(bank.runtime)
    member = await bank.member(100, programme="untold", at=NOW - timedelta(days=90))
    assert (await bank.get(f"/v1/wallets/{member.wallet_id}/balance")).json()["available"]["points"] == 0
    assert await mine(bank, member, "mug") == []
