import json
from copy import deepcopy
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.programme.compiled import compile_programme
from shared.programme.validation import (
    ProgrammeInvalid,
    UnreadVersion,
    as_kept,
    must_be_known,
    validate,
    validate_for_activation,
    without_nulls,
)
from tests.support.programmes import SHOPS, Document, changed, document, ladder, rule


def mistakes(given: Document, *, active: bool = False) -> list[tuple[str, str]]:
    with pytest.raises(ProgrammeInvalid) as refused:
        (validate_for_activation if active else validate)(given)
    return [(error.pointer, error.code) for error in refused.value.errors]


def test_the_contracts_document_is_valid_and_complete() -> None:
    programme = validate_for_activation(SHOPS)
    assert programme.programme.code == "shops"
    assert programme.earning is not None
    assert [rule.code for rule in programme.earning.rules] == ["service-fees", "everything"]


def test_a_draft_needs_its_head_alone() -> None:
    given = document(earning=None, redemption=None, expiry=None, tiers=None)
    programme = validate(given)
    assert (programme.earning, programme.redemption, programme.tiers) == (None, None, None)
    assert programme.expiry.policy == "never"


def test_nothing_is_activated_without_an_earning_rule_and_a_redemption_section() -> None:
    only_skips = document(redemption=None)
    del only_skips["earning"]["rules"][1]
    assert mistakes(only_skips, active=True) == [
        ("/earning/rules", "field_missing"),
        ("/redemption", "field_missing"),
    ]
    assert mistakes(document(earning=None), active=True) == [("/earning/rules", "field_missing")]


def test_null_means_left_out() -> None:
    given = changed("/programme/backdating_days", None)
    given["tiers"] = None
    programme = validate(given)
    assert (programme.programme.backdating_days, programme.tiers) == (30, None)
    assert without_nulls({"a": None, "b": [{"c": None, "d": 1}]}) == {"b": [{"d": 1}]}
    assert mistakes(changed("/programme/currency", None)) == [("/programme/currency", "field_missing")]


def test_all_mistakes_are_told_at_once_with_their_places() -> None:
    given = document(
        document=2,
        redemption=None,
        expiry={"policy": "birth_month_end", "years": 101},
        surprise=1,
    )
    given["programme"] |= {
        "currency": "SRA",
        "point_value": "-1",
        "time_zone": "Mars/Olympus",
        "card_prefix": "41",
    }
    given["earning"]["rules"] = [
        {"code": "a", "action": "skip", "rate": {"points": "0", "per_minor": 0}},
        {"code": "a", "action": "earn", "match": {"categories": []}},
        3,
    ]
    given["tiers"]["ladder"][0]["entry"] = {"points": {"gte": 5}}
    given["tiers"]["ladder"][1]["multiplier"] = 1.1
    given["tiers"]["ladder"][2]["entry"] = {"points": {"gte": 500}}
    assert mistakes(given, active=True) == [
        ("/document", "programme_invalid"),
        ("/earning/rules/0/rate", "programme_invalid"),
        ("/earning/rules/0/rate/per_minor", "programme_invalid"),
        ("/earning/rules/0/rate/points", "programme_invalid"),
        ("/earning/rules/1/code", "programme_invalid"),
        ("/earning/rules/1/match/categories", "programme_invalid"),
        ("/earning/rules/1/rate", "field_missing"),
        ("/earning/rules/2", "field_type"),
        ("/expiry/years", "programme_invalid"),
        ("/programme/card_prefix", "programme_invalid"),
        ("/programme/currency", "programme_invalid"),
        ("/programme/point_value", "programme_invalid"),
        ("/programme/time_zone", "programme_invalid"),
        ("/redemption", "field_missing"),
        ("/surprise", "field_unknown"),
        ("/tiers/ladder/0/entry", "programme_invalid"),
        ("/tiers/ladder/1/multiplier", "field_type"),
        ("/tiers/ladder/2/entry/points/gte", "programme_invalid"),
    ]


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("/programme/code", "-shops", "programme_invalid"),
        ("/programme/name", {}, "programme_invalid"),
        ("/programme/point_value", 0.1, "field_type"),
        ("/programme/point_value", "0.00", "programme_invalid"),
        ("/programme/backdating_days", -1, "programme_invalid"),
        ("/programme/backdating_days", True, "field_type"),
        ("/programme/card_prefix", "411111", "programme_invalid"),
        ("/programme/card_prefix", "627015012", "programme_invalid"),
        ("/earning/rounding/mode", "up", "programme_invalid"),
        ("/earning/rules/1/priority", "0", "field_type"),
        ("/earning/rules/1/rate/points", "1e3", "programme_invalid"),
        ("/earning/rules/1/rate/whole_steps", 1, "field_type"),
        ("/earning/rules/1/action", "double", "programme_invalid"),
        ("/earning/rules/1/color", "red", "field_unknown"),
        ("/redemption/minimum_points", 0, "programme_invalid"),
        ("/expiry/months", -1, "programme_invalid"),
        ("/expiry/policy", ..., "field_missing"),
        ("/expiry/notice_days", [7, 7], "programme_invalid"),
        ("/redemption/on_spent", "forgive", "programme_invalid"),
        ("/tiers/ladder", [], "programme_invalid"),
        ("/tiers/ladder/1/entry", ..., "field_missing"),
        ("/tiers/ladder/2/code", "silver", "programme_invalid"),
        ("/tiers/ladder/2/multiplier", "0", "programme_invalid"),
    ],
)
def test_each_mistake_has_its_place_and_code(path: str, value: Any, code: str) -> None:
    assert mistakes(changed(path, value)) == [(path, code)]


