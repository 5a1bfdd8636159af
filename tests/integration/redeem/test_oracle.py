"""The real bank beside the model that shares no code with it, act by act; then the oracle over what it wrote, and over what it
did not."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest_asyncio
from redis.asyncio import Redis

from pointbank.desk import open_desk
from pointbank.jobs.sealing import reconcile_tenant
from pointbank.verify import Report
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.streams import heads
from pointbank.verify.walks import check_all
from services.redeem.domain.acts import DecideAdjustment, Evidence, Open, Part, Reinstate, Transfer
from services.redeem.domain.disputes import DecideDispute, OpenDispute
from services.redeem.domain.redemption import Redeem
from services.redeem.domain.sweep import Expire
from services.redeem.jobs.telling_expiry import tell_of_expiry
from shared.config import Settings
from shared.db import Connection
from shared.events import PointsAccrued
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Outcome
from tests.integration.redeem.conftest import Bank, Member, accrued, adjustment
from tests.integration.redeem.test_asked import release, reversal
from tests.integration.redeem.test_authorisations import authorised, capture, void
from tests.integration.redeem.test_returns import RULES, give_back, lots_of, redeemed, requested
from tests.support.books import open_books
from tests.support.facts import activated
from tests.support.models.bank import ModelBank
from tests.support.models.wallet import WALLET, ModelAccrual, ModelWallet

NOW = datetime.now(UTC).replace(microsecond=0)
PROGRAMME = "modelled"
EXPIRY = {"policy": "months_after_earning", "months": 12, "holds": "expire", "notice_days": [60]}
ENDS = (None, NOW - timedelta(days=2), NOW + timedelta(days=40), NOW + timedelta(days=90))
SEED, GROUPS = 11, 150

OURS = {
    "ledger:chain", "ledger:balances", "ledger:lots", "ledger:money", "postings:once", "postings:told", "requests:told",
    "requests:targets", "requests:recovered", "returns:refunds", "redemptions:lots", "transfers",
    "notices:told", "sequence:redeem", "cuts:redeem",
    "adjustments:posted", "adjustments:allowed", "reinstatements", "disputes",
}  # fmt: skip
"""What the bank answers for by itself; the other checks want the services that it hears."""


class Town:
    """Four members, and what the model says of them."""

    def __init__(self, bank: Bank, members: list[Member], rng: random.Random) -> None:
        self.bank, self.members, self.rng = bank, members, rng
        self.model = ModelBank(holds_expire=True)
        self.models = {member.wallet_id: ModelWallet() for member in members}
        self.accruals: list[tuple[PointsAccrued, ModelAccrual]] = []
        self.met: Counter[str] = Counter()

    def someone(self) -> Member:
        return self.rng.choice(self.members)

    def some(self, whole: int) -> int:
        return max(self.rng.choice((3, whole // 2, whole, whole, whole + 7)), 1)

    async def act(self, commands: list[Any]) -> list[Outcome]:
        items = [Item(one, FromJob("test"), request_id=str(uuid7()), actor="test") for one in commands]
        return await self.bank.runtime.lane.submit_many(items)

    async def group(self) -> None:
        """A few acts of one kind, in one batch: each is answered as the model answers it."""
        kind = self.rng.choice(
            (self.earn, self.earn, self.spend, self.spend, self.ask, self.ask, self.move, self.expire)
        )
        pairs = [pair for _ in range(self.rng.randint(1, 5)) if (pair := await kind()) is not None]
        outcomes = await self.act([command for command, _ in pairs])
        for (command, expected), outcome in zip(pairs, outcomes, strict=True):
            name = type(command).__name__
            assert isinstance(outcome, Done) == expected, (name, command, outcome)
            self.met[f"{name} {'done' if expected else 'refused'}"] += 1

    async def earn(self) -> tuple[Any, bool]:
        member, points = self.someone(), self.rng.randint(1, 60)
        until, held = self.rng.choice(ENDS), self.rng.random() < 0.3
        at = NOW - timedelta(days=self.rng.randint(1, 20))
        accrual = accrued(
            member.wallet_id,
            points,
            member_id=member.member_id,
            at=at,
            expires_at=until,
            kind="earn_held" if held else "earn",
            programme=PROGRAMME,
        )
        model = self.model.earn(self.models[member.wallet_id], points, at=at, until=until, held=held, now=NOW)
        self.accruals.append((accrual, model))
        return accrual, True

    async def spend(self) -> tuple[Any, bool]:
        member = self.someone()
        wallet = self.models[member.wallet_id]
        points = self.some(sum(lot.available for lot in wallet.lots if not lot.gone(NOW)))
        command = Redeem(
            programme=PROGRAMME,
            member_id=member.member_id,
            identity_kind=None,
            identity_hash=None,
            points=points,
            money=None,
            merchant="riyadh-mall",
            terminal=None,
            cashier=None,
            channel=None,
            bill_ref=None,
        )
        return command, self.model.redeem(wallet, points, now=NOW)

    async def ask(self) -> tuple[Any, bool] | None:
        if not self.accruals:
            return None
        accrual, model = self.rng.choice(self.accruals[-12:])
        through = self.some(accrual.points)
        if accrual.kind == "earn_held" and self.rng.random() < 0.5:
            self.model.release(model, through, now=NOW)
            return release(accrual, through), True
        on_spent = self.rng.choice(("block", "partial", "debt"))
        came = self.model.reverse(model, through, on_spent=on_spent, now=NOW)
        parts = ("cancelled", "reversed", "owed", "lapsed", "missing") if came else ()
        self.met.update(name for name, points in zip(parts, came or (), strict=True) if points)
        self.met["blocked"] += came is None
        return reversal(accrual, through, on_spent=on_spent), True  # type: ignore[arg-type]

    async def move(self) -> tuple[Any, bool]:
        member = self.someone()
        wallet_id, wallet = member.wallet_id, self.models[member.wallet_id]
        usable = sum(lot.available for lot in wallet.lots if not lot.gone(NOW))
        until = self.rng.choice((None, NOW + timedelta(days=40)))
        match self.rng.randint(0, 3):
            case 0:
                to, points = self.someone().wallet_id, self.some(usable)
                command: Any = Transfer(transfer_id=uuid7(), giver=wallet_id, receiver=to, points=points)
                return command, self.model.transfer(wallet, self.models[to], points, now=NOW)
            case 1:
                points = self.rng.choice((5, -self.some(usable)))
                until = until if points > 0 else None  # only what is given expires
                command = adjustment(wallet_id, points, programme=PROGRAMME, expires_at=until)
                return command, self.model.adjust(wallet, points, until=until, now=NOW)
            case 2:
                at = NOW - timedelta(days=400)
                command = Open(
                    opening_id=uuid7(), wallet_id=wallet_id, points=9, earned_at=at, expires_at=until
                )
                self.model.open(wallet, 9, at=at, until=until)
                return command, True
            case _:
                return await self.reinstate(wallet_id, until)

    async def reinstate(self, wallet_id: UUID, until: datetime | None) -> tuple[Any, bool]:
        wallet = self.models[wallet_id]
        ids = await self.lot_ids(wallet_id)
        # Of the lots that were there before this batch.
        k = self.rng.randrange(len(ids)) if ids else None
        lot_id, lot = (ids[k], wallet.lots[k]) if k is not None else (uuid7(), None)
        points = self.rng.choice((1, max(lot.expired, 1) if lot else 1))
        command = Reinstate(
            reinstatement_id=uuid7(),
            wallet_id=wallet_id,
            lot_id=lot_id,
            points=points,
            expires_at=until,
            reason="goodwill",
        )
        return command, lot is not None and self.model.reinstate(wallet, lot, points, until=until)

    async def expire(self) -> tuple[Any, bool]:
        wallet_id = self.someone().wallet_id
        self.met["expired"] += bool(self.model.expire(self.models[wallet_id], NOW))
        return Expire((wallet_id,)), True

    async def lot_ids(self, wallet_id: UUID) -> list[UUID]:
        """The wallet's lots in the order in which its lines opened them."""
        opened = "e.from_bucket IN ('issued', 'transferred', 'adjusted')"
        rows = await self.bank.auditor.fetch(
            f"SELECT lot_id FROM redeem.ledger AS e WHERE wallet_id = $1 AND {opened} ORDER BY seq", wallet_id
        )
        return [row[0] for row in rows]

    async def compare(self) -> None:
        for wallet_id, model in self.models.items():
            buckets, lots = model.shown()
            row = await self.bank.wallet(wallet_id)
            assert {bucket: row[bucket] for bucket in WALLET} == buckets
            rows = await self.bank.auditor.fetch("SELECT * FROM redeem.lots WHERE wallet_id = $1", wallet_id)
            by_id = {one["lot_id"]: one for one in rows}
            assert [
                (
                    lot["points"],
                    lot["expires_at"],
                    lot["remaining"] - lot["held"] - lot["reserved"],
                    *(lot[part] for part in ("held", "reserved", "expired", "reversed", "owed")),
                )
                for lot in map(by_id.__getitem__, await self.lot_ids(wallet_id))
            ] == lots


