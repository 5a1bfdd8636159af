"""What every section of the programme document is made of: its base class, and the texts that stand in it."""

from functools import cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from shared.identity import payment_card_prefix
from shared.money import CURRENCIES, decimal_ratio

MAX_MINOR = 10**12
MAX_POINTS = 10**15
"""No single act moves more: the bank refuses it."""


def _known_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("it is not an ISO 4217 currency")
    return code


NO_ZONE = "it is no time zone of the IANA database: write it as it stands there, such as Asia/Riyadh or UTC"


def _readable_zone(name: str) -> str:
    """Versions are kept with any name that this machine has a file for; `iana_zones` is what new ones may say."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(NO_ZONE) from None
    return name


@cache
def iana_zones() -> frozenset[str]:
    """Names that mean the same zone on every machine. `localtime` is the machine's own, and `Factory` nobody's."""
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


def _positive_decimal(text: str) -> str:
    if decimal_ratio(text)[0] == 0:
        raise ValueError("it must be above zero")
    return text


def _no_payment_prefix(prefix: str) -> str:
    if payment_card_prefix(prefix):
        raise ValueError("it lies in a payment card issuer's range, whose numbers are refused everywhere")
    return prefix


Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Locale = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Localized = Annotated[dict[Locale, Text], Field(min_length=1, max_length=100)]
PositiveDecimal = Annotated[str, AfterValidator(_positive_decimal)]
Currency = Annotated[str, AfterValidator(_known_currency)]
TimeZone = Annotated[str, AfterValidator(_readable_zone)]
CardPrefix = Annotated[str, StringConstraints(pattern=r"^[0-9]{4,8}$"), AfterValidator(_no_payment_prefix)]
Tree = dict[str, Any]
"""A condition tree; `conditions` says what may stand in it."""


class Section(BaseModel):
    """A part of the document: strict, and without fields that nobody knows."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)
