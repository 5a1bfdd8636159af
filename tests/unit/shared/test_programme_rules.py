"""Rules that ask for more than categories and amounts, with the published vectors by their ids; and the oracle's reading."""

import dataclasses
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointbank.verify.programme.campaigns import Tried as TheirTried
from pointbank.verify.programme.checkout import Rooms
from pointbank.verify.programme.terms import read_terms
from shared.programme.compiled import CompiledProgramme, compile_programme
from shared.programme.earned import Details
from shared.programme.fared import fared
from shared.programme.subject import Activity
from tests.support.bills import AT, asked, earn, line, subject, their_line
from tests.support.programmes import Document, document, earning, ladder, rule


def programme(*rules: Any, section: Document | None = None, **rounding: Any) -> CompiledProgramme:
    made = {**earning(*rules, **rounding), **(section or {})}
    return compile_programme(document(earning=made, tiers=ladder("1", "1.2")), 1)


def counting(base: str, points: str = "1", **more: Any) -> Document:
    steps: Document = {key: more.pop(key) for key in ("per_items", "whole_steps") if key in more}
    rate: Document = {"points": points, **steps}
    return {"code": base, "action": "earn", "base": base, "rate": rate, **more}


@pytest.mark.parametrize(
    ("made", "quantities", "points"),
    [
        pytest.param(counting("item", "20", per_items=2), ["2"], 20, id="A15-20 per 2 pieces"),
        pytest.param(counting("item", "10", per_items=5), ["5"], 10, id="A15-10 per 5 pieces"),
        pytest.param(counting("item", "10", per_items=5), ["4", "2.5"], 13, id="parts count"),
        pytest.param(
            counting("item", "10", per_items=5, whole_steps=True), ["4", "2.5"], 10, id="whole steps"
        ),
        pytest.param(counting("item", "3"), [None, "2"], 9, id="no quantity is one"),
        pytest.param(counting("visit", "7"), ["1", "9"], 7, id="once a bill"),
        pytest.param(counting("fixed", "7"), ["1", "9"], 14, id="each line"),
    ],
)
def test_items_visits_and_lines_may_be_counted(
    made: Document, quantities: list[str | None], points: int
) -> None:
    assert earn(programme(made), *[line(quantity=one) for one in quantities]).points == points


def test_a_card_earns_by_what_was_paid_with_it_a15() -> None:
    compiled = programme(rule(match={"tenders": ["card"]}))
    assert earn(compiled, line(10000), tenders={"card": 10000}).points == 100
    split = earn(compiled, line(10000), tenders={"card": 6000, "cash": 4000})
    assert (split.points, split.rules) == (60, (("everything", "now", 6000, 6000, 6000),))
    assert earn(compiled, line(10000), tenders={"cash": 10000}).details == Details(
        not_for=(("everything", "tenders"),)
    )
    assert earn(compiled, line(10000)).points == 0  # the till did not say


def test_what_was_paid_with_points_earns_nothing_unless_it_is_declared() -> None:
    paid = {"card": 7000, "points": 3000}
    assert earn(programme(rule()), line(5000), line(5000), tenders=paid).points == 70
    assert earn(programme(rule(), at="line"), line(5000), line(4999), line(1), tenders=paid).points == 69
    assert (
        earn(programme(rule(), section={"paid_with_points": "earns"}), line(10000), tenders=paid).points
        == 100
    )
    all_points = earn(programme(counting("item", "5")), line(1000), tenders={"points": 1000})
    assert all_points.points == 0


def test_a19_what_is_paid_with_points_and_what_is_not() -> None:
    # Balance 77 at 0.05: 3.85 of a bill over 85.85 is paid with points, and 82.00 earn 82.
    sold = earn(programme(rule()), line(8585), tenders={"points": 385, "card": 8200})
    assert sold.points == 82


def test_tax_may_earn_nothing() -> None:
    excluded = programme(rule(), section={"tax": "excluded"})
    result = earn(excluded, line(11500, tax_minor=1500), line(100, tax_minor=200))
    assert (result.points, result.rules[0][2]) == (100, 10000)
    assert earn(excluded, total_minor=11500).points == 115  # a bill without lines says no tax