@pytest_asyncio.fixture(loop_scope="module")
async def town(bank: Bank) -> Town:
    """A bank after a few hundred random acts, each compared with the model."""
    told = activated(PROGRAMME, expiry=EXPIRY, adjustments={"second_person_above": 10**12})
    await bank.hear(told)
    made = Town(bank, [await bank.member(programme=PROGRAMME) for _ in range(4)], random.Random(SEED))
    for k in range(GROUPS):
        await made.group()
        if k % 10 == 9:
            await made.compare()
    await made.compare()
    return made


async def test_the_bank_does_what_the_model_does_and_the_oracle_finds_nothing_but_what_is_spoilt(
    town: Town, settings: Settings
) -> None:
    """One test, for the town is dear: a few hundred acts, the oracle over them, then each spoilt book found."""
    rare = {"cancelled", "reversed", "owed", "lapsed", "missing", "blocked", "expired"}
    assert {name for name in rare if not town.met[name]} == set(), town.met
    kinds = {row[0] for row in await town.bank.auditor.fetch("SELECT DISTINCT kind::text FROM redeem.ledger")}
    unposted = {"reserve", "void", "return", "overdraw"}
    assert kinds >= {
        "earn", "earn_held", "release", "cancel_hold", "redeem", "expire", "reinstate", "reverse", "transfer", "adjust",
        "owe", "repay", "opening",
    } - unposted  # fmt: skip
    await town.bank.hear(accrued(town.members[0].wallet_id, 5, programme=PROGRAMME, expires_at=ENDS[2]))
    assert await tell_of_expiry(town.bank.runtime) > 0
    await renewed_and_taken_back(town.bank)
    await renewed_and_spent_again(town.bank)
    await came_back_late(town.bank)
    await by_two(town)
    await brought_along(town.bank)
    # Every kind of posting is told as it was posted, in the words of the nightly run too.
    await reconcile_tenant(settings, town.bank.code, actor="test")
    apart = await town.bank.auditor.fetch(
        "SELECT subject, expected, found FROM redeem.reconciliation_differences"
    )
    assert [tuple(row) for row in apart] == []

    db = await open_books(settings, town.bank.code)
    outer = db.transaction()
    await outer.start()
    try:
        # What earn would know of the programme: the oracle takes the value of a point from there.
        await db.execute(
            "INSERT INTO earn.programmes (programme, version, document, activated_at)"
            " SELECT programme, version, document::text::json, activated_at FROM redeem.programmes"
        )
        # PostgreSQL would not let these be spoilt.
        await db.execute("ALTER TABLE redeem.adjustments DROP CONSTRAINT adjustments_decided_by_another")
        await db.execute("ALTER TABLE redeem.disputes DROP CONSTRAINT disputes_upheld_have_evidence")
        assert await town_report(settings, town.bank.code, db) == set()
        for name, (sql, found) in SPOILT.items():
            transaction = db.transaction()
            await transaction.start()
            done = await db.execute(sql)
            assert not done.endswith(" 0"), name
            assert found <= await town_report(settings, town.bank.code, db), name
            await transaction.rollback()
    finally:
        await outer.rollback()
        await db.close()


