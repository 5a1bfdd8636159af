"""A standing that is over: from its end on the best that the years still earn holds, whoever comes by, and in whatever order."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tiers.domain import Earned, Known, Programme, Standing, judge, moves, read_programme, rejudge
from tests.support.programmes import SHOPS
from tests.unit.tiers.test_domain import path, programme


def end_of(year: int) -> datetime:
    """The last moment of a year's end in Riyadh, exclusive."""
    return datetime(year, 12, 31, 21, tzinfo=UTC)


def day(year: int, month: int) -> datetime:
    return datetime(year, month, 15, 9, tzinfo=UTC)


GOLD_OF_2026 = Standing("gold", day(2026, 6), end_of(2027), 2)


def test_who_earns_silver_after_their_gold_is_over_is_silver_and_was_blue_between() -> None:
    march = day(2028, 3)
    known = Known(march)
    assert moves(programme(), GOLD_OF_2026, sums={2028: 600}, known=known)
    silver, changes = judge(
        programme(), GOLD_OF_2026, [Earned(2028, 600, march)], before={2026: 1200}, known=known
    )
    assert path(changes) == [("gold", "blue", "down", 0), ("blue", "silver", "up", 0)]
    assert [change.effective_at for change, _ in changes] == [end_of(2027), march]
    assert changes[0][0].numbers == {"points": 0, "year": 2028}
    assert silver == Standing("silver", march, end_of(2029), 4)


def test_who_reaches_gold_again_after_an_interval_has_reached_it_and_not_kept_it() -> None:
    march = day(2028, 3)
    gold, changes = judge(
        programme(), GOLD_OF_2026, [Earned(2028, 1100, march)], before={2026: 1200}, known=Known(march)
    )
    assert path(changes) == [("gold", "blue", "down", 0), ("blue", "gold", "up", 0)]
    assert gold == Standing("gold", march, end_of(2029), 4)


def test_when_gold_is_over_the_silver_of_the_year_after_holds() -> None:
    by_year = {2026: 1200, 2027: 600, 2028: 10}
    silver, changes = rejudge(
        programme(), GOLD_OF_2026, by_year=by_year, at=day(2028, 2), known=Known(day(2028, 2))
    )
    assert [(one.from_tier, one.to.code, one.direction) for one in changes] == [("gold", "silver", "down")]
    assert (changes[0].numbers, changes[0].effective_at) == ({"points": 600, "year": 2027}, end_of(2027))
    assert silver == Standing("silver", end_of(2027), end_of(2028), 3)


def test_one_that_nobody_came_by_for_years_ends_step_by_step() -> None:
    by_year = {2026: 1200, 2027: 600}
    late = day(2031, 5)
    blue, changes = rejudge(programme(), GOLD_OF_2026, by_year=by_year, at=late, known=Known(late))
    assert [(one.to.code, one.effective_at, one.until) for one in changes] == [
        ("silver", end_of(2027), end_of(2028)),
        ("blue", end_of(2028), None),
    ]
    assert blue == Standing("blue", end_of(2028), None, 4)


def test_it_ends_at_its_end_and_not_a_moment_before() -> None:
    by_year = {2026: 1200}
    before, at = end_of(2027) - timedelta(microseconds=1), end_of(2027)
    assert rejudge(programme(), GOLD_OF_2026, by_year=by_year, at=before, known=Known(before)) == (
        GOLD_OF_2026,
        [],
    )
    assert not moves(programme(), GOLD_OF_2026, sums={2027: 600}, known=Known(before))
    ended, _ = rejudge(programme(), GOLD_OF_2026, by_year=by_year, at=at, known=Known(at))
    assert ended == Standing("blue", at, None, 3)


def test_what_is_heard_late_does_not_reach_back_behind_an_end() -> None:
    """The 1,100 of 2027 are heard of in 2028: until its end the gold of 2026 held."""
    january = day(2028, 1)
    late = [Earned(2027, 1100, day(2027, 11))]
    gold, changes = judge(programme(), GOLD_OF_2026, late, before={2026: 1200}, known=Known(january))
    assert path(changes) == [("gold", "blue", "down", 0), ("blue", "gold", "up", 0)]
    assert [change.effective_at for change, _ in changes] == [end_of(2027), end_of(2027)]
    assert gold == Standing("gold", end_of(2027), end_of(2028), 4)
    taken, changes = judge(
        programme(), gold, [Earned(2027, -200, day(2027, 12))], before={2026: 1200, 2027: 1100}, known=Known(january)
    )  # fmt: skip
    assert path(changes) == [("gold", "silver", "down", 0)]
    assert (taken.since, changes[0][0].effective_at) == (end_of(2027), end_of(2027))


def test_points_taken_back_from_a_standing_that_is_over_take_what_followed_it() -> None:
    march = day(2028, 3)
    blue, changes = judge(
        programme(), GOLD_OF_2026, [Earned(2027, -200, march)], before={2026: 1200, 2027: 600}, known=Known(march)
    )  # fmt: skip
    assert path(changes) == [("gold", "silver", "down", 0), ("silver", "blue", "down", 0)]
    assert blue == Standing("blue", march, None, 4)


def test_a_standing_that_other_rules_gave_ends_too_and_a_tier_off_the_ladder_is_left_at_its_end() -> None:
    late = day(2028, 3)
    given = Standing("bronze", day(2026, 6), end_of(2027), 3)
    silver, changes = rejudge(programme(), given, by_year={2027: 700}, at=late, known=Known(late))
    assert [(one.from_tier, one.to.code, one.direction) for one in changes] == [("bronze", "silver", "moved")]
    assert silver == Standing("silver", end_of(2027), end_of(2028), 4)


