"""What campaigns give at the checkout, and stamp cards: what they are worth, what bounds them, and the oracle's reading."""

import dataclasses
from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointbank.verify.programme.checkout import Offered as TheirOffered
from pointbank.verify.programme.checkout import Stamped as TheirStamped
from pointbank.verify.programme.terms import read_terms
from shared.programme.campaigns import bucket
from shared.programme.checkout import Offered, grant, punch
from shared.programme.compiled import CompiledProgramme, compile_programme
from shared.programme.earned import Earned
from shared.programme.subject import Activity
from tests.support.bills import AT, asked, line, subject, their_line
from tests.support.programmes import Document, changed, document, earning, ladder, rule
from tests.unit.shared.test_campaigns import campaign
from tests.unit.shared.test_programme_rules import Had, conditions, lines, matches
from tests.unit.shared.test_programme_validation import mistakes

MEMBER, WALLET = UUID(int=5), UUID(int=6)


def ids() -> Callable[[], UUID]:
    numbers = count(100)
    return lambda: UUID(int=next(numbers))


def programme(*campaigns: Document, cards: Any = ()) -> CompiledProgramme:
    section = {**earning(rule()), "campaigns": list(campaigns), "stamp_cards": list(cards)}
    return compile_programme(document(earning=section, tiers=ladder("1", "1.2")), 1)


def earn(version: CompiledProgramme, *bill: Any, **about: Any) -> Earned:
    one = subject(version, bill, **{"member_id": MEMBER, **about})
    return version.book.earn(bill, one.total_minor, one.tier, one)


def granted(
    version: CompiledProgramme,
    *bill: Any,
    claims: dict[str, int] | None = None,
    spent: Any = None,
    **about: Any,
) -> dict[str, tuple[str, int]]:
    assert version.limits is not None
    campaigns = version.limits.campaigns
    taken_off = {code: off for code, off in (claims or {}).items() if campaigns[code].takes_off(MEMBER)}
    earned = earn(version, *bill, claims=taken_off, **about)
    found, _ = grant(
        version.limits,
        earned.offers,
        claims,
        wallet_id=WALLET,
        occurred_at=AT,
        spent={} if spent is None else spent,
        new_id=ids(),
    )
    return {one.campaign: (one.result, one.granted_minor) for one in found}


def off(code: str = "off", **discount: Any) -> Document:
    more = {
        name: discount.pop(name)
        for name in ("stacking", "budget", "member_caps", "match")
        if name in discount
    }
    return campaign(code, effect={"discount": discount}, **more)


@pytest.mark.parametrize(
    ("discount", "tier", "worth"),
    [
        ({"percent": "10"}, "t0", 999),
        ({"percent": "12.5"}, "t0", 1249),
        ({"percent": "10", "percent_by_tier": {"t1": "20"}}, "t1", 1999),
        ({"percent": "10", "most_minor": 500}, "t0", 500),
        ({"money_minor": 300, "money_by_tier": {"t1": 700}}, "t0", 300),
        ({"money_minor": 300, "money_by_tier": {"t1": 700}}, "t1", 700),
        ({"money_minor": 30_000}, "t0", 9999),
    ],
)
def test_a_discount_is_worth_its_part_or_its_amount_by_tier(
    discount: Document, tier: str, worth: int
) -> None:
    version = programme(off(**discount, match={"categories": ["coffee"]}))
    assert granted(version, line(9999, "coffee"), line(5000), tier=tier) == {"off": ("offered", worth)}


def test_a_discount_that_was_taken_off_does_not_make_itself_smaller() -> None:
    version = programme(off(percent="10"))
    assert granted(version, line(10_000)) == {"off": ("offered", 1000)}
    assert granted(version, line(9000), claims={"off": 1000}) == {"off": ("applied", 1000)}
    assert granted(version, line(9000), claims={"off": 2000}) == {"off": ("applied", 1100)}


