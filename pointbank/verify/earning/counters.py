"""What decisions counted against budgets and caps, and what refunds and refused rewards gave back: computed anew, and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.earning.decisions import Judged
from pointbank.verify.programme.checkout import gives_points
from pointbank.verify.programme.terms import Terms
from pointbank.verify.report import Check

_Sums = Counter[tuple[Any, ...]]


class Counters:
    """Sums by counter: of what was decided, and of what was given back."""

    def __init__(self) -> None:
        self.budgets: _Sums = Counter()
        self.caps: _Sums = Counter()

    def count(self, judged: Judged, taken: Mapping[str, int], refused: Collection[str] = ()) -> None:
        """Adds what a decision for a wallet must have counted. `taken`: by accrual, the points that the bank said it took
        back, and those that became debt. However many steps it took: each gave back the difference of two rounded
        shares, so all together gave back the last share. `refused`: the rewards to which the bank said no."""
        details = judged.details
        for one in details.campaigns:
            if one.points:
                back = 0
                for accrual in judged.accruals:
                    held = one.points if judged.flagged else one.held
                    own = held if accrual.kind == "earn_held" else one.points - held
                    back += own * taken.get(accrual.accrual_id, 0) // accrual.points
                for period, since, _, _ in one.caps:
                    self._add(self.caps, (judged.wallet_id, one.campaign, period, since), one.points, back)
                if one.budget is not None:
                    self._add(self.budgets, (judged.programme, one.campaign), one.points, back)
        for given in judged.offers:
            if given.result == "applied":  # nothing of it comes back, but what a refused reward used
                no = given.effect_id in refused
                for period, since, _, _ in given.caps:
                    key: tuple[Any, ...] = (judged.wallet_id, f"{given.campaign}/times", period, since)
                    self._add(self.caps, key, 1, int(no))
                if given.budget is not None:
                    key = (judged.programme, f"{given.campaign}/money")
                    self._add(self.budgets, key, given.granted_minor, given.granted_minor if no else 0)
        if judged.points:
            back = sum(taken.get(accrual.accrual_id, 0) for accrual in judged.accruals)
            for period, since, _, _ in details.caps:
                self._add(self.caps, (judged.wallet_id, "", period, since), judged.points, back)

    def add_cap(self, key: tuple[Any, ...], decided: int, back: int) -> None:
        """Adds what something else than a bill counted against a member's cap."""
        self._add(self.caps, key, decided, back)

    def add_budget(self, key: tuple[Any, ...], decided: int, back: int) -> None:
        """The same of a budget."""
        self._add(self.budgets, key, decided, back)

    @staticmethod
    def _add(sums: _Sums, key: tuple[Any, ...], decided: int, back: int) -> None:
        sums[*key, "decided"] += decided
        sums[*key, "given back"] += back

    async def compare(self, books: Books) -> None:
        """With what earn keeps."""
        snapshot = books.snapshot
        budgets = books.check(
            "budgets:counted",
            8,
            "each campaign's budget has counted what the decisions gave of it, and what refunds and refused rewards gave back",
        )
        caps = books.check(
            "caps:counted",
            8,
            "each member's caps have counted what the decisions gave, and what refunds and refused rewards gave back",
        )
        within = books.check(
            "caps:kept",
            2,
            "no campaign gave more than a version of its programme lets it, and no member got more, less what came back",
        )
        most, most_of = _limits(books)
        kept: dict[tuple[Any, ...], int] = {}
        for programme, campaign, decided, back in await snapshot.rows("earning/bills.sql", "budgets"):
            kept |= _both((programme, campaign, decided, back))
            if (limit := most.get((programme, campaign))) is not None:
                within.compared += 1
                if decided - back > limit:
                    within.wrong(f"{programme} {campaign} gave {decided - back} of {limit}")
        _compare(budgets, kept, self.budgets)
        kept = {}
        async for page in snapshot.pages("earning/bills.sql", "caps"):
            for wallet_id, campaign, period, since, decided, back, programme in page:
                kept |= _both((wallet_id, campaign, period, since, decided, back))
                if (limit := most_of.get((programme, campaign, period))) is not None:
                    within.compared += 1
                    if decided - back > limit:
                        of = campaign or programme
                        within.wrong(
                            f"wallet {wallet_id} got {decided - back} of {of} in the {period} of {since}, of {limit}"
                        )
        _compare(caps, kept, self.caps)


def _limits(books: Books) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str, str], int]]:
    """The most that each counter of a programme's budgets may come to, and that a member may get in a period, by whichever version
    lets it. Of a programme with a version that can't be read, nothing: that one may let more than the others."""
    budgets: dict[tuple[str, str], int] = {}
    caps: dict[tuple[str, str, str], int] = {}
    for programme in sorted({code for code, _ in books.terms}):
        versions = books.versions_of(programme)
        read = []
        for terms in versions:
            with books.reading("budgets and caps of version", terms.version, "of", programme):
                read.append((list(_budgets(terms)), list(_caps(terms))))
        if len(read) < len(versions):
            continue
        for of_budgets, of_caps in read:
            for name, limit in of_budgets:
                budgets[programme, name] = max(budgets.get((programme, name), 0), limit)
            for name, period, limit in of_caps:
                caps[programme, name, period] = max(caps.get((programme, name, period), 0), limit)
    return budgets, caps


def _budgets(terms: Terms) -> Iterator[tuple[str, int]]:
    for code, budget, _, at_checkout in _limited(terms):
        if budget is None:
            continue
        limit = budget.get("money_minor") if at_checkout else budget.get("points")
        if limit is None:
            limit = budget["money_minor"] // terms.per_point
        yield f"{code}/money" if at_checkout else code, int(limit)


def _caps(terms: Terms) -> Iterator[tuple[str, str, int]]:
    for code, _, caps, at_checkout in _limited(terms):
        for period, limit in caps.items():
            if limit is not None:
                yield f"{code}/times" if at_checkout else code, period, int(limit)


def _limited(terms: Terms) -> Iterator[tuple[str, Mapping[str, Any] | None, Mapping[str, Any], bool]]:
    """Of a version, all that has limits: its counter's name, its budget, its members' caps, and whether it gives something at the
    checkout, where money and times are counted."""
    yield "", None, terms.member_caps, False
    for raw in terms.campaigns:
        yield raw["code"], raw.get("budget"), raw.get("member_caps") or {}, not gives_points(raw)
    for raw in terms.acts:
        yield f"act:{raw['code']}", raw.get("budget"), raw.get("member_caps") or {}, False


def _both(row: tuple[Any, ...]) -> dict[tuple[Any, ...], int]:
    *key, decided, back = row
    return {(*key, "decided"): decided, (*key, "given back"): back}


def _compare(check: Check, kept: dict[tuple[Any, ...], int], computed: _Sums) -> None:
    for key in kept.keys() | computed.keys():
        check.compared += 1
        if kept.get(key, 0) != computed[key]:
            check.wrong(
                f"{' '.join(map(str, key))}: {kept.get(key, 0)} are counted, {computed[key]} computed"
            )