async def renewed_and_taken_back(bank: Bank) -> None:
    """80 of 100 points are spent, 30 of these come back to a lot of their own, and the bill that earned them is refunded."""
    await bank.hear(activated("renewing", redemption={**RULES, "restore": "renewed"}))
    member = await bank.member(programme="renewing")
    accrual = accrued(
        member.wallet_id, 100, member_id=member.member_id, programme="renewing", expires_at=ENDS[2]
    )
    await bank.hear(accrual)
    spent = await redeemed(bank, member, points=80, programme="renewing")
    assert (await give_back(bank, spent, points=30)).status_code == 201
    await bank.hear(reversal(accrual, 100, on_spent="partial"))
    taken = await bank.auditor.fetch(
        "SELECT points, reversed FROM redeem.lots WHERE wallet_id = $1 ORDER BY earned_at, lot_id",
        member.wallet_id,
    )
    assert [tuple(lot) for lot in taken] == [(100, 20), (30, 30)]


async def renewed_and_spent_again(bank: Bank) -> None:
    """What a return renewed is spent, and returned to that very lot: it would not live longer by another."""
    member = await bank.member(60, programme="renewing", expires_at=ENDS[2])
    for back in (60, 20):
        spent = await redeemed(bank, member, points=60, programme="renewing")
        assert (await give_back(bank, spent, points=back)).status_code == 201
    assert await lots_of(bank, member) == [(60, 0), (60, 20)]