@pytest.mark.parametrize(
    "zone",
    [
        "localtime",
        "posixrules",
        "Factory",
        "right/Europe/London",
        "posix/Asia/Riyadh",
        "asia/riyadh",
        "Asia",
        "AST-3",
        "/etc/localtime",
        "../zoneinfo/Asia/Riyadh",
        "",
    ],
)
@pytest.mark.parametrize("active", [False, True])
def test_a_name_that_means_another_zone_on_another_machine_is_no_time_zone(zone: str, active: bool) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        (validate_for_activation if active else validate)(changed("/programme/time_zone", zone))
    assert [(error.pointer, error.code, error.detail) for error in refused.value.errors] == [
        (
            "/programme/time_zone",
            "programme_invalid",
            "It is no time zone of the IANA database: write it as it stands there, such as Asia/Riyadh or UTC.",
        )
    ]


@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT-3", "Asia/Riyadh", "America/Argentina/Buenos_Aires", "GB"])
def test_each_name_of_the_iana_database_is_a_time_zone(zone: str) -> None:
    assert validate_for_activation(changed("/programme/time_zone", zone)).programme.time_zone == zone


def test_a_version_kept_with_a_zone_that_is_refused_now_is_read_as_before() -> None:
    kept = changed("/programme/time_zone", "Factory")
    assert compile_programme(kept, 1).zone == ZoneInfo("Factory")
    assert mistakes(kept) == [("/programme/time_zone", "programme_invalid")]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/tiers/lifecycle", "rolling"),
        ("/tiers/metric", "spend"),
    ],
)
def test_what_is_not_computed_yet_is_refused_in_so_many_words(path: str, value: Any) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        validate(changed(path, value))
    assert [error.detail for error in refused.value.errors] == [f"{value} is not available yet."]


def test_backdating_may_be_unlimited() -> None:
    assert (
        validate(changed("/programme/backdating_days", "unlimited")).programme.backdating_days == "unlimited"
    )


def test_thresholds_must_rise_from_tier_to_tier() -> None:
    given = document(tiers=ladder("1", "1.1", "1.2", "1.3"))
    given["tiers"]["ladder"][2]["entry"]["points"]["gte"] = 100
    given["tiers"]["ladder"][3]["entry"]["points"]["gte"] = 99
    assert [pointer for pointer, _ in mistakes(given)] == [
        "/tiers/ladder/2/entry/points/gte",
        "/tiers/ladder/3/entry/points/gte",
    ]


@pytest.mark.parametrize(
    ("points", "multiplier", "point_value", "refused"),
    [
        ("1000", "1", "0.01", False),
        ("1000.000001", "1", "0.01", True),
        ("500", "2", "0.01", False),
        ("500", "2.001", "0.01", True),
        # A point may be worth much where a bill earns few: the money of 10^12 points must fit its column too.
        ("1", "1", "92233.72", False),
        ("1", "1", "92233.73", True),
    ],
)
def test_no_bill_can_be_worth_more_than_the_ledger_holds(
    points: str, multiplier: str, point_value: str, refused: bool
) -> None:
    given = document(tiers=ladder("1", multiplier))
    given["programme"]["point_value"] = point_value
    given["earning"]["rules"] = [
        rule("small"),
        rule("large") | {"rate": {"points": points, "per_minor": 1}},
    ]
    if refused:
        assert mistakes(given) == [("/earning/rules/1/rate/points", "programme_invalid")]
    else:
        assert validate(given).programme.point_value == point_value


