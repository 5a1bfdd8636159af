"""Bills, made up: popular members buy often (Zipf), hours are a shop's, and the same seed gives the same bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import accumulate
from random import Random
from typing import Any

import msgspec

from pointbank.generate.people import Person
from pointbank.generate.shop import TERMINALS, Hours, lines

IDENTITIES = ("card_number", "mobile", "external_id", "email")
_IDENTITY_WEIGHTS = (45, 30, 15, 10)
_REPEAT_AFTER = 40  # bills between a bill and its repetition: they meet in one batch or in two


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """A bill before its member is named: `member` is an index of the people, None when anonymous.

    `repeats` is true for one that was yielded before, equal in everything else.
    """

    index: int
    member: int | None
    identity: str
    content: dict[str, Any]
    repeats: bool = False

    @property
    def source(self) -> str:
        """The till, as a CloudEvents source."""
        return f"/pos/{self.content['merchant']}/{self.content['terminal']}"

    @property
    def event_id(self) -> str:
        """The till's own id of the bill: its reference."""
        ref: str = self.content["bill_ref"]
        return ref

    def body(self, who: Person | None, *, card_number: str | None = None) -> dict[str, Any]:
        """The body of the contract. A member whose card is not known yet is named by the external id instead."""
        if self.member is None:
            return self.content
        assert who is not None
        if self.identity == "card_number":
            named = {"card_number": card_number} if card_number else {"external_id": who.external_id}
        else:
            named = {self.identity: getattr(who, self.identity)}
        return {**self.content, "member": named}


def generate(
    bills: int,
    members: int,
    seed: int,
    *,
    now: datetime,
    days: float = 2,
    first: int = 0,
    anonymous: Fraction = Fraction(1, 100),
    repeated: Fraction = Fraction(0),
    currency: str = "SAR",
) -> Iterator[Bill]:
    """`bills` distinct bills of the `days` before `now`, in the order of their time, all at or before `now`.

    `first` continues a sequence: its bills get references of their own. `anonymous` and `repeated` are exact shares.
    """
    assert bills >= 0
    assert members > 0
    rng = Random(f"{seed}/bills/{first}")
    hours = Hours(start=now - timedelta(days=days), end=now)
    popularity = list(
        accumulate(1 / (rank + 3.7) for rank in range(members))
    )  # Zipf-Mandelbrot, s = 1, q = 2.7
    by_rank = list(range(members))
    Random(f"{seed}/popularity").shuffle(by_rank)
    terminal_weights = list(accumulate(terminal.weight for terminal in TERMINALS))
    repeats: deque[tuple[int, Bill]] = deque()
    for step in range(bills):
        while repeats and repeats[0][0] <= step:
            yield repeats.popleft()[1]
        index = first + step
        terminal = rng.choices(TERMINALS, cum_weights=terminal_weights)[0]
        rung_up_at = hours.at((step + rng.random()) / bills)
        bought = lines(rng, delivered=terminal.channel == "ecom")
        rank = rng.choices(by_rank, cum_weights=popularity)[0]
        identity = rng.choices(IDENTITIES, weights=_IDENTITY_WEIGHTS)[0]
        content = {
            "merchant": terminal.merchant,
            "terminal": terminal.code,
            "cashier": f"c{100 + index % 17}",
            "bill_ref": f"{terminal.prefix}-{terminal.code}-{rung_up_at:%Y%m%d}-{index + 1:06d}",
            "channel": terminal.channel,
            "occurred_at": rung_up_at.isoformat(),
            "currency": currency,
            "total_minor": sum(line["amount_minor"] for line in bought),
            "lines": bought,
        }
        bill = Bill(
            index=index,
            member=None if _falls_on(anonymous, index) else rank,
            identity=identity,
            content=content,
        )
        yield bill
        if _falls_on(repeated, index):
            repeats.append((step + _REPEAT_AFTER, msgspec.structs.replace(bill, repeats=True)))
    for _, bill in repeats:
        yield bill


def _falls_on(share: Fraction, index: int) -> bool:
    """Whether `index` is one of those that make `share` exact over any long run."""
    return int((index + 1) * share) > int(index * share)