async def came_back_late(bank: Bank) -> None:
    """A bill is refunded while its points are set aside, and these come back; another while what pays for it is set aside."""
    member = await bank.member(programme="renewing")
    accrual = accrued(member.wallet_id, 60, member_id=member.member_id, programme="renewing")
    await bank.hear(accrual)
    one = await authorised(bank, member, points=60, programme="renewing")
    await bank.hear(reversal(accrual, 60, on_spent="partial"))
    assert (await void(bank, one)).status_code == 200
    await bank.hear(accrued(member.wallet_id, 60, member_id=member.member_id, programme="renewing"))
    paid = await authorised(bank, member, points=50, programme="renewing", bill_ref="LATE")
    await bank.hear(requested("LATE", 10_000))
    assert (await capture(bank, paid)).status_code == 200
    assert (await bank.wallet(member.wallet_id))["available"] == 60


async def brought_along(bank: Bank) -> None:
    """A balance from elsewhere, where its member was active after earning it."""
    member = await bank.member(programme=PROGRAMME)
    brought = Open(
        opening_id=uuid7(), wallet_id=member.wallet_id, points=9, earned_at=NOW - timedelta(days=400), expires_at=None,
        last_active_at=NOW - timedelta(days=1),
    )  # fmt: skip
    [opened] = await bank.runtime.lane.submit_many(
        [Item(brought, FromJob("test"), request_id=str(uuid7()), actor="test")]
    )
    assert isinstance(opened, Done)


async def by_two(town: Town) -> None:
    """A bulk adjustment that somebody else approved, one that was rejected, and a dispute that was upheld."""
    one, other = [member.wallet_id for member in town.members[:2]]
    bulk, never = [
        msgspec.structs.replace(
            adjustment(one, points, programme=PROGRAMME),
            parts=tuple(
                Part(posting_id=uuid7(), wallet_id=wallet_id, points=points) for wallet_id in (one, other)
            ),
        )
        for points in (4, 5)
    ]
    row = await town.bank.auditor.fetchrow("SELECT posting_id FROM redeem.ledger WHERE wallet_id = $1", one)
    assert row is not None
    dispute = OpenDispute(
        dispute_id=uuid7(),
        posting_id=row["posting_id"],
        points=6,
        reason="lost",
        evidence=Evidence("L-1", bytes(32)),
    )
    asked = await town.act([bulk, never, dispute])
    assert [one.status for one in asked if isinstance(one, Done)] == [202, 202, 201]
    decisions = [
        DecideAdjustment(adjustment_id=bulk.adjustment_id, approve=True),
        DecideAdjustment(adjustment_id=never.adjustment_id, approve=False),
        DecideDispute(dispute_id=dispute.dispute_id, uphold=True),
    ]
    items = [Item(made, FromJob("test"), request_id=str(uuid7()), actor="another") for made in decisions]
    decided = await town.bank.runtime.lane.submit_many(items)
    assert [one.status for one in decided if isinstance(one, Done)] == [200, 200, 200]


async def town_report(settings: Settings, tenant: str, db: Connection) -> set[str]:
    """The names of the bank's own checks that are broken; each of them compared something."""
    report = Report(tenant)
    redis = Redis.from_url(settings.redis_url)
    try:
        copies = await heads(redis, settings.cell, tenant)
        await check_all(report, Snapshot(db), redis, copies, journal=None, progress=lambda _: None)
    finally:
        await redis.aclose()
    assert {check.name for check in report if check.name in OURS and not check.compared} == set()
    return {check.name for check in report.broken} & OURS


