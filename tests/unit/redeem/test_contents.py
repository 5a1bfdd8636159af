"""What a till says again was spent offline is the same only where all of it is; a card's and a seal's hash hold the one before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from services.redeem.domain.giftcards.ledger import Card, canonical
from services.redeem.domain.ledger import GENESIS
from services.redeem.domain.offline import Use
from services.redeem.domain.seal import Signer
from shared.ids import uuid7

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
USE = Use(redemption_ref="1", points=5, occurred_at=AT, bill_ref="B-1", cashier="C7")


@pytest.mark.parametrize(
    "changes",
    [{"points": 6}, {"occurred_at": AT + timedelta(seconds=1)}, {"bill_ref": None}, {"cashier": "C8"}],
)
def test_another_use_under_a_reference_has_another_hash(changes: dict[str, Any]) -> None:
    assert msgspec.structs.replace(USE, **changes).content_hash != USE.content_hash
    assert msgspec.structs.replace(USE).content_hash == USE.content_hash


def test_a_gift_cards_line_holds_the_hash_of_the_one_before() -> None:
    card = Card(uuid7(), "9870120000000000000", "gifts", 1, 1_000, "the hash", clock=AT)
    lines = [
        card.move("activate", 1_000, posting_id=uuid7(), source_id=None, effective_at=AT),
        card.move("use", 400, posting_id=uuid7(), source_id=uuid7(), effective_at=AT),
    ]
    before = GENESIS
    for line in lines:
        *fields, said = msgspec.structs.astuple(line)
        assert said == sha256(canonical(before, *fields)).digest()
        before = said
    assert card.head == before


def test_a_seals_hash_holds_that_of_the_seal_before() -> None:
    signer = Signer("secret", "acme")
    said: dict[str, Any] = {"no": 2, "sealed_at": AT, "leaves": 1, "root": sha256(b"r").digest()}
    one, other = (signer.seal(previous=sha256(text).digest(), **said) for text in (b"a", b"b"))
    assert one.previous == sha256(b"a").digest()
    assert one.hash != other.hash
