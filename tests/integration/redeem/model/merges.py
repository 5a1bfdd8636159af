# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What becomes of expired points that are brought back, and of two wallets whose members were one person all along."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from shared.events import PointsAccrued
from tests.integration.redeem.conftest import asks
from tests.integration.redeem.model.machine import AMPLE, LOTS, PART, Machine
from tests.integration.redeem.model.programmes import MINUTE
from tests.integration.redeem.test_merges import merge
from tests.support.models.replies import Reply, Said, refuse
from tests.support.models.wallet import WALLET, ModelAccrual


class Merging(Machine):
    """Rules for a machine."""

    def furnish(self) -> None:
        super().furnish()
        self.begun: list[tuple[PointsAccrued, ModelAccrual]] = []
        """What the friend earned; and which of the friend's redemptions there are."""
        self.theirs: list[tuple[str, str | None]] = []

    # ---- brought back

    @rule(
        data=st.data(), points=st.integers(1, 12), end=st.sampled_from([None, None, 15, 1440, 4320, -5]),
        which=st.sampled_from(["expired"] * 5 + ["any", "nobody's", "no reason"]),
    )  # fmt: skip
    def points_are_brought_back(self, data: st.DataObject, points: int, end: int | None, which: str) -> None:
        shown = self.read("lots", which="all", limit=200)["items"]
        lots = list(reversed(self.model.wallet.named.values()))
        gone = [k for k, lot in enumerate(lots) if lot.expired] if which == "expired" else []
        k = data.draw(st.sampled_from(gone or list(range(len(lots)))))
        until = None if end is None else self.now + end * MINUTE
        body: Said = {"lot_id": shown[k]["lot_id"], "points": points, "reason": "goodwill"}
        body |= {} if until is None else {"expires_at": until.isoformat()}
        wallet_id = self.member.wallet_id
        if which == "no reason":
            body["reason"], expected = "whim", refuse("reason_unknown")
        elif which == "nobody's":
            wallet_id, expected = self.friend.wallet_id, refuse("not_found")
        else:
            done = self.model.bank.bring_back(self.model.wallet, lots[k], points, until=until, now=self.now)
            said = {"reinstated": self.model.worth(points), "expires_at": until, "effective_at": self.now}
            back = Reply(201, {**said, "balance": self.model.balance_left(self.now)})
            expected = back if done else refuse("amount_out_of_range")
        self.post(f"wallets/{wallet_id}/reinstatements", body, expected, role="support")

    @rule(points=st.integers(5, 20), part=PART, unswept=st.booleans())
    def points_expire_and_are_brought_back(self, points: int, part: str, unswept: bool) -> None:
        """Other points may have expired since, and nobody swept them: they are not in the balance that is answered."""
        self._earn([(points, 15)], 0, held=False)
        lot, lot_id = self.model.wallet.lots[-1], self.accruals[-1].lots[0].lot_id
        self.house.now += 20 * MINUTE
        self.sweep()
        if unswept:
            self._earn([(points, 15)], 0, held=False)
            self.house.now += 20 * MINUTE
        back = self.part(lot.expired, part) if lot.expired else 1
        body: Said = {"lot_id": str(lot_id), "points": back, "reason": "goodwill"}
        done = self.model.bank.bring_back(self.model.wallet, lot, back, until=None, now=self.now)
        said = {"reinstated": self.model.worth(back), "balance": self.model.balance_left(self.now)}
        self.house.met["reinstated beside unswept"] += unswept and done
        expected = Reply(201, said) if done else refuse("amount_out_of_range")
        self.post(f"wallets/{self.member.wallet_id}/reinstatements", body, expected, role="support")

    # ---- one person all along

    @rule(lots=LOTS, held=st.sampled_from([False, False, True]))
    def the_friend_earns(self, lots: list[tuple[int, int | None]], held: bool) -> None:
        accrual = self._accrual(lots, 0, held, self.friend)
        parts = [(lot.points, lot.expires_at) for lot in accrual.lots]
        with self.reaching(self.friend):
            self.house.run(self.house.bank.hear(*[accrual] * (1 + self.twice)))
            made = self.model.bank.earn_lots(
                self.friends, parts, at=accrual.effective_at, held=held, now=self.now
            )
        self.begun.append((accrual, made))

    @rule(part=PART, later=st.booleans())
    def the_friend_spends(self, part: str, later: bool) -> None:
        points = self.part(self.model.bank.spendable(self.friends, self.now), part)
        body = asks(self.friend, points=points, capture="later" if later else "now")
        nothing: dict[str, Any] = {"minor": None, "currency": "SAR", "bill_ref": "", "bill": AMPLE}
        expected = self.other.redeem(points=points, later=later, **nothing, now=self.now)
        said = self.post("redemptions", {**body, **AMPLE.body(), "programme": self.code}, expected)
        if expected.status == 201:
            self.theirs.append((said["redemption_id"], said.get("code")))

    @rule()
    def the_friend_was_the_member_all_along(self) -> None:
        self._merge()

    @rule(lots=LOTS, later=st.booleans())
    def the_friend_earns_and_spends_and_was_the_member(
        self, lots: list[tuple[int, int | None]], later: bool
    ) -> None:
        self.the_friend_earns(lots, False)
        self.the_friend_earns(lots, True)
        self.the_friend_spends("half", later)
        self._merge()

    def _merge(self) -> None:
        ended = self.friend
        self.house.run(merge(self.house.bank, ended, self.member, programme=self.code))
        bank, heir, before = self.model.bank, self.model.wallet, len(self.model.wallet.lines)
        bank.merge(self.friends, heir, now=self.now)
        self.merged |= {
            seq
            for seq, (source, target, _) in enumerate(heir.lines, 1)
            if seq > before and "transferred" in {source, target}
        }
        for accrual, made in self.begun:
            made.wallet = heir
            self.accruals.append(accrual)
            self.model.accruals.append(made)
        self.model.sales += self.other.sales
        self.model.inherit(self.friends, heir)
        self.sold += self.theirs
        self.mobiles.append(ended.mobile)
        self.begun, self.theirs = [], []
        gone = self.house.run(self.house.bank.wallet(ended.wallet_id))
        assert (gone["status"], gone["merged_into"]) == ("merged", self.member.wallet_id)
        assert not any(gone[bucket] for bucket in WALLET)
        self.befriend()
