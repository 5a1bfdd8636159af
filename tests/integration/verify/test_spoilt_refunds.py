"""Refunds and holds that were spoilt in one place, and the check that must find it."""

import pytest

from pointbank.verify import verify_tenant
from shared.db import Connection
from tests.integration.verify.conftest import report_of, undone
from tests.support.returns import answered
from tests.support.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")  # as `books` has it

SOME_REFUND = "refund_id = (SELECT refund_id FROM earn.refunds WHERE n = 2 ORDER BY refund_id LIMIT 1)"
SOME_REQUEST = f"{SOME_REFUND} AND kind = 'reversal'"

REFUNDS = {
    "a refund of another amount": (
        f"UPDATE earn.refunds SET amounts[1] = amounts[1] + 1, refunded_minor = refunded_minor + 1 WHERE {SOME_REFUND}",
        {"refunds:computed", "refunds:told", "journal:refunds"},
    ),
    "a refund of other content": (
        f"UPDATE earn.refunds SET cashier = 'somebody-else' WHERE {SOME_REFUND}",
        {"refunds:keys", "journal:refund-content"},
    ),
    "a target that was raised": (
        f"UPDATE earn.refund_requests SET target = target + 1 WHERE {SOME_REQUEST}",
        {"refunds:computed", "refunds:asked"},
    ),
    "an answer that is gone": (
        f"DELETE FROM earn.refund_answers WHERE request_id IN (SELECT request_id FROM earn.refund_requests WHERE {SOME_REQUEST})",
        {"refunds:computed", "refunds:answered", "refunds:told"},
    ),
    "a refund that was refused for nothing": (
        f"UPDATE earn.refunds SET status = 'refused', code = 'points_spent', detail = '' WHERE {SOME_REFUND}",
        {"refunds:computed", "refunds:told"},
    ),
    "a refund that is gone": (
        f"DELETE FROM earn.refunds WHERE {SOME_REFUND}",
        {"refunds:computed", "refunds:keys", "refunds:told", "journal:refunds"},
    ),
    "a saga that lost count": (
        "UPDATE earn.sagas SET sequence = sequence + 1 WHERE bill_id = (SELECT bill_id FROM earn.sagas LIMIT 1)",
        {"refunds:computed"},
    ),
    "a budget that was given back what no refund took": (
        """
        ALTER TABLE earn.budgets DROP CONSTRAINT budgets_given_back_at_most_decided;
        INSERT INTO earn.budgets (programme, campaign, given_back) VALUES ('shops', 'ghost', 1)
        """,
        {"budgets:counted"},
    ),
    "a cap that was given back what no refund took": (
        """
        ALTER TABLE earn.caps DROP CONSTRAINT caps_given_back_at_most_decided;
        INSERT INTO earn.caps (wallet_id, campaign, period, since, given_back)
        SELECT wallet_id, '', 'day', '2026-01-01', 1 FROM earn.wallets LIMIT 1
        """,
        {"caps:counted"},
    ),
    "points that qualify though they were taken back": (
        """
        UPDATE tiers.qualifications SET points = points + 1
        WHERE wallet_id = (SELECT wallet_id FROM earn.refund_requests WHERE wallet_id IS NOT NULL LIMIT 1)
        """,
        {"tiers:points"},
    ),
}

HOLDS = {
    "a plan for points that nobody holds": (
        """
        INSERT INTO earn.hold_plans (
            accrual_id, rule, bill_id, wallet_id, programme, currency, point_value, points, until, billed_on, days, zone, released)
        SELECT a.accrual_id, 'r', a.bill_id, a.wallet_id, 'shops', 'SAR', '0.10', a.points + 1, 'activation', now(), 0, 'UTC', 1
        FROM earn.accruals AS a WHERE a.points > 0 LIMIT 1
        """,
        {"holds:planned"},
    ),
    "held points that a refund took and no plan counts": (
        f"""
        UPDATE earn.refund_answers SET hold_cancelled = hold_cancelled + 1
        WHERE request_id IN (SELECT request_id FROM earn.refund_requests WHERE {SOME_REQUEST});
        INSERT INTO earn.hold_plans (
            accrual_id, rule, bill_id, wallet_id, programme, currency, point_value, points, until, billed_on, days, zone)
        SELECT a.accrual_id, 'r', a.bill_id, a.wallet_id, 'shops', 'SAR', '0.10', a.points, 'activation', now(), 0, 'UTC'
        FROM earn.accruals AS a
        WHERE a.accrual_id IN (SELECT accrual_id FROM earn.refund_requests WHERE {SOME_REQUEST})
        """,
        {"holds:planned"},
    ),
    "a release that nobody asked for": (
        """
        INSERT INTO earn.hold_releases
        SELECT gen_random_uuid(), a.bill_id, a.accrual_id, 1, 99, now(), now() FROM earn.accruals AS a WHERE a.points > 0 LIMIT 1
        """,
        {"holds:asked"},
    ),
}


async def found(town: Town, books: Connection, sql: str, checks: set[str]) -> None:
    async with undone(books) as db:
        done = await db.execute(sql)
        assert not done.endswith(" 0"), done
        report = await report_of(town, db)
    broken = {check.name: check.examples for check in report.broken}
    assert checks <= broken.keys(), broken
    assert all(broken.values())


@answered
async def test_refunds_of_a_town_in_order_hold_and_were_compared(town: Town) -> None:
    report = await verify_tenant(town.settings, town.tenant, journal=town.journal)
    assert report.broken == []
    compared = {check.name: check.compared for check in report if check.name.startswith("refunds:")}
    assert {name: n >= 8 for name, n in compared.items()} == dict.fromkeys(
        ("refunds:told", "refunds:asked", "refunds:answered", "refunds:keys", "refunds:computed"), True
    )


@answered
@pytest.mark.parametrize(("sql", "checks"), REFUNDS.values(), ids=REFUNDS)
async def test_a_refund_that_is_spoilt_is_found(
    town: Town, books: Connection, sql: str, checks: set[str]
) -> None:
    await found(town, books, sql, checks)


@pytest.mark.parametrize(("sql", "checks"), HOLDS.values(), ids=HOLDS)
async def test_a_hold_that_is_spoilt_is_found(
    town: Town, books: Connection, sql: str, checks: set[str]
) -> None:
    await found(town, books, sql, checks)
