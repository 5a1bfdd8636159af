"""Each query that is to lock rows locks them: who comes second waits, or passes by, until the first one's transaction ends.

What the locks are for stands in the services' own tests; here two connections meet at each, whatever the rows say. A query that
stopped locking is seen at once, and not only where a race happens to be lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from pointbank.operating.streams import queries as streams
from services.notifier.store import queries as notifier
from shared.config import Settings
from shared.sql import load
from shared.tenants import Tenant
from shared.tenants.provision import dsn_for
from tests.support.facts import AT
from tests.support.rows import Db, put_row
from tests.support.tenants import connect_as, new_tenant

ID = UUID("00000000-0000-7000-8000-000000000001")
OTHER = UUID("00000000-0000-7000-8000-000000000002")
PIN = "$2b$12$" + "x" * 53
Rows = tuple[tuple[str, dict[str, Any]], ...]


def row(table: str, **values: Any) -> tuple[str, dict[str, Any]]:
    return table, values


@dataclass(frozen=True)
class Meeting:
    """Two who ask the same of these rows; `then`: what the second one asks, where that is something else."""

    name: str
    given: dict[str, Any]
    rows: Rows = ()
    then: str = ""
    then_given: dict[str, Any] | None = None

    @property
    def second(self) -> tuple[str, dict[str, Any]]:
        return self.then or self.name, self.given if self.then_given is None else self.then_given


BENEFIT = row("redeem.benefits", benefit_id=ID, origin="asked", asked_by=ID, points=0)
DUE = row(
    "earn.referrals", referrer_id=OTHER, bill_id=ID, outcome="reached", occurred_at=AT, version=1, amount_minor=1,
    minimum_minor=1, due="true", review="true",
)  # fmt: skip
ONE_REFERRAL = {"member_ids": [ID], "programmes": ["1"]}
WAITING = row("earn.waiting", kind="member", key="1")
ACTS = (row("earn.acts", identity="\\x" + "00" * 16), row("earn.act_waiting", kind="member", key="1"))
LISTEN = {"subject_ids": [ID], "stream_ids": ["1-0"], "sources": ["/x"], "event_ids": ["x"]}
LISTEN_FOR_ONE = {
    **{k: v for k, v in LISTEN.items() if k != "subject_ids"},
    "merchants": ["1"],
    "bill_refs": ["1"],
}
REFUND = (row("earn.refunds", status="waiting_for_bill", told_status="waiting_for_bill", currency="SAR"),)
ARRIVED = (row("earn.told_activations", waited="true"), row("earn.bill_keys"))
MEMBER = row("members.members")
DISPATCHES = {"grace": timedelta(seconds=1), "lease": timedelta(seconds=1)}

WAITS = [
    # ---- the bank
    Meeting("redeem/queries.sql:lock_wallets", {"wallet_ids": [ID]}, (row("redeem.wallets"),)),
    Meeting(
        "redeem/store/redemptions.sql:meet_bills",
        {"merchants": ["1"], "bill_refs": ["1"]},
        (row("redeem.met_bills"),),
    ),
    Meeting(
        "redeem/store/redemptions.sql:pay_for_bills",
        {"programmes": ["1"], "merchants": ["1"], "bill_refs": ["1"], "mosts": [1], "now": AT},
        (row("redeem.bill_shares"),),
    ),
    Meeting(
        "redeem/store/rewards.sql:lock_rewards", {"programmes": ["1"], "rewards": ["1"]}, (row("redeem.rewards"),)
    ),
    Meeting("redeem/store/rewards.sql:lock_benefits", {"code_hashes": [bytes(32)]}, (BENEFIT,)),
    Meeting("redeem/store/giving.sql:lock_benefits_by_id", {"benefit_ids": [ID]}, (BENEFIT,)),
    Meeting("redeem/store/giving.sql:lock_asks", {"effect_ids": [ID]}, (row("redeem.benefit_asks"),)),
    Meeting(
        "redeem/store/gift_cards.sql:lock_cards",
        {"card_ids": [ID]},
        (row("redeem.gift_cards", serial="1" * 19, pin_hash=PIN),),
    ),
    Meeting(
        "redeem/store/adjustments.sql:lock_adjustments",
        {"adjustment_ids": [ID]},
        (row("redeem.adjustments", state="pending"),),
    ),
    Meeting("redeem/store/disputes.sql:lock_disputes", {"dispute_ids": [ID]}, (row("redeem.disputes"),)),
    Meeting(
        "redeem/store/moving.sql:lock_asked",
        {"request_ids": [ID]},
        (row("redeem.asked", kind="release", state="waiting"),),
    ),
    Meeting("redeem/store/closing.sql:lock_closing", {"as_of": AT}, (row("redeem.closings", as_of=AT),)),
    Meeting("redeem/store/reconciliation.sql:unfinished", {}, (row("redeem.reconciliations"),)),
    Meeting(
        "redeem/store/reconciliation.sql:lock_difference",
        {"difference_id": ID},
        (row("redeem.reconciliation_differences", kind="lots"),),
    ),
    # ---- what bills are worth
    Meeting("earn/queries.sql:lock_wallets", {"wallet_ids": [ID]}, (row("earn.wallets"),)),
    Meeting("earn/queries.sql:lock_rejections", {"subjects": ["1"]}, (row("earn.rejection_counts"),)),
    Meeting(
        "earn/queries.sql:lock_awaited", {"kinds": ["member"], "keys": ["1"]}, (row("earn.awaited", kind="member"),)
    ),
    Meeting("earn/queries.sql:lock_waiting", {"bill_ids": [ID]}, (WAITING,)),
    Meeting(
        "earn/queries.sql:lock_waiting", {"bill_ids": [ID]}, (WAITING,), "earn/store/listeners.sql:listen_for_bills", LISTEN
    ),
    Meeting(
        "earn/store/listeners.sql:listen_for_bills", LISTEN, (WAITING,), "earn/queries.sql:lock_waiting", {"bill_ids": [ID]}
    ),
    Meeting("earn/store/acts.sql:lock_waiting", {"act_ids": [ID]}, ACTS),
    Meeting("earn/store/acts.sql:lock_waiting", {"act_ids": [ID]}, ACTS, "earn/store/listeners.sql:listen_for_acts", LISTEN),
    Meeting("earn/store/listeners.sql:listen_for_acts", LISTEN, ACTS, "earn/store/acts.sql:lock_waiting", {"act_ids": [ID]}),
    Meeting("earn/store/refunds.sql:lock_sagas", {"bill_ids": [ID]}, (row("earn.sagas"),)),
    Meeting("earn/store/refunds.sql:lock_refunds", {"refund_ids": [ID]}, REFUND),
    Meeting(
        "earn/store/refunds.sql:lock_refunds", {"refund_ids": [ID]}, REFUND,
        "earn/store/listeners.sql:listen_for_refunds", LISTEN,
    ),
    Meeting(
        "earn/store/listeners.sql:listen_for_refunds", LISTEN, REFUND,
        "earn/store/refunds.sql:lock_refunds", {"refund_ids": [ID]},
    ),
    Meeting(
        "earn/store/activations.sql:lock_arrived", {"most": 5}, ARRIVED,
        "earn/store/listeners.sql:listen_for_activations", LISTEN_FOR_ONE,
    ),
    Meeting(
        "earn/store/settlements.sql:lock_variance",
        {"variance_id": ID},
        (row("earn.settlement_variances", kind="total", found_minor=7),),
    ),
    Meeting(
        "earn/store/referrals.sql:lock_open_referrals", {"wallet_ids": [ID]},
        (row("earn.wallets"), row("earn.referrals", referrer_id=OTHER)),
    ),
    Meeting("earn/store/referrals.sql:lock_due_referrals", ONE_REFERRAL, (DUE,)),
    Meeting("earn/store/referrals.sql:lock_reviews", ONE_REFERRAL, (DUE,)),
    Meeting(
        "earn/store/referrals.sql:lock_reversals",
        {"request_ids": [ID]},
        (
            row("earn.act_reversals", on_spent="debt", currency="SAR"),
            row("earn.act_decisions", status="earned"),
        ),
    ),
    Meeting("earn/store/benefits.sql:lock_effects", {"effect_ids": [ID]}, (row("earn.effects", kind="stamp_card"),)),
    Meeting(
        "earn/store/benefits.sql:lock_cards", {"wallet_ids": [ID], "cards": ["1"]}, (row("earn.stamp_cards"),)
    ),
    Meeting(
        "earn/store/reviews.sql:lock_terminals", {"merchants": ["1"], "terminals": ["1"]}, (row("earn.terminals"),)
    ),
    Meeting(
        "earn/store/counters.sql:lock_caps",
        {"wallet_ids": [ID], "campaigns": ["1"], "periods": ["day"], "sinces": [date(2026, 11, 22)]},
        (row("earn.caps", period="day"),),
    ),
    Meeting(
        "earn/store/counters.sql:lock_budgets", {"programmes": ["1"], "campaigns": ["1"]}, (row("earn.budgets"),)
    ),
    # ---- members, tiers
    Meeting("members/queries.sql:lock_programmes", {"codes": ["1"]}, (row("members.programmes", code="1"),)),
    Meeting("members/queries.sql:lock_merchants", {"merchants": ["1"]}, (row("members.merchants"),)),
    Meeting(
        "members/cards.sql:lock_members_of_cards",
        {"card_ids": [ID]},
        (MEMBER, row("members.wallets"), row("members.cards", card_number="12345678")),
    ),
    Meeting("members/merges.sql:lock_members", {"member_ids": [ID]}, (MEMBER,)),
    Meeting("members/segments.sql:lock_members", {"member_ids": [ID]}, (MEMBER,)),
    Meeting("members/birthdays.sql:lock_members", {"member_ids": [ID]}, (MEMBER,)),
    Meeting(
        "members/rates.sql:lock_pairs",
        {"from_currencies": ["USD"], "to_currencies": ["SAR"]},
        (row("members.currency_pairs", from_currency="USD", to_currency="SAR"),),
    ),
    Meeting(
        "tiers/queries.sql:await_programmes",
        {"programmes": ["1"]},
        (row("tiers.awaited", kind="programme", key="1"),),
    ),
    Meeting("tiers/queries.sql:lock_standings", {"wallet_ids": [ID]}, (row("tiers.standings"),)),
]  # fmt: skip

PASSES_BY = [
    # What is ready is marked, and what is being settled is passed by: its settler asks for what we hold.
    Meeting(
        "earn/queries.sql:lock_waiting", {"bill_ids": [ID]}, (WAITING,), "earn/queries.sql:make_ready",
        {"kinds": ["member"], "keys": ["1"]},
    ),
    Meeting(
        "earn/store/acts.sql:lock_waiting", {"act_ids": [ID]}, ACTS, "earn/queries.sql:make_ready",
        {"kinds": ["member"], "keys": ["1"]},
    ),
    Meeting(
        "earn/store/activations.sql:lock_arrived", {"most": 5}, ARRIVED,
    ),
    Meeting(
        "earn/store/listeners.sql:listen_for_activations", LISTEN_FOR_ONE, ARRIVED,
        "earn/store/activations.sql:lock_arrived", {"most": 5},
    ),
    Meeting(
        "tiers/queries.sql:take_unplaced", {"programme": "1", "most": 5}, (row("tiers.standings"), row("tiers.unplaced"))
    ),
    Meeting("notifier/queries.sql:claim_dispatch", DISPATCHES, (
        row("notifier.members"), row("notifier.dispatches"), row("notifier.messages", dispatch_id=ID, locale="en"),
    )),
    Meeting("notifier/queries.sql:claim", {**DISPATCHES, "most": 5}, (
        row("notifier.members"), row("notifier.deliveries", due_at=AT), row("notifier.messages"),
    )),
    Meeting(
        "notifier/queries.sql:renew_dispatches",
        {"dispatch_ids": [ID], "attempts": [1], "lease": timedelta(seconds=1)},
        (row("notifier.dispatches", claimed_until=AT),),
    ),
    Meeting(
        "notifier/queries.sql:renew",
        {"message_ids": [ID], "attempts": [1], "lease": timedelta(seconds=1)},
        (row("notifier.deliveries", due_at=AT, claimed_until=AT, attempts=1),),
    ),
]  # fmt: skip


@pytest.fixture
async def admin(settings: Settings, tenant: Tenant) -> AsyncIterator[Db]:
    db = await asyncpg.connect(dsn_for(settings, tenant.database))
    yield db
    await db.close()


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    return asyncio.run(new_tenant(settings))


@asynccontextmanager
async def two_of(
    settings: Settings, tenant: Tenant, service: str, patience_ms: int
) -> AsyncIterator[tuple[Db, Db]]:
    """Two processes' connections, the second of which waits for a lock no longer than this."""
    first, second = [await connect_as(settings, tenant, service) for _ in range(2)]
    try:
        await second.execute(f"SET lock_timeout = {patience_ms}")
        yield first, second
    finally:
        await first.close()
        await second.close()