SPOILT = {
    "a shortfall that was made good twice": (
        "UPDATE redeem.recoveries SET points = points + 1",
        {"requests:recovered", "requests:targets"},
    ),
    "points captured for a refunded bill that stayed away": (
        "UPDATE redeem.redemptions SET returned_points = 0 WHERE bill_ref = 'LATE'",
        {"returns:refunds"},
    ),
    "a release that was more": (
        "UPDATE redeem.asked SET released = released + 1 WHERE kind = 'release' AND posting_id IS NOT NULL",
        {"requests:told"},
    ),
    "a reversal past its target": (
        "UPDATE redeem.asked SET through = 0 WHERE reversed > 0",
        {"requests:targets"},
    ),
    "a renewed lot that forgot what was taken back": (
        "UPDATE redeem.lots SET reversed = 0 WHERE reversed > 0 AND parent_lot IS NOT NULL AND NOT given",
        {"requests:targets", "ledger:lots"},
    ),
    "a debt that no lot knows": (
        "UPDATE redeem.lots SET owed = 0 WHERE owed > 0",
        {"requests:targets", "ledger:lots"},
    ),
    "an answer that was never given": (
        "UPDATE redeem.asked SET state = 'refused', posting_id = NULL WHERE posting_id IS NOT NULL AND kind = 'reverse'",
        {"requests:told"},
    ),
    "expired points that a lot forgot": (
        "UPDATE redeem.lots SET expired = 0 WHERE expired > 0",
        {"ledger:lots"},
    ),
    "a gift that is no gift": (
        "UPDATE redeem.lots SET parent_lot = NULL WHERE given",
        {"ledger:lots", "transfers"},
    ),
    "a gift that lives longer": (
        "UPDATE redeem.lots SET expires_at = expires_at + interval '1 day' WHERE given AND opened_expires_at IS NULL",
        {"ledger:lots"},
    ),
    "a lot that nothing renewed": (
        """
        UPDATE redeem.lots SET opened_expires_at = expires_at, expires_at = expires_at + interval '1 day'
        WHERE opened_expires_at IS NULL AND expires_at IS NOT NULL AND NOT given
        """,
        {"ledger:lots"},
    ),
    "a member who was active at another time": (
        "UPDATE redeem.wallets SET last_active_at = last_active_at + interval '1 hour'",
        {"ledger:balances"},
    ),
    "a member of whom nobody knows any more that they were active elsewhere": (
        "DELETE FROM redeem.opening_activities",
        {"ledger:balances"},
    ),
    "a notice that nobody got": (
        "UPDATE redeem.notices SET points = points + 1",
        {"notices:told"},
    ),
    "an adjustment that nobody asked for": (
        "DELETE FROM redeem.adjustment_parts WHERE posting_id = (SELECT min(posting_id::text)::uuid FROM redeem.adjustment_parts)",
        {"adjustments:posted", "adjustments:allowed"},
    ),
    "an adjustment that was asked for another wallet": (
        "UPDATE redeem.adjustment_parts SET wallet_id = gen_random_uuid()",
        {"adjustments:posted", "adjustments:allowed"},
    ),
    "a bulk adjustment that nobody else approved": (
        """
        UPDATE redeem.adjustments SET decided_by = NULL, decided_at = NULL
        WHERE state = 'posted' AND reason <> 'dispute' AND decided_by IS NOT NULL
        """,
        {"adjustments:allowed"},
    ),
    "an adjustment above another threshold than its programme's": (
        "UPDATE redeem.adjustments SET second_person_above = 5",
        {"adjustments:allowed"},
    ),
    "many small adjustments that make a large one": (
        """
        UPDATE earn.programmes
        SET document = jsonb_set(document::jsonb, '{adjustments,second_person_above}', '9')::json;
        UPDATE redeem.adjustments SET second_person_above = 9
        """,
        {"adjustments:allowed"},
    ),
    "an approval that the audit does not know": (
        "DELETE FROM redeem.audit WHERE action = 'adjustment.approve'",
        {"adjustments:allowed"},
    ),
    "somebody who approved their own request": (
        """
        UPDATE redeem.adjustments SET decided_by = requested_by WHERE decided_by IS NOT NULL
        """,
        {"adjustments:allowed"},
    ),
    "a reinstatement that nobody asked for": (
        "DELETE FROM redeem.reinstatements WHERE points = 1",
        {"reinstatements"},
    ),
    "a reinstatement for a reason of nobody's": (
        "UPDATE redeem.reinstatements SET reason = 'whim'",
        {"adjustments:allowed"},
    ),
    "a dispute that was about more": (
        "UPDATE redeem.disputes SET points = points + 1",
        {"disputes"},
    ),
    "a correction that its dispute forgot": (
        "UPDATE redeem.disputes SET state = 'rejected', adjustment_id = NULL",
        {"adjustments:allowed", "disputes"},
    ),
    "a dispute that was upheld without evidence": (
        """
        UPDATE redeem.disputes SET evidence_sha256 = NULL
        """,
        {"disputes"},
    ),
    "a repayment of another lot": (
        """
        UPDATE redeem.ledger AS e SET lot_id = (SELECT l.lot_id FROM redeem.lots AS l WHERE l.given LIMIT 1)
        WHERE e.kind = 'repay'
        """,
        {"ledger:chain", "ledger:lots", "postings:told"},
    ),
}


