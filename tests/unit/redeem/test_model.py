# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""Any sequence of acts leaves the bank's wallets and lots as a model leaves them that was written to be read, not to be fast."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.redeem.domain.adjusting import adjust, opening
from services.redeem.domain.debts import came_by, repay
from services.redeem.domain.expiring import expire, reinstate
from services.redeem.domain.holds import over_when_due, release
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.merging import merge
from services.redeem.domain.offline import overdraw
from services.redeem.domain.posting import Rate
from services.redeem.domain.reversing import Blocked, reverse
from services.redeem.domain.spendable import spendable
from services.redeem.domain.spending import InsufficientPoints, credit, redeem
from services.redeem.domain.transferring import TransferToOneself, transfer
from shared.events import PointsAccrued
from shared.events.bills import AccruedLot
from tests.support.models.bank import ModelBank
from tests.support.models.wallet import WALLET, ModelAccrual, ModelWallet
from tests.unit.redeem.test_spending import Terms

SAR = Rate("SAR", "0.10")
START = datetime(2026, 1, 1, tzinfo=UTC)
POINTS = st.integers(1, 60)
PARTS = st.sampled_from(["some", "half", "all", "all", "more"])
"""How much of what there is: small numbers of their own would seldom meet each other."""
DAYS = st.sampled_from([None, -5, 3, 10, 40])
WHO = st.integers(0, 1)