def test_a_rule_that_earns_has_a_rate_and_one_that_skips_has_none() -> None:
    without = rule("a")
    del without["rate"]
    assert mistakes(changed("/earning/rules", [without])) == [("/earning/rules/0/rate", "field_missing")]
    assert mistakes(changed("/earning/rules/1/action", "skip")) == [
        ("/earning/rules/1/rate", "programme_invalid")
    ]


@pytest.mark.parametrize(
    "given", [{}, {"programme": []}, {"tiers": {"ladder": {}}}, {"earning": {"rules": [[], 1, None]}}]
)
def test_any_json_object_is_refused_and_never_an_error(given: Document) -> None:
    assert ("/document", "field_missing") in mistakes(given, active=True)
    assert json.loads(json.dumps(given)) == given


def test_of_very_many_mistakes_the_first_are_told_and_all_are_counted() -> None:
    with pytest.raises(ProgrammeInvalid, match=r"has 5000 mistakes; the first 50 are told\.") as refused:
        validate({**SHOPS, **{f"k{number:04d}": 1 for number in range(5000)}})
    assert [error.pointer for error in refused.value.errors] == [f"/k{number:04d}" for number in range(50)]


def test_each_mistake_of_a_rule_has_its_place() -> None:
    wrong = [
        {**rule("a"), "base": "item"},
        {**rule("b"), "base": "visit", "rate": {"points": "1", "whole_steps": True}},
        {**rule("c"), "rate": {"points": "1"}, "tier_multipliers": {"platinum": "2"}},
        {"code": "d", "action": "skip", "base": "item", "tier_multipliers": {"gold": "2"}},
        {**rule("e"), "when": {"any": [{"bill.totl": {"eq": 1}}]}},
        {**rule("f"), "match": {"channels": ["shop"], "tenders": []}},
        {**rule("g"), "when": {"member.birthday": {"any_of": ["vip"]}}},
    ]
    assert mistakes(changed("/earning/rules", wrong)) == [
        ("/earning/rules/0/rate/per_minor", "programme_invalid"),
        ("/earning/rules/1/rate/whole_steps", "programme_invalid"),
        ("/earning/rules/2/rate/per_minor", "field_missing"),
        ("/earning/rules/3/base", "programme_invalid"),
        ("/earning/rules/3/tier_multipliers", "programme_invalid"),
        ("/earning/rules/4/when/any/0/bill.totl", "field_unknown"),
        ("/earning/rules/5/match/channels/0", "programme_invalid"),
        ("/earning/rules/5/match/tenders", "programme_invalid"),
        ("/earning/rules/6/when/member.birthday", "programme_invalid"),
    ]
    unknown = {**rule("c"), "tier_multipliers": {"platinum": "2"}}
    assert mistakes(changed("/earning/rules/1", unknown)) == [
        ("/earning/rules/1/tier_multipliers/platinum", "programme_invalid")
    ]


def test_a_rule_that_can_never_match_is_not_activated() -> None:
    rules = [
        rule("coffee", category="coffee"),
        {**rule("evening", priority=5), "when": {"time.time": {"gte": "18:00"}}},
        rule("all", priority=4),
        {**rule("never", priority=9), "when": {"bill.lines": {"lt": 1}, "all": [{"bill.lines": {"gt": 3}}]}},
    ]
    given = changed("/earning/rules", rules)
    assert validate(given).earning is not None  # a draft may be unfinished
    assert mistakes(given, active=True) == [
        ("/earning/rules/0", "programme_invalid"),
        ("/earning/rules/3/when/all/0/bill.lines/gt", "programme_invalid"),
    ]
    narrower = [rule("both", priority=1), rule("tea", category="tea")]
    narrower[0]["match"] = {"categories": ["tea", "coffee"]}
    assert mistakes(changed("/earning/rules", narrower), active=True) == [
        ("/earning/rules/1", "programme_invalid")
    ]
    narrower[0]["match"]["channels"] = ["ecom"]
    assert validate_for_activation(changed("/earning/rules", narrower)).earning is not None