async def ask(db: Db, name: str, given: dict[str, Any]) -> Any:
    place, _, query = name.partition(":")
    service, _, file = place.partition("/")
    return await getattr(load(f"services.{service}", file), query)(db, **given)


async def met(admin: Db, first: Db, second: Db, meeting: Meeting) -> Any:
    """What the second one is given while the first one's transaction is open; "waits" where it would have to wait."""
    for table, values in meeting.rows:
        await put_row(admin, table, **values)
    holds, asks = first.transaction(), second.transaction()
    await holds.start()
    await asks.start()
    try:
        found = await ask(first, meeting.name, meeting.given)
        assert found not in (None, []), f"{meeting.name} found nothing"
        return await ask(second, *meeting.second)
    except asyncpg.LockNotAvailableError:
        return "waits"
    finally:
        await asks.rollback()
        await holds.rollback()
        for table, _ in meeting.rows:
            await admin.execute(f"DELETE FROM {table}")


async def told(
    settings: Settings, tenant: Tenant, admin: Db, service: str, meetings: list[Meeting], patience_ms: int
) -> dict[str, Any]:
    """What the second one was told at each of a service's meetings."""
    async with two_of(settings, tenant, service, patience_ms) as (first, second):
        return {
            f"{one.name} {one.then}": await met(admin, first, second, one)
            for one in meetings
            if one.name.startswith(service)
        }


