"""What campaigns add, with the published vectors by their ids: which apply, what they give, and what bounds it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.programme.campaigns import Allotted, Tried, bucket
from shared.programme.compiled import CompiledProgramme, compile_programme
from shared.programme.fared import fared
from shared.programme.windows import Calendar, compile_window
from tests.support.bills import AT, line, subject
from tests.support.programmes import Document, document, earning, ladder, rule

WALLET, MEMBER = UUID(int=7), UUID(int=9)


def campaign(code: str = "double", **more: Any) -> Document:
    usual: Document = {"starts_at": "2026-11-01T00:00:00+03:00", "ends_at": "2026-12-01T00:00:00+03:00"}
    return {"code": code, "effect": {"multiplier": "2"}, **usual, **more}


def bonus(code: str, points: int, **more: Any) -> Document:
    return campaign(code, effect={"bonus": points}, **more)


def programme(
    *campaigns: Document, rules: Any = (), section: Document | None = None, **rounding: Any
) -> CompiledProgramme:
    made = {**earning(*(rules or [rule()]), **rounding), "campaigns": list(campaigns), **(section or {})}
    return compile_programme(document(earning=made, tiers=ladder("1", "1.2")), 1)


class Outcome(Allotted, frozen=True):
    """With how all of them fared."""

    every: list[Tried]


def allot(version: CompiledProgramme, *lines: Any, spent: Any = None, **about: Any) -> Outcome:
    bill = subject(version, lines, **{"member_id": MEMBER, **about})
    earned = version.book.earn(lines, bill.total_minor, bill.tier, bill)
    assert earned.details is not None
    assert version.limits is not None
    made = version.limits.allot(
        earned.details.campaigns,
        earned.points,
        earned.available,
        wallet_id=WALLET,
        occurred_at=bill.occurred_at,
        spent=spent or {},
    )
    told = msgspec.structs.replace(earned.details, campaigns=made.campaigns, left_out=made.left_out)
    return Outcome(**msgspec.structs.asdict(made), every=fared(told))


def results(outcome: Outcome) -> dict[str, str]:
    return {one.campaign: one.result for one in outcome.every}


@pytest.mark.parametrize(
    ("version", "amount", "points"),
    [
        pytest.param(programme(campaign(effect={"multiplier": "3"})), 500, 15, id="A3"),
        pytest.param(programme(bonus("three", 3)), 500, 8, id="A5"),
        pytest.param(
            programme(campaign(effect={"multiplier": "1.5"}), mode="half_up", when="before_multiplier"),
            238,
            3,
            id="A7-2.38",
        ),
        pytest.param(
            programme(campaign(effect={"multiplier": "1.5"}), mode="half_up", when="before_multiplier"),
            576,
            9,
            id="A7-5.76",
        ),
        pytest.param(
            programme(campaign(effect={"steps": {"points": 10, "per_minor": 10000}})),
            29999,
            299 + 20,
            id="steps",
        ),
        pytest.param(programme(campaign(effect={"multiplier": "1.5"})), 190, 1, id="0.95 more is none"),
    ],
)
def test_a_campaign_gives_what_was_published(version: CompiledProgramme, amount: int, points: int) -> None:
    assert allot(version, line(amount)).points == points


def test_a_multiplier_multiplies_the_base_or_the_tiers_points() -> None:
    assert allot(programme(campaign()), line(1000), tier="t1").points == 22  # 10 x 1.2 + 10
    assert allot(programme(campaign(on="with_tier")), line(1000), tier="t1").points == 24
    assert (
        allot(programme(campaign(on="with_tier"), when="before_multiplier"), line(1050), tier="t1").points
        == 24
    )


def test_only_lines_that_earn_match_and_are_not_excluded_count() -> None:
    version = programme(
        campaign(match={"categories": ["coffee"]}, exclude={"skus": ["GIFT"]}),
        rules=[rule(), {"code": "fee", "action": "skip", "priority": 1, "match": {"categories": ["fee"]}}],
    )
    lines = [line(1000, "coffee"), line(2000), line(3000, "coffee", sku="GIFT"), line(500, "coffee", "fee")]
    assert allot(version, *lines).points == 60 + 10
    assert results(allot(version, line(100))) == {"double": "no_lines"}


def test_a_campaign_for_a_tender_counts_what_was_paid_with_it() -> None:
    card: Document = {"match": {"tenders": ["card"]}}
    split = {"card": 6000, "cash": 4000}
    steps = {"steps": {"points": 10, "per_minor": 2500}}
    assert allot(programme(campaign(**card)), line(10_000), tenders=split).points == 100 + 60
    assert allot(programme(campaign(effect=steps, **card)), line(10_000), tenders=split).points == 100 + 20
    assert allot(programme(bonus("five", 5, **card)), line(10_000), tenders=split).points == 100 + 5
    beside = programme(campaign(**card, stacking="all"), campaign("other", stacking="all"))
    assert allot(beside, line(10_000), tenders=split).points == 100 + 60 + 100
    assert allot(beside, line(10_000), tenders={"card": 100, "points": 9900}).points == 1 + 1 + 1
    of_lines = programme(campaign(match={"tenders": ["card"], "categories": ["coffee"]}))
    assert allot(of_lines, line(7000, "coffee"), line(3000), tenders=split).points == 100 + 42


def test_what_points_alone_paid_gets_no_bonus_unless_the_programme_says_so() -> None:
    five, paid = bonus("five", 5), {"points": 1000}
    found = allot(programme(five), line(1000), tenders=paid)
    assert (found.points, results(found)) == (0, {"five": "no_lines"})
    assert (
        allot(programme(five, section={"paid_with_points": "earns"}), line(1000), tenders=paid).points == 15
    )
    assert allot(programme(five), line(1000), tenders={"card": 1, "points": 999}).points == 5
    by_line = bonus("five", 5, when={"line.amount_minor": {"gte": 1}})
    assert results(allot(programme(by_line), line(1000), tenders=paid)) == {"five": "no_lines"}


TENDERS = ("card", "cash", "points")


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.sampled_from(["a", "b"])), min_size=1, max_size=4),
    st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any),
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.none() | st.sets(st.sampled_from(TENDERS), min_size=1),
            st.sampled_from([None, "a", "b"]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_of_what_was_paid_with_its_tenders_a_campaign_gives_its_multiple(
    lines: list[tuple[int, str]],
    shares: list[int],
    given_: list[tuple[int, set[str] | None, str | None]],
    points_earn: bool,
) -> None:
    total = sum(amount for amount, _ in lines)
    paid = [total * share // sum(shares) for share in shares]
    paid[shares.index(max(shares))] += total - sum(paid)
    tenders = {tender: amount for tender, amount in zip(TENDERS, paid, strict=True) if amount}
    made = []
    for number, (more, named, category) in enumerate(given_):
        match = {"tenders": sorted(named) if named else None, "categories": [category] if category else None}
        made.append(campaign(f"c{number}", effect={"multiplier": str(more + 1)}, match=match, stacking="all"))
    section = {"paid_with_points": "earns"} if points_earn else {}
    version = programme(*made, rules=[rule(per_minor=1)], section=section)
    found = allot(version, *[line(amount, category) for amount, category in lines], tenders=tenders)

    def counts(named: set[str] | None, category: str | None) -> int:
        of = sum(amount for amount, own in lines if category in (None, own))
        if not tenders:
            return of
        earns = {tender for tender in tenders if points_earn or tender != "points"}
        return of * sum(tenders[one] for one in earns & (named or earns)) // total

    wanted = counts(None, None)
    for more, named, category in given_:
        if named is None or named & tenders.keys():
            wanted += more * counts(named, category)
    assert found.points == wanted


def test_what_comes_of_held_lines_is_held() -> None:
    held = rule("phones", category="phone", timing="hold", priority=1)
    lines = (line(150), line(250, "phone"))
    for effect, parts in (
        ({"multiplier": "2"}, (8, 2)),
        ({"bonus": 5}, (9, 6)),
        ({"steps": {"points": 1, "per_minor": 100}}, (8, 2)),
    ):
        result = allot(programme(campaign(effect=effect), rules=[held, rule()]), *lines)
        assert (result.points, result.available) == parts
    only = allot(programme(bonus("b", 5), rules=[held, rule()]), line(250, "phone"))
    assert (only.points, only.available) == (7, 0)


def test_a_campaign_is_for_its_time_its_windows_and_its_bills() -> None:
    fridays = {"rrule": "FREQ=WEEKLY;BYDAY=FR", "at": "22:00", "minutes": 240}
    version = programme(
        bonus("over", 1, ends_at="2026-11-22T11:31:04+03:00"),
        bonus("begins", 2, starts_at="2026-11-22T11:31:04+03:00"),
        bonus("friday", 3, recurring=fridays),
        bonus("web", 4, match={"channels": ["ecom"]}),
        bonus("big", 5, when={"bill.total_minor": {"gte": 5000}}),
        bonus("small", 6, when={"line.amount_minor": {"lt": 500}}),
    )
    found = allot(version, line(1000))
    assert results(found) == {
        "begins": "applied",
        "friday": "window",
        "web": "channels",
        "big": "when",
        "small": "no_lines",
    }
    assert [one.condition for one in found.every if one.campaign == "big"] == ["f"]


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-27T21:59:59+03:00", False),
        ("2026-11-27T22:00:00+03:00", True),
        ("2026-11-28T01:59:59.999999+03:00", True),
        ("2026-11-28T02:00:00+03:00", False),
        ("2026-11-28T22:00:00+03:00", False),
    ],
)
def test_windows_come_again_on_the_programmes_clocks(at: str, is_open: bool) -> None:
    recurring = {"rrule": "FREQ=WEEKLY;INTERVAL=1;BYDAY=FR", "at": "22:00", "minutes": 240}
    found = allot(
        programme(bonus("night", 1, recurring=recurring)), line(100), occurred_at=datetime.fromisoformat(at)
    )
    assert results(found) == {"night": "applied" if is_open else "window"}


def test_the_last_day_of_a_month_comes_again() -> None:
    recurring = {"rrule": "FREQ=MONTHLY;BYMONTHDAY=-1", "minutes": 1440}
    made = programme(bonus("payday", 1, recurring=recurring, starts_at="2026-02-01T00:00:00Z"))
    days = [datetime(2026, month, day, 9, tzinfo=UTC) for month, day in ((2, 28), (4, 30), (4, 29), (11, 30))]
    assert [allot(made, line(100), occurred_at=day).points for day in days] == [2, 2, 1, 2]


def test_of_best_only_the_one_that_gives_most_applies_beside_all_others() -> None:
    version = programme(
        bonus("five", 5), bonus("nine", 9), bonus("also", 2, stacking="all"), bonus("nine-too", 9)
    )
    found = allot(version, line(1000))
    assert (found.points, results(found)) == (
        21,
        {"five": "not_best", "nine": "applied", "also": "applied", "nine-too": "not_best"},
    )


def test_an_exclusive_campaign_leaves_no_room_for_others_unless_it_is_used_up() -> None:
    version = programme(
        bonus("all", 50, stacking="all"), bonus("alone", 3, stacking="exclusive", budget={"points": 4})
    )
    found = allot(version, line(1000))
    assert (found.points, results(found)) == (13, {"all": "excluded", "alone": "applied"})
    assert found.given == {("shops", "alone"): 3}
    later = allot(version, line(1000), spent={("shops", "alone"): 4})
    assert (later.points, results(later)) == (60, {"all": "applied", "alone": "used_up"})


def test_a_budget_gives_its_last_points_and_the_best_is_what_is_really_given() -> None:
    version = programme(bonus("rich", 5), bonus("poor", 9, budget={"money_minor": 100}))  # 10 points at 0.10
    spent = {("shops", "poor"): 4}
    first = allot(version, line(100), spent=spent)
    assert [(one.points, one.budget) for one in first.campaigns] == [(6, (4, 10))]
    assert first.left_out == (("rich", "not_best", 5, ""),)
    second = allot(version, line(100), spent={("shops", "poor"): 7})
    assert results(second) == {"rich": "applied", "poor": "not_best"}
    assert second.given == {}
    assert [(one.campaign, one.budget) for one in second.campaigns] == [("rich", None), ("poor", (7, 10))]


def test_what_could_not_be_chosen_anyway_is_not_asked_what_is_left() -> None:
    def asked(*campaigns: Document, **section: Any) -> list[str]:
        version = programme(*campaigns, section=section)
        lines = [line(1000)]
        earned = version.book.earn(lines, 1000, None, subject(version, lines, member_id=MEMBER))
        assert earned.details is not None
        assert version.limits is not None
        found = version.limits.counters(earned.details.campaigns, earned.points, WALLET, AT)
        return sorted(key[1] for key in found)

    had: Any = {"budget": {"points": 100}}
    rich = bonus("rich", 5)
    assert asked(rich, bonus("less", 4, **had), bonus("as-much", 5, **had)) == []
    assert asked(bonus("as-much", 5, **had), rich, bonus("more", 6, member_caps={"day": 9})) == [
        "as-much",
        "more",
    ]
    assert asked(rich, bonus("all", 1, stacking="all", **had)) == ["all"]
    alone = bonus("alone", 1, stacking="exclusive")
    before = bonus("before", 1, stacking="exclusive", starts_at="2026-11-22T08:00:00Z", **had)
    assert asked(bonus("all", 9, stacking="all", **had), before, alone, bonus("after", 9, **had)) == [
        "before"
    ]
    assert asked(rich, alone, member_caps={"day": 100}) == [""]


def test_campaigns_that_came_to_nothing_are_kept_together_by_where_they_ended() -> None:
    web = {"match": {"channels": ["ecom"]}}
    lines = [line(1000), line(400)]
    version = programme(
        bonus("web", 1, **web),
        bonus("big", 2, when={"bill.total_minor": {"gte": 5000}}),
        bonus("bigger", 3, when={"bill.total_minor": {"gte": 6000}}),
        bonus("gifts", 4, when={"line.sku": {"eq": "GIFT"}}),
        bonus("web-too", 5, **web),
        campaign("third", effect={"steps": {"points": 1, "per_minor": 5000}}),
        bonus("gives", 6),
        bonus("less", 5),
    )
    found = allot(version, *lines)
    earned = version.book.earn(lines, 1400, None, subject(version, lines, member_id=MEMBER)).details
    assert earned is not None
    assert earned.ended == (
        ("channels", "", ("web", "web-too")),
        ("no_lines", "f f", ("gifts",)),
        ("when", "f", ("big", "bigger")),
    )
    assert [one.campaign for one in found.campaigns] == ["gives"]
    assert found.left_out == (("third", "nothing", 0, ""), ("less", "not_best", 5, ""))


@given(st.lists(st.integers(0, 24 * 60 * 9), max_size=40), st.integers(1, 2000))
def test_a_calendar_opens_the_windows_that_are_open(minutes: list[int], lasts: int) -> None:
    rules = ("FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;BYDAY=FR,SA", "FREQ=MONTHLY;BYMONTHDAY=1,-1")
    windows = [compile_window(rule, "22:30", lasts, date(2026, 11, 24)) for rule in rules]
    calendar = Calendar(windows)
    for minute in minutes:
        at = datetime(2026, 11, 25, 0, 0, 59, tzinfo=UTC) + timedelta(minutes=minute)
        assert calendar.open_at(at) == sum(one.is_open(at) << k for k, one in enumerate(windows))


def test_a_members_caps_count_in_the_programmes_calendar() -> None:
    version = programme(campaign(member_caps={"day": 8, "month": 20, "year": 500}))
    found = allot(
        version, line(1000), occurred_at=datetime(2026, 11, 29, 22, tzinfo=UTC)
    )  # Monday the 30th there
    keys = {(WALLET, "double", "day", date(2026, 11, 30)): 8}
    keys |= {
        (WALLET, "double", period, date(2026, month, 1)): 8 for period, month in (("month", 11), ("year", 1))
    }
    assert (found.points, found.given) == (18, keys)
    spent = {(WALLET, "double", "month", date(2026, 11, 1)): 15}
    assert allot(version, line(1000), spent=spent).points == 15
    weekly = programme(campaign(member_caps={"week": 3}))
    assert list(allot(weekly, line(1000)).given) == [(WALLET, "double", "week", date(2026, 11, 16))]


def test_what_is_beyond_the_maximum_is_taken_from_the_last_campaign_first() -> None:
    version = programme(
        bonus("a", 20, stacking="all", budget={"points": 1000}),
        bonus("b", 30, stacking="all", budget={"points": 1000}),
        section={"maximum": {"bill": 25}, "member_caps": {"day": 100}},
    )
    found = allot(version, line(1000))
    assert (found.points, found.cut, [one.points for one in found.campaigns]) == (25, 35, [15, 0])
    day = (WALLET, "", "day", date(2026, 11, 22))
    assert found.given == {("shops", "a"): 15, day: 25}
    late = allot(version, line(1000), spent={day: 95})
    assert (late.points, late.cut, late.given) == (5, 55, {day: 5})
    assert allot(version, line(1000), spent={day: 120}).points == 0  # a lower limit than before


def test_a_control_arm_gets_nothing_and_is_recorded() -> None:
    arms = [
        {"code": "control", "share": 5000, "control": True},
        {"code": "triple", "share": 5000, "effect": {"multiplier": "3"}},
    ]
    version = programme(campaign(arms=arms, budget={"points": 100}))
    seen = {}
    for number in range(40):
        found = allot(version, line(1000), member_id=UUID(int=number))
        [tried] = found.campaigns
        seen[tried.arm] = (tried.result, tried.wanted, found.points)
        assert (bucket("double", str(UUID(int=number))) < 5000) == (tried.arm == "control")
    assert seen == {"control": ("control", 10, 10), "triple": ("applied", 20, 30)}


def test_a_members_place_in_a_campaign_is_the_published_hash() -> None:
    # sha256(b"double\0" b"00000000-0000-0000-0000-000000000009")[:8], as a number, mod 10,000
    assert bucket("double", str(MEMBER)) == 7896


def test_a_window_of_clocks_that_are_put_back_is_open_twice() -> None:
    made = document(
        earning={
            **earning(rule()),
            "campaigns": [
                bonus(
                    "night",
                    1,
                    starts_at="2026-10-01T00:00:00Z",
                    recurring={"rrule": "FREQ=DAILY", "at": "01:00", "minutes": 60},
                )
            ],
        }
    )
    made["programme"]["time_zone"] = "Europe/London"
    version = compile_programme(made, 1)
    ends = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # half past one, British Summer Time
    opened = [allot(version, line(100), occurred_at=ends + timedelta(hours=k)).points for k in (-1, 0, 1, 2)]
    assert opened == [1, 2, 2, 1]


def test_nothing_lasts_and_nothing_is_tried() -> None:
    version = programme(bonus("old", 1, starts_at="2020-01-01T00:00:00Z", ends_at="2020-02-01T00:00:00Z"))
    assert allot(version, line(100)) == Outcome(1, 1, (), (), (), 0, {}, every=[])
    assert Tried("x", "when") == Tried("x", "when", "")
    assert AT.tzinfo is UTC
