"""The interface under fuzz: whatever is sent, the answer is one that the interface's own document tells of.

Calls are made from the document (schemathesis), good ones and bad ones, to the services themselves. The short form is the
same at every run; `make soak` makes more of them, from a seed that is told, and lets calls follow from answers.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule, run_state_machine_as_test
from joserfc import jwt

from pointbank.allinone import service_of
from pointbank.api import Call
from pointbank.verify import verify_tenant
from tests.support.processes import Fleet
from tests.support.town import Town, found_town, leave

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: make .venv/.ok")
positive_data_acceptance = importlib.import_module(
    "schemathesis.specs.openapi.checks"
).positive_data_acceptance

StepInput = importlib.import_module("schemathesis.generation.stateful.state_machine").StepInput

EXAMPLES = int(os.environ.get("POINTBANK_FUZZ_EXAMPLES", "60"))

ABOUT = r"^/v1/(members|bills|redemptions|wallets|tiers)\b"

PUBLISHED = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PUBLISHED.read_text())
    return found


@pytest.fixture(scope="module")
def town(fleet: Fleet) -> Iterator[Town]:
    """A tenant that nobody else asks: no programme, wallet or merchant of it is afterwards what it was."""
    made = asyncio.run(found_town(fleet, f"f{secrets.token_hex(3)}", members=2))
    yield made
    asyncio.run(leave(made))


@pytest.fixture(scope="module")
def token(fleet: Fleet, town: Town, document: dict[str, Any]) -> str:
    """May do everything: what is refused is refused for what it says."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    scopes = {scope for operation in operations for scope in operation["security"][0]["bearer"]}
    claims = {
        "iss": "pointbank-dev",
        "aud": "pointbank",
        "sub": "fuzz",
        "tenant": town.tenant,
        "scope": " ".join(sorted(scopes)),
        "typ": "person",
        "exp": int(time.time()) + 7200,
    }
    key = fleet.keys.private
    return jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key, algorithms=["ES256"])


def settings(examples: int) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


def _objects(body: object) -> Iterator[dict[str, Any]]:
    """Every object of a body; none, where the body is no JSON."""
    if isinstance(body, dict):
        yield body
        body = list(body.values())
    if isinstance(body, list):
        for part in body:
            yield from _objects(part)