@pytest.mark.parametrize("service", ["redeem", "earn", "members", "tiers"])
async def test_who_comes_second_waits(settings: Settings, tenant: Tenant, admin: Db, service: str) -> None:
    answers = await told(settings, tenant, admin, service, WAITS, 10)
    assert answers
    assert [name for name, answer in answers.items() if answer != "waits"] == []


@pytest.mark.parametrize("service", ["earn", "tiers", "notifier"])
async def test_who_comes_second_passes_by(
    settings: Settings, tenant: Tenant, admin: Db, service: str
) -> None:
    answers = await told(settings, tenant, admin, service, PASSES_BY, 200)
    assert answers
    assert [name for name, answer in answers.items() if answer != []] == []


async def test_who_adopts_a_stream_waits_for_who_commits_something_to_tell(
    settings: Settings, tenant: Tenant, admin: Db
) -> None:
    await admin.execute("SET search_path = earn; SET lock_timeout = 10")
    async with two_of(settings, tenant, "earn", 10) as (teller, _):
        telling = teller.transaction()
        await telling.start()
        await teller.execute("LOCK TABLE outbox IN ROW EXCLUSIVE MODE")  # as an INSERT does
        with pytest.raises(asyncpg.LockNotAvailableError):
            async with admin.transaction():
                await streams.lock_outbox(admin)
        await telling.rollback()
        async with admin.transaction():
            await streams.lock_outbox(admin)


