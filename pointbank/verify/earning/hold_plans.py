"""What holds points, and until when: each plan worked out again from its decision and the rules of the version that judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.earning.decisions import Judged
from pointbank.verify.programme.terms import Terms

REVIEW = "(review)"
"""The rule of what would be available but for a review."""


class HoldPlans:
    """The side of the decisions, and the side of the plans."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._terms = books.match(
            "holds:terms", 8, "held points wait for what the rule says that earned them, each rule's share of them, and no others",
            ("bill", "wallet", "programme", "currency", "point_value", "points", "until", "billed_on", "days", "last_on", "zone"),
            ours="the decisions", theirs="the plans",
        )  # fmt: skip

    def decided(self, bill: Any, judged: Judged) -> None:
        """A decision for a wallet."""
        terms = self._books.terms.get((judged.programme, judged.version)) if judged.held else None
        if terms is None:
            return
        of = judged.wallet_id, judged.programme, judged.currency, judged.point_value
        billed_on = terms.local_day(bill["occurred_at"])
        for accrual in judged.accruals:
            if accrual.kind == "earn_held":
                for rule, points, *until in _plans(judged, terms, accrual.points, billed_on):
                    key = accrual.accrual_id, rule
                    self._terms.ours((key, bill["id"], *of, points, *until, str(terms.zone)))

    async def walk(self) -> None:
        """The plans, after the decisions."""
        async for page in self._books.snapshot.pages("earning/holds.sql", "terms"):
            for accrual_id, rule, *rest in page:
                self._terms.theirs(((accrual_id, rule), *rest))


def _plans(judged: Judged, terms: Terms, points: int, billed_on: date) -> Iterator[tuple[Any, ...]]:
    """(rule, points, until, day of the bill, days, last day) of an accrual that is held."""
    if judged.reviewed:
        yield REVIEW, judged.reviewed, "review", billed_on, 0, None
    for rule, share in _shares(judged, points - judged.reviewed):
        yield (rule, share, *_until(terms.holds.get(rule) or {}, billed_on))


def _until(hold: Mapping[str, Any], billed_on: date) -> tuple[str, date, int, date | None]:
    until, days, on = hold.get("until") or "activation", hold.get("days") or 0, hold.get("on")
    if until == "activation":
        return until, billed_on, 0, None
    last_on = date.fromisoformat(on) if on is not None else billed_on + timedelta(days=days)
    return until, billed_on, days, last_on


def _shares(judged: Judged, points: int) -> Iterator[tuple[str, int]]:
    """Of the rules that held, in proportion to what each earned exactly; rounded so that together they are all."""
    held = [(rule, exact) for rule, timing, _, _, exact in judged.by_rule if timing == "hold"]
    whole, reached, before = sum(exact for _, exact in held), 0, 0
    for rule, exact in held:
        reached += exact
        through = points * reached // whole if whole else 0
        if rule == held[-1][0]:
            through = points
        if through > before:
            yield rule, through - before
        before = through