def test_what_was_taken_off_other_lines_makes_no_discount_larger() -> None:
    def part(code: str, percent: str, **match: Any) -> Document:
        return off(code, percent=percent, match=match, stacking="all")

    version = programme(part("half", "50", categories=["coffee"]), part("tenth", "10", categories=["tea"]))
    basket = [line(20_000, "coffee"), line(10_000, "tea")]
    assert granted(version, *basket) == {"half": ("offered", 10_000), "tenth": ("offered", 1000)}
    after = [line(10_000, "coffee"), line(10_000, "tea")]
    asked_again = earn(version, *after, claims={"half": 10_000}).offers
    assert [(one.amount_minor, one.worth_minor) for one in asked_again] == [(20_000, 10_000), (10_000, 1000)]
    greedy = {"half": 10_000, "tenth": 2000}
    assert granted(version, line(10_000, "coffee"), line(8000, "tea"), claims=greedy)["tenth"] == (
        "applied",
        1000,
    )
    both = programme(part("half", "50", categories=["coffee"]), part("all", "10"))
    assert granted(both, *after, claims={"half": 10_000, "all": 9000})["all"] == ("applied", 3900)


def test_a_discount_does_not_take_its_own_line_away_where_discounted_lines_earn_nothing() -> None:
    section = {**earning(rule(on_discounted=False)), "campaigns": [off(percent="10")]}
    version = compile_programme(document(earning=section, tiers=ladder("1")), 1)
    assert granted(version, line(10_000)) == {"off": ("offered", 1000)}
    paid = line(9000, discount_minor=1000)
    assert granted(version, paid, claims={"off": 1000}) == {"off": ("applied", 1000)}
    assert earn(version, paid, claims={"off": 1000}).points == 0
    on_sale = line(9000, discount_minor=2500)
    assert granted(version, on_sale, paid, claims={"off": 1000}) == {"off": ("applied", 1000)}
    assert granted(version, on_sale, claims={"off": 1000}) == {"off": ("no_lines", 0)}
    assert granted(version, paid) == {"off": ("no_lines", 0)}


def test_a_free_item_in_one_arm_is_no_discount_though_the_other_arm_has_one() -> None:
    cookie = {"free_item": {"sku": "X", "value_minor": 800}}
    arms = [{"code": "cookie", "share": 5000, "effect": cookie}, {"code": "off", "share": 5000}]
    tenth = {"discount": {"percent": "10"}}
    [cookies, money] = [
        programme(campaign(code, effect=tenth, arms=arms, stacking="all"), off("other", percent="10"))
        for code in ("b", "a")
    ]
    assert (bucket("b", str(MEMBER)) < 5000, bucket("a", str(MEMBER)) < 5000) == (True, False)
    assert granted(cookies, line(9000), claims={"b": 800, "other": 1080}) == {
        "b": ("applied", 800),
        "other": ("applied", 1008),
    }
    assert granted(money, line(8000), claims={"a": 1000, "other": 1000}) == {
        "a": ("applied", 1000),
        "other": ("applied", 1000),
    }


def test_what_competes_is_what_is_claimed() -> None:
    version = programme(off("small", money_minor=100), off("big", money_minor=500))
    assert granted(version, line(10_000)) == {"small": ("not_best", 0), "big": ("offered", 500)}
    assert granted(version, line(9900), claims={"small": 100}) == {
        "small": ("applied", 100),
        "big": ("unclaimed", 0),
    }
    both = {"small": 100, "big": 90}
    assert granted(version, line(9900), claims=both) == {"small": ("applied", 100), "big": ("not_best", 0)}
    alone = programme(off("alone", money_minor=100, stacking="exclusive"), off("other", money_minor=500))
    assert granted(alone, line(9900)) == {"alone": ("offered", 100), "other": ("excluded", 0)}