def test_rules_match_sku_merchant_brand_channel_and_condition() -> None:
    def match(code: str, **fields: Any) -> Document:
        return rule(code, "1", match=fields, priority=1)

    compiled = programme(
        match("sku", skus=["A"]),
        match("mall", merchants=["other"]),
        match("brand", brands=["Beans"]),
        match("web", channels=["ecom", "app"]),
        {**match("morning"), "when": {"time.time": {"lt": "11:00"}}},
        {**match("big"), "when": {"line.amount_minor": {"gte": 5000}}},
        rule("rest"),
    )
    result = earn(compiled, line(100, sku="A"), line(100), line(5000), line(7000, sku="B"))
    assert [judged[0] for judged in result.lines] == ["sku", "rest", "big", "big"]
    assert result.tried == ("sku", "mall", "brand", "web", "morning", "big", "rest")
    assert result.details == Details(
        not_for=(("mall", "merchants"), ("brand", "brands"), ("web", "channels"), ("morning", "when")),
        conditions=(("morning", False, "f"),),
        line_conditions=(("big", "- f t t"),),
    )
    other = earn(compiled, line(100), merchant="other", brand="Beans", channel="app")
    assert [judged[0] for judged in other.lines] == ["mall"]
    assert earn(compiled, line(100), brand="Beans").lines[0][0] == "brand"


def test_a_rule_may_have_its_own_multiplier_by_tier() -> None:
    coffee = rule("coffee", category="coffee", priority=1, tier_multipliers={"t1": "2"})
    lines = (line(1050, "coffee"), line(1050))
    after = earn(programme(coffee, rule()), *lines, tier="t1")
    assert (after.points, after.details) == (
        33,
        Details(multipliers=(("coffee", (2, 1)),)),
    )  # 10.5 x 2 + 10.5 x 1.2
    before = earn(programme(coffee, rule(), when="before_multiplier"), *lines, tier="t1")
    assert before.points == 32  # 10 x 2 + 10 x 1.2
    assert earn(programme(coffee, rule()), *lines, tier="t0").points == 21


