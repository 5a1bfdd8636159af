"""What decided redemptions, decided again: the tier by what was told, the share of the bill, and what limits had left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from math import floor
from typing import Any
from uuid import UUID

from pointbank.verify.books import Books
from pointbank.verify.matching import told
from pointbank.verify.programme.numbers import decimal_of
from pointbank.verify.programme.terms import Terms


class Deciding:
    """The inputs that were kept with redemptions, captures and allowances, against the version that decided by them."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._decided = books.check(
            "redemptions:decided",
            3,
            "what is kept of a redemption's decision is what its version allows it by: tier, bill, and what limits counted",
        )
        self._asked: list[tuple[bytes, Any]] = []
        self._bought: list[tuple[bytes, datetime, str, int]] = []

    async def walk(self) -> None:
        """Every decision that was kept."""
        async for page in self._books.snapshot.pages("spending/deciding.sql", "inputs"):
            for row in page:
                self._decided.compared += 1
                terms = self._books.terms.get((row["programme"], row["programme_version"]))
                with self._books.reading("what decided", row["step"], row["subject_id"]):
                    for wrong in _wrong(row, terms):
                        self._decided.wrong(f"{row['step']} {told(row['subject_id'])}: {wrong}")
                    if row["known"] and row["step"] == "redeem" and terms is not None:
                        self._asked += [(row["subject_id"], one) for one in json.loads(row["counted"])]
                        if row["had"] is not None and row["per"] is not None:
                            since = _sold_since(row["per"], row["at"], terms)
                            self._bought.append((row["subject_id"], since, row["reward"], row["had"]))
            await self._spent()
            await self._had()

    async def _spent(self) -> None:
        """What limits counted, against what there is of it."""
        asked, self._asked = self._asked, []
        found: list[tuple[bytes, datetime, dict[str, int]]] = []
        for subject_id, one in asked:
            with self._books.reading("what was counted for redemption", subject_id):
                counts = {what: int(one[what]) for what in ("points", "redemptions")}
                found.append((subject_id, datetime.fromisoformat(one["since"]), counts))
        if not found:
            return
        ids, sinces = [UUID(bytes=one[0]) for one in found], [one[1] for one in found]
        for row in await self._books.snapshot.rows("spending/deciding.sql", "spent", ids, sinces):
            subject_id, since, counts = found[row["k"] - 1]
            for what, least, most in (
                ("points", row["least"], row["most"]),
                ("redemptions", row["least_made"], row["most_made"]),
            ):
                if counts[what] < least or (counts[what] > most and not row["merged"]):
                    self._decided.wrong(
                        f"redemption {told(subject_id)}: {counts[what]} {what} since {since} were counted, there were {least} to "
                        f"{most}"
                    )

    async def _had(self) -> None:
        """What was had of a reward, the same way."""
        found, self._bought = self._bought, []
        if not found:
            return
        ids, sinces, rewards = (
            [UUID(bytes=one[0]) for one in found],
            [one[1] for one in found],
            [one[2] for one in found],
        )
        for row in await self._books.snapshot.rows("spending/deciding.sql", "had", ids, sinces, rewards):
            subject_id, since, reward, had = found[row["k"] - 1]
            if had < row["least"] or (had > row["most"] and not row["merged"]):
                self._decided.wrong(
                    f"redemption {told(subject_id)}: {had} of {reward} were had since {since}, there were {row['least']} to "
                    f"{row['most']}"
                )


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
        yield from _wrong_had(row)
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
        mosts.append(floor(total * decimal_of(share or 1)))
    for rule in terms.redemption.get("acceptance") or ():
        if rule["merchant"] != row["merchant"]:
            continue
        base = _base(rule, row["bill_categories"], total)
        if base is not None and (
            rule.get("categories") is not None or rule.get("max_bill_share") is not None
        ):
            mosts.append(floor(base * decimal_of(rule.get("max_bill_share") or 1)))
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


def _wrong_had(row: Any) -> Iterator[str]:
    if row["most"] is None:
        if row["had"] is not None:
            yield f"{row['had']} are had of what has no limit"
    elif row["had"] is None:
        yield f"of {row['reward']} it is not kept how many were had, and there is a limit"
    elif row["had"] >= int(row["most"]):
        yield f"{row['had']} of {row['reward']} were had, of {row['most']}"


def _sold_since(per: str, at: datetime, terms: Terms) -> datetime:
    """Since when a reward's limit counts; it has no weeks."""
    if per == "ever":
        return datetime(1, 1, 1, tzinfo=UTC)
    if per == "year":
        return datetime(at.astimezone(terms.zone).year, 1, 1, tzinfo=terms.zone).astimezone(UTC)
    return _begins(per, at, terms)


def _begins(per: str, at: datetime, terms: Terms) -> datetime:
    """The first instant of the day, week (from Monday) or month where the programme lives."""
    day = at.astimezone(terms.zone).date()
    if per == "week":
        day -= timedelta(days=day.weekday())
    elif per == "month":
        day = day.replace(day=1)
    return datetime(day.year, day.month, day.day, tzinfo=terms.zone).astimezone(UTC)