def test_of_a_budget_a_discount_has_the_rest_and_a_free_item_all_or_nothing() -> None:
    budget = {"money_minor": 1000}
    free = campaign(
        "free", effect={"free_item": {"sku": "X", "value_minor": 300}}, stacking="all", budget=budget
    )
    version = programme(off(money_minor=300, stacking="all", budget=budget), free)
    claims = {"off": 300, "free": 300}
    assert granted(version, line(9999), claims=claims, spent=Had(700)) == {
        "off": ("applied", 300),
        "free": ("applied", 300),
    }
    assert granted(version, line(9999), claims=claims, spent=Had(701)) == {
        "off": ("applied", 299),
        "free": ("used_up", 0),
    }
    once = programme(off(money_minor=300, member_caps={"day": 2}))
    assert granted(once, line(9999), claims={"off": 1}, spent=Had(1)) == {"off": ("applied", 1)}
    assert granted(once, line(9999), claims={"off": 1}, spent=Had(2)) == {"off": ("used_up", 0)}


def test_a_free_item_that_is_claimed_at_0_was_given_and_counts_as_its_worth() -> None:
    more: dict[str, Any] = {"stacking": "all", "budget": {"money_minor": 1000}, "member_caps": {"day": 1000}}
    free = campaign("free", effect={"free_item": {"sku": "X", "value_minor": 300}}, **more)
    version = programme(off(money_minor=300, **more), free)
    claims = {"off": 0, "free": 0}
    assert granted(version, line(9999), claims=claims, spent=Had(700)) == {
        "off": ("unclaimed", 0),
        "free": ("applied", 300),
    }
    assert granted(version, line(9999), claims=claims, spent=Had(701))["free"] == ("used_up", 0)
    assert version.limits is not None
    _, counted = grant(
        version.limits,
        earn(version, line(9999), claims={}).offers,
        claims,
        wallet_id=WALLET,
        occurred_at=AT,
        spent={},
        new_id=ids(),
    )
    assert sorted(counted.values()) == [1, 300]


def test_stamps_by_item_and_by_visit_fill_a_card_and_it_starts_anew() -> None:
    by_item = {
        "code": "i",
        "stamps": 4,
        "reward": "r",
        "match": {"categories": ["coffee"]},
        "most_per_bill": 9,
    }
    version = programme(cards=[by_item, {"code": "v", "stamps": 2, "reward": "s", "count": "visit"}])
    bill = [line(100, "coffee", quantity="2.5"), line(100, "coffee"), line(100, quantity="7")]
    item, visit = earn(version, *bill).stamps
    assert (item.stamps, item.lines, visit.stamps, visit.lines) == (3, (0, 1), 1, (0, 1, 2))
    full, left = punch(item, 3, ids())
    assert (full.before, len(full.effects), left) == (3, 1, 2)
    assert punch(item, -2, ids())[1] == 1
    [many, _] = earn(version, line(100, "coffee", quantity="500")).stamps
    assert (many.stamps, len(punch(many, 0, ids())[0].effects), punch(many, 0, ids())[1]) == (9, 2, 1)
    [none, _] = earn(version, line(100, "coffee", quantity="0.5")).stamps
    assert (none.result, none.stamps) == ("nothing", 0)


