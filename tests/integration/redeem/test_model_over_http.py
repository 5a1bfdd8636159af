# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""The running bank beside a model of it: the same random acts over HTTP and as events, every status, code, reply, balance and line
compared; at the end the oracle over all of it.

`make soak` makes thousands of acts: POINTBANK_SOAK_ACTS says how many.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test

from pointbank.tokens import dev_keys
from shared.config import Settings
from tests.integration.redeem.model_acts import ActsOfPersons
from tests.integration.redeem.model_house import OURS, House, broken, open_house
from tests.integration.redeem.model_machine import KINDS
from tests.integration.redeem.model_meetings import Seldom

SHORT, STEPS = 7, 30
ACTS = int(os.environ.get("POINTBANK_SOAK_ACTS", "6000"))
AT_ONCE = 1_500
"""A part of the long run: it ends well before the time after which a test counts as hanging."""
PARTS = -(-ACTS // AT_ONCE)
SHRINKING_S = 90


class Desk(ActsOfPersons, Seldom):
    """All that is done."""


@pytest.fixture
def house(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    """A service start for all examples."""
    # An act takes milliseconds, and Hypothesis would make a failure smaller for five minutes: until the test counts as hanging.
    monkeypatch.setattr("hypothesis.internal.conjecture.engine.MAX_SHRINKING_SECONDS", SHRINKING_S)
    keys = dev_keys(tmp_path_factory.mktemp("keys"))
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            yield runner.run(open_house(settings, keys, stack, runner.run))
        finally:
            runner.run(stack.aclose())


def drive(house: House, examples: int, steps: int) -> None:
    """So many examples of so many acts; then the oracle."""

    class Here(Desk):
        pass

    Here.house = house
    run_state_machine_as_test(
        Here,
        settings=hypothesis_settings(max_examples=examples, stateful_step_count=steps, deadline=None),
    )
    assert house.run(broken(house)) == {}


def test_the_running_bank_answers_and_moves_as_the_model_does(house: House) -> None:
    drive(house, SHORT, STEPS)
    assert {"ledger:chain", "ledger:lots", "postings:told", "redemptions:told"} <= set(house.met)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_the_running_bank_answers_as_the_model_does_for_thousands_of_acts(house: House, part: int) -> None:
    acts = min(AT_ONCE, ACTS - part * AT_ONCE)
    drive(house, max(acts // STEPS, 1), STEPS)
    MET.update(house.met)
    if part == PARTS - 1 and ACTS >= AT_ONCE:
        assert {name for name in SEEN if not MET[name]} == set(), MET


MET = Counter[str]()
"""What all parts of the long run have met. One example has some of the acts only, for that is how Hypothesis looks far."""
SEEN = {
    "redemptions insufficient_points", "redemptions wallet_blocked", "redemptions authorisation_expired",
    "redemptions redemption_captured", "redemptions redemption_voided", "redemptions return_window_closed",
    "redemptions return_too_much", "redemptions redemption_not_captured", "redemption-codes 200", "allowance_exceeded", "repeated",
    "cancelled", "reversed", "owed", "lapsed", "short", "blocked", "opening", *KINDS.values(), *OURS,
}  # fmt: skip
"""What the long run must have met; else it proves less than it says."""
