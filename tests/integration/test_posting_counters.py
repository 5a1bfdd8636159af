"""What a batch of each kind of posting costs, beside accruals and plain redemptions (test_counters.py): 32 wallets, one act each.

Each kind has its own wallets' lots to move, in four batches: the first makes plans and caches, the cheapest of the others counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from services.redeem.domain.acts import Adjust, Evidence, Open, Part, Reinstate, Transfer
from services.redeem.domain.redemption import Capture, Redeem, Return, Void
from services.redeem.domain.rewards import Code
from services.redeem.domain.sweep import Expire
from services.redeem.handlers import ON
from shared.config import Settings
from shared.events import (
    EventData,
    MerchantChanged,
    PointsAccrued,
    ReleaseRequested,
    ReturnRequested,
    ReversalRequested,
)
from shared.events.bills import AccruedLot
from shared.ids import uuid7
from shared.messaging import FromHttp, FromJob, FromStream, Item
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.costs import Cost, checkpoint, cost, hold_against_the_baseline
from tests.support.facts import AT, activated, enrolled, heard
from tests.support.tenants import connect_as, running

TURNS, WALLETS = 4, 32
RICH, SMALL = 10_000, 100


class Member(msgspec.Struct):
    """Somebody with points to spend, accruals to take back or to release, and a lot whose time is over in a second wallet."""

    member_id: UUID = msgspec.field(default_factory=uuid7)
    wallet_id: UUID = msgspec.field(default_factory=uuid7)
    rich: UUID = msgspec.field(default_factory=uuid7)
    to_reverse: UUID = msgspec.field(default_factory=uuid7)
    to_release: UUID = msgspec.field(default_factory=uuid7)
    to_cancel: UUID = msgspec.field(default_factory=uuid7)
    lapsed_wallet: UUID = msgspec.field(default_factory=uuid7)
    lapsed_lot: UUID = msgspec.field(default_factory=uuid7)
    bill_ref: str = msgspec.field(default_factory=lambda: f"B-{uuid7().hex}")

    def history(self) -> list[EventData]:
        """What is heard of them first."""
        earned = [
            self._accrued(self.rich, RICH),
            self._accrued(self.to_reverse, SMALL),
            self._accrued(self.to_release, SMALL, kind="earn_held"),
            self._accrued(self.to_cancel, SMALL, kind="earn_held"),
        ]
        lapsed = PointsAccrued(
            **self._common(self.lapsed_wallet), accrual_id=uuid7(), kind="earn", points=SMALL,
            lots=(AccruedLot(lot_id=self.lapsed_lot, points=SMALL, expires_at=AT + timedelta(days=30)),),
        )  # fmt: skip
        return [enrolled(self.member_id, self.wallet_id), *earned, lapsed]

    def _accrued(self, accrual_id: UUID, points: int, *, kind: str = "earn") -> PointsAccrued:
        return PointsAccrued(
            **self._common(self.wallet_id), accrual_id=accrual_id, kind=kind, points=points,
            lots=(AccruedLot(lot_id=uuid7(), points=points, expires_at=None),),
        )  # fmt: skip

    def _common(self, wallet_id: UUID) -> dict[str, Any]:
        return {
            "bill_id": uuid7(), "member_id": self.member_id, "wallet_id": wallet_id, "programme": "shops",
            "programme_version": 1, "currency": "SAR", "point_value": "0.10", "effective_at": AT, "decided_at": AT,
        }  # fmt: skip


def by_http(command: Any) -> Item[Any]:
    """A call under a key of its own."""
    origin = FromHttp("tester", "POST /v1", uuid7().hex, bytes(32))
    return Item(command, origin, request_id=uuid7().hex, actor="tester")


def set_aside(member: Member) -> Redeem:
    """Twenty points, under a code."""
    return Redeem(
        programme="shops", member_id=member.member_id, identity_kind=None, identity_hash=None, points=20, money=None,
        merchant="riyadh-mall", terminal="T03", cashier="c117", channel="store", bill_ref=member.bill_ref,
        code=Code(uuid7().bytes * 2, "sealed"),
    )  # fmt: skip


def ask_back(member: Member, accrual_id: UUID) -> ReversalRequested:
    """All of an accrual."""
    return ReversalRequested(
        request_id=uuid7(), refund_id=uuid7(), bill_id=uuid7(), accrual_id=accrual_id, wallet_id=member.wallet_id,
        programme="shops", currency="SAR", point_value="0.10", reverse_through=SMALL, on_spent="block",
        effective_at=AT, decided_at=AT,
    )  # fmt: skip


def ask_free(member: Member) -> ReleaseRequested:
    """All that is held of an accrual."""
    return ReleaseRequested(
        request_id=uuid7(), bill_id=uuid7(), accrual_id=member.to_release, wallet_id=member.wallet_id, programme="shops",
        release_through=SMALL, effective_at=AT, decided_at=AT,
    )  # fmt: skip


def ask_share(member: Member) -> ReturnRequested:
    """The half of what points paid of a bill."""
    return ReturnRequested(
        request_id=uuid7(), refund_id=uuid7(), bill_id=uuid7(), merchant="riyadh-mall", bill_ref=member.bill_ref,
        returned_minor=500, total_minor=1_000, effective_at=AT, decided_at=AT,
    )  # fmt: skip


def adjust(member: Member) -> Adjust:
    """Ten points given by one person."""
    return Adjust(
        adjustment_id=uuid7(), programme="shops",
        parts=(Part(posting_id=uuid7(), wallet_id=member.wallet_id, points=10),),
        reason="goodwill", evidence=Evidence("CASE-1"),
    )  # fmt: skip


class House:
    """The bank with these members, and what its batches cost."""

    def __init__(
        self,
        settings: Settings,
        patched: pytest.MonkeyPatch,
        bank: TenantRuntime,
        db: asyncpg.Connection[Any],
    ) -> None:
        self._settings, self._patched, self._bank, self._db = settings, patched, bank, db
        self._entries = iter(range(1, 1_000_000))
        self.groups = [[Member() for _ in range(WALLETS)] for _ in range(TURNS)]
        self.found: dict[str, Cost] = {}

    async def hear(self) -> None:
        """What is known of all of them before they act."""
        facts: list[EventData] = [
            activated("shops"), MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T03",))
        ]  # fmt: skip
        facts += [fact for group in self.groups for member in group for fact in member.history()]
        await self._bank.lane.submit_many([heard(fact) for fact in facts])

    async def called(self, name: str, command: Callable[[Member], Any]) -> None:
        """A call of each member's, 32 together."""
        await self._cost(name, ([by_http(command(one)) for one in group] for group in self.groups))

    async def done(self, command: Callable[[Member], Any]) -> None:
        """The same, not counted."""
        for group in self.groups:
            await self._bank.lane.submit_many([by_http(command(one)) for one in group])

    async def told(self, name: str, event: Callable[[Member], EventData]) -> None:
        """An entry of earn's stream of each member's."""
        await self._cost(name, ([self._entry(event(one)) for one in group] for group in self.groups))

    async def swept(self, name: str) -> None:
        """A sweep's step over all of a group."""
        commands = [Expire(tuple(one.lapsed_wallet for one in group)) for group in self.groups]
        batches = [
            [Item(one, FromJob("expire"), request_id=uuid7().hex, actor="job:expire")] for one in commands
        ]
        await self._cost(name, batches, postings=WALLETS)

    async def redemptions(self, status: str) -> dict[UUID, UUID]:
        """Those of this status, by wallet; each has one at most."""
        rows = await self._db.fetch(
            "SELECT wallet_id, redemption_id FROM redeem.redemptions WHERE status = $1", status
        )
        assert len(rows) == TURNS * WALLETS
        return {row["wallet_id"]: row["redemption_id"] for row in rows}

    async def posted(self) -> dict[str, int]:
        """How many postings there are of each kind."""
        rows = await self._db.fetch("SELECT kind::text, count(*) AS n FROM redeem.postings GROUP BY kind")
        return {row["kind"]: row["n"] for row in rows}

    async def _cost(self, name: str, batches: Iterable[list[Item[Any]]], *, postings: int = 1) -> None:
        self.found[name] = await cost(
            self._settings, self._patched, self._bank, list(batches), postings=postings
        )

    def _entry(self, event: EventData) -> Item[Any]:
        origin = FromStream("earn", next(self._entries))
        return Item(
            event, origin, request_id=uuid7().hex, actor="/earn", source="/earn", event_id=str(uuid7())
        )