async def test_two_wallets_give_to_each_other_at_once_from_two_processes(
    bank: Bank, settings: Settings
) -> None:
    await bank.hear(activated("gifts", expiry={"policy": "never"}))
    one, other = [await bank.member(100, programme="gifts") for _ in range(2)]

    def gift(giver: Member, receiver: Member) -> Item[Any]:
        transfer = Transfer(transfer_id=uuid7(), giver=giver.wallet_id, receiver=receiver.wallet_id, points=3)
        return Item(transfer, FromJob("test"), request_id=str(uuid7()), actor="test")

    async with open_desk(settings, bank.code) as desk:
        await asyncio.gather(
            *[bank.runtime.lane.submit(gift(one, other)) for _ in range(20)],
            *[desk.do(gift(other, one).command, job="test") for _ in range(30)],
        )
    wallets = [await bank.wallet(member.wallet_id) for member in (one, other)]
    assert [wallet["available"] for wallet in wallets] == [130, 70]
    assert [wallet["transferred"] for wallet in wallets] == [-30, 30]


async def test_a_lot_that_expires_while_it_is_spent_is_never_both(bank: Bank, settings: Settings) -> None:
    """64 tasks on one wallet, half of it just expired, while another process sweeps it."""
    await bank.hear(activated("raced", expiry={"policy": "never"}))
    member = await bank.member(40, programme="raced", expires_at=NOW - timedelta(minutes=1))
    await bank.hear(accrued(member.wallet_id, 40, member_id=member.member_id, programme="raced"))

    async def spend() -> Outcome:
        command = Redeem(
            programme="raced",
            member_id=member.member_id,
            identity_kind=None,
            identity_hash=None,
            points=1,
            money=None,
            merchant="riyadh-mall",
            terminal=None,
            cashier=None,
            channel=None,
            bill_ref=None,
        )
        [outcome] = await bank.runtime.lane.submit_many(
            [Item(command, FromJob("test"), request_id=str(uuid7()), actor="test")]
        )
        return outcome

    async with open_desk(settings, bank.code) as desk:
        *spent, _, _ = await asyncio.gather(
            *[spend() for _ in range(64)],
            desk.do(Expire((member.wallet_id,)), job="test"),
            desk.do(Expire((member.wallet_id,)), job="test"),
        )
    assert sum(isinstance(one, Done) for one in spent) == 40
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["redeemed"], wallet["expired"]) == (0, 40, 40)


async def test_a_hundred_and_more_lots_are_spent_earliest_expiry_first(bank: Bank) -> None:
    """The lots that come with a wallet are its oldest: those that are spent first here are its youngest."""
    await bank.hear(
        activated(
            "many",
            redemption={"consumption": "earliest_expiry"},
            expiry={"policy": "never"},
        )
    )
    member = await bank.member(programme="many")
    soon = [
        accrued(
            member.wallet_id,
            1,
            member_id=member.member_id,
            programme="many",
            at=NOW - timedelta(minutes=200 - k),
            expires_at=NOW + timedelta(days=400 - k) if k % 3 else None,
        )
        for k in range(180)
    ]
    await bank.hear(*soon)
    command = Redeem(
        programme="many",
        member_id=member.member_id,
        identity_kind=None,
        identity_hash=None,
        points=50,
        money=None,
        merchant="riyadh-mall",
        terminal=None,
        cashier=None,
        channel=None,
        bill_ref=None,
    )
    await bank.runtime.do(command, job="test")
    spent = [line["lot_id"] for line in await bank.lines(member.wallet_id) if line["kind"] == "redeem"]
    by_expiry = sorted(
        (one.lots[0] for one in soon if one.lots[0].expires_at), key=lambda lot: lot.expires_at or NOW
    )
    assert spent == [lot.lot_id for lot in by_expiry[:50]]