class Fuzz:
    """Calls made from the document, and what became of them."""

    def __init__(self, document: dict[str, Any], fleet: Fleet, town: Town, token: str) -> None:
        self._fleet, self._headers = fleet, {"Authorization": f"Bearer {token}"}
        self.schema = schemathesis.openapi.from_dict(document)
        self.statuses: Counter[int] = Counter()
        self.asked: Counter[str] = Counter()
        # Calls of a sequence that say what an earlier answer said.
        self.followed: Counter[str] = Counter()
        # Calls that make something, said well: a sequence that begins with one has something to go on about.
        self._makers: dict[str, Callable[[], Call]] = {
            "POST /v1/members": town.enrolment,
            "POST /v1/bills": lambda: town.post(town.bills(1, anonymous=Fraction(0))[0]),
            "POST /v1/redemptions": lambda: town.redemption(town.cards[0], 1),
        }
        # What there is: a call about it comes further than one about anything.
        self._known: dict[str, list[Any]] = {
            "wallet_id": [card.wallet_id for card in town.cards],
            "programme": ["shops"],
            "merchant": ["riyadh-mall"],
            "version": [1, 2],
            "currency": ["SAR"],
            "price": [{"points": 100}],
            "tier_prices": [None],
            "windows": [None],
            "name": [{"en": "Fuzz"}],
        }

    def run(self, *, examples: int, seed: int) -> None:
        """So many good and so many bad calls of each operation; half of the good ones are about what there is."""
        rng = random.Random(seed)
        for result in self.schema.get_all_operations():
            operation = result.ok()
            for mode in schemathesis.GenerationMode:
                ask = self._asking(rng if mode.is_positive else None)
                made = operation.as_strategy(generation_mode=mode)
                hypothesis.seed(seed)(settings(examples)(hypothesis.given(case=made)(ask)))()

    def _asking(self, rng: random.Random | None) -> Callable[..., None]:
        turns = itertools.cycle((True, False))

        def ask(case: Any) -> None:
            # The first is the plainest, and so the likeliest to be done.
            if rng is not None and next(turns):
                for name, values in self._known.items():
                    for given in (case.path_parameters, case.query, *_objects(case.body)):
                        # Some names are said of texts here and of objects there.
                        if given and name in given and not (name == "name" and isinstance(given[name], str)):
                            given[name] = rng.choice(values)
            self.ask(case)

        return ask

    def run_in_sequences(self, *, examples: int, seed: int, about: str = "", steps: int = 50) -> None:
        """Sequences of calls of the operations whose path is like `about`, where what one answers is asked of by the next."""
        fuzz, schema = self, self.schema.include(path_regex=about) if about else self.schema

        class Sequences(schema.as_state_machine()):  # type: ignore[misc]
            @rule(target=Bundle("catch_all"), label=st.sampled_from(sorted(fuzz._makers)))
            def make(self, label: str) -> Any:
                """Of these schemathesis believes that by what it can think of itself they come to nothing."""
                case = fuzz.maker(label)
                self.recorder.record_case(case=case)
                return self.step(StepInput.initial(case))

            def get_call_kwargs(self, case: Any) -> dict[str, Any]:
                return {"base_url": fuzz.address(case), "headers": fuzz._headers}

            def validate_response(self, response: Any, case: Any, **_: Any) -> None:
                node = self.recorder.cases[case.id]
                if node.parent_id is not None and node.is_transition_applied:
                    fuzz.followed[case.operation.label] += 1
                fuzz.judge(case, response, recorder=self.recorder)

        hypothesis.seed(seed)(Sequences)
        limits = hypothesis.settings(settings(examples), stateful_step_count=steps)
        run_state_machine_as_test(Sequences, settings=limits)

    def maker(self, label: str) -> Any:
        """A good call that makes something."""
        made = self._makers[label]()
        operation = self.schema[made.path][made.method.lower()]
        return operation.Case(
            body=made.body, headers={"Idempotency-Key": secrets.token_hex(8)}, media_type="application/json"
        )

    def address(self, case: Any) -> str:
        """Where the service is that answers it; addresses that no service has are as good as any."""
        service = service_of(case.path) or "members"
        return f"http://127.0.0.1:{self._fleet.of(service)[0].port}"

    def ask(self, case: Any) -> None:
        """One call, judged."""
        self.judge(case, case.call(base_url=self.address(case), headers=self._headers))

    def judge(self, case: Any, response: Any, *, recorder: Any = None) -> None:
        """By every check that schemathesis has but one: no schema can say all that makes a bill or a programme right, so what
        follows the schema may be refused. Two of them look back at what came before, which `recorder` holds."""
        self.statuses[response.status_code] += 1
        self.asked[case.operation.label] += 1
        case.validate_response(response, excluded_checks=[positive_data_acceptance], recorder=recorder)


@pytest.fixture
def fuzz(document: dict[str, Any], fleet: Fleet, town: Town, token: str) -> Fuzz:
    return Fuzz(document, fleet, town, token)


def test_whatever_is_sent_the_answer_is_one_of_the_documents(fuzz: Fuzz, document: dict[str, Any]) -> None:
    fuzz.run(examples=2, seed=20261122)
    assert fuzz.asked.keys() == {
        f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations
    }
    assert {200, 404, 422} <= fuzz.statuses.keys(), fuzz.statuses
    assert max(fuzz.statuses) < 500, fuzz.statuses


def test_what_an_answer_told_of_is_asked_of_by_the_next_call(fuzz: Fuzz) -> None:
    fuzz.run_in_sequences(examples=12, steps=12, seed=20261122, about=ABOUT)
    assert max(fuzz.statuses) < 500, fuzz.statuses
    assert sum(fuzz.followed.values()) >= 15, fuzz.followed
    # Which ones they are changes with the document, not from run to run.
    assert len(fuzz.followed) >= 3, fuzz.followed


@pytest.mark.soak
async def test_much_is_sent_one_after_the_other_and_the_books_are_whole(fuzz: Fuzz, town: Town) -> None:
    seed = int(os.environ.get("POINTBANK_FUZZ_SEED", random.SystemRandom().randrange(2**32)))
    sys.stderr.write(f"POINTBANK_FUZZ_SEED={seed}\n")
    await asyncio.to_thread(fuzz.run, examples=EXAMPLES, seed=seed)
    await asyncio.to_thread(fuzz.run_in_sequences, examples=EXAMPLES, seed=seed)
    assert max(fuzz.statuses) < 500, fuzz.statuses
    assert sum(fuzz.followed.values()) >= EXAMPLES, fuzz.followed
    sys.stderr.write(f"{fuzz.statuses}\n")
    await town.settled()
    report = await verify_tenant(town.settings, town.tenant)
    assert report, [(check.name, check.broken, check.examples) for check in report.broken]
