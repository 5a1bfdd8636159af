"""The whole table of codes, walked: what is refused gets its code, and leaves nothing behind but its frozen refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from pointbank.verify import verify_tenant
from shared.errors import PROBLEMS
from tests.flows.codes import adjusting, earn, gift_cards, members, redemptions, rewards, shell
from tests.flows.codes.stream import ENTRIES, STREAM, rejected
from tests.support.desk import Ask, Desk

IN_ONE_LOOP = pytest.mark.asyncio(loop_scope="package")
"""The desk is one for all of them."""

NOT_YET = {
    "act_conflict": "this town's programme declares no acts: tests/integration/earn/test_acts.py",
    "act_data_invalid": "this town's programme declares no acts: tests/integration/earn/test_acts.py",
    "authorisation_expired": "takes a minute to pass: tests/integration/redeem/test_authorisations.py",
    "allowance_expired": "said of one use within an answer: tests/integration/redeem/test_offline.py",
    "allowance_exceeded": "said of one use within an answer: tests/integration/redeem/test_offline.py",
    "report_too_late": "said of one use within an answer: tests/integration/redeem/test_offline.py",
    "redemption_conflict": "said of one use within an answer: tests/integration/redeem/test_offline.py",
    "difference_closed": "takes books that were spoilt: tests/integration/redeem/test_reconciliation.py",
    "difference_changed": "takes books that were spoilt: tests/integration/redeem/test_reconciliation.py",
    "rate_limited": "takes 2,000 waiting writes of one tenant: tests/unit/shared/test_http_writes.py",
    "member_not_active": "nothing closes a member yet: tests/unit/members/test_merges.py",
    "handler_failed": "what no handler can handle is a bug of ours, and none is known",
    "delivery_limit": "takes processes that die of it: tests/faults/test_input.py",
    "timed_out": "takes statements that outlast their limit: tests/faults/test_input.py",
}
"""Codes that can't be raised here, and why."""

WALKS = (shell, members, earn, redemptions, rewards, gift_cards, adjusting)
SIMPLE: dict[str, Callable[[Desk], Ask]] = {code: ask for walk in WALKS for code, ask in walk.SIMPLE.items()}
SPECIAL: dict[str, Callable[[Desk], Awaitable[None]]] = {
    code: go for walk in WALKS for code, go in walk.SPECIAL.items()
}


@IN_ONE_LOOP
@pytest.mark.parametrize("code", [*SIMPLE, *SPECIAL])
async def test_over_http(desk: Desk, code: str) -> None:
    if code in SIMPLE:
        await desk.refused(SIMPLE[code](desk), code)
    else:
        await desk.town.settled()  # what the walk before it made is still being heard
        await SPECIAL[code](desk)


@IN_ONE_LOOP
@pytest.mark.parametrize("code", [*ENTRIES, *STREAM])
async def test_on_the_stream(desk: Desk, code: str) -> None:
    await STREAM[code](desk) if code in STREAM else await rejected(desk, ENTRIES[code](desk), code)


def test_every_code_of_the_table_is_walked_or_named_with_its_reason() -> None:
    walked = {*SIMPLE, *SPECIAL, *ENTRIES, *STREAM}
    assert walked | set(NOT_YET) == set(PROBLEMS)
    assert walked & set(NOT_YET) == set()
    assert {code for code, known in PROBLEMS.items() if known.stream_only} <= {*ENTRIES, *STREAM, *NOT_YET}


@IN_ONE_LOOP
async def test_after_the_walk_the_books_hold(desk: Desk) -> None:
    await desk.town.settled()
    report = await verify_tenant(desk.town.settings, desk.town.tenant, journal=desk.town.journal)
    assert report, [(check.name, check.broken, check.examples) for check in report.broken]
