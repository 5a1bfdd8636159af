"""What texts of the API and of the programme document must look like, in words: people who read a refusal read no patterns."""

from typing import Literal, get_args

CODE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

_A_CODE = "a code: 1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first"

SHAPES = {
    CODE: _A_CODE,
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?$": (
        f"{_A_CODE}; or two of them with a slash between, a merchant's and its terminal's"
    ),
    r"^[0-9]{1,64}(\.[0-9]{1,6})?$": "a quantity: digits, and at most 6 of them after a dot, as in 2 or 0.75",
    r"^-?[0-9]{1,30}(\.[0-9]{1,9})?$": "a number of minor units as 1234.5, with at most nine digits after the point",
    r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$": (
        "an amount in major units: at most 12 digits, and at most 9 after a dot, as in 105.00"
    ),
    r"^[A-Z]{3}$": "a currency code of three capital letters, as in SAR",
    r"^[0-9a-f]{64}$": "a SHA-256 in 64 lower-case hexadecimal digits",
    r"^[0-9]{6}$": "6 digits",
    r"\S": "text with something besides blanks",
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$": "a day, as in 1990-05-31",
    r"^[0-9]{2}-[0-9]{2}$": "a month and a day, as in 12-31",
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$": "a time of day, from 00:00 to 23:59",
    r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$": "a language, as in en or pt-BR",
    r"^[0-9]{4,8}$": "4 to 8 digits",
    r"^[A-Za-z][A-Za-z0-9_]{0,63}$": "a name: 1 to 64 letters, digits or underscores, a letter first",
}
"""Pattern -> what it wants, after "This must be"."""


Channel = Literal["store", "ecom", "app", "kiosk", "call_center", "partner"]
"""How a bill, a redemption or a member came to the merchant."""

CHANNELS: tuple[Channel, ...] = get_args(Channel)


def wanted(pattern: str) -> str | None:
    """A sentence without its full stop; None of a pattern without words."""
    words = SHAPES.get(pattern)
    return None if words is None else f"This must be {words}"