def test_bills_of_a_thousand_lines_earn_hold_and_skip() -> None:
    compiled = programme(
        rule("later", category="phone", timing="hold", priority=2),
        {"code": "fees", "action": "skip", "match": {"categories": ["fee"]}, "priority": 1},
        {**rule("rest"), "when": {"bill.lines": {"gte": 1000}}},
    )
    lines = [line(100 + k % 7, ("phone", "fee", "tea")[k % 3]) for k in range(1000)]
    result = earn(compiled, *lines)
    exact = [sum(one.amount_minor for one in lines[place::3]) for place in range(3)]
    assert (result.points, result.available) == ((exact[0] + exact[2]) // 100, exact[2] // 100)
    assert [judged[:2] for judged in result.lines[:3]] == [
        ("later", "earned"),
        ("fees", "skipped"),
        ("rest", "earned"),
    ]


# ---- both writings come to the same


conditions = st.sampled_from(
    [
        None,
        {"bill.total_minor": {"gte": 40_000}},
        {"any": [{"time.weekday": {"in": ["sun"]}}, {"bill.items": {"gt": "3"}}], "tier": {"ne": "t0"}},
        {"not": {"bill.categories": {"any_of": ["a"]}}},
        {"line.amount_minor": {"between": [100, 50_000]}},
        {"line.categories": {"none_of": ["b"]}, "bill.lines": {"lt": 4}},
        {"member.bills": {"eq": 0}},
    ]
)
matches = st.fixed_dictionaries(
    {},
    optional={
        "categories": st.lists(st.sampled_from("abc"), min_size=1, max_size=2),
        "skus": st.just(["S1", "S2"]),
        "merchants": st.just(["riyadh-mall"]),
        "brands": st.just(["Beans"]),
        "channels": st.just(["store"]),
        "tenders": st.lists(st.sampled_from(["card", "cash"]), min_size=1, unique=True),
    },
)
rates = st.one_of(
    st.tuples(
        st.just("amount"),
        st.fixed_dictionaries(
            {
                "points": st.sampled_from(["1", "0.5", "2.75"]),
                "per_minor": st.sampled_from([1, 7, 1000]),
                "whole_steps": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just("item"),
        st.fixed_dictionaries(
            {
                "points": st.sampled_from(["1", "3.5"]),
                "per_items": st.sampled_from([1, 3]),
                "whole_steps": st.booleans(),
            }
        ),
    ),
    st.tuples(st.sampled_from(["visit", "fixed"]), st.just({"points": "7.5"})),
)
rules = st.builds(
    lambda match, when, rate, timing, discounted, priority, own, skips: {
        "match": match,
        "when": when,
        "priority": priority,
        "on_discounted": discounted,
        **(
            {"action": "skip"}
            if skips
            else {
                "action": "earn",
                "base": rate[0],
                "rate": rate[1],
                "timing": timing,
                "tier_multipliers": own,
            }
        ),
    },
    matches,
    conditions,
    rates,
    st.sampled_from(["now", "hold"]),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([None, None, {"t1": "1.5"}]),
    st.sampled_from([False, False, False, True]),
)
lines = st.builds(
    lambda categories, amount, discount, tax, sku, quantity: line(
        amount, *categories, discount_minor=discount, tax_minor=tax, sku=sku, quantity=quantity
    ),
    st.lists(st.sampled_from("abcd"), max_size=2),
    st.integers(0, 100_000),
    st.sampled_from([0, 0, 500]),
    st.sampled_from([0, 14, 200]),
    st.sampled_from([None, "S1", "S9"]),
    st.sampled_from([None, "1", "2.5", "0.000001"]),
)


effects = st.sampled_from(
    [{"multiplier": "1.5"}, {"multiplier": "3"}, {"bonus": 25}, {"steps": {"points": 3, "per_minor": 700}}]
)
campaigns = st.builds(
    lambda effect, match, exclude, when, on, stacking, caps, budget, arms, recurring, starts: {
        "starts_at": starts,
        "ends_at": "2026-12-01T00:00:00Z",
        "effect": effect,
        "match": match,
        "exclude": exclude,
        "when": when,
        "on": on,
        "stacking": stacking,
        "member_caps": caps,
        "budget": budget,
        "arms": arms,
        "recurring": recurring,
    },
    effects,
    matches,
    st.none() | matches,
    conditions,
    st.sampled_from(["base", "with_tier"]),
    st.sampled_from(["best_only", "all", "exclusive"]),
    st.sampled_from([None, {"day": 40}, {"month": 50, "week": 45}]),
    st.sampled_from([None, {"points": 70}, {"money_minor": 555}]),
    st.sampled_from(
        [
            None,
            [
                {"code": "c", "share": 4000, "control": True},
                {"code": "t", "share": 6000, "effect": {"bonus": 9}},
            ],
        ]
    ),
    st.sampled_from(
        [
            None,
            {"rrule": "FREQ=WEEKLY;BYDAY=SU,MO", "at": "11:00", "minutes": 45},
            {"rrule": "FREQ=MONTHLY;BYDAY=-2SU;UNTIL=20261122", "minutes": 600},
            {"rrule": "FREQ=DAILY;INTERVAL=2", "at": "20:00", "minutes": 1000},
        ]
    ),
    st.sampled_from(["2026-11-21T21:00:00Z", "2026-01-01T00:00:00+03:00", "2026-11-22T08:31:05Z"]),
)
MEMBER, WALLET = UUID(int=5), UUID(int=6)


class Had(dict[Any, int]):
    """So much had been given by every counter."""

    def __init__(self, had: int) -> None:
        super().__init__()
        self._had = had

    def get(self, key: Any, default: Any = None) -> int:
        return self._had


def read_back(tried: Any, caps: Any) -> tuple[Any, Any]:
    """The same as the oracle reads it in a decision."""
    return (
        msgspec.convert(msgspec.to_builtins(tried), tuple[TheirTried, ...]),
        msgspec.convert(msgspec.to_builtins(caps), Rooms),
    )


def in_full(asks: Any) -> Any:
    return dataclasses.replace(asks, given_before=(*asks.given_before[:2], 1))


@given(
    made=st.lists(rules, min_size=1, max_size=5),
    bill=st.lists(lines, max_size=5),
    section=st.fixed_dictionaries(
        {},
        optional={
            "tax": st.just("excluded"),
            "paid_with_points": st.just("earns"),
            "maximum": st.just({"bill": 500}),
            "member_caps": st.just({"week": 300, "year": 9000}),
        },
    ),
    rounding=st.fixed_dictionaries(
        {
            "mode": st.sampled_from(["floor", "ceil", "half_up", "half_even"]),
            "at": st.sampled_from(["bill", "line"]),
            "when": st.sampled_from(["before_multiplier", "after_multiplier"]),
        }
    ),
    shares=st.sampled_from(
        [{}, {"card": 1}, {"cash": 1, "points": 2}, {"card": 1, "cash": 1, "points": 1}, {"points": 1}]
    ),
    tier=st.sampled_from([None, "t0", "t1", "gone"]),
    brand=st.sampled_from([None, "Beans"]),
    bills=st.integers(0, 1),
    offers=st.lists(campaigns, max_size=4),
    had=st.integers(0, 60),
)
def test_both_writings_of_rules_come_to_the_same(
    made: list[Document],
    bill: list[Any],
    section: Document,
    rounding: dict[str, str],
    shares: dict[str, int],
    tier: str | None,
    brand: str | None,
    bills: int,
    offers: list[Document],
    had: int,
) -> None:
    written = document(
        earning={
            **earning(*[{"code": f"r{k}", **one} for k, one in enumerate(made)], **rounding),
            **section,
            "campaigns": [{"code": f"c{k}", **one} for k, one in enumerate(offers)],
        },
        tiers=ladder("1", "1.15"),
    )
    compiled = compile_programme(written, 1)
    total = sum(one.amount_minor for one in bill) if bill else 12_345
    parts = sum(shares.values())
    tenders = {tender: total * share // parts for tender, share in shares.items()}
    if tenders and total:
        tenders[next(iter(tenders))] += total - sum(tenders.values())
    tenders = {tender: amount for tender, amount in tenders.items() if amount}
    one = subject(
        compiled,
        bill,
        total_minor=total,
        tenders=tenders,
        tier=tier,
        brand=brand,
        member_id=MEMBER,
        activity=Activity(bills, AT if bills else None, datetime(2026, 1, 1, tzinfo=UTC)),
    )
    ours = compiled.book.earn(bill, total, tier, one)
    details = ours.details
    assert details is not None
    points, available = ours.points, ours.available
    if compiled.limits is not None:
        found = compiled.limits.allot(
            details.campaigns, points, available, wallet_id=WALLET, occurred_at=AT, spent=Had(had)
        )
        details = msgspec.structs.replace(
            details,
            campaigns=found.campaigns,
            base=(points, available),
            caps=found.caps,
            cut=found.cut,
            left_out=found.left_out,
        )
        points, available = found.points, found.available
        assert sum(one.points for one in found.campaigns) + ours.points >= points
        assert 0 <= available <= points
    terms = read_terms(1, AT, written)
    asks = dataclasses.replace(
        asked(one),
        member_id=str(MEMBER),
        given_before=(*read_back(details.campaigns, details.caps), details.form),
    )
    theirs = terms.worth([their_line(each) for each in bill], total, tier, asks)
    assert theirs[:3] == (points, available, points - available)
    assert (theirs.lines, theirs.tried) == (ours.lines, ours.tried)
    assert [(*each[:4], Fraction(each[4]) / theirs.unit) for each in theirs.by_rule] == [
        (*each[:4], Fraction(each[4], compiled.denominator)) for each in ours.rules
    ]
    if compiled.book.plain and not tenders:
        assert compiled.earn(bill, total, tier) == msgspec.structs.replace(
            ours, details=None
        )  # the shorter way
    if terms.plain and not terms.bounded and not tenders:
        return
    assert (theirs.details.campaigns, theirs.details.caps) == asks.given_before[:2]
    for name in (
        "left_out",
        "ended",
        "not_for",
        "conditions",
        "line_conditions",
        "multipliers",
        "bases",
        "base",
        "cut",
    ):
        assert getattr(theirs.details, name) == getattr(details, name), name
    if tenders:
        return  # before form 3 a campaign did not look at how a bill was paid
    long = terms.worth([their_line(each) for each in bill], total, tier, in_full(asks))
    assert long[:3] == theirs[:3]  # as decisions told it before there was a short way
    assert {one.campaign: (one.result, one.condition) for one in long.details.campaigns} == {
        one.campaign: (one.result, one.condition) for one in fared(details)
    }


def test_the_oracle_makes_older_decisions_again_as_they_were_made() -> None:
    card = {"tenders": ["card"]}
    usual = {"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z", "stacking": "all"}
    doubled = {"code": "double", **usual, "match": card, "effect": {"multiplier": "2"}}
    five = {"code": "five", **usual, "effect": {"bonus": 5}}
    written = document(earning={**earning(rule()), "campaigns": [doubled, five]}, tiers=ladder("1"))
    version, terms = compile_programme(written, 1), read_terms(1, AT, written)

    def by_form(**tenders: int) -> list[int]:
        bill = asked(subject(version, [line(10_000)], tenders=tenders))
        forms = [dataclasses.replace(bill, given_before=((), (), form)) for form in (1, 2, 3)]
        return [terms.worth([their_line(line(10_000))], 10_000, None, one).points for one in forms]

    assert by_form(card=6000, cash=4000) == [205, 205, 165]
    assert by_form(points=10_000) == [5, 5, 0]
    assert by_form() == [105, 105, 105]
