"""What the bank answers over HTTP, said as simply as it can be: redemptions from their sale to their last return, and quotes.

It moves points through the model of the bank, and shares no code with the service: statuses, codes and money are its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.support.models.bank import ModelBank
from tests.support.models.limits import Bill, Limit, limits_of, most_of
from tests.support.models.replies import Reply, Said, refuse
from tests.support.models.rules import Rules, silence_ends
from tests.support.models.wallet import NEVER, ModelAccrual, ModelPart, ModelWallet

TILL = "T03"
NOT_SAID = Bill()


@dataclass(eq=False)
class Sale:
    """A redemption, and where it stands; two of the same are two."""

    parts: list[ModelPart]
    points: int
    minor: int
    state: str
    bill_ref: str
    at: datetime
    until: datetime | None = None
    released: bool = False
    captured: int = 0
    captured_minor: int = 0
    returned: int = 0
    returned_minor: int = 0
    captured_at: datetime | None = None
    bill_most: int | None = None
    """What points may pay of the bill that they were set aside for, in minor units; None where nothing was said of it."""


class ModelDesk:
    """One member's wallet at one merchant. `until_of`: when points that are earned at a moment expire."""

    def __init__(self, rules: Rules, until_of: Any) -> None:
        self.rules, self.until_of = rules, until_of
        self.bank = ModelBank(
            earliest_expiry=rules.earliest_expiry,
            holds_expire=rules.holds_expire,
            silence_ends=silence_ends(rules),
        )
        self.wallet = ModelWallet()
        self.accruals: list[ModelAccrual] = []
        self.blocked = False
        self.returns: dict[str, tuple[Any, Reply]] = {}
        self.refunds: dict[str, tuple[int, int, datetime]] = {}
        self.sales: list[Sale] = []

    # ---- what is said of points

    def worth(self, points: int, minor: int | None = None) -> Said:
        amount = self.rules.worth(points) if minor is None else minor
        return {"points": points, "money": {"amount_minor": amount, "currency": "SAR"}}

    def balance(self, *names: str, gone: int = 0) -> Said:
        buckets = self.wallet.buckets
        return {
            name: self.worth(buckets[name] - (gone if name == "available" else 0))
            for name in ("available", "held", "reserved", *names)
        }

    def _gone(self, now: datetime) -> int:
        return self.wallet.buckets["available"] - self.bank.spendable(self.wallet, now)

    def balance_left(self, now: datetime) -> Said:
        """What an act leaves to be spent: what has expired of it is not there, swept or not."""
        return self.balance(gone=self._gone(now))

    def balance_read(self, now: datetime) -> Said:
        ends: dict[datetime, int] = {}
        whole = self.bank.ends_at(self.wallet) or NEVER
        for lot in self.wallet.lots:
            end = min(lot.expires_at or NEVER, whole)
            if lot.available and now < end < NEVER:
                ends[end] = ends.get(end, 0) + lot.available
        return {
            **self.balance("debt", gone=self._gone(now)),
            "expiring": [{"expires_at": end, **self.worth(points)} for end, points in sorted(ends.items())],
        }

    # ---- spending

    def _price(self, points: int | None, minor: int | None, currency: str) -> int | Reply:
        if points is None:
            assert minor is not None
            if currency != "SAR":
                return refuse("currency_mismatch")
            points = self.rules.price(minor)
        if points < self.rules.minimum or points % self.rules.step:
            return refuse("amount_out_of_range")
        return points

    def _paid_of(self, bill_ref: str, now: datetime) -> int:
        """What points paid of a bill, or may pay by what is set aside, in minor units."""
        stand = [one for one in self.sales if one.bill_ref == bill_ref and one.state != "voided"]
        return sum(
            one.captured_minor - one.returned_minor if one.state == "captured" else one.minor
            for one in stand
            if one.state == "captured" or one.until is None or now < one.until
        )

    def _limits(
        self, now: datetime, *, bill: Bill = NOT_SAID, bill_ref: str = "", terminal: str | None = TILL
    ) -> list[Limit]:
        paid = self._paid_of(bill_ref, now) if bill_ref else 0
        return limits_of(self.rules, self.sales, now, terminal=terminal, bill=bill, paid=paid)

    def _objection(self, points: int, minor: int, limits: list[Limit], now: datetime) -> str | None:
        if self.blocked:
            return "wallet_blocked"
        over = next((one.code for one in limits if not one.keeps(points, minor)), None)
        if over is not None:
            return over
        return "insufficient_points" if points > self.bank.spendable(self.wallet, now) else None

    def redeem(
        self,
        *,
        points: int | None,
        minor: int | None,
        currency: str,
        later: bool,
        bill_ref: str,
        bill: Bill,
        now: datetime,
        terminal: str | None = TILL,
    ) -> Reply:
        price = self._price(points, minor, currency)
        if isinstance(price, Reply):
            return price
        paid = self.rules.worth(price) if minor is None else minor
        limits = self._limits(now, bill=bill, bill_ref=bill_ref, terminal=terminal)
        if (objection := self._objection(price, paid, limits, now)) is not None:
            return refuse(objection)
        parts = self.bank.spend(self.wallet, price, later=later, now=now)
        assert parts is not None
        sale = Sale(parts, price, paid, "authorised" if later else "captured", bill_ref, now)
        self.sales.append(sale)
        said = {"status": sale.state, "effective_at": now, "balance": self.balance()}
        if later:
            sale.bill_most = most_of(self.rules, bill)
            sale.until = now + self.rules.authorised_for
            return Reply(201, {**said, "expires_at": sale.until, "reserved": self.worth(price, paid)})
        sale.captured, sale.captured_minor, sale.captured_at = price, paid, now
        return Reply(201, {**said, "redeemed": self.worth(price, paid)})

    def quote(
        self,
        *,
        points: int | None,
        minor: int | None,
        currency: str,
        bill: Bill,
        now: datetime,
    ) -> Said:
        limits = self._limits(now, bill=bill)
        bounds = [("insufficient_points", self.bank.spendable(self.wallet, now))]
        bounds += [("wallet_blocked", 0)] if self.blocked else []
        bounds += [(one.code, one.most) for one in limits]
        bound = min(most for _, most in bounds)
        most = bound - bound % self.rules.step
        most = most if most >= self.rules.minimum else 0
        if most < bound:
            bounds.append(("amount_out_of_range", most))
        asked, takes, refusal = None, list[Said](), None
        if points is not None or minor is not None:
            price = self._price(points, minor, currency)
            if isinstance(price, Reply):
                refusal = price.body["code"]
            else:
                paid = self.rules.worth(price) if minor is None else minor
                asked = self.worth(price, paid)
                refusal = self._objection(price, paid, limits, now)
                takes = [] if refusal is not None else self._would_take(price, now)
        return {
            "redeemed": asked,
            "takes": takes,
            "refusal": refusal,
            "most": self.worth(most),
            "balance": self.balance(gone=self._gone(now)),
            "limits": {code for code, _ in bounds},
        }

    def _would_take(self, points: int, now: datetime) -> list[Said]:
        taken = []
        for lot in self.bank.in_order(self.wallet):
            part = 0 if self.bank.dead(self.wallet, lot, now) else min(points, lot.available)
            if part:
                taken.append({"points": part, "expires_at": lot.expires_at})
                points -= part
        return taken

    # ---- what becomes of it

    def refused_at(self, terminal: str | None) -> bool:
        """Whether a terminal that is named takes no points."""
        accepts = self.rules.accepts
        return accepts is not None and terminal is not None and terminal not in accepts.terminals

    def _ended(self, sale: Sale) -> Reply | None:
        if sale.state == "captured":
            return refuse("redemption_captured")
        if sale.state == "voided":
            return refuse("authorisation_expired" if sale.released else "redemption_voided")
        return None

    def capture(
        self,
        sale: Sale,
        *,
        points: int | None,
        minor: int | None,
        currency: str,
        now: datetime,
        terminal: str | None = None,
        bill_ref: str = "",
    ) -> Reply:
        """`bill_ref`: the bill of an authorisation that named none."""
        if (ended := self._ended(sale)) is not None:
            return ended
        if self.refused_at(terminal):
            return refuse("points_not_accepted")
        assert sale.until is not None
        if now >= sale.until:
            return refuse("authorisation_expired")
        if self.blocked:
            return refuse("wallet_blocked")
        if minor is not None:
            if currency != "SAR":
                return refuse("currency_mismatch")
            if minor > sale.minor:
                return refuse("amount_out_of_range")
            spent, paid = min(self.rules.price(minor), sale.points), minor
        else:
            spent = sale.points if points is None else points
            if spent > sale.points:
                return refuse("amount_out_of_range")
            paid = sale.minor if spent == sale.points else min(sale.minor, self.rules.worth(spent))
        if spent < sale.points and (spent < self.rules.minimum or spent % self.rules.step):
            return refuse("amount_out_of_range")
        named = bool(bill_ref) and sale.bill_most is not None
        if named and self._paid_of(bill_ref, now) + paid > (sale.bill_most or 0):
            return refuse("bill_share_exceeded")
        sale.bill_ref = bill_ref or sale.bill_ref
        gone = self.bank.capture(self.wallet, sale.parts, spent, now=now)
        sale.state, sale.captured, sale.captured_minor, sale.captured_at = "captured", spent, paid, now
        if sale.bill_ref in self.refunds:
            self._refund(sale, *self.refunds[sale.bill_ref], now=now)
        return self._settled(sale, spent, paid, gone, now)

    def void(self, sale: Sale, *, now: datetime) -> Reply:
        """By a till, or (after its time) by the job."""
        if (ended := self._ended(sale)) is not None:
            return ended
        assert sale.until is not None
        sale.state, sale.released = "voided", now >= sale.until
        return self._settled(sale, 0, 0, self.bank.void(self.wallet, sale.parts, now=now), now)

    def release(self, sale: Sale, *, now: datetime) -> None:
        if sale.state == "authorised" and sale.until is not None and now >= sale.until:
            self.void(sale, now=now)

    def _settled(self, sale: Sale, spent: int, paid: int, gone: int, now: datetime) -> Reply:
        return Reply(
            200,
            {
                "status": sale.state,
                "effective_at": now,
                "redeemed": self.worth(spent, paid),
                "voided": self.worth(sale.points - spent),
                "expired": self.worth(gone),
                "balance": self.balance(gone=self._gone(now)),
            },
        )

    def give_back(
        self, sale: Sale, ref: str, *, points: int | None, minor: int | None, currency: str, now: datetime
    ) -> Reply:
        """Points, money, or (neither) all."""
        asked = (self.sales.index(sale), points, minor, currency)
        if ref in self.returns:
            before, reply = self.returns[ref]
            return Reply(200, reply.body) if before == asked else refuse("return_conflict")
        if sale.state != "captured":
            return refuse("redemption_not_captured")
        assert sale.captured_at is not None
        if now > sale.captured_at + self.rules.returned_within:
            return refuse("return_window_closed")
        left, left_minor = sale.captured - sale.returned, sale.captured_minor - sale.returned_minor
        if minor is not None:
            if currency != "SAR":
                return refuse("currency_mismatch")
            if minor > left_minor:
                return refuse("return_too_much")
            total_minor = sale.returned_minor + minor
            share = Fraction(total_minor, sale.captured_minor) if sale.captured_minor else Fraction(1)
            total = max(int(sale.captured * share), sale.returned)
        elif points is not None:
            if points > left:
                return refuse("return_too_much")
            total = sale.returned + points
            total_minor = self._minor_of(sale, total)
        else:
            if not left and not left_minor:
                return refuse("return_too_much")
            total, total_minor = sale.captured, sale.captured_minor
        came, came_minor = total - sale.returned, total_minor - sale.returned_minor
        gone = self._bring(sale, total, total_minor, now, now)
        reply = Reply(
            201,
            {
                "effective_at": now,
                "returned": self.worth(came, came_minor),
                "returned_in_all": self.worth(sale.returned, sale.returned_minor),
                "expired": self.worth(gone),
                "balance": self.balance(gone=self._gone(now)),
            },
        )
        self.returns[ref] = asked, reply
        return reply

    def refund(self, bill_ref: str, returned: int, total: int, *, now: datetime) -> None:
        """So much of the bill was refunded in all: its share of each redemption that paid for it comes back."""
        if bill_ref not in self.refunds or returned > self.refunds[bill_ref][0]:
            self.refunds[bill_ref] = returned, total, now
        for sale in self.sales:
            if sale.bill_ref == bill_ref and sale.state == "captured":
                self._refund(sale, returned, total, now, now=now)

    def _refund(self, sale: Sale, returned: int, total: int, at: datetime, *, now: datetime) -> None:
        assert sale.captured_at is not None
        points = max(int(sale.captured * min(Fraction(returned, total), Fraction(1))), sale.returned)
        self._bring(sale, points, self._minor_of(sale, points), max(at, sale.captured_at), now)

    @staticmethod
    def _minor_of(sale: Sale, points: int) -> int:
        return max(int(Fraction(sale.captured_minor * points, sale.captured)), sale.returned_minor)

    def _bring(self, sale: Sale, total: int, total_minor: int, at: datetime, now: datetime) -> int:
        points = total - sale.returned
        sale.returned, sale.returned_minor = total, total_minor
        until = self.until_of(at)
        return self.bank.give_back(
            self.wallet, sale.parts, points, renewed=self.rules.renewed, until=until, at=at, now=now
        )