def test_what_no_ladder_judges_does_not_end() -> None:
    document = {key: value for key, value in SHOPS.items() if key != "tiers"}
    bare = read_programme("shops", 2, document)
    late = day(2028, 3)
    assert judge(bare, GOLD_OF_2026, [Earned(2028, 5, late)], before={}, known=Known(late)) == (
        GOLD_OF_2026,
        [],
    )


def test_a_condition_is_asked_at_the_end_and_prolongs_or_not() -> None:
    vip = {"member.segments": {"any_of": ["vip"]}}
    ladder = [*SHOPS["tiers"]["ladder"][:1], {**SHOPS["tiers"]["ladder"][1], "entry": {"when": vip}}]
    rules = programme(tiers={"ladder": ladder})
    silver = Standing("silver", day(2026, 6), end_of(2027), 2)
    late = day(2028, 1)
    is_one, is_none = Known(late, frozenset({"vip"})), Known(late)
    kept, changes = rejudge(rules, silver, by_year={}, at=late, known=is_one)
    assert [(one.to.code, one.direction, one.until) for one in changes] == [("silver", "kept", end_of(2029))]
    assert kept.since == silver.since
    left, changes = rejudge(rules, silver, by_year={2026: 9}, at=late, known=is_none)
    assert [(one.to.code, one.direction) for one in changes] == [("blue", "down")]
    assert left.since == end_of(2027)


def test_a_condition_alone_gives_its_tier_also_to_who_earned_in_other_years_only() -> None:
    """As to who never earned a point, and as where a standing ends: the year that it is counts without points."""
    vip = {"member.segments": {"any_of": ["vip"]}}
    ladder = [*SHOPS["tiers"]["ladder"][:1], {**SHOPS["tiers"]["ladder"][1], "entry": {"when": vip}}]
    rules = programme(tiers={"ladder": ladder})
    blue, march = Standing("blue", day(2026, 6), None, 1), day(2028, 3)
    is_one = Known(march, frozenset({"vip"}))
    for by_year in ({}, {2026: 9}, {2026: 9, 2027: 5}, {2028: 1}):
        silver, changes = rejudge(rules, blue, by_year=by_year, at=march, known=is_one)
        assert (silver.tier, silver.until) == ("silver", end_of(2029)), by_year
        assert changes[-1].numbers == {"points": by_year.get(2028, 0), "year": 2028}
    assert rejudge(rules, blue, by_year={2026: 9}, at=march, known=Known(march)) == (blue, [])


# ---- a moving now

years = st.integers(2024, 2029)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("points"), years, st.sampled_from([-600, -100, 400, 600, 1000])),
        st.tuples(st.just("passes"), st.integers(1, 800), st.just(0)),
        st.tuples(st.just("looks"), st.just(0), st.just(0)),
    ),
    max_size=30,
)


def best(rules: Programme, sums: dict[int, int], now: datetime) -> tuple[str, datetime | None]:
    """The highest tier that a year earns, longest, of those that are not over: written a second time."""
    entries = [(tier.entry["points"]["gte"] if tier.entry else 0) for tier in rules.ladder]
    found: tuple[int, datetime | None] = (0, None)
    for year in sums if rules.lifecycle == "calendar_year" else ():
        rank = max(k for k, least in enumerate(entries) if k == 0 or sums[year] >= least)
        if rank and end_of(year + 1) > now:
            found = max(found, (rank, end_of(year + 1)), key=lambda one: (one[0], one[1] or now))
    if rules.lifecycle == "lifetime":
        found = max(k for k, least in enumerate(entries) if k == 0 or sum(sums.values()) >= least), None
    return rules.ladder[found[0]].code, found[1]


@pytest.mark.parametrize("lifecycle", ["calendar_year", "lifetime"])
@given(acts)
def test_at_any_moment_the_standing_is_the_best_that_is_not_over(
    lifecycle: str, acts: list[tuple[str, int, int]]
) -> None:
    """Points of any year, taken back too, while time passes; the job comes by, or not."""
    rules = programme(tiers={"lifecycle": lifecycle})
    now = datetime(2024, 1, 10, tzinfo=UTC)
    standing, sums = Standing(), dict[int, int]()
    for kind, number, points in acts:
        if kind == "passes":
            now += timedelta(days=number)
        elif kind == "looks":
            standing, _ = rejudge(rules, standing, by_year=sums, at=now, known=Known(now))
        else:
            one = Earned(number, points, now)
            after = {**sums, number: sums.get(number, 0) + points}
            if points < 0 or moves(rules, standing, sums=after, known=Known(now)):
                standing, _ = judge(rules, standing, [one], before=sums, known=Known(now))
            sums = after
        if kind != "passes" and standing.tier is not None:
            assert (standing.tier, standing.until) == best(rules, sums, now)


@given(
    st.lists(st.tuples(years, st.sampled_from([400, 600, 1000])), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_neither_the_order_nor_a_job_that_came_by_decides_where_it_ends(
    found: list[tuple[int, int]], random: Any
) -> None:
    """The same facts in two orders at moments of their own, with looks in between or without, come to the same by the end."""
    last, ends = day(2030, 3), set()
    for looks in (False, True):
        rules, standing, sums = programme(), Standing(), dict[int, int]()
        moments = sorted(last - timedelta(days=random.randint(0, 2000)) for _ in found)
        for (year, points), now in zip(random.sample(found, len(found)), moments, strict=True):
            known = Known(now)
            standing, _ = judge(rules, standing, [Earned(year, points, now)], before=sums, known=known)
            sums[year] = sums.get(year, 0) + points
            if looks and random.random() < 0.5:
                standing, _ = rejudge(rules, standing, by_year=sums, at=now, known=known)
        standing, _ = rejudge(rules, standing, by_year=sums, at=last, known=Known(last))
        ends.add((standing.tier, standing.until))
    assert len(ends) == 1
