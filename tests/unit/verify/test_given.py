"""What the oracle makes of earn's requests about benefits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from pointbank.verify import Report
from pointbank.verify.books import Books, Heard
from pointbank.verify.events import BenefitAsked, BenefitSource
from pointbank.verify.spending.given import Given

AT = datetime(2026, 6, 1, tzinfo=UTC)
EFFECT, WALLET, MEMBER, BILL, BENEFIT = (uuid4() for _ in range(5))


def asked(effect: UUID = EFFECT) -> BenefitAsked:
    source = BenefitSource("campaign", "double", str(BILL))
    return BenefitAsked(
        str(effect), wallet_id=str(WALLET), member_id=str(MEMBER), programme="shops", reward="coffee", source=source,
        effective_at=AT,
    )  # fmt: skip


def kept(**changes: Any) -> dict[str, Any]:
    return {
        "effect_id": EFFECT.bytes, "wallet_id": WALLET.bytes, "member_id": MEMBER.bytes, "programme": "shops", "reward": "coffee",
        "source_kind": "campaign", "source_code": "double", "bill_id": BILL.bytes, "effective_at": AT, "outcome": "issued",
        "benefit_id": BENEFIT.bytes, "code": None, "withdrawn_first": False, "there": True, "fits": True, **changes,
    }  # fmt: skip


def judged(events: list[tuple[int, BenefitAsked]], rows: list[dict[str, Any]]) -> bool:
    """Whether what was asked is what is kept; the bank has heard the first five events."""
    books: Any = Books("t", None, Report("t"), lambda _: None)  # type: ignore[arg-type]
    books.heard["earn", "redeem"] = Heard(5, frozenset(), frozenset({4}))
    given = Given(books)
    for n, event in events:
        given.on_asked(n, None, event)
    for row in rows:
        given._ask(row)
    same: bool = books.matchings["benefits:asked"].close()
    return same


@pytest.mark.parametrize(
    ("events", "rows", "same"),
    [
        ([(1, asked())], [kept()], True),
        ([(1, asked()), (2, asked())], [kept()], True),  # asked twice, kept once
        ([(6, asked()), (4, asked(uuid4()))], [], True),  # not heard yet; a dead letter
        ([(1, asked())], [], False),
        ([], [kept()], False),
        ([(1, asked())], [kept(wallet_id=MEMBER.bytes)], False),
        ([(1, asked())], [kept(reward="tea")], False),
        ([(1, asked())], [kept(source_code="triple")], False),
    ],
)
def test_what_was_asked_is_what_is_kept(
    events: list[tuple[int, BenefitAsked]], rows: list[dict[str, Any]], same: bool
) -> None:
    assert judged(events, rows) == same
