"""Messages in words: a template for each language, plural forms and money by CLDR.

Babel is slow: what it says of a language and a currency is asked once. A programme says the same few things over and over:
what was rendered once is kept.
"""

from __future__ import annotations

from copy import copy
from decimal import Decimal
from functools import cache, lru_cache

import jinja2
import msgspec
from babel import Locale
from babel.numbers import format_decimal

from shared.money import exponent

LANGUAGES = ("en", "ar")
DEFAULT_LANGUAGE = "en"


@lru_cache(maxsize=1024)
def language_of(locale: str) -> str:
    """The language that a member with this locale is written to: theirs, or English where we don't have it."""
    language = locale.replace("_", "-").partition("-")[0].lower()
    return language if language in LANGUAGES else DEFAULT_LANGUAGE


@lru_cache(maxsize=65_536)
def render(template: str, language: str, programme: str, facts: str) -> str:
    """The text of a message. `programme` is its names and `facts` what is told, both JSON as stored."""
    told = msgspec.json.decode(facts)
    words = {"programme": _name(msgspec.json.decode(programme), language), "points": told.get("points")}
    if "days" in told:
        words["days"] = told["days"]
    if "amount_minor" in told:
        words["money"] = money(told["amount_minor"], told["currency"], language)
    if "tier" in told:
        words["tier"] = _name(told["tier"], language)
    return _template(language, template).render(words).strip()


def number(value: int, language: str) -> str:
    """A whole number as this language writes it."""
    return f"{value:,}".replace(",", _between_thousands(language))


def money(amount_minor: int, currency: str, language: str) -> str:
    """An amount that is not negative as this language writes it, with the digits of ISO 4217: CLDR drops the fils of IQD."""
    assert amount_minor >= 0, "messages tell of what was earned"
    before, point, after = _around_amounts(currency, language)
    major, minor = divmod(amount_minor, 10 ** (digits := exponent(currency)))
    decimals = f"{point}{minor:0{digits}d}" if digits else ""
    return f"{before}{number(major, language)}{decimals}{after}"


@cache
def _between_thousands(language: str) -> str:
    million = str(format_decimal(1_000_000, locale=language))
    assert million == "1,000,000".replace(",", million[1]), (
        "a language that does not group by three needs more than this"
    )
    return million[1]


@cache
def _around_amounts(currency: str, language: str) -> tuple[str, str, str]:
    """What stands before an amount, before its decimals, and behind it: CLDR's words for one, taken apart."""
    digits = exponent(currency)
    pattern = copy(_locale(language).currency_formats["standard"])
    pattern.frac_prec = (digits, digits)
    one = str(pattern.apply(Decimal(1), _locale(language), currency=currency, currency_digits=False))
    before, _, rest = one.partition("1")
    return (before, rest[0], rest[1 + digits :]) if digits else (before, "", rest)


def plural(value: int, language: str, **forms: str) -> str:
    """The form for this number; `other` where a category is not given. Arabic has six categories, English two."""
    return forms.get(_locale(language).plural_form(value), forms["other"])


def _name(names: dict[str, str], language: str) -> str:
    """In this language, whichever of its countries the name was given for, or else in English, or as it was given at all."""
    for wanted in (language, DEFAULT_LANGUAGE):
        if wanted in names:
            return names[wanted]
        for locale, name in names.items():
            if locale.partition("-")[0] == wanted:
                return name
    return next(iter(names.values()))


@lru_cache(maxsize=len(LANGUAGES))
def _locale(language: str) -> Locale:
    return Locale.parse(language)


@lru_cache(maxsize=64)
def _template(language: str, name: str) -> jinja2.Template:
    return _environment(language).get_template(f"{language}/{name}.txt")


@lru_cache(maxsize=len(LANGUAGES))
def _environment(language: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("services.notifier"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  # plain text: HTML would spoil it  # nosec B701
    )
    environment.filters["number"] = lambda value: number(value, language)
    environment.filters["plural"] = lambda value, **forms: plural(value, language, **forms)
    return environment
