"""How a member is named: normalisation, keyed hashes, check digits, and numbers that must never be stored.

Applied while decoding: bills, events, dead letters and logs hold only the hash.
"""

import hmac
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple, get_args
from uuid import UUID

import phonenumbers
from stdnum import luhn

from shared.errors import Refusal

IdentityKind = Literal["member_id", "card_id", "card_number", "mobile", "email", "external_id"]
KINDS: tuple[IdentityKind, ...] = get_args(IdentityKind)

HASH_BYTES = 16
"""Half of HMAC-SHA256. By the birthday bound a thousand million identities of a tenant meet by chance with a
probability of 10^-21, and nobody without the key can search for a collision; the half saves 16 bytes in each
look-up row and index entry."""


class IdentityMalformed(Refusal):
    code = "identity_malformed"


class IdentityAmbiguous(Refusal):
    code = "identity_ambiguous"


class CardCheckDigit(Refusal):
    code = "card_check_digit"


class PaymentCardNumber(Refusal):
    code = "payment_card_number"


class Identity(NamedTuple):
    """A member by one identity: its kind and its keyed hash. Safe to store, log and send."""

    kind: IdentityKind
    hash: bytes


# ---- check digits ------------------------------------------------------------------------------

_ZEROS = ord("0")
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")


def luhn_valid(text: str) -> bool:
    """Whether the digits, spaces aside, end in their Luhn check digit (ISO/IEC 7812-1; vectors G1 to G3)."""
    number = text.replace(" ", "")
    if len(number) < 2 or not (number.isascii() and number.isdigit()):
        return False
    digits = number.encode()
    total = sum(digits[::-2]) + sum(digits[-2::-2].translate(_DOUBLED)) - _ZEROS * len(digits)
    return total % 10 == 0


def with_check_digit(digits: str) -> str:
    """The digits followed by their Luhn check digit."""
    return digits + luhn.calc_check_digit(digits)


# ---- normal forms ------------------------------------------------------------------------------

_MOBILE = re.compile(r"\+[\d\s().\-]{6,30}")
_EMAIL = re.compile(r"[^\s@]+@[^\s@.]+(?:\.[^\s@.]+)+")