def part_of(whole: int, part: str) -> int:
    return max({"some": 3, "half": whole // 2, "all": whole, "more": whole + 7}[part], 1)


class Accrual:
    """An accrual in the bank, and where its requests have brought it: the handler keeps the same in the table `asked`."""

    def __init__(self, wallet: Wallet, lot: Lot, model: ModelAccrual) -> None:
        self.wallet, self.lot, self.model = wallet, lot, model
        self.released = self.settled = self.lapsed = 0


class Bank(RuleBasedStateMachine):
    @initialize(
        consumption=st.sampled_from(["oldest_earned", "earliest_expiry"]),
        holds=st.booleans(),
        from_release=st.booleans(),
    )
    def begin(self, consumption: str, holds: bool, from_release: bool) -> None:
        self.from_release = from_release
        ids = count(1)
        self.new_id = lambda: UUID(int=next(ids))
        self.terms, self.holds = Terms(consumption=consumption), holds
        self.model = ModelBank(earliest_expiry=consumption == "earliest_expiry", holds_expire=holds)
        self.now = START
        self.wallets = [Wallet(self.new_id(), "shops", uuid4(), START) for _ in range(2)]
        self.models = [ModelWallet() for _ in range(2)]
        self.accruals: list[Accrual] = []

    def until(self, days: int | None) -> datetime | None:
        return None if days is None else self.now + timedelta(days=days)

    @rule(days=st.integers(1, 20))
    def time_passes(self, days: int) -> None:
        self.now += timedelta(days=days)

    @rule(who=WHO, points=POINTS, days=DAYS, ago=st.integers(0, 30), held=st.booleans())
    def earn(self, who: int, points: int, days: int | None, ago: int, held: bool) -> None:
        self._earn(who, points, days, ago, held=held)

    def _earn(self, who: int, points: int, days: int | None, ago: int, *, held: bool) -> None:
        wallet, at = self.wallets[who], self.now - timedelta(days=ago)
        until = self.until(days)
        accrual = PointsAccrued(
            accrual_id=self.new_id(),
            kind="earn_held" if held else "earn",
            bill_id=self.new_id(),
            member_id=wallet.member_id,
            wallet_id=wallet.wallet_id,
            programme="shops",
            programme_version=1,
            currency="SAR",
            point_value="0.10",
            effective_at=at,
            decided_at=at,
            points=points,
            lots=(AccruedLot(lot_id=self.new_id(), points=points, expires_at=until),),
        )
        posting = credit(wallet, accrual)
        self._repay(wallet, posting.lines)
        model = self.model.earn(self.models[who], points, at=at, until=until, held=held, now=self.now)
        self.accruals.append(Accrual(wallet, wallet.opened[-1], model))

    def _repay(self, wallet: Wallet, lines: tuple[object, ...]) -> None:
        repay(
            wallet,
            came_by(lines, wallet.lots),  # type: ignore[arg-type]
            value=SAR,
            now=self.now,
            source_id=None,
            new_id=self.new_id,
        )

    @rule(who=WHO, points=POINTS, days=DAYS)
    def open(self, who: int, points: int, days: int | None) -> None:
        opening(
            self.wallets[who],
            points=points,
            earned_at=START,
            expires_at=self.until(days),
            value=SAR,
            source_id=None,
            posting_id=self.new_id(),
            new_id=self.new_id,
        )
        self.model.open(self.models[who], points, at=START, until=self.until(days))

    def _gone(self, wallet: Wallet, lots: list[Lot], *, holds: bool) -> None:
        expire(wallet, terms=SAR, now=self.now, new_id=self.new_id, holds_expire=holds, lots=lots)

    @precondition(lambda self: self.accruals)
    @rule(data=st.data(), part=PARTS, days=st.sampled_from([3, 10, 10]))
    def release(self, data: st.DataObject, part: str, days: int) -> None:
        self._release(data.draw(st.sampled_from(self.accruals)), part, days)

    @rule(who=WHO, points=st.integers(10, 40), first=st.sampled_from([3, 10]), days=st.sampled_from([3, 10]))
    def held_points_are_released_in_two_parts(self, who: int, points: int, first: int, days: int) -> None:
        self._earn(who, points, None, 0, held=True)
        one = self.accruals[-1]
        self._release(one, "some", first)
        self._release(one, "half", days)

    def _release(self, one: Accrual, part: str, days: int) -> None:
        through, until = part_of(one.lot.points, part), self.until(days)
        if through > one.released and not self.from_release:
            self._gone(one.wallet, over_when_due([one.lot], self.now), holds=True)
        self._gone(one.wallet, [one.lot], holds=self.holds)
        posting = release(
            one.wallet,
            [one.lot],
            released=one.released,
            release_through=through,
            value=SAR,
            effective_at=self.now,
            source_id=None,
            posting_id=self.new_id(),
            renewed=(lambda _: until) if self.from_release else None,
        )
        points = posting.points if posting is not None else 0
        one.released += points
        if posting is not None:
            self._repay(one.wallet, posting.lines)
        renewed = until if self.from_release else None
        assert points == self.model.release(one.model, through, now=self.now, renewed=renewed)

    @precondition(lambda self: self.accruals)
    @rule(data=st.data(), part=PARTS, on_spent=st.sampled_from(["block", "partial", "debt", "debt"]))
    def reverse(self, data: st.DataObject, part: str, on_spent: str) -> None:
        one = data.draw(st.sampled_from(self.accruals))
        self._reverse(one, part_of(one.lot.points, part), on_spent)

    @rule(who=WHO, points=POINTS, part=PARTS, on_spent=st.sampled_from(["block", "partial", "debt"]))
    def a_bill_that_was_spent_is_refunded(self, who: int, points: int, part: str, on_spent: str) -> None:
        self._earn(who, points, None, 0, held=False)
        self._redeem(who, spendable(self.wallets[who], self.now))
        self._reverse(self.accruals[-1], part_of(points, part), on_spent)

    @rule(who=WHO, points=POINTS, part=PARTS, on_spent=st.sampled_from(["block", "debt"]))
    def a_bill_that_expired_is_refunded(self, who: int, points: int, part: str, on_spent: str) -> None:
        self._earn(who, points, -5, 0, held=False)
        self._expire(who)
        self._reverse(self.accruals[-1], part_of(points, part), on_spent)

    def _reverse(self, one: Accrual, through: int, on_spent: str) -> None:
        expire(
            one.wallet,
            terms=SAR,
            now=self.now,
            new_id=self.new_id,
            holds_expire=self.holds,
            lots=[one.lot],
        )
        came = reverse(
            one.wallet,
            [one.lot],
            earned=one.lot.points,
            settled=one.settled,
            lapsed=one.lapsed,
            reverse_through=through,
            on_spent=on_spent,  # type: ignore[arg-type]
            value=SAR,
            effective_at=self.now,
            source_id=None,
            posting_id=self.new_id(),
        )
        expected = self.model.reverse(one.model, through, on_spent=on_spent, now=self.now)
        if isinstance(came, Blocked):
            assert expected is None
            return
        assert (came.cancelled, came.reversed, came.owed, came.lapsed, came.shortfall) == expected
        one.settled += came.settled
        one.lapsed += came.lapsed

    @precondition(lambda self: any(wallet.available for wallet in self.wallets))
    @rule(who=WHO, part=PARTS)
    def redeem(self, who: int, part: str) -> None:
        self._redeem(who, part_of(spendable(self.wallets[who], self.now), part))

    def _redeem(self, who: int, points: int) -> None:
        if not points:
            return
        try:
            redeem(
                self.wallets[who],
                points=points,
                pointer="/points",
                terms=self.terms,
                now=self.now,
                redemption_id=self.new_id(),
                new_id=self.new_id,
            )
            done = True
        except InsufficientPoints:
            done = False
        assert done == self.model.redeem(self.models[who], points, now=self.now)

    @rule(who=WHO, part=PARTS)
    def a_till_that_could_not_ask_reports(self, who: int, part: str) -> None:
        points = part_of(spendable(self.wallets[who], self.now), part)
        decided = overdraw(
            self.wallets[who],
            points=points,
            terms=self.terms,
            at=self.now,
            redemption_id=self.new_id(),
            new_id=self.new_id,
        )
        assert decided.spent.points == points
        assert decided.owed == self.model.overdraw(self.models[who], points, now=self.now)

    @precondition(lambda self: any(lot.expired_by(self.now) for one in self.wallets for lot in one.lots))
    @rule(who=WHO)
    def expire(self, who: int) -> None:
        self._expire(who)

    def _expire(self, who: int) -> None:
        posting = expire(
            self.wallets[who], terms=SAR, now=self.now, new_id=self.new_id, holds_expire=self.holds
        )
        points = posting.points if posting is not None else 0
        assert points == self.model.expire(self.models[who], self.now)

    @rule(who=WHO, points=st.integers(-60, 60).filter(bool), days=DAYS)
    def adjust(self, who: int, points: int, days: int | None) -> None:
        try:
            adjust(
                self.wallets[who],
                points=points,
                expires_at=self.until(days),
                consumption=self.terms.consumption,
                value=SAR,
                now=self.now,
                source_id=self.new_id(),
                posting_id=self.new_id(),
                new_id=self.new_id,
            )
            done = True
        except InsufficientPoints:
            done = False
        assert done == self.model.adjust(self.models[who], points, until=self.until(days), now=self.now)

    @precondition(lambda self: any(wallet.available for wallet in self.wallets))
    @rule(giver=WHO, receiver=WHO, part=PARTS)
    def transfer(self, giver: int, receiver: int, part: str) -> None:
        points = part_of(spendable(self.wallets[giver], self.now), part)
        try:
            transfer(
                self.wallets[giver],
                self.wallets[receiver],
                points=points,
                terms=self.terms,
                now=self.now,
                transfer_id=self.new_id(),
                new_id=self.new_id,
            )
            done = True
        except (InsufficientPoints, TransferToOneself):
            done = False
        assert done == self.model.transfer(self.models[giver], self.models[receiver], points, now=self.now)

    @precondition(lambda self: any(lot.expired for wallet in self.wallets for lot in wallet.lots))
    @rule(data=st.data(), days=st.none() | st.integers(1, 40))
    def reinstate(self, data: st.DataObject, days: int | None) -> None:
        places = [
            (who, k)
            for who, wallet in enumerate(self.wallets)
            for k, lot in enumerate(wallet.lots)
            if lot.expired
        ]
        who, k = data.draw(st.sampled_from(places))
        wallet, lot = self.wallets[who], self.wallets[who].lots[k]
        points = data.draw(st.integers(1, lot.expired))
        reinstate(
            wallet,
            lot,
            points=points,
            expires_at=self.until(days),
            value=SAR,
            effective_at=self.now,
            source_id=self.new_id(),
            posting_id=self.new_id(),
        )
        assert self.model.reinstate(
            self.models[who], self.models[who].lots[k], points, until=self.until(days)
        )

    @rule(who=WHO, consider=st.integers(0, 3))
    def merge(self, who: int, consider: int) -> None:
        """The one is the other's from now on, and somebody new takes its place. What could be taken back of it still can."""
        ended, heir = self.wallets[who], self.wallets[1 - who]
        of_both = [one for one in self.accruals if one.wallet in (ended, heir)][-consider:]
        before = [self._taken_by_reversal(one) for one in of_both]
        self._expire(who)
        self._expire(1 - who)
        totals = {bucket: getattr(ended, bucket) + getattr(heir, bucket) for bucket in WALLET}
        active = [wallet.last_active_at for wallet in (ended, heir) if wallet.last_active_at is not None]
        merged = merge(
            ended, heir, terms=self.terms, now=self.now, merge_id=self.new_id(), new_id=self.new_id
        )
        self.model.merge(self.models[who], self.models[1 - who], now=self.now)
        repaid = merged.repaid.points if merged.repaid is not None else 0
        totals["available"] -= repaid
        totals["debt"] += repaid
        assert {bucket: getattr(heir, bucket) for bucket in WALLET} == totals
        assert not any(getattr(ended, bucket) for bucket in WALLET)
        assert not ended.lots
        assert heir.last_active_at == max(active, default=None)
        for one in self.accruals:
            if one.wallet is ended:
                one.wallet, one.model.wallet = heir, self.models[1 - who]
        if not repaid:
            assert [self._taken_by_reversal(one) for one in of_both] == before
        self.wallets[who] = Wallet(self.new_id(), "shops", uuid4(), START)
        self.models[who] = ModelWallet()

    def _taken_by_reversal(self, one: Accrual) -> object:
        wallet, lot = deepcopy((one.wallet, one.lot))
        expire(wallet, terms=SAR, now=self.now, new_id=self.new_id, holds_expire=self.holds, lots=[lot])
        came = reverse(
            wallet,
            [lot],
            earned=lot.points,
            settled=one.settled,
            lapsed=one.lapsed,
            reverse_through=lot.points,
            on_spent="debt",
            value=SAR,
            effective_at=self.now,
            source_id=None,
            posting_id=self.new_id(),
        )
        assert not isinstance(came, Blocked)
        lines = came.posting.lines if came.posting is not None else ()
        moved = [(line.kind, line.from_bucket, line.points, line.lot_id) for line in lines]
        return came.cancelled, came.reversed, came.owed, came.lapsed, moved

    @invariant()
    def every_balance_and_lot_is_the_models(self) -> None:
        for wallet, model in zip(getattr(self, "wallets", ()), getattr(self, "models", ()), strict=True):
            buckets, lots = model.shown()
            assert {bucket: getattr(wallet, bucket) for bucket in WALLET} == buckets
            assert [
                (
                    lot.points,
                    lot.expires_at,
                    lot.usable,
                    lot.held,
                    lot.reserved,
                    lot.expired,
                    lot.reversed,
                    lot.owed,
                )
                for lot in wallet.lots
            ] == lots
            assert sum(buckets.values()) == 0
            assert min(buckets[name] for name in ("available", "held", "reserved")) >= 0


Bank.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestBank = Bank.TestCase