def test_what_asks_for_a_tier_that_is_not_on_the_ladder_alone_is_not_activated() -> None:
    usual = {"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z", "effect": {"bonus": 5}}
    given = deepcopy(SHOPS)
    given["earning"] |= {
        "rules": [
            {**rule("platinum", priority=5), "when": {"tier": {"eq": "platinum"}}},
            {**rule("both", priority=4), "when": {"tier": {"in": ["platinum", "gold"]}}},
            {**rule("not", priority=3), "when": {"not": {"tier": {"eq": "platinum"}}}},
            rule("all"),
        ],
        "campaigns": [{**usual, "code": "c", "when": {"any": [{"tier": {"in": ["platinum"]}}]}}],
        "stamp_cards": [{"code": "s", "stamps": 5, "reward": "r", "when": {"tier": {"eq": "platinum"}}}],
        "acts": [{"code": "a", "points": 5, "when": {"tier": {"eq": "platinum"}}}],
    }
    assert validate(given).earning is not None
    assert mistakes(given, active=True) == [
        ("/earning/acts/0/when/tier/eq", "programme_invalid"),
        ("/earning/campaigns/0/when/any/0/tier/in", "programme_invalid"),
        ("/earning/rules/0/when/tier/eq", "programme_invalid"),
        ("/earning/stamp_cards/0/when/tier/eq", "programme_invalid"),
    ]


