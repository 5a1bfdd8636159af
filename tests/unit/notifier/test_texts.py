"""What a member reads, in both languages."""

import json

import pytest

from services.notifier.texts import language_of, money, render

SHOPS = '{"en": "Shops Rewards", "ar": "مكافآت المتاجر"}'


def earned(points: int, language: str, template: str = "earned") -> str:
    facts = f'{{"points": {points}, "amount_minor": {points * 10}, "currency": "SAR"}}'
    return render(template, language, SHOPS, facts)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (1, "You earned 1 point with Shops Rewards, worth SAR0.10."),
        (108, "You earned 108 points with Shops Rewards, worth SAR10.80."),
        (1250, "You earned 1,250 points with Shops Rewards, worth SAR125.00."),
    ],
)
def test_earned_in_english(points: int, said: str) -> None:
    assert earned(points, "en") == said


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (0, "كسبت 0 نقطة في"),
        (1, "كسبت نقطة واحدة في"),
        (2, "كسبت نقطتين في"),
        (5, "كسبت 5 نقاط في"),
        (11, "كسبت 11 نقطة في"),
        (100, "كسبت 100 نقطة في"),
        (103, "كسبت 103 نقاط في"),
    ],
)
def test_earned_in_each_of_the_six_arabic_forms(points: int, said: str) -> None:
    assert earned(points, "ar").startswith(said + " مكافآت المتاجر، بقيمة ")


def test_held_points_say_when_they_can_be_used() -> None:
    assert earned(2, "en", "earned_held") == (
        "You earned 2 points with Shops Rewards, worth SAR0.20. You can use them once your purchase is complete."
    )
    assert earned(2, "ar", "earned_held").endswith("يمكنك استخدامها بعد اكتمال عملية الشراء.")


def test_points_that_expire_are_told_with_what_they_are_worth_and_by_when() -> None:
    def expiring(points: int, days: int, language: str) -> str:
        facts = {"points": points, "amount_minor": points * 10, "currency": "SAR", "days": days}
        return render("expiring", language, SHOPS, json.dumps(facts))

    assert expiring(1200, 30, "en") == (
        "You have 1,200 points with Shops Rewards, worth SAR120.00, that expire within 30 days. Use them in time."
    )
    assert expiring(1, 1, "en") == (
        "You have 1 point with Shops Rewards, worth SAR0.10, that expires within 1 day. Use it in time."
    )
    for days, said in ((1, "يوم واحد"), (2, "يومين"), (7, "7 أيام"), (30, "30 يومًا"), (100, "100 يوم")):
        text = expiring(5, days, "ar")
        assert text.startswith("تنتهي صلاحية 5 نقاط من رصيدك في مكافآت المتاجر، بقيمة ")
        assert text.endswith(f"، خلال {said}. استخدم نقاطك قبل انتهائها.")


def test_a_tier_is_told_by_its_name_in_the_members_language() -> None:
    gold = '{"tier": {"en": "Gold", "ar": "ذهبي"}}'
    assert render("reached", "en", SHOPS, gold) == "You have reached Gold in Shops Rewards. Congratulations!"
    assert render("reached", "ar", SHOPS, gold) == "لقد وصلت إلى المستوى ذهبي في مكافآت المتاجر. تهانينا!"


def test_names_that_are_not_translated_fall_back() -> None:
    assert "Shops" in render("reached", "ar", '{"en": "Shops"}', '{"tier": {"fr": "Or"}}')
    assert "Or" in render("reached", "ar", '{"en": "Shops"}', '{"tier": {"fr": "Or"}}')


def test_a_name_that_was_given_for_a_country_is_in_the_language_of_that_country() -> None:
    shops = '{"fr": "Boutiques", "en-GB": "Shops", "ar-SA": "المتاجر"}'
    gold = '{"tier": {"en": "Gold", "ar-EG": "ذهبي", "ar": "الذهبي"}}'
    assert render("reached", "ar", shops, gold) == "لقد وصلت إلى المستوى الذهبي في المتاجر. تهانينا!"
    assert render("reached", "en", shops, gold) == "You have reached Gold in Shops. Congratulations!"
    assert "Shops" in render("reached", "ar", '{"fr": "Boutiques", "en-GB": "Shops"}', gold)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "said"),
    [
        (1500, "KWD", "KWD1.500"),
        (500, "JPY", "¥500"),
        (1_234_567, "IQD", "IQD1,234.567"),
        (12_50, "GBP", "£12.50"),
    ],
)
def test_money_has_the_digits_of_its_currency(amount_minor: int, currency: str, said: str) -> None:
    assert money(amount_minor, currency, "en") == said


@pytest.mark.parametrize(
    ("locale", "language"),
    [("ar", "ar"), ("ar-SA", "ar"), ("AR_EG", "ar"), ("en-GB", "en"), ("fr", "en"), ("", "en")],
)
def test_a_member_is_written_to_in_a_language_that_we_have(locale: str, language: str) -> None:
    assert language_of(locale) == language