def _uuid(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise IdentityMalformed("It is not a UUID.") from None


def _card_number(value: str) -> str:
    number = value.replace(" ", "")
    if not (8 <= len(number) <= 19 and number.isascii() and number.isdigit()):
        raise IdentityMalformed("A card number has 8 to 19 digits.")
    if not luhn_valid(number):
        raise CardCheckDigit("The last digit does not match the others.")
    if payment_card_number(number):
        raise PaymentCardNumber("It looks like the number of a payment card; such numbers are not kept.")
    return number


def _mobile(value: str) -> str:
    stripped = value.strip()
    malformed = IdentityMalformed("A mobile number is international: + and the country code first.")
    if _MOBILE.fullmatch(stripped) is None:
        raise malformed
    try:
        number = phonenumbers.parse(stripped, None)
    except phonenumbers.NumberParseException:
        raise malformed from None
    # By length alone: the ranges in use change with each release of the metadata, a stored hash does not.
    if not phonenumbers.is_possible_number(number):
        raise malformed
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _email(value: str) -> str:
    address = unicodedata.normalize("NFC", value.strip()).lower()
    if len(address) > 254 or _EMAIL.fullmatch(address) is None:
        raise IdentityMalformed("It is not an e-mail address.")
    if not address.isprintable():
        # A page that is copied from brings such along: the address looks the same, and would be somebody else's.
        raise IdentityMalformed("The e-mail address has a character that can't be seen.")
    return address


def _external_id(value: str) -> str:
    text = unicodedata.normalize("NFC", value.strip())
    if not 1 <= len(text) <= 128 or not text.isprintable():
        raise IdentityMalformed("An external id has 1 to 128 printable characters.")
    return text


_NORMAL_FORMS: dict[IdentityKind, Callable[[str], str]] = {
    "member_id": _uuid,
    "card_id": _uuid,
    "card_number": _card_number,
    "mobile": _mobile,
    "email": _email,
    "external_id": _external_id,
}


def normalise(kind: IdentityKind, value: str) -> str:
    """The one form of an identity that is hashed.

    Refuses identity_malformed, card_check_digit, payment_card_number. Kept for nobody: how long it takes would tell a tenant whom
    another of the same process has named.
    """
    return _NORMAL_FORMS[kind](value)


# ---- keyed hashes ------------------------------------------------------------------------------


def identity_hash(key: bytes, kind: IdentityKind, normalised: str) -> bytes:
    """HMAC-SHA256 under the tenant's identity key over kind, a zero byte and the normal form; 16 bytes."""
    return hmac.digest(key, b"%b\0%b" % (kind.encode(), normalised.encode()), "sha256")[:HASH_BYTES]


@lru_cache(maxsize=65_536)
def hashed(key: bytes, kind: IdentityKind, value: str) -> bytes:
    """The hash of an identity as it was written: normalised first, and refused like `normalise`."""
    return identity_hash(key, kind, _NORMAL_FORMS[kind](value))


def one_identity(fields: Mapping[str, str | None], *, pointer: str = "/member") -> tuple[IdentityKind, str]:
    """The one identity among `fields` that is given; any other number of them is identity_ambiguous."""
    given = [(kind, value) for kind in KINDS if (value := fields.get(kind)) is not None]
    if len(given) != 1:
        names = ", ".join(kind for kind, _ in given) or "none"
        raise IdentityAmbiguous(
            f"Exactly one of {', '.join(KINDS)} is wanted; given: {names}.", pointer=pointer
        )
    return given[0]


def identify(key: bytes, fields: Mapping[str, str | None], *, pointer: str = "/member") -> Identity:
    """The hashed identity that `fields` name, errors pointing below `pointer`."""
    kind, value = one_identity(fields, pointer=pointer)
    try:
        return Identity(kind, hashed(key, kind, value))
    except Refusal as refusal:
        raise type(refusal)(refusal.detail, pointer=f"{pointer}/{kind}") from None


# ---- payment cards -----------------------------------------------------------------------------

# (first, last, lengths) of the leading six digits, by brand: the issuer ranges that the schemes publish under
# ISO/IEC 7812. 6270 is left out of UnionPay's 62, because the contract's own loyalty cards (627015) stand there:
# a payment card is refused in every field, so a programme's cards must be tellable from it by their digits.
# For the same reason a programme whose card_prefix lies in one of these ranges is invalid.
_LONG = frozenset(range(16, 20))
_RANGES: tuple[tuple[int, int, frozenset[int]], ...] = (
    (220000, 220499, _LONG),  # Mir
    (222100, 272099, frozenset({16})),  # Mastercard
    (300000, 305999, _LONG | {14}),  # Diners Club
    (340000, 349999, frozenset({15})),  # American Express
    (352800, 358999, _LONG),  # JCB
    (360000, 369999, _LONG | {14, 15}),  # Diners Club
    (370000, 379999, frozenset({15})),  # American Express
    (380000, 399999, _LONG | {14, 15}),  # Diners Club
    (400000, 499999, frozenset({13, 16, 18, 19})),  # Visa
    (500000, 509999, frozenset(range(13, 20))),  # Maestro
    (510000, 559999, frozenset({16})),  # Mastercard
    (560000, 589999, frozenset(range(13, 20))),  # Maestro
    (601100, 601199, _LONG),  # Discover
    (604906, 604906, _LONG),  # mada
    (605141, 605141, _LONG),  # mada
    (620000, 626999, _LONG),  # UnionPay
    (627100, 629999, _LONG),  # UnionPay
    (630400, 630499, frozenset(range(13, 20))),  # Maestro
    (636120, 636120, _LONG),  # mada
    (639000, 639099, frozenset(range(13, 20))),  # Maestro
    (644000, 659999, _LONG),  # Discover
    (670000, 679999, frozenset(range(13, 20))),  # Maestro
    (968200, 968299, _LONG),  # mada
)
_FIRSTS = [first for first, _, _ in _RANGES]

# Whole runs of digits, or digits in the groups that cards are printed in. Other groupings are left alone: a
# bill reference like 413-20261122-00841 is digits with dashes too, and one in ten of those passes Luhn.
# Four digits come first and the look behind them second, so that the scan fails fast: bills go through here.
_CANDIDATE = re.compile(
    r"""\d{4}(?<!\d{5})(?:
          \d{9,15}
        | ([\ \u00a0.\-])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{1,3})?
        | ([\ \u00a0.\-])\d{6}\2\d{4,5}
    )(?!\d)""",
    re.VERBOSE,
)


_SHAPE = bytes(ord("0") if 48 <= byte <= 57 else ord("x") for byte in range(256))


def _candidates(text: str) -> Iterator[str]:
    """What the pattern finds, in order. Where digits are ASCII's it is tried at the beginnings of their runs alone: most texts have
    next to none, and to find those takes a tenth of a search."""
    if not text.isascii():
        for found in _CANDIDATE.finditer(text):
            yield found[0]
        return
    shape = b"x" + text.encode().translate(_SHAPE)  # a place in it is that of the digit behind in the text
    at = shape.find(b"x0000")
    while at >= 0:
        match = _CANDIDATE.match(text, at)
        if match is not None:
            yield match[0]
        at = shape.find(b"x0000", at + 1 if match is None else match.end())


def _is_payment_card(digits: str) -> bool:
    issuer = int(digits[:6])
    at = bisect_right(_FIRSTS, issuer) - 1
    if at < 0:
        return False
    _, last, lengths = _RANGES[at]
    return issuer <= last and len(digits) in lengths and luhn_valid(digits)


def payment_card_number(text: str) -> bool:
    """Whether a payment card's number stands in the text: 13 to 19 digits of a known issuer that pass Luhn,
    run together or grouped as printed (spaces, dashes, dots), in digits of any script.

    Several fields may be asked at once, joined by a line feed.
    """
    for candidate in _candidates(text):
        digits = candidate
        if not (digits.isascii() and digits.isdigit()):  # grouped, or of another script
            digits = "".join(str(int(character)) for character in digits if character.isdigit())
        if _is_payment_card(digits):
            return True
    return False


def payment_card_prefix(prefix: str) -> bool:
    """Whether card numbers that begin with `prefix` (4 to 8 digits) could be payment cards."""
    low, high = int(prefix[:6].ljust(6, "0")), int(prefix[:6].ljust(6, "9"))
    return any(first <= high and low <= last for first, last, _ in _RANGES)
