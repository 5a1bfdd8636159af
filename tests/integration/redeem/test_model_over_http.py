# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""The running bank beside a model of it: the same random acts over HTTP and as events, every status, code, reply, balance and line
compared; at the end the oracle over all of it.

What runs where (the machines' rules stand in model/, what they foretell in tests/support/models/):

- `make test`: what chance seldom meets, once (model/walks.py); some 200 acts on wallets and 60 on gift cards, the service in the
  test's process; 60 acts with the service as a process of its own, over a socket.
- `make soak`: POINTBANK_SOAK_ACTS acts on wallets (6,000 unless said), in parts of 1,000 that take turns: over a socket, in the
  test's process; and as many as one part on gift cards, over a socket.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test

from pointbank.tokens import dev_keys
from shared.config import Settings
from tests.integration.redeem.model.bought_cards import CardBuying
from tests.integration.redeem.model.disputes import Disputing
from tests.integration.redeem.model.house import (
    OF_CARDS,
    OURS,
    House,
    bank_process,
    broken,
    open_far_house,
    open_house,
)
from tests.integration.redeem.model.machine import KINDS, Machine
from tests.integration.redeem.model.meetings import Seldom
from tests.integration.redeem.model.silence import FallingSilent
from tests.integration.redeem.model.thresholds import Reaching
from tests.integration.redeem.model.walks import MET_BY_WALKS, walk

SHORT, FEW, STEPS = 7, 2, 30
ACTS = int(os.environ.get("POINTBANK_SOAK_ACTS", "6000"))
AT_ONCE = 1_000
"""A part of the long run: it ends well before the time after which a test counts as hanging."""
PARTS = -(-ACTS // AT_ONCE)
ENOUGH = 3_000
"""So many acts meet all that should be met."""
SHRINKING_S = 90


class Desk(FallingSilent, Reaching, Disputing, Seldom):
    """All that is done."""


Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(autouse=True)
def shrinking(monkeypatch: pytest.MonkeyPatch) -> None:
    """An act takes milliseconds, and Hypothesis would make a failure smaller for five minutes: until the test counts as hanging."""
    monkeypatch.setattr("hypothesis.internal.conjecture.engine.MAX_SHRINKING_SECONDS", SHRINKING_S)


def living(opened: Callable[[AsyncExitStack, Run], Coroutine[Any, Any, House]]) -> Iterator[House]:
    """A house for all examples of a test."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            yield runner.run(opened(stack, runner.run))
        finally:
            runner.run(stack.aclose())


@pytest.fixture
def house(settings: Settings, tmp_path: Path) -> Iterator[House]:
    """The service in this process."""
    keys = dev_keys(tmp_path)
    yield from living(lambda stack, run: open_house(settings, keys, stack, run))


@pytest.fixture
def far_house(settings: Settings, tmp_path: Path) -> Iterator[House]:
    """The service as a process of its own, over a socket."""
    with bank_process(settings, tmp_path) as (fleet, tenant):
        yield from living(lambda stack, run: open_far_house(fleet, tenant, stack, run))


def drive(house: House, machine: type[Machine], examples: int, steps: int) -> None:
    """So many examples of so many acts; then the oracle."""

    class Here(machine):  # type: ignore[misc, valid-type]
        pass

    Here.house = house
    run_state_machine_as_test(
        Here,
        settings=hypothesis_settings(max_examples=examples, stateful_step_count=steps, deadline=None),
    )
    assert house.run(broken(house)) == {}


def test_the_running_bank_answers_and_moves_as_the_model_does(house: House) -> None:
    walk(house, Desk)
    assert {name for name in MET_BY_WALKS if not house.met[name]} == set(), house.met
    drive(house, Desk, SHORT, STEPS)
    assert {"ledger:chain", "ledger:lots", "postings:told", "redemptions:told"} <= set(house.met)


def test_a_process_of_its_own_answers_and_moves_as_the_model_does(far_house: House) -> None:
    drive(far_house, Desk, FEW, STEPS)
    assert {"ledger:chain", "ledger:lots", "postings:told"} <= set(far_house.met)


def test_gift_cards_are_answered_as_the_model_does(house: House) -> None:
    drive(house, CardBuying, FEW, STEPS)
    assert {"gift_cards:balances", "gift_cards:chain", "rewards:stock"} <= set(house.met)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_the_running_bank_answers_as_the_model_does_for_thousands_of_acts(
    request: pytest.FixtureRequest, part: int
) -> None:
    house: House = request.getfixturevalue("house" if part % 2 else "far_house")
    acts = min(AT_ONCE, ACTS - part * AT_ONCE)
    if part == 0:
        walk(house, Desk)
    drive(house, Desk, max(acts // STEPS, 1), STEPS)
    MET.update(house.met)
    if part == PARTS - 1 and ACTS >= ENOUGH:
        assert {name for name in SEEN if not MET[name]} == set(), MET


@pytest.mark.soak
@pytest.mark.parametrize("part", range(2))
def test_gift_cards_are_answered_as_the_model_does_for_many_acts(far_house: House, part: int) -> None:
    """A PIN takes long: half as many acts are a part."""
    acts = min(AT_ONCE, ACTS) // 2
    drive(far_house, CardBuying, max(acts // STEPS, 1), STEPS)
    MET_OF_CARDS.update(far_house.met)
    if part == 1 and acts * 2 >= AT_ONCE:
        assert {name for name in SEEN_OF_CARDS if not MET_OF_CARDS[name]} == set(), MET_OF_CARDS


MET, MET_OF_CARDS = Counter[str](), Counter[str]()
"""What all parts of the long runs have met. One example has some of the acts only, for that is how Hypothesis looks far."""
SEEN = {
    "redemptions insufficient_points", "redemptions period_limit_exceeded", "redemptions wallet_blocked",
    "redemptions authorisation_expired",
    "redemptions redemption_captured", "redemptions redemption_voided", "redemptions return_window_closed",
    "redemptions return_too_much", "redemptions redemption_not_captured", "redemption-codes 200", "allowance_exceeded", "repeated",
    "rewards 200", "rewards 201",
    "redemptions reward_sold_out", "redemptions reward_limit_reached", "redemptions reward_unavailable",
    "redemptions reward_not_returnable", "redemptions benefit_consumed", "redemptions benefit_withdrawn", "benefits 200",
    "benefits benefit_consumed", "benefits benefit_expired", "benefits benefit_withdrawn", "benefits wallet_blocked",
    "disputes 200", "disputes 201",
    "disputes dispute_exists", "disputes dispute_not_open", "disputes evidence_missing", "disputes own_request",
    "disputes insufficient_points", "disputes not_found",
    "wallets 201", "wallets amount_out_of_range", "wallets not_found", "merge", "merges:moved", "merges:kept", "reinstatements",
    "cancelled", "reversed", "owed", "lapsed", "short", "blocked", "opening", *KINDS.values(), *OURS, *MET_BY_WALKS,
}  # fmt: skip
"""What the long run must have met; else it proves less than it says."""
SEEN_OF_CARDS = {
    *(f"gift-cards {code}" for code in (
        "200", "201", "currency_mismatch", "amount_out_of_range", "scope_missing", "merchant_unknown", "terminal_unknown",
        "pin_wrong", "return_too_much", "refund_conflict", "not_found",
    )),
    *(f"gift-cards gift_card_{code}" for code in (
        "locked", "blocked", "expired", "not_active", "active", "voided", "insufficient", "not_refundable", "not_reloadable",
    )),
    *(f"card {kind}" for kind in ("activate", "reload", "use", "refund", "expire", "cancel")),
    *(f"redemptions {code}" for code in (
        "200", "201", "reward_unavailable", "reward_not_returnable", "benefit_withdrawn", "return_window_closed",
        "gift_card_expired", "gift_card_blocked",
    )), *OF_CARDS, "rewards:stock", "benefits",
}  # fmt: skip