def test_each_mistake_of_what_is_given_at_the_checkout_has_its_place() -> None:
    discount = {"discount": {"percent": "10"}}
    wrong = [
        campaign("a", effect={"discount": {"percent": "10", "money_minor": 5}}),
        campaign("b", effect={"discount": {"percent": "100.5", "percent_by_tier": {"gold": "0"}}}),
        campaign("c", effect={"discount": {"money_by_tier": {"gold": 5}}}),
        campaign("d", effect=discount, budget={"points": 5}, on="with_tier"),
        campaign("e", effect={"free_item": {"sku": "X"}}),
        campaign("f", effect={**discount, "bonus": 5}),
        campaign(
            "g",
            effect=discount,
            arms=[{"code": "x", "share": 5000, "effect": {"bonus": 5}}, {"code": "y", "share": 5000}],
        ),
        campaign("h", effect={"issue": {"reward": "r", "value_minor": 0}}, budget={"money_minor": -1}),
    ]
    assert mistakes(changed("/earning/campaigns", wrong)) == [
        ("/earning/campaigns/0/effect/discount", "programme_invalid"),
        ("/earning/campaigns/1/effect/discount/percent", "programme_invalid"),
        ("/earning/campaigns/1/effect/discount/percent_by_tier/gold", "programme_invalid"),
        ("/earning/campaigns/2/effect/discount", "programme_invalid"),
        ("/earning/campaigns/3/budget/points", "programme_invalid"),
        ("/earning/campaigns/3/on", "programme_invalid"),
        ("/earning/campaigns/4/effect/free_item/value_minor", "field_missing"),
        ("/earning/campaigns/5/effect", "programme_invalid"),
        ("/earning/campaigns/6/arms/0/effect", "programme_invalid"),
        ("/earning/campaigns/7/budget/money_minor", "programme_invalid"),
        ("/earning/campaigns/7/effect/issue/value_minor", "programme_invalid"),
    ]
    unknown = campaign("a", effect={"discount": {"percent": "10", "percent_by_tier": {"platinum": "20"}}})
    assert mistakes(changed("/earning/campaigns", [unknown])) == [
        ("/earning/campaigns/0/effect/discount/percent_by_tier/platinum", "programme_invalid")
    ]
    cards = [
        {"code": "a", "stamps": 1, "reward": "r"},
        {
            "code": "b",
            "stamps": 5,
            "reward": "r",
            "starts_at": "2026-11-02T00:00:00Z",
            "ends_at": "2026-11-01T00:00:00Z",
        },
        {"code": "b", "stamps": 5, "reward": "r", "when": {"bill.total": {"gte": 1}}},
    ]
    assert mistakes(changed("/earning/stamp_cards", cards)) == [
        ("/earning/stamp_cards/0/stamps", "programme_invalid"),
        ("/earning/stamp_cards/1/ends_at", "programme_invalid"),
        ("/earning/stamp_cards/2/code", "programme_invalid"),
        ("/earning/stamp_cards/2/when/bill.total", "field_unknown"),
    ]
    never = {"code": "n", "stamps": 5, "reward": "r", "when": {"bill.lines": {"gt": 5, "lt": 5}}}
    assert mistakes(changed("/earning/stamp_cards", [never]), active=True) == [
        ("/earning/stamp_cards/0/when/bill.lines/lt", "programme_invalid")
    ]


gifts = st.sampled_from(
    [
        {"discount": {"percent": "12.5", "most_minor": 900}},
        {"discount": {"percent": "10", "percent_by_tier": {"t1": "33.3"}}},
        {"discount": {"money_minor": 450, "money_by_tier": {"t1": 40}}},
        {"free_item": {"sku": "X", "value_minor": 300}},
        {"issue": {"reward": "r", "value_minor": 200}},
    ]
)
campaigns = st.builds(
    lambda effect, match, exclude, when, stacking, caps, budget, arms: campaign(
        effect=effect, match=match, exclude=exclude, when=when, stacking=stacking, member_caps=caps, budget=budget,
        arms=arms,
    ),
    gifts,
    matches,
    st.none() | matches,
    conditions,
    st.sampled_from(["best_only", "all", "exclusive"]),
    st.sampled_from([None, {"day": 40}, {"month": 50, "week": 20}]),
    st.sampled_from([None, {"money_minor": 100}, {"money_minor": 555}]),
    st.sampled_from(
        [
            None,
            [{"code": "c", "share": 4000, "control": True}, {"code": "t", "share": 6000}],
            [{"code": "m", "share": 5000, "effect": {"discount": {"percent": "5"}}}, {"code": "t", "share": 5000}],
            [{"code": "i", "share": 5000, "effect": {"free_item": {"sku": "X", "value_minor": 90}}}, {"code": "t", "share": 5000}],
        ]
    ),
)  # fmt: skip
stamp_cards = st.builds(
    lambda match, when, how, stamps, most: {
        "match": match, "when": when, "count": how, "stamps": stamps, "most_per_bill": most, "reward": "r",
    },
    matches,
    conditions,
    st.sampled_from(["item", "visit"]),
    st.integers(2, 4),
    st.sampled_from([2, 20]),
)  # fmt: skip


