import json
from collections import Counter
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import islice

import phonenumbers
import pytest

from pointbank.generate import Bill, expected_points, generate, json_lines, people
from pointbank.generate.sample import programme, recipe, sample_bills, sample_people

NOW = datetime.fromisoformat("2026-11-22T12:00:00+03:00")


def made(bills: int = 500, **options: object) -> list[Bill]:
    return list(generate(bills, 50, 7, now=NOW, **options))  # type: ignore[arg-type]


def test_equal_seeds_give_equal_lines_and_other_seeds_do_not() -> None:
    first = list(json_lines(40, 10, 7))
    assert list(json_lines(40, 10, 7)) == first
    assert list(json_lines(40, 10, 8)) != first
    assert [next(iter(json.loads(line))) for line in first] == ["member"] * 10 + ["bill"] * 40


def test_bills_are_rung_up_in_order_within_the_days_before_now() -> None:
    times = [datetime.fromisoformat(bill.content["occurred_at"]) for bill in made(days=3)]
    assert times == sorted(times)
    assert NOW - timedelta(days=3) <= times[0]
    assert times[-1] <= NOW


def test_the_evening_is_busier_than_the_night() -> None:
    hours = Counter(datetime.fromisoformat(bill.content["occurred_at"]).hour for bill in made(2000, days=4))
    assert sum(hours[hour] for hour in (18, 19, 20)) > 10 * sum(hours[hour] for hour in (2, 3, 4))


def test_totals_add_up_and_references_are_unique() -> None:
    bills = made()
    for bill in bills:
        content = bill.content
        assert content["total_minor"] == sum(line["amount_minor"] for line in content["lines"])
        assert all(0 <= line["tax_minor"] <= line["amount_minor"] for line in content["lines"])
        assert [line["line_id"] for line in content["lines"]] == [
            str(number) for number in range(1, len(content["lines"]) + 1)
        ]
    assert len({bill.event_id for bill in bills}) == len(bills)


def test_shares_are_exact() -> None:
    bills = made(2000, anonymous=Fraction(1, 100), repeated=Fraction(1, 20))
    repeats = [bill for bill in bills if bill.repeats]
    firsts = {bill.event_id: bill for bill in bills if not bill.repeats}
    assert len(firsts) == 2000
    assert len(repeats) == 100
    assert all(firsts[again.event_id].content == again.content for again in repeats)
    assert sum(bill.member is None for bill in firsts.values()) == 20


def test_few_members_buy_much_and_many_buy_little() -> None:
    bought = Counter(bill.member for bill in generate(5000, 500, 7, now=NOW, anonymous=Fraction(0)))
    most, least = bought.most_common(50), bought.most_common()[-250:]
    assert sum(count for _, count in most) > 3 * sum(count for _, count in least)
    assert len(bought) > 450


def test_a_sequence_continues_with_new_references() -> None:
    first, second = made(100), made(100, first=100)
    assert not {bill.event_id for bill in first} & {bill.event_id for bill in second}
    assert second[0].index == 100


def test_a_card_is_shown_only_when_it_is_known() -> None:
    who = people(50, 7)
    bill = next(bill for bill in made() if bill.member is not None and bill.identity == "card_number")
    assert bill.member is not None
    person = who[bill.member]
    assert bill.body(person)["member"] == {"external_id": person.external_id}
    assert bill.body(person, card_number="6270158304941178")["member"] == {"card_number": "6270158304941178"}


def test_an_anonymous_bill_names_nobody() -> None:
    bill = next(bill for bill in made() if bill.member is None)
    assert "member" not in bill.body(None)


def test_people_have_valid_saudi_numbers_and_identities_of_their_own() -> None:
    known = people(2000, 7)
    assert len({person.mobile for person in known}) == 2000
    assert len({person.email for person in known}) == 2000
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(person.mobile)) for person in known)
    assert {person.locale for person in known} == {"ar", "en"}
    assert people(10, 7) == known[:10]


@pytest.mark.parametrize(
    ("tier", "points"),
    [("blue", 90), ("silver", 99), ("gold", 108), (None, 90)],
)
def test_the_bill_of_the_contract_is_worth_what_the_contract_says(tier: str | None, points: int) -> None:
    document = programme("shops")
    bill = {
        "member": {"card_number": "6270158304941178"},
        "total_minor": 10500,
        "lines": [
            {"categories": ["beans"], "amount_minor": 9000, "discount_minor": 1000},
            {"categories": ["service-fee"], "amount_minor": 1500, "discount_minor": 0},
        ],
    }
    assert expected_points(document, bill, tier=tier) == points


def test_rules_go_by_priority_and_one_floor_is_at_the_bill() -> None:
    lines = [
        {"categories": ["coffee", "food"], "amount_minor": 1475, "discount_minor": 0},  # 29.5
        {"categories": ["electronics"], "amount_minor": 34900, "discount_minor": 100},  # discounted: nothing
        {"categories": ["electronics"], "amount_minor": 34950, "discount_minor": 0},  # 174.75
        {"categories": ["food"], "amount_minor": 1150, "discount_minor": 150},  # 11.5
    ]
    bill = {"member": {"email": "member.1@example.com"}, "total_minor": 72475, "lines": lines}
    assert expected_points(programme("shops"), bill, tier="blue") == 215  # 215.75
    assert expected_points(programme("shops"), bill, tier="silver") == 237  # 237.325


def test_a_bill_without_lines_counts_as_one_and_an_anonymous_bill_earns_nothing() -> None:
    document = programme("shops")
    assert (
        expected_points(
            document, {"member": {"external_id": "1"}, "total_minor": 250, "lines": []}, tier=None
        )
        == 2
    )
    assert expected_points(document, {"total_minor": 250, "lines": []}, tier=None) == 0


def test_the_sample_lets_members_reach_every_tier() -> None:
    asked = recipe()
    known, document = sample_people(asked), programme("shops")
    earned: Counter[int] = Counter()
    for bill in islice(sample_bills(asked, first=0, now=NOW), 2100):
        if bill.member is not None and not bill.repeats:
            earned[bill.member] += expected_points(document, bill.body(known[bill.member]), tier="blue")
    assert sum(points >= 1000 for points in earned.values()) > 20
    assert sum(500 <= points < 1000 for points in earned.values()) > 20
    assert sum(points < 500 for points in earned.values()) > 100
