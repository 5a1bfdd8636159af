"""Members, made up: the same seed gives the same people, each with identities of their own."""

from __future__ import annotations

from random import Random

import msgspec

_FIRST = {
    "en": ("Noor", "Adam", "Sara", "Omar", "Layla", "Yusuf", "Mona", "Sami", "Dana", "Faris", "Huda", "Zaid"),
    "ar": ("نور", "آدم", "سارة", "عمر", "ليلى", "يوسف", "منى", "سامي", "دانة", "فارس", "هدى", "زيد"),
}
_LAST = {
    "en": ("Haddad", "Al-Otaibi", "Najjar", "Al-Harbi", "Mansour", "Al-Ghamdi", "Saleh", "Al-Zahrani"),
    "ar": ("حداد", "العتيبي", "النجار", "الحربي", "منصور", "الغامدي", "صالح", "الزهراني"),
}
_MOBILE_PREFIXES = ("50", "53", "54", "55", "56", "58", "59")  # Saudi ranges that are assigned as a whole
MOST = len(_MOBILE_PREFIXES) * 10_000_000
"""People who can have a mobile number of their own."""
_STEP = 7_368_787  # prime to MOST: stepping by it visits every number once before it repeats one
_LOCALES = ("ar", "ar", "ar", "en", "en")
_CHANNELS = ("store", "store", "store", "app", "app", "ecom", "call_center")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A member before enrolment; the fields stand as in the body of `POST /v1/members`."""

    external_id: str
    mobile: str
    email: str
    name: str
    locale: str
    channel: str

    def enrolment(self, *, programmes: list[str], accepted_at: str) -> dict[str, object]:
        """The body of `POST /v1/members`, consent included."""
        consent = {"accepted": True, "terms_version": "2026-01", "accepted_at": accepted_at}
        return {**msgspec.to_builtins(self), "programmes": programmes, "consent": consent}


def people(count: int, seed: int) -> list[Person]:
    """`count` people; the first n of a larger count with the same seed are the same n."""
    assert 0 <= count <= MOST
    rng = Random(f"{seed}/people")
    first_number = rng.randrange(MOST)
    return [_person(rng, index, (first_number + index * _STEP) % MOST) for index in range(count)]


def _person(rng: Random, index: int, number: int) -> Person:
    locale = rng.choice(_LOCALES)
    prefix, tail = divmod(number, 10_000_000)
    return Person(
        external_id=f"crm-{index + 1:06d}",
        mobile=f"+966{_MOBILE_PREFIXES[prefix]}{tail:07d}",
        email=f"member.{index + 1}@example.com",
        name=f"{rng.choice(_FIRST[locale])} {rng.choice(_LAST[locale])}",
        locale=locale,
        channel=rng.choice(_CHANNELS),
    )
