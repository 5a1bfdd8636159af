"""The bundled sample: a programme and the recipe of its bills, kept as data beside the code."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from importlib.resources import files
from typing import Any

import msgspec

from pointbank.generate.bills import Bill, generate
from pointbank.generate.people import Person, people


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `pointbank generate` is asked for; shares are decimal strings, exact over the sample."""

    seed: int
    members: int
    bills_per_run: int
    days: float
    anonymous: str
    repeated: str


def recipe() -> Recipe:
    """The recipe of the bundled sample."""
    return msgspec.json.decode(data("sample.json"), type=Recipe)


def programme(code: str) -> dict[str, Any]:
    """A bundled programme document: `shops` or `online-retail`."""
    document: dict[str, Any] = msgspec.json.decode(data(f"programme-{code}.json"))
    return document


def sample_people(asked: Recipe) -> list[Person]:
    """The members of the sample; every run of it has the same."""
    return people(asked.members, asked.seed)


def sample_bills(asked: Recipe, *, first: int, now: datetime) -> Iterator[Bill]:
    """The next `bills_per_run` bills from number `first` on, repetitions among them, rung up before `now`."""
    return generate(
        asked.bills_per_run,
        asked.members,
        asked.seed,
        now=now,
        days=asked.days,
        first=first,
        anonymous=Fraction(asked.anonymous),
        repeated=Fraction(asked.repeated),
    )


def data(name: str) -> bytes:
    """A bundled file, as it is."""
    return files("pointbank.data").joinpath(name).read_bytes()