async def test_who_lost_its_lease_neither_renews_nor_settles(
    settings: Settings, tenant: Tenant, admin: Db
) -> None:
    """Another has taken over, which the attempts tell: they are two by now."""
    held = {"claimed_until": AT, "attempts": 2}
    await put_row(admin, "notifier.dispatches", **held)
    await put_row(admin, "notifier.deliveries", due_at=AT, **held)
    lease = timedelta(seconds=1)
    async with two_of(settings, tenant, "notifier", 200) as (db, _):

        async def asked(attempts: int) -> list[int]:
            of: dict[str, Any] = {"dispatch_ids": [ID], "attempts": [attempts]}
            alone: dict[str, Any] = {"message_ids": [ID], "attempts": [attempts]}
            came = {"states": ["failed"], "locales": [None], "errors": [None], "pauses": [None]}
            return [
                len(await sql(db, **given))
                for sql, given in (
                    (notifier.renew_dispatches, {**of, "lease": lease}),
                    (notifier.renew, {**alone, "lease": lease}),
                    (notifier.settle_dispatches, {**of, "sent": [True], "now": AT}),
                    (notifier.settle, {**alone, **came, "now": AT}),
                )
            ]

        assert await asked(1) == [0, 0, 0, 0]
        assert await asked(2) == [1, 1, 1, 1]
    await admin.execute("DELETE FROM notifier.dispatches; DELETE FROM notifier.deliveries")
