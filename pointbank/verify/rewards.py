"""Rewards: each stock against what was issued of it, each benefit against its redemption, its price and what was told."""

from __future__ import annotations

import json
from datetime import datetime, time, timedelta
from fractions import Fraction
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.events import BenefitConsumed, RewardIssued, binary
from pointbank.verify.matching import told
from pointbank.verify.programme import Terms


class Rewards:
    """What the bank's tables say of rewards and benefits."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._stock = books.check(
            "rewards:stock",
            2,
            "each reward's stock is what was supplied less what was issued; versions count from 1",
        )
        self._sold = books.check(
            "benefits",
            3,
            "each benefit has its redemption, at the price, cost, window and expiry of its version; no member has too many",
        )
        self._told = books.match(
            "benefits:told", 5, "each benefit has one reward.issued event, and one benefit.consumed event once it was used",
            ("what",), ours="the benefits", theirs="the events",
        )  # fmt: skip

    async def walk(self) -> None:
        """The side of the tables."""
        for row in await self._books.snapshot.rows("rewards.sql", "rewards"):
            self._stock.compared += 1
            name = f"{row['programme']}/{row['reward']}"
            if row["issued"] != row["benefits"]:
                self._stock.wrong(
                    f"{name} counts {row['issued']} issued; there are {row['benefits']} benefits"
                )
            if row["supplied"] is not None and row["benefits"] > row["supplied"]:
                self._stock.wrong(f"{name}: {row['benefits']} were issued of {row['supplied']}")
            if row["versions"] != list(range(1, row["version"] + 1)):
                self._stock.wrong(f"{name} is at version {row['version']}; there are {row['versions']}")
        async for page in self._books.snapshot.pages("rewards.sql", "benefits"):
            for row in page:
                self._sold.compared += 1
                for problem in self._wrongs(row):
                    self._sold.wrong(f"benefit {told(row['benefit_id'])}: {problem}")
                self._ours(row)

    def _ours(self, row: Any) -> None:
        common = (row["wallet_id"], row["programme"], row["reward"], row["version"])
        self._told.ours(
            (
                (row["benefit_id"], "reward.issued.v1"),
                (*common, row["redemption_id"], row["tier"], row["points"], row["unit_cost_minor"], row["expires_at"]),
            )
        )  # fmt: skip
        if row["consumed_at"] is not None:
            self._told.ours(
                (
                    (row["benefit_id"], "benefit.consumed.v1"),
                    (*common, row["merchant"], row["bill_ref"], row["unit_cost_minor"], row["consumed_at"]),
                )
            )  # fmt: skip

    def _wrongs(self, row: Any) -> list[str]:
        if not row["redeemed"]:
            return ["its redemption is not there"]
        found = []
        redeemed = (
            row["redemption_wallet"],
            row["redemption_programme"],
            row["redemption_points"],
            row["redemption_at"],
        )
        if redeemed != (row["wallet_id"], row["programme"], row["points"], row["issued_at"]):
            found.append("its redemption is of another wallet, programme, number of points or moment")
        if row["document"] is None:
            return [*found, f"there is no version {row['version']} of {row['reward']}"]
        terms = self._books.terms.get((row["programme"], row["programme_version"]))
        if terms is None:
            return [*found, "no such version of its programme was told"]
        document = json.loads(row["document"])
        if (price := _price(document, terms, row["tier"])) != row["points"]:
            found.append(f"it took {row['points']} points, its price was {price}")
        if document.get("unit_cost_minor", 0) != row["unit_cost_minor"]:
            found.append("its cost is not that of its version")
        if _expires_at(document, terms, row["issued_at"]) != row["expires_at"]:
            found.append(f"it expires at {row['expires_at']}")
        if not _open(document, row["issued_at"], row["tier"]):
            found.append("it could not be had then")
        limit = document.get("limit")
        if limit is not None and limit["per"] == "ever" and row["place"] > limit["most"]:
            found.append(f"it is the member's number {row['place']}, {limit['most']} are allowed")
        if (
            row["consumed_at"] is not None
            and row["expires_at"] is not None
            and row["consumed_at"] >= row["expires_at"]
        ):
            found.append("it was used after its expiry")
        return found

    # ---- the side of the events

    def on_issued(self, n: int | None, envelope: Any, event: RewardIssued) -> None:
        """reward.issued."""
        self._told.theirs(
            (
                (binary(event.benefit_id), "reward.issued.v1"),
                (
                    binary(event.wallet_id), event.programme, event.reward, event.version, binary(event.redemption_id), event.tier,
                    event.redeemed.points, event.unit_cost.amount_minor, event.expires_at,
                ),
            )
        )  # fmt: skip

    def on_consumed(self, n: int | None, envelope: Any, event: BenefitConsumed) -> None:
        """benefit.consumed."""
        self._told.theirs(
            (
                (binary(event.benefit_id), "benefit.consumed.v1"),
                (
                    binary(event.wallet_id), event.programme, event.reward, event.version, event.merchant, event.bill_ref,
                    event.unit_cost.amount_minor, event.consumed_at,
                ),
            )
        )  # fmt: skip


def _price(document: dict[str, Any], terms: Terms, tier: str | None) -> int:
    price = document.get("tier_prices", {}).get(tier) or document["price"]
    if "points" in price:
        return int(price["points"])
    exact = Fraction(price["money"]["amount_minor"]) / terms.per_point
    return -(-exact.numerator // exact.denominator)


def _expires_at(document: dict[str, Any], terms: Terms, issued_at: datetime) -> datetime | None:
    if document.get("valid_days") is None:
        return None
    day = issued_at.astimezone(terms.zone).date() + timedelta(days=document["valid_days"] + 1)
    return datetime.combine(day, time(), terms.zone)


def _open(document: dict[str, Any], at: datetime, tier: str | None) -> bool:
    if not document.get("active", True):
        return False
    windows = document.get("windows", [])
    for window in windows:
        since, until, tiers = (window.get(name) for name in ("since", "until", "tiers"))
        if (
            (since is None or datetime.fromisoformat(since) <= at)
            and (until is None or at < datetime.fromisoformat(until))
            and (tiers is None or tier in tiers)
        ):
            return True
    return not windows
