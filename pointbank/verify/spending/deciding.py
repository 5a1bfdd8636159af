"""What decided redemptions, decided again: the tier by what was told, the share of the bill, and what limits had left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.matching import told
from pointbank.verify.programme.terms import Terms


class Deciding:
    """The inputs that were kept with redemptions, captures and allowances, against the version that decided by them."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._decided = books.check(
            "redemptions:decided",
            3,
            "what is kept of a redemption's decision is what its version allows it by: tier, bill and limits",
        )

    async def walk(self) -> None:
        """Every decision that was kept."""
        async for page in self._books.snapshot.pages("spending/deciding.sql", "inputs"):
            for row in page:
                self._decided.compared += 1
                terms = self._books.terms.get((row["programme"], row["programme_version"]))
                for wrong in _wrong(row, terms):
                    self._decided.wrong(f"{row['step']} {told(row['subject_id'])}: {wrong}")


def _wrong(row: Any, terms: Terms | None) -> Iterator[str]:
    if not row["known"]:
        yield "there is none that it decided"
        return
    if row["has_history"] and row["told_tier"] != row["tier_of_history"] and row["told_tier"] is not None:
        yield f"tiers told {row['tier_of_history']} by that event, not {row['told_tier']}"
    if terms is None:
        return
    if row["step"] != "capture":
        yield from _wrong_tier(row, terms)
        yield from _wrong_counts(row, terms)
    yield from _wrong_bill(row, terms)


def _wrong_tier(row: Any, terms: Terms) -> Iterator[str]:
    may = terms.redemption.get("tiers")
    if may is None and row["tier"] is None:
        return
    stands = row["told_tier"] in terms.ranks and (row["told_until"] is None or row["at"] < row["told_until"])
    first = terms.ladder[0].code if terms.ladder else None
    if row["tier"] != (row["told_tier"] if stands else first):
        yield f"{row['tier']} does not follow from {row['told_tier']} until {row['told_until']}"
    if may is not None and row["tier"] not in may:
        yield f"points are spent in {may}, not in {row['tier']}"


def _wrong_bill(row: Any, terms: Terms) -> Iterator[str]:
    if row["most_minor"] is None:
        return
    captured = row["step"] == "capture"
    due = row["bill_most_minor"] if captured else _most(row, terms)
    if row["most_minor"] != due:
        yield f"points may pay {due} of the bill, {row['most_minor']} is kept"
    pays = row["captured_minor"] if captured else row["money_minor"]
    if (row["paid_minor"] or 0) + pays > row["most_minor"]:
        yield f"{pays} were paid beside {row['paid_minor']}, of {row['most_minor']}"


def _most(row: Any, terms: Terms) -> int | None:
    """What points may pay of the bill as it was said, in minor units."""
    mosts: list[int] = []
    total: int | None = row["bill_total_minor"]
    share = terms.redemption.get("max_bill_share")
    if total is not None:
        mosts.append(floor(total * Fraction(share or 1)))
    for rule in terms.redemption.get("acceptance") or ():
        if rule["merchant"] != row["merchant"]:
            continue
        base = _base(rule, row["bill_categories"], total)
        if base is not None and (
            rule.get("categories") is not None or rule.get("max_bill_share") is not None
        ):
            mosts.append(floor(base * Fraction(rule.get("max_bill_share") or 1)))
    return min(mosts, default=None)


def _base(rule: Mapping[str, Any], said: str | None, total: int | None) -> int | None:
    """What of the bill the merchant takes points for."""
    if rule.get("categories") is None:
        return total
    if said is None:
        return None
    base: int = sum(minor for category, minor in json.loads(said).items() if category in rule["categories"])
    return base if total is None else min(base, total)


def _wrong_counts(row: Any, terms: Terms) -> Iterator[str]:
    limits, caps = terms.redemption.get("member_limits") or (), terms.redemption.get("velocity") or ()
    counted = json.loads(row["counted"])
    if row["step"] == "allowance" or not (limits or caps):
        if counted:
            yield "something was counted for no limit"
        return
    if len(counted) != len(limits) + len(caps):
        yield f"{len(counted)} are counted for {len(limits) + len(caps)} limits"
        return
    for limit, one in zip(limits, counted, strict=False):
        if one["points"] + row["points"] > limit["points"]:
            yield f"{one['points']} and {row['points']} are more than {limit['points']} in a {limit['per']}"
        if datetime.fromisoformat(one["since"]) != _begins(limit["per"], row["at"], terms):
            yield f"a {limit['per']} did not begin at {one['since']}"
    for cap, one in zip(caps, counted[len(limits) :], strict=True):
        if one["redemptions"] >= cap["redemptions"]:
            yield f"{one['redemptions']} were made before, of {cap['redemptions']} in {cap['minutes']} minutes"
        within = timedelta(minutes=cap["minutes"]) - timedelta(microseconds=1)
        if row["at"] - datetime.fromisoformat(one["since"]) != within:
            yield f"{cap['minutes']} minutes before {row['at']} is not {one['since']}"


def _begins(per: str, at: datetime, terms: Terms) -> datetime:
    """The first instant of the day, week (from Monday) or month where the programme lives."""
    day = at.astimezone(terms.zone).date()
    if per == "week":
        day -= timedelta(days=day.weekday())
    elif per == "month":
        day = day.replace(day=1)
    return datetime(day.year, day.month, day.day, tzinfo=terms.zone).astimezone(UTC)
