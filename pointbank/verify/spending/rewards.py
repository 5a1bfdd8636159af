"""Rewards: each stock against what was issued of it, each benefit against its redemption, its price and what was told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from fractions import Fraction
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.events import BenefitConsumed, BenefitEnded, BenefitIssued, Money, RewardIssued, binary
from pointbank.verify.matching import told
from pointbank.verify.programme.terms import Terms


class Rewards:
    """What the bank's tables say of rewards and benefits."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._stock = books.check(
            "rewards:stock",
            2,
            "each reward's stock is what was supplied less what was issued and is set aside; versions count from 1",
        )
        self._put = books.check(
            "rewards:audited",
            8,
            "each version of a reward, and each number that was supplied of it, is what the audit says somebody put",
        )
        self._sold = books.check(
            "benefits",
            3,
            "each benefit has its redemption, or nobody bought it, at the price, cost, window and expiry of its version; no "
            "member has too many",
        )
        self._told = books.match(
            "benefits:told", 5, "each benefit has one event when it was issued, and one when it was used, taken back or expired",
            ("what",), ours="the benefits", theirs="the events",
        )  # fmt: skip
        self._held = books.check(
            "rewards:held", 2, "each authorised reward is held, issued or given back as its reservation ended"
        )
        self._owed = books.check(
            "benefits:liability",
            5,
            "what the open benefits of each reward cost is what was told as issued less what was ended",
        )
        self._said: Counter[tuple[str, str, str]] = Counter()

    async def walk(self) -> None:
        """The side of the tables."""
        open_: Counter[tuple[str, str]] = Counter()
        for row in await self._books.snapshot.rows("spending/rewards.sql", "rewards"):
            self._stock.compared += 1
            name = f"{row['programme']}/{row['reward']}"
            if row["issued"] != row["benefits"]:
                self._stock.wrong(
                    f"{name} counts {row['issued']} issued; there are {row['benefits']} benefits"
                )
            if row["held"] != row["holds"]:
                self._stock.wrong(
                    f"{name} counts {row['held']} set aside; {row['holds']} authorisations hold one"
                )
            if row["supplied"] is not None and row["benefits"] + row["holds"] > row["supplied"]:
                self._stock.wrong(
                    f"{name}: {row['benefits']} were issued and {row['holds']} set aside of {row['supplied']}"
                )
            if (
                row["versions"] != list(range(1, len(row["versions"]) + 1))
                or len(row["versions"]) != row["version"]
            ):
                self._stock.wrong(f"{name} is at version {row['version']}; there are {row['versions']}")
        async for page in self._books.snapshot.pages("spending/rewards.sql", "put"):
            for row in page:
                self._put.compared += 1
                with self._books.reading("reward", f"{row['programme']}/{row['reward']}"):
                    for problem in _not_put(row):
                        self._put.wrong(f"{row['programme']}/{row['reward']}: {problem}")
        for row in await self._books.snapshot.rows("spending/rewards.sql", "stockless"):
            self._stock.wrong(f"{row['programme']}/{row['reward']} was put, and its stock is not there")
        async for page in self._books.snapshot.pages("spending/rewards.sql", "holds"):
            for row in page:
                self._hold(row)
        async for page in self._books.snapshot.pages("spending/rewards.sql", "benefits"):
            for row in page:
                self._sold.compared += 1
                with self._books.reading("benefit", row["benefit_id"]):
                    for problem in self._wrongs(row):
                        self._sold.wrong(f"benefit {told(row['benefit_id'])}: {problem}")
                self._ours(row)
                if row["consumed_at"] is None and row["withdrawn_at"] is None and row["lapsed_at"] is None:
                    open_[row["programme"], row["reward"]] += row["unit_cost_minor"]
        for row in await self._books.snapshot.rows("spending/rewards.sql", "bought_by_nothing"):
            self._sold.wrong(f"gift card {row['card_id']} names a purchase that is not there")
        said: Counter[tuple[str, str]] = Counter()
        for (programme, reward, _), owed in self._said.items():
            said[programme, reward] += owed
        for which in open_.keys() | said.keys():
            self._owed.compared += 1
            if open_[which] != said[which]:
                self._owed.wrong(
                    f"{'/'.join(which)}: the open benefits cost {open_[which]}, the events come to {said[which]}"
                )

    def _hold(self, row: Any) -> None:
        self._held.compared += 1
        expected = {None: "held", "captured": "issued"}.get(row["ended"], "given_back")
        if row["state"] != expected:
            self._held.wrong(
                f"redemption {row['redemption_id']} ended {row['ended']}, its reward is {row['state']}"
            )
        if row["issued"] != (row["state"] == "issued") or (row["issued"] and not row["fits"]):
            self._held.wrong(
                f"redemption {row['redemption_id']}: its reward is {row['state']}, its benefit another"
            )

    def _ours(self, row: Any) -> None:
        common = (row["wallet_id"], row["programme"], row["reward"], row["version"])
        cost, to_whom = row["unit_cost_minor"], (row["member_id"], row["issued_at"], row["expires_at"])
        if row["origin"] == "redemption":
            sold = row["redemption_id"], row["tier"], row["points"]
            self._told.ours(((row["benefit_id"], "reward.issued.v1"), (*common, *sold, cost, *to_whom)))
        else:
            given = row["origin"], row["asked_by"]
            self._told.ours(((row["benefit_id"], "benefit.issued.v1"), (*common, *given, cost, *to_whom)))
        if row["withdrawn_at"] is not None:
            ended = cost, row["withdrawn_at"], row["restocked"], None
            self._told.ours(((row["benefit_id"], "benefit.withdrawn.v1"), (*common, *ended)))
        if row["lapsed_at"] is not None:
            self._told.ours(
                ((row["benefit_id"], "benefit.expired.v1"), (*common, cost, None, None, row["expires_at"]))
            )
        if row["consumed_at"] is not None:
            self._told.ours(
                (
                    (row["benefit_id"], "benefit.consumed.v1"),
                    (
                        *common, row["merchant"], row["terminal"], row["bill_ref"], row["unit_cost_minor"],
                        row["consumed_at"],
                    ),
                )
            )  # fmt: skip

    def _wrongs(self, row: Any) -> list[str]:
        if row["origin"] != "redemption":
            return [
                *self._gift(row),
                *(["it is a gift card, and nobody bought it"] if row["has_card"] else []),
            ]
        if not row["redeemed"]:
            return ["its redemption is not there"]
        found = []
        redeemed = (
            row["of_buyer"],
            row["redemption_programme"],
            row["redemption_points"],
            row["redemption_at"],
        )
        if redeemed != (True, row["programme"], row["points"], row["issued_at"]):
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
        found += _ends(row, document, terms)
        found += _card(row, document)
        if not _open(document, row["sold_at"], row["tier"]):
            found.append("it could not be had then")
        limit = document.get("limit")
        kept = row["withdrawn_at"] is None
        if kept and row["returned_points"]:
            found.append(f"{row['returned_points']} points of its redemption came back, and it stands")
        if not kept and row["returned_points"] != row["points"]:
            found.append(
                f"it was taken back, and {row['returned_points']} of its {row['points']} points came back"
            )
        had = row["place"] + (row["before"] or 0)
        if kept and limit is not None and had > limit["most"]:
            period = "" if limit["per"] == "ever" else f" in a {limit['per']}"
            found.append(f"it is the member's number {had}, {limit['most']} are allowed{period}")
        return found

    def _gift(self, row: Any) -> list[str]:
        """What is wrong with a benefit that nobody bought."""
        found = []
        if row["redemption_id"] is not None or row["points"]:
            found.append(f"nobody bought it, and it took {row['points']} points")
        if (row["origin"] == "asked") != (row["asked_by"] is not None):
            found.append(f"its origin is {row['origin']}, its request {told(row['asked_by'])}")
        versions = self._versions(row)
        if row["document"] is None or not versions:
            return [*found, f"there is no version {row['version']} of {row['reward']}, or no such programme"]
        document = json.loads(row["document"])
        if document.get("unit_cost_minor", 0) != row["unit_cost_minor"]:
            found.append("its cost is not that of its version")
        if all(_ends(row, document, terms) for terms in versions):
            found += _ends(row, document, versions[-1])
        if not document.get("active", True):
            found.append("its reward was not active")
        if row["origin"] == "threshold":
            if row["given_by"] is not None and versions[0].closed:
                found.append(f"version {row['given_by']} had closed its programme")
            threshold = document.get("issues_at") or {}
            if threshold.get("points") is None or (row["most"] or 0) < threshold["points"]:
                found.append(
                    f"its wallet never had more than {row['most']} points, its reward says {threshold}"
                )
            if threshold.get("of") == "balance" and _silent(row, versions):
                found.append(
                    f"its member was last active at {row['active_at']}: silence had ended the balance"
                )
            if row["thresholds"] > 1:
                found.append(f"its wallet was issued it {row['thresholds']} times")
        return found

    def _versions(self, row: Any) -> list[Terms]:
        """The version of its programme that a gift was given by; all of them where that was not kept yet: one must do."""
        versions = self._books.versions_of(row["programme"])
        return [one for one in versions if row["given_by"] in (None, one.version)]

    # ---- the side of the events

    def on_issued(self, n: int | None, envelope: Any, event: RewardIssued) -> None:
        """reward.issued."""
        self._owe(event.programme, event.reward, event.unit_cost, 1)
        self._told.theirs(
            (
                (binary(event.benefit_id), "reward.issued.v1"),
                (
                    binary(event.wallet_id), event.programme, event.reward, event.version, binary(event.redemption_id), event.tier,
                    event.redeemed.points, event.unit_cost.amount_minor, binary(event.member_id), event.issued_at, event.expires_at,
                ),
            )
        )  # fmt: skip

    def on_consumed(self, n: int | None, envelope: Any, event: BenefitConsumed) -> None:
        """benefit.consumed."""
        self._owe(event.programme, event.reward, event.unit_cost, -1)
        self._told.theirs(
            (
                (binary(event.benefit_id), "benefit.consumed.v1"),
                (
                    binary(event.wallet_id), event.programme, event.reward, event.version, event.merchant, event.terminal,
                    event.bill_ref, event.unit_cost.amount_minor, event.consumed_at,
                ),
            )
        )  # fmt: skip

    def on_given(self, n: int | None, envelope: Any, event: BenefitIssued) -> None:
        """benefit.issued."""
        self._owe(event.programme, event.reward, event.unit_cost, 1)
        common = (binary(event.wallet_id), event.programme, event.reward, event.version)
        asked = None if event.effect_id is None else binary(event.effect_id)
        rest = event.origin, asked, event.unit_cost.amount_minor
        to_whom = binary(event.member_id), event.issued_at, event.expires_at
        self._told.theirs(((binary(event.benefit_id), "benefit.issued.v1"), (*common, *rest, *to_whom)))

    def on_ended(self, n: int | None, envelope: Any, event: BenefitEnded) -> None:
        """benefit.withdrawn, benefit.expired."""
        self._owe(event.programme, event.reward, event.unit_cost, -1)
        common = (binary(event.wallet_id), event.programme, event.reward, event.version)
        rest = event.unit_cost.amount_minor, event.withdrawn_at, event.restocked, event.expires_at
        self._told.theirs(((binary(event.benefit_id), envelope.type), (*common, *rest)))

    def _owe(self, programme: str, reward: str, cost: Money, sign: int) -> None:
        self._said[programme, reward, cost.currency] += sign * cost.amount_minor