@given(
    made=st.lists(campaigns, min_size=1, max_size=4),
    cards=st.lists(stamp_cards, max_size=2),
    bill=st.lists(lines, max_size=4),
    tier=st.sampled_from([None, "t0", "t1"]),
    claimed=st.lists(st.sampled_from([None, 0, 10, 300, 450, 900]), min_size=5, max_size=5),
    had=st.integers(0, 60),
    before=st.integers(-3, 3),
    on_discounted=st.booleans(),
)
def test_both_writings_come_to_the_same_and_nothing_is_given_beyond_its_bounds(
    made: list[Document],
    cards: list[Document],
    bill: list[Any],
    tier: str | None,
    claimed: list[int | None],
    had: int,
    before: int,
    on_discounted: bool,
) -> None:
    section = {
        **earning(
            rule(on_discounted=on_discounted),
            {"code": "fee", "priority": 1, "action": "skip", "match": {"categories": ["fee"]}},
        ),
        "campaigns": [{**one, "code": f"c{k}"} for k, one in enumerate(made)],
        "stamp_cards": [{**one, "code": f"s{k}"} for k, one in enumerate(cards)],
    }
    written = document(earning=section, tiers=ladder("1", "1.15"))
    version = compile_programme(written, 1)
    limits = version.limits
    assert limits is not None
    claims = {f"c{k}": amount for k, amount in enumerate(claimed) if amount is not None}
    taken_off = {
        code: amount
        for code, amount in claims.items()
        if code in limits.campaigns and limits.campaigns[code].takes_off(MEMBER)
    }
    total = sum(one.amount_minor for one in bill) if bill else 12_345
    one = subject(
        version,
        bill,
        total_minor=total,
        tier=tier,
        member_id=MEMBER,
        claims=taken_off,
        activity=Activity(1, AT),
    )
    earned = version.book.earn(bill, total, tier, one)
    offers, given_ = grant(
        limits, earned.offers, claims, wallet_id=WALLET, occurred_at=AT, spent=Had(had), new_id=ids()
    )
    for offered in offers:
        assert offered.granted_minor <= offered.worth_minor
        given_whole = offered.kind == "free_item" and offered.claimed_minor == 0
        said = offered.worth_minor if given_whole else offered.claimed_minor or 0
        assert offered.kind == "reward" or offered.granted_minor <= said
        assert offered.budget is None or offered.granted_minor <= max(offered.budget[1] - had, 0)
    stamps = [punch(card, before, ids())[0] if card.stamps else card for card in earned.stamps]
    kept = msgspec.convert(msgspec.to_builtins(offers), tuple[TheirOffered, ...])
    stamped = msgspec.convert(msgspec.to_builtins(stamps), tuple[TheirStamped, ...])
    theirs = read_terms(1, AT, written).worth(
        [their_line(each) for each in bill],
        total,
        tier,
        dataclasses.replace(
            asked(one),
            member_id=str(MEMBER),
            claims=claims,
            offered_before=kept,
            stamped_before=stamped,
            given_before=((), (), 4),
        ),
    )
    assert theirs.offers == tuple(msgspec.structs.replace(each, effect_id=None) for each in kept)
    assert theirs.stamps == tuple(
        (msgspec.structs.replace(each, effects=()), len(each.effects)) for each in stamped
    )
    assert isinstance(offers[0], Offered)
    assert all(amount > 0 for amount in given_.values())