def test_each_mistake_of_a_campaign_has_its_place() -> None:
    usual = {
        "starts_at": "2026-11-01T00:00:00Z",
        "ends_at": "2026-12-01T00:00:00Z",
        "effect": {"multiplier": "2"},
    }
    wrong: list[Document] = [
        {**usual, "code": "a", "ends_at": "2026-10-31T23:59:59Z", "effect": {}},
        {**usual, "code": "b", "starts_at": "2026-11-01T00:00:00", "budget": {"points": -1}},
        {
            **usual,
            "code": "c",
            "effect": {"multiplier": "1", "bonus": 5},
            "budget": {"points": 1, "money_minor": 1},
        },
        {
            **usual,
            "code": "d",
            "arms": [{"code": "x", "share": 5000}, {"code": "y", "share": 4000, "control": True}],
        },
        {**usual, "code": "e", "when": {"bill.total": {"gte": 1}}, "member_caps": {"decade": 1, "day": 0}},
        {**usual, "code": "f", "recurring": {"rrule": "FREQ=HOURLY", "minutes": 60}},
        {**usual, "code": "f", "recurring": {"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "minutes": 60}},
        {
            **usual,
            "code": "h",
            "recurring": {"rrule": "FREQ=DAILY;BYMONTHDAY=31", "at": "24:00", "minutes": 60},
        },
        {**usual, "code": "i", "stacking": "worst", "effect": {"steps": {"points": 1}}},
    ]
    assert mistakes(changed("/earning/campaigns", wrong)) == [
        ("/earning/campaigns/0/effect", "programme_invalid"),
        ("/earning/campaigns/0/ends_at", "programme_invalid"),
        ("/earning/campaigns/1/budget/points", "programme_invalid"),
        ("/earning/campaigns/1/starts_at", "programme_invalid"),
        ("/earning/campaigns/2/budget", "programme_invalid"),
        ("/earning/campaigns/2/effect", "programme_invalid"),
        ("/earning/campaigns/2/effect/multiplier", "programme_invalid"),
        ("/earning/campaigns/3/arms", "programme_invalid"),
        ("/earning/campaigns/4/member_caps/day", "programme_invalid"),
        ("/earning/campaigns/4/member_caps/decade", "field_unknown"),
        ("/earning/campaigns/4/when/bill.total", "field_unknown"),
        ("/earning/campaigns/5/recurring/rrule", "programme_invalid"),
        ("/earning/campaigns/6/code", "programme_invalid"),
        ("/earning/campaigns/6/recurring/rrule", "programme_invalid"),
        ("/earning/campaigns/7/recurring/at", "programme_invalid"),
        ("/earning/campaigns/7/recurring/rrule", "programme_invalid"),
        ("/earning/campaigns/8/effect/steps/per_minor", "field_missing"),
        ("/earning/campaigns/8/stacking", "programme_invalid"),
    ]


def test_exclusive_campaigns_that_overlap_and_impossible_ones_are_not_activated() -> None:
    def exclusive(code: str, starts: str, ends: str, **more: Any) -> Document:
        times = {"starts_at": f"{starts}T00:00:00+03:00", "ends_at": f"{ends}T00:00:00+03:00"}
        return {"code": code, **times, "effect": {"bonus": 5}, "stacking": "exclusive", **more}

    given = changed(
        "/earning/campaigns",
        [
            exclusive("may", "2026-05-01", "2026-06-01"),
            exclusive("june", "2026-06-01", "2026-07-01"),
            exclusive("late", "2026-06-30", "2026-08-01"),
            exclusive("never", "2027-01-01", "2027-02-01", when={"tier": {"eq": "gold", "in": ["blue"]}}),
        ],
    )
    assert validate(given).earning is not None
    assert mistakes(given, active=True) == [
        ("/earning/campaigns/2/stacking", "programme_invalid"),
        ("/earning/campaigns/3/when/tier/in", "programme_invalid"),
    ]


def test_a_campaign_for_always_is_told_like_any_other_whatever_its_clocks_can_show() -> None:
    def always(code: str, **more: Any) -> Document:
        times = {"starts_at": "0001-01-01T00:00:00Z", "ends_at": "9999-12-31T23:59:59Z"}
        return {"code": code, **times, "effect": {"bonus": 5}, **more}

    nightly = {"recurring": {"rrule": "FREQ=DAILY", "at": "22:00", "minutes": 60}}
    for zone in ("Asia/Riyadh", "America/New_York"):
        given = changed("/programme/time_zone", zone)
        given["earning"]["campaigns"] = [always("nights", **nightly)]
        with pytest.raises(ProgrammeInvalid) as refused:
            validate(given)
        [said] = [(one.pointer, one.detail) for one in refused.value.errors]
        assert said == (
            "/earning/campaigns/0/recurring/rrule",
            "A campaign with windows lasts at most 20 years.",
        )
        last_years = {"starts_at": "9990-01-01T00:00:00Z", **nightly}
        given["earning"]["campaigns"] = [
            always("one", stacking="exclusive"),
            always("other", stacking="exclusive"),
            always("nights", stacking="exclusive", **last_years),
        ]
        assert mistakes(given, active=True) == [
            ("/earning/campaigns/1/stacking", "programme_invalid"),
            ("/earning/campaigns/2/stacking", "programme_invalid"),
        ]
        given["earning"]["campaigns"] = [always("one"), always("nights", **last_years)]
        assert compile_programme(given, 1).limits is not None


def test_what_leaves_out_every_line_that_it_counts_is_not_activated() -> None:
    coffee = {"categories": ["coffee"]}
    usual = {
        "starts_at": "2026-11-01T00:00:00Z",
        "ends_at": "2026-12-01T00:00:00Z",
        "effect": {"bonus": 5},
    }
    given = changed(
        "/earning/campaigns",
        [
            {**usual, "code": "all", "exclude": {}},
            {**usual, "code": "nulls", "exclude": {"skus": None}},
            {**usual, "code": "same", "match": coffee, "exclude": {"categories": ["tea", "coffee"]}},
            {**usual, "code": "app", "match": coffee, "exclude": {**coffee, "channels": ["app"]}},
            {**usual, "code": "some", "match": coffee, "exclude": {"skus": ["GIFT"]}},
        ],
    )
    card = {"code": "card", "stamps": 5, "reward": "r", "match": coffee, "exclude": coffee}
    given["earning"]["stamp_cards"] = [card, {**card, "code": "other", "match": {}}]
    assert validate(given).earning is not None
    assert mistakes(given, active=True) == [
        ("/earning/campaigns/0/exclude", "programme_invalid"),
        ("/earning/campaigns/1/exclude", "programme_invalid"),
        ("/earning/campaigns/2/exclude", "programme_invalid"),
        ("/earning/stamp_cards/0/exclude", "programme_invalid"),
    ]


def test_exclusive_campaigns_that_no_bill_can_meet_are_activated_and_the_first_moment_is_told() -> None:
    def exclusive(code: str, days: str, at: str, **more: Any) -> Document:
        return {
            "code": code,
            "starts_at": "2026-05-01T00:00:00+03:00",
            "ends_at": "2027-05-01T00:00:00+03:00",
            "recurring": {"rrule": f"FREQ=WEEKLY;BYDAY={days}", "at": at, "minutes": 300},
            "effect": {"bonus": 5},
            "stacking": "exclusive",
            **more,
        }

    night, morning = exclusive("night", "FR", "22:00"), exclusive("morning", "SA", "03:00")
    web, early = (
        exclusive("web", "SA", "02:00", match={"channels": ["ecom"]}),
        exclusive("early", "SA", "02:59"),
    )
    given = changed("/earning/campaigns", [night, morning])
    assert validate_for_activation(given).earning is not None
    given["earning"]["campaigns"] = [night, {**web, "code": "apps", "match": {"channels": ["app"]}}, web]
    with pytest.raises(ProgrammeInvalid) as refused:
        validate_for_activation(given)
    assert [(error.pointer[-20:], error.detail) for error in refused.value.errors] == [
        (
            f"campaigns/{number}/stacking",
            "night is exclusive at the same time, from 2026-05-02T02:00+03:00 on; only one can be.",
        )
        for number in (1, 2)
    ]
    given["earning"]["campaigns"] = [morning, early]
    assert mistakes(given, active=True) == [("/earning/campaigns/1/stacking", "programme_invalid")]


def test_campaigns_cannot_make_a_bill_worth_more_than_the_ledger_holds() -> None:
    usual = {"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z", "stacking": "all"}
    huge = {**usual, "code": "huge", "effect": {"multiplier": "100000"}}
    given = changed("/earning/campaigns", [huge])
    assert mistakes(given) == [("/earning/campaigns", "programme_invalid")]
    given["earning"]["maximum"] = {"bill": 1_000_000}
    assert validate(given).earning is not None


def test_the_condition_of_a_tier_asks_only_what_a_ladder_knows_and_more_points_never_break_it() -> None:
    given = deepcopy(SHOPS)
    ladder = given["tiers"]["ladder"]
    ladder[1]["entry"] = {"when": {"any": [{"points": {"gt": 9}}, {"member.segments": {"any_of": ["vip"]}}]}}
    ladder[2]["entry"] = {"points": {"gte": 5}, "when": {"time.month": {"in": [1, 12]}}}
    validate(given)
    ladder[1]["entry"] = {}
    ladder[2]["entry"] = {
        "when": {
            "all": [
                {"visits": {"gte": 3}},
                {"bill.total_minor": {"gte": 3}},
                {"points": {"lte": 3}},
                {"not": {"points": {"gte": 3}}},
                {"time.month": {"eq": "may"}},
                {"hair": {"eq": "red"}},
            ]
        }
    }
    with pytest.raises(ProgrammeInvalid) as refused:
        validate(given)
    at = "/tiers/ladder/2/entry/when/all"
    assert {(one.pointer, one.code) for one in refused.value.errors} == {
        ("/tiers/ladder/1/entry", "field_missing"),
        (f"{at}/0/visits", "programme_invalid"),
        (f"{at}/1/bill.total_minor", "programme_invalid"),
        (f"{at}/2/points/lte", "programme_invalid"),
        (f"{at}/3/not/points/gte", "programme_invalid"),
        (f"{at}/4/time.month/eq", "field_type"),
        (f"{at}/5/hair", "field_unknown"),
    }
    [said] = [one.detail for one in refused.value.errors if "visits" in one.pointer]
    assert said.startswith("visits is not available to a ladder: tiers knows")


def test_a_version_that_is_there_and_can_not_be_read_is_a_later_releases_and_nobodys_mistake() -> None:
    with pytest.raises(
        UnreadVersion, match=r"programme shops .*/earning/later: This field is not known"
    ) as unread:
        as_kept(changed("/earning/later", "anything"))
    assert (unread.value.status, unread.value.code, unread.value.frozen) == (503, "tenant_migrating", False)


def test_who_goes_by_some_sections_alone_is_kept_from_it_by_those_and_by_what_nobody_here_knows() -> None:
    besides = {"earning", "redemption", "adjustments", "expiry", "gift_cards"}
    for known in (changed("/earning/later", "anything"), changed("/redemption/tiers", ["iron"]), SHOPS):
        must_be_known(known, besides=besides)
    for pointer, said in (
        ("/tiers/lifecycle", "rolling is not available yet"),
        ("/tiers/ladder/1/entry/visits", "This field is not known"),
        ("/programme/years_begin", "This field is not known"),
        ("/standings", "This field is not known"),
        ("/document", "Input should be 1"),
    ):
        later = "rolling" if pointer.endswith("lifecycle") else 2
        with pytest.raises(UnreadVersion, match=f"programme shops .*{pointer}: {said}"):
            must_be_known(changed(pointer, later), besides=besides)
