"""The ladder: which tier points are enough for, how long it lasts, and that facts commute."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tiers.domain import (
    Change,
    Earned,
    Known,
    Programme,
    Standing,
    judge,
    missing,
    moves,
    qualifies,
    read_programme,
    rejudge,
)
from tests.support.programmes import SHOPS

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def programme(
    *, tiers: dict[str, Any] | None = None, zone: str = "Asia/Riyadh", version: int = 1
) -> Programme:
    document = {**SHOPS, "programme": {**SHOPS["programme"], "time_zone": zone}}
    document["tiers"] = {**SHOPS["tiers"], **(tiers or {})}
    return read_programme("shops", version, document)


def earned(points: int, at: datetime = NOW, year: int = 2026) -> Earned:
    return Earned(year, points, at)


def path(changes: list[tuple[Change, int]]) -> list[tuple[str | None, str, str, int]]:
    return [(change.from_tier, change.to.code, change.direction, position) for change, position in changes]


def test_the_first_fact_enters_the_first_tier_and_points_climb_from_there() -> None:
    standing, changes = judge(
        programme(), Standing(), [earned(400), earned(600)], before={}, known=Known(NOW)
    )
    assert path(changes) == [(None, "blue", "entry", 0), ("blue", "gold", "up", 1)]
    assert [change.numbers for change, _ in changes] == [
        {"points": 400, "year": 2026},
        {"points": 1000, "year": 2026},
    ]
    assert [change.sequence for change, _ in changes] == [1, 2]
    assert standing.tier == "gold"


def test_a_first_fact_that_is_enough_for_more_still_enters_first() -> None:
    _, changes = judge(programme(), Standing(), [earned(1200)], before={}, known=Known(NOW))
    assert path(changes) == [(None, "blue", "entry", 0), ("blue", "gold", "up", 0)]


def test_points_short_of_the_next_tier_move_nothing() -> None:
    blue = Standing("blue", NOW, None, 1)
    standing, changes = judge(programme(), blue, [earned(99)], before={2026: 400}, known=Known(NOW))
    assert (standing, changes) == (blue, [])
    assert not moves(programme(), blue, sums={2026: 499}, known=Known(NOW))
    assert moves(programme(), blue, sums={2026: 500}, known=Known(NOW))


@pytest.mark.parametrize(
    ("year", "month", "extra_months", "last_day"),
    [
        pytest.param(2018, 11, 0, "2019-12-31", id="D6: entered in November 2018, good to the end of 2019"),
        pytest.param(2016, 6, 3, "2018-03-31", id="D4: Gold of June 2016 with three months more"),
    ],
)
def test_status_lasts_to_the_end_of_the_next_year(
    year: int, month: int, extra_months: int, last_day: str
) -> None:
    rules = programme(tiers={"extra_months": extra_months}, zone="UTC")
    at = datetime(year, month, 15, tzinfo=UTC)
    standing, _ = judge(rules, Standing(), [earned(500, at, year)], before={}, known=Known(at))
    assert standing.tier == "silver"
    assert standing.until is not None
    last_instant = standing.until - timedelta(microseconds=1)
    assert last_instant.strftime("%Y-%m-%d") == last_day


def test_status_ends_at_midnight_where_the_programme_lives() -> None:
    standing, _ = judge(programme(), Standing(), [earned(500)], before={}, known=Known(NOW))
    assert standing.until == datetime(2027, 12, 31, 21, tzinfo=UTC)


def test_a_year_is_the_programmes_own() -> None:
    late = datetime(2026, 12, 31, 21, 30, tzinfo=UTC)
    assert programme().year_of(late) == 2027
    assert programme(zone="Europe/London").year_of(late) == 2026


def test_a_lifetime_tier_never_ends_and_counts_all_years() -> None:
    rules = programme(tiers={"lifecycle": "lifetime"})
    standing, changes = judge(
        rules, Standing("blue", NOW, None, 1), [earned(100)], before={2020: 450}, known=Known(NOW)
    )
    assert (standing.tier, standing.until) == ("silver", None)
    assert changes[0][0].numbers == {"points": 550}


def test_qualifying_again_in_a_later_year_keeps_the_tier_for_longer() -> None:
    silver = Standing("silver", NOW, datetime(2026, 12, 31, 21, tzinfo=UTC), 2)
    standing, changes = judge(programme(), silver, [earned(500)], before={}, known=Known(NOW))
    assert path(changes) == [("silver", "silver", "kept", 0)]
    assert (standing.until, standing.since) == (datetime(2027, 12, 31, 21, tzinfo=UTC), NOW)


def test_a_status_that_is_over_already_is_not_given() -> None:
    long_ago = datetime(2023, 5, 1, tzinfo=UTC)
    blue = Standing("blue", NOW, None, 1)
    standing, changes = judge(programme(), blue, [earned(5000, long_ago, 2023)], before={}, known=Known(NOW))
    assert (standing, changes) == (blue, [])


def test_without_a_ladder_nothing_is_judged() -> None:
    document = {key: value for key, value in SHOPS.items() if key != "tiers"}
    bare = read_programme("shops", 1, document)
    assert judge(bare, Standing(), [earned(5000)], before={}, known=Known(NOW)) == (Standing(), [])
    assert not moves(bare, Standing(), sums={2026: 5000}, known=Known(NOW))


def test_a_new_version_judges_every_year_again() -> None:
    easier = [dict(tier) for tier in SHOPS["tiers"]["ladder"]]
    easier[2] = {**easier[2], "entry": {"points": {"gte": 600}}}
    rules = programme(tiers={"ladder": easier}, version=2)
    silver = Standing("silver", NOW, datetime(2027, 12, 31, 21, tzinfo=UTC), 2)
    standing, changes = rejudge(rules, silver, by_year={2025: 10, 2026: 700}, at=NOW, known=Known(NOW))
    assert [(change.from_tier, change.to.code) for change in changes] == [("silver", "gold")]
    assert standing.tier == "gold"


def test_a_tier_taken_off_the_ladder_is_left_without_calling_it_an_upgrade() -> None:
    bronze = Standing("bronze", NOW, None, 3)
    _, changes = rejudge(programme(version=2), bronze, by_year={2026: 10}, at=NOW, known=Known(NOW))
    assert [(change.from_tier, change.to.code, change.direction) for change in changes] == [
        ("bronze", "blue", "moved")
    ]


@pytest.mark.parametrize(
    ("spent", "this_bill", "expected"),
    [
        (0, 6000, "bronze"),
        (0, 15000, "silver"),
        (0, 25000, "gold"),
        (4000, 500, "bronze"),
        (8000, 3000, "silver"),
        (18000, 3000, "gold"),
        (22000, 5000, "gold"),
    ],
)
def test_vector_d16_three_tiers_by_what_was_collected(spent: int, this_bill: int, expected: str) -> None:
    """D16 counts money spent; the same numbers as points, one point for each unit of it."""
    names = {"en": "-"}
    ladder = [
        {"code": "bronze", "name": names},
        {"code": "silver", "name": names, "entry": {"points": {"gte": 10_000}}},
        {"code": "gold", "name": names, "entry": {"points": {"gte": 20_000}}},
    ]
    rules = programme(tiers={"ladder": ladder})
    before, _ = judge(rules, Standing(), [earned(spent)], before={}, known=Known(NOW))
    standing, _ = judge(rules, before, [earned(this_bill)], before={2026: spent}, known=Known(NOW))
    assert standing.tier == expected


@pytest.mark.parametrize(
    ("condition", "numbers", "holds"),
    [
        ({}, {}, True),
        ({"points": {"gte": 10}}, {"points": 10}, True),
        ({"points": {"gte": 10}}, {"points": 9}, False),
        ({"any": [{"points": {"gte": 10}}, {"visits": {"gte": 3}}]}, {"points": 1, "visits": 3}, True),
        ({"any": [{"points": {"gte": 10}}, {"visits": {"gte": 3}}]}, {"points": 9}, False),
        ({"all": [{"points": {"gte": 10}}, {"visits": {"gte": 3}}]}, {"points": 10, "visits": 2}, False),
        ({"all": [{"points": {"gte": 10}}, {"visits": {"gte": 3}}]}, {"points": 10, "visits": 3}, True),
        (
            {"any": [{"all": [{"points": {"gte": 5}}, {"visits": {"gte": 1}}]}]},
            {"points": 5, "visits": 1},
            True,
        ),
        ({"any": []}, {}, False),
    ],
)
def test_a_condition_is_a_tree_of_any_all_and_numbers(
    condition: dict[str, Any], numbers: dict[str, int], holds: bool
) -> None:
    assert qualifies(condition, numbers) is holds


def test_what_is_missing_is_told_by_number_and_of_alternatives_the_nearest() -> None:
    assert missing({"points": {"gte": 500}}, {"points": 380}) == {"points": 120}
    assert missing({"points": {"gte": 500}}, {"points": 500}) == {}
    either = {"any": [{"points": {"gte": 500}}, {"visits": {"gte": 10}}]}
    assert missing(either, {"points": 100, "visits": 7}) == {"visits": 3}
    both = {"all": [{"points": {"gte": 500}}, {"visits": {"gte": 10}}]}
    assert missing(both, {"points": 100, "visits": 7}) == {"points": 400, "visits": 3}


facts = st.lists(
    st.builds(
        lambda year, points, day: Earned(
            year, points, datetime(year, 6, 1, tzinfo=UTC) + timedelta(days=day)
        ),
        st.integers(2024, 2027),
        st.integers(1, 700),
        st.integers(0, 150),
    ),
    max_size=12,
)


def end_standing(
    rules: Programme, batches: list[list[Earned]]
) -> tuple[str | None, datetime | None, list[str]]:
    """As the handler does it: the sums after a batch, the quick question, then the walk."""
    standing, sums, told = Standing(), dict[int, int](), []
    for batch in batches:
        before = dict(sums)
        for one in batch:
            sums[one.year] = sums.get(one.year, 0) + one.points
        touched = sums if rules.lifecycle == "lifetime" else {one.year: sums[one.year] for one in batch}
        if batch and moves(rules, standing, sums=touched, known=Known(NOW)):
            standing, changes = judge(rules, standing, batch, before=before, known=Known(NOW))
            told += [change.to.code for change, _ in changes]
    return standing.tier, standing.until, told


@given(
    facts,
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 12), max_size=4),
    st.sampled_from(["calendar_year", "lifetime"]),
)
def test_facts_commute_in_any_order_and_any_batches(
    found: list[Earned], random: Any, cuts: list[int], lifecycle: str
) -> None:
    rules = programme(tiers={"lifecycle": lifecycle})
    shuffled = list(found)
    random.shuffle(shuffled)
    edges = [0, *sorted(cuts), len(shuffled)]
    batches = [shuffled[low:high] for low, high in pairwise(edges)]
    one_by_one = end_standing(rules, [[one] for one in found])
    assert end_standing(rules, batches)[:2] == one_by_one[:2]
    # In one order, what is told does not depend on how the facts were cut into batches either.
    assert end_standing(rules, [found]) == one_by_one


def test_points_taken_back_lower_the_standing_that_rested_on_them() -> None:
    gold, _ = judge(programme(), Standing(), [earned(1100)], before={}, known=Known(NOW))
    silver, changes = judge(programme(), gold, [earned(-200)], before={2026: 1100}, known=Known(NOW))
    assert path(changes) == [("gold", "silver", "down", 0)]
    assert (changes[0][0].numbers, silver.tier, silver.until) == (
        {"points": 900, "year": 2026},
        "silver",
        gold.until,
    )
    blue, changes = judge(programme(), silver, [earned(-900)], before={2026: 900}, known=Known(NOW))
    assert path(changes) == [("silver", "blue", "down", 0)]
    assert (blue.tier, blue.until, changes[0][0].numbers["points"]) == ("blue", None, 0)


def test_another_year_keeps_the_tier_and_only_its_end_moves() -> None:
    last = earned(600, datetime(2025, 5, 1, tzinfo=UTC), 2025)
    silver, _ = judge(programme(), Standing(), [last, earned(600)], before={}, known=Known(NOW))
    kept, changes = judge(
        programme(), silver, [earned(-300)], before={2025: 600, 2026: 600}, known=Known(NOW)
    )
    assert path(changes) == [("silver", "silver", "kept", 0)]
    assert kept.until == datetime(2026, 12, 31, 21, tzinfo=UTC)
    assert kept.since == silver.since


def test_a_standing_that_other_rules_gave_does_not_fall() -> None:
    given = Standing("gold", NOW, datetime(2027, 12, 31, 21, tzinfo=UTC), 3)
    standing, changes = judge(programme(), given, [earned(-100)], before={2026: 600}, known=Known(NOW))
    assert (standing, changes) == (given, [])


@given(
    st.permutations(
        [(2025, 700), (2026, 600), (2026, 500), (2026, -300), (2025, -250), (2026, -150), (2026, 40)]
    )
)
def test_facts_commute_also_where_points_are_taken_back(order: list[tuple[int, int]]) -> None:
    rules, standing, sums = programme(), Standing(), dict[int, int]()
    for year, points in order:
        standing, _ = judge(rules, standing, [earned(points, NOW, year)], before=sums, known=Known(NOW))
        sums[year] = sums.get(year, 0) + points
    assert (standing.tier, standing.until) == ("silver", datetime(2027, 12, 31, 21, tzinfo=UTC))


VIP = {"any": [{"points": {"gte": 1000}}, {"member.segments": {"any_of": ["vip"]}, "points": {"gte": 300}}]}


def conditional(**time: Any) -> Programme:
    entry = {"when": VIP} if not time else {"points": {"gte": 1000}, "when": time}
    ladder = [*SHOPS["tiers"]["ladder"][:2], {**SHOPS["tiers"]["ladder"][2], "entry": entry}]
    return programme(tiers={"ladder": ladder})


def test_a_condition_may_open_a_tier_that_points_alone_do_not() -> None:
    rules, vip = conditional(), Known(NOW, frozenset({"vip", "new"}))
    blue, _ = judge(rules, Standing(), [earned(299)], before={}, known=vip)
    assert blue.tier == "blue"
    assert not moves(rules, blue, sums={2026: 499}, known=Known(NOW))
    gold, changes = judge(rules, blue, [earned(1)], before={2026: 299}, known=vip)
    assert path(changes) == [("blue", "gold", "up", 0)]
    assert changes[0][0].facts == {"at": NOW, "segments": ["new", "vip"], "tried": {"gold": "ftt"}}
    # Nobody falls for leaving a segment, and nothing is prolonged by one that was left; what is given back takes it away.
    after, changes = judge(rules, gold, [earned(300, NOW, 2027)], before={}, known=Known(NOW))
    assert (after, changes) == (gold, [])
    fallen, changes = judge(rules, gold, [earned(-1)], before={2026: 300}, known=Known(NOW))
    assert path(changes) == [("gold", "blue", "down", 0)]
    assert fallen.tier == "blue"


def test_the_day_is_that_of_the_programme_and_points_are_wanted_besides() -> None:
    rules = conditional(**{"time.month": {"eq": 12}})
    november, december = (Known(datetime(2026, 11, 30, hour, tzinfo=UTC)) for hour in (20, 21))
    silver, _ = judge(rules, Standing(), [earned(1500)], before={}, known=november)
    assert silver.tier == "silver"
    gold, changes = rejudge(rules, silver, by_year={2026: 1500}, at=december.at, known=december)
    assert (gold.tier, [change.facts and change.facts["tried"] for change in changes]) == (
        "gold",
        [{"gold": "t"}],
    )
    assert rejudge(rules, silver, by_year={2026: 999}, at=december.at, known=december)[1] == []
