"""The laws of a gift card: whatever is done to it in whatever order, no money comes or goes but by its lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pointbank.verify.spending.gift_cards import CardWalk
from services.redeem.domain.giftcards import card as decide
from services.redeem.domain.giftcards.acts import Tried
from services.redeem.domain.giftcards.card import Used
from services.redeem.domain.giftcards.ledger import Card, Line
from services.redeem.domain.giftcards.pins import (
    hash_pin,
    new_pin,
    new_serial,
    pin_is_right,
    pin_of_nobody,
    read_serial,
)
from shared.errors import Refusal
from shared.ids import uuid7
from shared.programme.gift_cards import GiftCards, compile_gift_cards
from tests.support.gift_cards import GIFTS

NOW = datetime(2026, 1, 31, 20, 59, tzinfo=UTC)
TERMS = compile_gift_cards(GiftCards.model_validate(GIFTS | {"valid_months": 1}), ZoneInfo("Asia/Riyadh"))
assert TERMS is not None
ENDS = datetime(2026, 2, 28, 21, tzinfo=UTC)
"""The end of the last of February in Riyadh, a month after the last of January."""


def fresh(amount: int = 10_000) -> Card:
    return Card(uuid7(), new_serial("987012"), "gifts", 1, amount, "the hash", clock=NOW)


class Model:
    """What a card must come to, in so many words: numbers alone, no ledger."""

    def __init__(self) -> None:
        self.loaded = self.paid = self.back = self.lapsed = 0

    @property
    def balance(self) -> int:
        return self.loaded - self.paid + self.back - self.lapsed


ACTS = st.tuples(
    st.sampled_from(("activate", "reload", "use", "whole", "refund", "refund all", "later", "expire", "block", "unblock", "void")),
    st.integers(1, 120),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTS, max_size=40), st.booleans())
def test_uses_less_refunds_are_what_was_loaded_less_what_is_left(
    acts: list[tuple[str, int]], begun: bool
) -> None:
    assert TERMS is not None
    card, model, now, uses = fresh(), Model(), NOW, list[Used]()
    for act, hundreds in [*([("activate", 1)] if begun else []), *acts]:
        before = msgspec.structs.astuple(card)
        try:
            if act == "later":
                now += timedelta(hours=12 * hundreds % 300)
                continue
            line = _done(card, act, hundreds * 100, uses, now)
        except Refusal:
            assert msgspec.structs.astuple(card) == before  # a refusal moves nothing
            continue
        _counted(model, line)
        assert (card.balance, card.used) == (model.balance, model.paid - model.back)
        assert card.issued + card.balance + card.used + card.expired == 0
        assert min(card.balance, card.used, card.expired) >= 0
        assert all(0 <= one.refunded_minor <= one.applied_minor for one in uses)
    _replays(card, uses)


def _done(card: Card, act: str, amount: int, uses: list[Used], now: datetime) -> Line | None:
    assert TERMS is not None
    match act:
        case "activate":
            return decide.activate(card, TERMS, now, uuid7())
        case "reload":
            return decide.reload(card, TERMS, amount, now, uuid7())
        case "use" | "whole":
            line = decide.use(card, amount, partial=act == "use", now=now, posting_id=uuid7())
            assert line.amount_minor == amount or act == "use"
            uses.append(
                Used(
                    line.posting_id,
                    card.card_id,
                    "gifts",
                    amount,
                    line.amount_minor,
                    "m",
                    None,
                    None,
                    None,
                    now,
                )
            )
            return line
        case "refund" | "refund all" if uses:
            asked = amount if act == "refund" else None
            return decide.refund(card, uses[amount // 100 % len(uses)], TERMS, asked, now, uuid7())
        case "expire":
            return decide.expire(card, now, uuid7())
        case "block":
            decide.block(card)
        case "unblock":
            decide.unblock(card)
        case "void":
            decide.void(card)
    return None


def _counted(model: Model, line: Line | None) -> None:
    if line is None:
        return
    match line.kind:
        case "activate" | "reload":
            model.loaded += line.amount_minor
        case "use":
            model.paid += line.amount_minor
        case "refund":
            model.back += line.amount_minor
        case "expire":
            model.lapsed += line.amount_minor


def _replays(card: Card, uses: list[Used]) -> None:
    """The oracle, which shares no code with the bank, comes to the same from the lines."""
    walk = CardWalk(card.card_id.bytes)
    for line in card.lines:
        row = msgspec.structs.asdict(line)
        for name in ("posting_id", "source_id"):
            row[name] = None if row[name] is None else row[name].bytes
        walk.line(row)
    assert walk.problems == []
    row = msgspec.structs.asdict(card)
    assert walk.against_row(row) == []
    rows = [
        {
            **msgspec.structs.asdict(one),
            "use_id": one.use_id.bytes,
            "refunds": one.refunded_minor,
            "elsewhere": 0,
        }
        for one in uses
    ]
    assert walk.against_uses(rows) == []


def test_a_card_is_good_until_the_end_of_its_last_day_and_not_at_that_instant() -> None:
    assert TERMS is not None
    card = fresh()
    decide.activate(card, TERMS, NOW, uuid7())
    assert card.expires_at == ENDS
    last = ENDS - timedelta(microseconds=1)
    assert decide.use(card, 100, partial=True, now=last, posting_id=uuid7()).amount_minor == 100
    assert decide.expire(card, last, uuid7()) is None
    line = decide.expire(card, ENDS, uuid7())
    assert line is not None
    assert (line.amount_minor, line.effective_at, decide.status_of(card, ENDS)) == (9_900, ENDS, "expired")
    assert decide.expire(card, ENDS, uuid7()) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=60))
def test_between_two_right_pins_at_most_three_wrong_ones_are_answered_in_half_an_hour(
    guesses: list[tuple[bool, int]],
) -> None:
    assert TERMS is not None
    card, now, wrongs = fresh(), NOW, list[datetime]()
    for right, minutes in guesses:
        now += timedelta(minutes=minutes)
        refusal = decide.try_pin(card, Tried("the hash", right=right), TERMS, now)
        code = None if refusal is None else refusal.code
        if code == "pin_wrong":
            assert not right
            wrongs.append(now)
        elif code is None:
            assert right
            wrongs.clear()
        assert (
            sum(now - at < TERMS.lock for at in wrongs) <= 5
        )  # three, and two more around the end of a lock
        assert card.wrong_pins <= 3
        assert (card.locked_until is not None) == (card.wrong_pins == 3)


def test_a_serial_that_nobody_has_costs_what_a_wrong_pin_costs() -> None:
    card_id = uuid7()
    kept = hash_pin(b"key", card_id, "123456")
    wrong, nobodys = (
        min(_cpu(work) for _ in range(3))
        for work in (
            lambda: pin_is_right(b"key", card_id, "123457", kept),
            lambda: pin_of_nobody(b"key", "123457"),
        )
    )
    assert 0.5 < nobodys / wrong < 2


def _cpu(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def test_serials_and_pins_are_read_as_they_are_typed_and_hashes_fit_one_card() -> None:
    serials = {new_serial("987012") for _ in range(200)}
    assert len(serials) == 200
    serial = serials.pop()
    assert read_serial(f" {serial[:4]}-{serial[4:]} ") == serial
    one, other, pin = uuid7(), uuid7(), new_pin()
    kept = hash_pin(b"key", one, pin)
    assert kept.startswith("$2b$10$")
    assert pin_is_right(b"key", one, pin, kept)
    assert not pin_is_right(b"key", other, pin, kept)
    assert not pin_is_right(b"another key", one, pin, kept)