def _not_put(row: Any) -> Iterator[str]:
    """What of a reward nobody put, by the audit."""
    versions: dict[int, Any] = {}
    supplies: list[int | None] = []
    for version, reward, supplied in map(json.loads, row["audited"]):
        versions.setdefault(version, _unordered(reward))
        if not supplies or supplies[-1] != supplied:
            supplies.append(supplied)
    for version, document in map(json.loads, row["versions"]):
        if versions.get(version) != _unordered(document):
            yield f"version {version} is not what was put"
    # What was supplied before there was a history of it is its first line.
    if row["supplies"] != supplies[len(supplies) - len(row["supplies"]) :]:
        yield f"{row['supplies']} were supplied, by the audit {supplies}"


def _unordered(value: Any) -> Any:
    """A document of which lists of words are sets."""
    if isinstance(value, dict):
        return {name: _unordered(one) for name, one in value.items()}
    if isinstance(value, list):
        made = [_unordered(one) for one in value]
        return sorted(made) if all(isinstance(one, str) for one in made) else made
    return value


def _ends(row: Any, document: dict[str, Any], terms: Terms) -> list[str]:
    """What is wrong with when a benefit ends, and with how it did."""
    found = []
    ends = row["expires_at"]
    if _expires_at(document, terms, row["issued_at"]) != ends:
        found.append(f"it expires at {ends}")
    if row["consumed_at"] is not None and ends is not None and row["consumed_at"] >= ends:
        found.append("it was used after its expiry")
    if row["lapsed_at"] is not None and (ends is None or row["lapsed_at"] < ends):
        found.append("it was written off before its expiry")
    if (row["consumed_at"], row["withdrawn_at"], row["lapsed_at"]).count(None) < 2:
        found.append("it ended twice")
    if row["restocked"] != (row["withdrawn_at"] is not None and document.get("restock", False)):
        found.append(
            f"it is {'' if row['restocked'] else 'not '}on stock again, against what its version says"
        )
    return found


def _silent(row: Any, versions: Sequence[Terms]) -> bool:
    """Whether every version of the programme says that the balance had ended when the benefit was issued."""
    active_at, issued_at = row["active_at"], row["issued_at"]
    return active_at is not None and all(terms.silent(active_at, issued_at) for terms in versions)


def _card(row: Any, document: dict[str, Any]) -> list[str]:
    """What is wrong with the gift card that a purchase is, or with there being one."""
    loads = document.get("loads")
    if row["has_card"] != (loads is not None):
        return ["it is a gift card" if row["has_card"] else "its gift card is not there"]
    if loads is None:
        return []
    found = []
    card = row["card_programme"], row["card_minor"], row["card_at"]
    if card != (row["programme"], loads["amount_minor"], row["issued_at"]):
        found.append(f"its gift card is of {card[0]}, of {card[1]}, active since {card[2]}")
    if row["card_voided"] != (row["withdrawn_at"] is not None):
        found.append("it was taken back, or its gift card was: not both")
    if row["consumed_at"] is not None:
        found.append("it is a gift card, and was used as a benefit")
    return found


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