async def test_a_batch_of_each_posting_costs_what_the_baseline_says(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = await connect_as(settings, tenant, "auditor")
    try:
        async with running(settings, tenant, "redeem", ON) as bank:
            house = House(settings, monkeypatch, bank, db)
            await checkpoint(settings)
            await house.hear()
            await spending(house)
            await asked_by_earn(house)
            await expiring(house)
            await by_people(house)
            posted = await house.posted()
    finally:
        await db.close()
    each = TURNS * WALLETS
    assert posted == {
        "earn": 3 * each, "earn_held": 2 * each, "reserve": 2 * each, "void": each, "redeem": each, "return": 2 * each,
        "release": each, "cancel_hold": each, "reverse": each, "expire": each, "reinstate": each, "transfer": 2 * each,
        "adjust": each, "opening": each,
    }  # fmt: skip
    hold_against_the_baseline(house.found)


async def spending(house: House) -> None:
    """Set aside and given back, set aside and captured, and half of that returned by a till."""
    await house.called("reserve", set_aside)
    authorised = await house.redemptions("authorised")
    await house.called("void", lambda one: Void(redemption_id=authorised[one.wallet_id]))
    await house.done(set_aside)
    authorised = await house.redemptions("authorised")
    await house.called("capture", lambda one: Capture(redemption_id=authorised[one.wallet_id]))
    captured = await house.redemptions("captured")
    await house.called(
        "return", lambda one: Return(redemption_id=captured[one.wallet_id], return_ref=one.bill_ref, points=5)
    )


async def asked_by_earn(house: House) -> None:
    """Holds released and cancelled, accruals taken back, a refund's share of what points paid."""
    await house.told("release", ask_free)
    await house.told("cancel_hold", lambda one: ask_back(one, one.to_cancel))
    await house.told("reverse", lambda one: ask_back(one, one.to_reverse))
    await house.told("a refund's return", ask_share)


async def expiring(house: House) -> None:
    """Expired by a sweep, and brought back."""
    await house.swept("expire")
    await house.called(
        "reinstate",
        lambda one: Reinstate(
            reinstatement_id=uuid7(), wallet_id=one.lapsed_wallet, lot_id=one.lapsed_lot, points=SMALL,
            expires_at=None, reason="goodwill",
        ),
    )  # fmt: skip


async def by_people(house: House) -> None:
    """Given away, put right, brought along."""
    await house.called(
        "transfer",
        lambda one: Transfer(transfer_id=uuid7(), giver=one.wallet_id, receiver=one.lapsed_wallet, points=10),
    )
    await house.called("adjust", adjust)
    await house.called(
        "opening",
        lambda one: Open(
            opening_id=uuid7(), wallet_id=one.wallet_id, points=10, earned_at=AT, expires_at=None
        ),
    )
