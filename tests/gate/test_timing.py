"""How long an answer takes says nothing of what another tenant has, nor of which serials there are: measured by turns.

No seconds are asserted. What is compared stands in one run, one after the other, and the machine's load falls on both.
That the work is the same to the statement: tests/integration/members/test_lookup_work.py.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import httpx
import pytest

from shared.identity import with_check_digit
from shared.ids import uuid7
from tests.gate.holdings import PROGRAMME
from tests.support.caller import Caller
from tests.support.gift_cards import sar
from tests.support.processes import Fleet
from tests.support.telling import Tell
from tests.support.town import Town, found_town, leave

MEMBERS = 12
ROUNDS, TRIES = 3, 3
"""So often each of these is asked for, and for so long is more of it measured where a machine was unsteady."""
MOST = 2.0
"""Medians of two kinds of the same work, on any machine; a check of a PIN that is left out makes ten of it."""
CARDS = 20
PATH = "/v1/members/lookup"

Ask = Callable[[], httpx.Response]


def _town(fleet: Fleet, name: str, seed: int) -> Iterator[Town]:
    made = asyncio.run(
        found_town(fleet, f"{name}{secrets.token_hex(3)}", members=2, seed=seed, document=PROGRAMME)
    )
    yield made
    asyncio.run(leave(made))


@pytest.fixture(scope="module")
def mine(fleet: Fleet) -> Iterator[Town]:
    yield from _town(fleet, "m", 21)


@pytest.fixture(scope="module")
def theirs(fleet: Fleet) -> Iterator[Town]:
    yield from _town(fleet, "o", 22)


@pytest.fixture(scope="module")
def me(fleet: Fleet, mine: Town) -> Iterator[Caller]:
    with closing(Caller(fleet, mine.tenant, subject="me")) as made:
        yield made


def _person(number: int) -> dict[str, Any]:
    return {
        "external_id": f"crm-{number}",
        "mobile": f"+96650{number:07}",
        "email": f"noor{number}@example.com",
        "channel": "store",
        "programmes": ["shops"],
        "consent": {"accepted": True, "terms_version": "1", "accepted_at": "2026-01-20T12:00:00Z"},
    }


def _seconds(ask: Ask) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


def _by_turns(first: Sequence[Ask], second: Sequence[Ask]) -> tuple[list[float], list[float]]:
    """Seconds of each, one of either after the other, the first of a pair in turn."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number, pair in enumerate(zip(first, second, strict=True)):
        for k in (0, 1) if number % 2 else (1, 0):
            taken[k].append(_seconds(pair[k]))
    return taken


def _ratio(first: list[float], second: list[float]) -> float:
    medians = sorted(map(statistics.median, (first, second)))
    return medians[1] / medians[0]


def _alike(first: Sequence[Ask], second: Sequence[Ask]) -> tuple[float, str]:
    """How far the medians of both are apart, and in words. Goes on where they are too far, for so long as it may."""
    taken: tuple[list[float], list[float]] = ([], [])
    ratio = 0.0
    for _ in range(TRIES):
        for had, found in zip(taken, _by_turns(first, second), strict=True):
            had.extend(found)
        ratio = _ratio(*taken)
        if ratio <= MOST:
            break
    a, b = (statistics.median(one) * 1e3 for one in taken)
    return ratio, f"median {a:.1f} and {b:.1f} ms of {len(taken[0])} each: {ratio:.2f}"


def test_anothers_member_takes_as_long_as_nobody(fleet: Fleet, me: Caller, theirs: Town, tell: Tell) -> None:
    people = [_person(secrets.randbelow(5 * 10**6)) for _ in range(MEMBERS)]
    with closing(Caller(fleet, theirs.tenant, subject="they")) as they:
        for one in people:
            member = they("POST", "/v1/members", json=one).json()
            one |= {
                "member_id": member["member_id"],
                "card_number": member["wallets"][0]["card"]["card_number"],
            }
        assert they("POST", PATH, json={"card_number": people[0]["card_number"]}).status_code == 200
    nobody = [_person(5 * 10**6 + secrets.randbelow(5 * 10**6)) for _ in range(MEMBERS)]
    for one in nobody:
        number = with_check_digit(f"627015{secrets.randbelow(10**9):09}")
        one |= {"member_id": str(uuid7()), "card_number": number}

    def asks(ones: list[dict[str, Any]], name: str) -> list[Ask]:
        def ask(value: str) -> Ask:
            def asked() -> httpx.Response:
                answer = me("POST", PATH, json={name: value})
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), answer.text
                return answer

            return asked

        return [ask(one[name]) for one in ones] * ROUNDS

    for name in ("member_id", "card_number", "mobile", "email", "external_id"):
        ratio, words = _alike(asks(people, name), asks(nobody, name))
        tell(f"a look-up of another tenant's {name} and of nobody's: {words}")
        assert ratio <= MOST, name


def test_a_serial_that_there_is_takes_as_long_as_one_that_there_is_not(me: Caller, tell: Tell) -> None:
    made: list[dict[str, str]] = me(
        "POST", "/v1/gift-cards", json={"programme": "shops", "amount": sar(10_000), "count": CARDS}
    ).json()["gift_cards"]

    def asks(serials: Sequence[str], pins: Sequence[str], status: int) -> list[Ask]:
        def ask(serial: str, pin: str) -> Ask:
            def asked() -> httpx.Response:
                answer = me("POST", "/v1/gift-cards/balance", json={"serial": serial, "pin": pin})
                assert answer.status_code == status, answer.text
                return answer

            return asked

        return [ask(serial, pin) for serial, pin in zip(serials, pins, strict=True)]

    there = [one["serial"] for one in made]
    drawn = [with_check_digit(f"987012{secrets.randbelow(10**12):012}") for _ in made]
    wrong = [f"{(int(one['pin']) + 1) % 10**6:06}" for one in made]
    # Once each: three wrong ones close a card, and that is told.
    taken = _by_turns(asks(there, wrong, 422), asks(drawn, wrong, 422))
    ratio = _ratio(*taken)
    a, b = (statistics.median(one) * 1e3 for one in taken)
    tell(
        f"a wrong PIN and a serial that there is not: median {a:.0f} and {b:.0f} ms of {CARDS} each: {ratio:.2f}"
    )
    assert ratio <= MOST
