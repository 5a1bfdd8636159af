"""The rewards of a programme, said as simply as they can be: how many there are, who may have one, what becomes of what was bought.

On top of the model of the desk; it shares no code with the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.support.models.desk import Sale
from tests.support.models.limits import OF_BILLS
from tests.support.models.offline import ModelTill
from tests.support.models.replies import Reply, Said, refuse
from tests.support.models.rules import begins

NAME = {"en": "A coffee", "ar": "قهوة"}


@dataclass(frozen=True)
class Offer:
    """A version of a reward: priced in points, or in minor units. `limit`: so many, ever or within a day or month. `loads`: the
    minor units of the gift card that it is."""

    points: int | None
    minor: int | None
    limit: tuple[int, str] | None
    valid_days: int | None
    restock: bool
    active: bool
    cost: int
    loads: int | None = None
    reaches: tuple[int, str] | None = None
    """It issues itself to who has so many points: of the `balance`, or `earned` in all."""

    @property
    def kind(self) -> str:
        return "product" if self.loads is None else "gift_card"

    def body(self) -> Said:
        """As it is put into the catalogue."""
        price: Said = {"points": self.points}
        if self.points is None:
            price = {"money": {"amount_minor": self.minor, "currency": "SAR"}}
        said: Said = {"kind": self.kind, "name": NAME, "price": price}
        said |= {"restock": self.restock, "active": self.active}
        if self.loads is None:
            said["unit_cost_minor"] = self.cost
        else:
            said["loads"] = {"amount_minor": self.loads, "currency": "SAR"}
        said |= {} if self.valid_days is None else {"valid_days": self.valid_days}
        said |= {} if self.reaches is None else {"issues_at": self.threshold()}
        return said | ({} if self.limit is None else {"limit": {"most": self.limit[0], "per": self.limit[1]}})

    def threshold(self) -> Said | None:
        return None if self.reaches is None else {"points": self.reaches[0], "of": self.reaches[1]}

    def ends(self, issued_at: datetime) -> datetime | None:
        """When what is issued of it then is over: with its last day in Riyadh."""
        if self.valid_days is None:
            return None
        return begins(issued_at, "day") + timedelta(days=self.valid_days + 1)


@dataclass
class ModelReward:
    code: str
    offer: Offer
    version: int
    supplied: int | None
    issued: int = 0
    held: int = 0

    def gone(self) -> bool:
        return self.supplied is not None and self.issued + self.held >= self.supplied

    def stock(self) -> Said | None:
        if self.supplied is None:
            return None
        left = self.supplied - self.issued - self.held
        return {"supplied": self.supplied, "issued": self.issued, "held": self.held, "left": left}


@dataclass
class ModelBenefit:
    """One of a reward, as it was when it was sold: held until its sale is captured, then issued. Without a sale it was given."""

    reward: ModelReward
    offer: Offer
    version: int
    sale: Sale | None
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    consumed: Said | None = None
    withdrawn: bool = False
    given_back: bool = False

    @property
    def had_at(self) -> datetime:
        """When it was sold, now or for later; or given."""
        at = self.issued_at if self.sale is None else self.sale.at
        assert at is not None
        return at

    def objection(self, now: datetime) -> str | None:
        if self.withdrawn:
            return "benefit_withdrawn"
        if self.consumed is not None:
            return "benefit_consumed"
        gone = self.expires_at is not None and self.expires_at <= now
        return "benefit_expired" if gone else None

    def shown(self) -> Said:
        return {
            "reward": self.reward.code,
            "version": self.version,
            "kind": self.offer.kind,
            "name": NAME,
            "expires_at": self.expires_at,
        }


class ModelShop(ModelTill):
    """The desk with a catalogue."""

    def __init__(self, rules: Any, until_of: Any) -> None:
        super().__init__(rules, until_of)
        self.rewards: dict[str, ModelReward] = {}
        self.bought: list[ModelBenefit] = []
        self.benefits: list[ModelBenefit] = []
        """Those that were issued, in that order."""

    def put(self, code: str, offer: Offer, supplied: int | None) -> Reply:
        there = self.rewards.get(code)
        if there is None:
            there = self.rewards[code] = ModelReward(code, offer, 1, supplied)
            return Reply(201, self.seen(there))
        if supplied is not None and supplied < there.issued + there.held:
            return refuse("amount_out_of_range")
        there.version += offer != there.offer
        there.offer, there.supplied = offer, supplied
        return Reply(200, self.seen(there))

    def seen(self, there: ModelReward) -> Said:
        """How a reward is shown."""
        return {
            "version": there.version,
            "active": there.offer.active,
            "price": self.worth(self.price_of(there)),
            "issues_at": there.offer.threshold(),
            "stock": there.stock(),
        }

    def price_of(self, there: ModelReward) -> int:
        if there.offer.points is not None:
            return there.offer.points
        assert there.offer.minor is not None
        return self.rules.price(there.offer.minor)

    def _had(self, there: ModelReward, per: str, now: datetime) -> int:
        since = begins(now, per)
        mine = [one for one in self.bought if one.reward is there and not (one.withdrawn or one.given_back)]
        return sum(since <= one.had_at for one in mine)

    def no_sale(self, code: str, now: datetime, *, later: bool = False) -> str | None:
        """Why a reward is not sold. A gift card is never set aside: its PIN is told once, with it."""
        there = self.rewards.get(code)
        if there is None:
            return "reward_unknown"
        if not there.offer.active:
            return "reward_unavailable"
        if there.gone():
            return "reward_sold_out"
        limit = there.offer.limit
        if limit is not None and self._had(there, limit[1], now) >= limit[0]:
            return "reward_limit_reached"
        if later and there.offer.loads is not None:
            return "reward_unavailable"
        limits = [one for one in self._limits(now) if one.code not in OF_BILLS]
        return self._objection(self.price_of(there), 0, limits, now)

    def buy(self, code: str, *, later: bool, now: datetime) -> Reply:
        if (objection := self.no_sale(code, now, later=later)) is not None:
            return refuse(objection)
        there = self.rewards[code]
        price = self.price_of(there)
        parts = self.bank.spend(self.wallet, price, later=later, now=now)
        assert parts is not None
        paid = self.rules.worth(price)
        # What bought a reward paid for no bill.
        sale = Sale(parts, price, paid, "authorised" if later else "captured", "", now)
        self.sales.append(sale)
        self.bought.append(ModelBenefit(there, there.offer, there.version, sale))
        said = {"status": sale.state, "effective_at": now, "balance": self.balance()}
        if later:
            there.held += 1
            sale.until = now + self.rules.authorised_for
            return Reply(201, {**said, "expires_at": sale.until, "reserved": self.worth(price, paid)})
        sale.captured, sale.captured_minor, sale.captured_at = price, paid, now
        return Reply(201, {**said, "redeemed": self.worth(price, paid), "benefit": self._issue(sale, now)})

    def quote_of(self, code: str, now: datetime) -> Said:
        """What is said of a reward before it is bought."""
        there, refusal = self.rewards.get(code), self.no_sale(code, now)
        price = None if there is None else self.price_of(there)
        return {
            "redeemed": None if price is None else self.worth(price),
            "takes": self._would_take(price, now) if price is not None and refusal is None else [],
            "refusal": refusal,
            "balance": self.balance(gone=self._gone(now)),
        }

    def _of(self, sale: Sale) -> ModelBenefit | None:
        return next((one for one in self.bought if one.sale is sale), None)

    def _issue(self, sale: Sale, now: datetime) -> Said:
        benefit = self._of(sale)
        assert benefit is not None
        benefit.reward.issued += 1
        benefit.issued_at, benefit.expires_at = now, benefit.offer.ends(now)
        self.benefits.append(benefit)
        return benefit.shown()

    # ---- what becomes of it

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
        """Of a reward whole, or not at all."""
        benefit = self._of(sale)
        part = points not in {None, sale.points} or minor not in {None, sale.minor}
        refused = self._ended(sale) is not None or self.refused_at(terminal)
        if benefit is not None and part and not refused:
            return refuse("amount_out_of_range")
        reply = super().capture(
            sale,
            points=points,
            minor=minor,
            currency=currency,
            now=now,
            terminal=terminal,
            bill_ref=bill_ref,
        )
        if benefit is None or reply.status != 200:
            return reply
        benefit.reward.held -= 1
        return Reply(200, {**reply.body, "benefit": self._issue(sale, now)})

    def void(self, sale: Sale, *, now: datetime) -> Reply:
        benefit, reply = self._of(sale), super().void(sale, now=now)
        if benefit is not None and reply.status == 200:
            benefit.given_back = True
            benefit.reward.held -= 1
        return reply

    def give_back(
        self, sale: Sale, ref: str, *, points: int | None, minor: int | None, currency: str, now: datetime
    ) -> Reply:
        """Of a reward whole and unused, or not at all."""
        benefit = self._of(sale)
        issued = benefit is not None and benefit.issued_at is not None
        if benefit is not None and issued and ref not in self.returns:
            objection = (
                self._kept(benefit, now) if points is None and minor is None else "reward_not_returnable"
            )
            if objection is not None:
                return refuse(objection)
        reply = super().give_back(sale, ref, points=points, minor=minor, currency=currency, now=now)
        if benefit is not None and reply.status == 201:
            benefit.withdrawn = True
            benefit.reward.issued -= benefit.offer.restock
        return reply

    def _kept(self, benefit: ModelBenefit, now: datetime) -> str | None:
        """Why a whole reward is not taken back."""
        return benefit.objection(now)

    def unusable(self, benefit: ModelBenefit, now: datetime) -> str | None:
        """Why it can't be used; what is over is said to be over also where its wallet is blocked."""
        return benefit.objection(now) or ("wallet_blocked" if self.blocked else None)

    def use(self, benefit: ModelBenefit, bill_ref: str, now: datetime) -> Reply:
        """At the merchant's till, once."""
        if (objection := self.unusable(benefit, now)) is not None:
            return refuse(objection)
        benefit.consumed = {"consumed_at": now, "merchant": "riyadh-mall", "bill_ref": bill_ref}
        cost = {"amount_minor": benefit.offer.cost, "currency": "SAR"}
        said = {**benefit.shown(), **benefit.consumed, "status": "consumed", "unit_cost": cost}
        return Reply(200, said)
