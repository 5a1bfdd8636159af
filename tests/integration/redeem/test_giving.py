"""Benefits that nobody bought: asked for by earn and asked back, each once, in any order; and written off when they expire."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from services.redeem.domain.codes import benefit_code
from services.redeem.handlers import ON
from services.redeem.jobs.benefits_due import OfReward, lapse, run
from shared.config import Settings
from shared.events import BenefitAsked, BenefitSource, BenefitWithdrawalAsked, EventData
from shared.ids import uuid7
from shared.messaging import Done, Refused
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, Member
from tests.integration.redeem.test_rewards import put, use
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import AT, heard
from tests.support.http import assert_problem
from tests.support.tenants import running


def asked(member: Member, reward: str, **more: Any) -> BenefitAsked:
    source = BenefitSource(kind="campaign", code="double", bill_id=uuid7())
    return BenefitAsked(
        effect_id=uuid7(), wallet_id=member.wallet_id, member_id=member.member_id, programme="shops", reward=reward, source=source,
        effective_at=AT, **more,
    )  # fmt: skip


def back(ask: BenefitAsked) -> BenefitWithdrawalAsked:
    return BenefitWithdrawalAsked(effect_id=uuid7(), issued_by=ask.effect_id)


async def answers(bank: Bank, *events: Any) -> list[tuple[str, str | None]]:
    """The one answer to each request: outcome and code."""
    found = []
    for event in events:
        [one] = await bank.told(event.effect_id)
        assert (one["type"], one["sequence"]) == ("benefit.answered.v1", "000000000001")
        found.append((one["data"]["outcome"], one["data"]["code"]))
    return found


async def benefit_of(bank: Bank, ask: BenefitAsked) -> Any:
    return await bank.auditor.fetchrow("SELECT * FROM redeem.benefits WHERE asked_by = $1", ask.effect_id)


async def stock(bank: Bank, reward: str) -> int:
    issued = await bank.auditor.fetchval("SELECT issued FROM redeem.rewards WHERE reward = $1", reward)
    assert isinstance(issued, int)
    return issued


async def test_what_earn_asks_for_is_issued_once_and_asked_back_once(bank: Bank) -> None:
    await put(bank, "stamp", stock=2, restock=True, valid_days=7, windows=[{"tiers": ["gold"]}])
    member = await bank.member()
    one, two, three = (asked(member, "stamp") for _ in range(3))
    await bank.hear(one, one, two, three)
    await bank.hear(one)
    none, off = asked(member, "nothing"), asked(member, "off")
    await put(bank, "off", active=False)
    await bank.hear(none, off)
    assert await answers(bank, one, two, three, none, off) == [
        ("issued", None), ("issued", None), ("refused", "reward_sold_out"), ("refused", "reward_unknown"),
        ("refused", "reward_unavailable"),
    ]  # fmt: skip
    # Another request under the same id is a dead letter, and changes nothing.
    other = msgspec.structs.replace(one, reward="off")
    [outcome] = await bank.outcomes(other)
    assert isinstance(outcome, Refused)
    assert outcome.refusal.code == "id_reused"

    row = await benefit_of(bank, one)
    code = benefit_code(bank.runtime.tenant.identity_key, row["benefit_id"])
    assert (await use(bank, code)).json()["status"] == "consumed"
    first, second, third, again = back(one), back(two), back(three), back(two)
    await bank.hear(first, second, third, again, second)
    assert await answers(bank, first, second, third, again) == [
        ("used_already", None), ("withdrawn", None), ("nothing", None), ("nothing", None),
    ]  # fmt: skip
    row = await benefit_of(bank, two)
    code = benefit_code(bank.runtime.tenant.identity_key, row["benefit_id"])
    assert_problem(await use(bank, code), 409, "benefit_withdrawn")
    assert [one["type"] for one in await bank.told(row["benefit_id"])] == [
        "benefit.issued.v1",
        "benefit.withdrawn.v1",
    ]
    # It is on stock again: the next one gets it.
    assert await stock(bank, "stamp") == 1
    four = asked(member, "stamp")
    await bank.hear(four)
    assert await answers(bank, four) == [("issued", None)]


async def test_a_withdrawal_that_comes_first_ends_the_same(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await put(bank, "early", stock=50, restock=True)
    member = await bank.member()
    ask = asked(member, "early")
    gone = back(ask)
    await bank.hear(gone)
    await bank.hear(ask)
    assert await answers(bank, gone, ask) == [("nothing", None), ("refused", "benefit_withdrawn")]
    assert await stock(bank, "early") == 0

    # The same raced in two processes, thirty pairs in any order: each pair ends with nothing given, and every answer is one.
    pairs: list[tuple[EventData, EventData]] = [
        (one, back(one)) for one in (asked(member, "early") for _ in range(30))
    ]
    events: list[EventData] = [event for pair in pairs for event in pair] * 2
    random.Random(7).shuffle(events)
    async with running(settings, tenant, "redeem", ON) as other:
        sent = [
            (bank.runtime.lane if k % 2 else other.lane).submit(heard(event))
            for k, event in enumerate(events)
        ]
        assert {type(outcome) for outcome in await asyncio.gather(*sent)} == {Done}
    met = Counter([tuple(await answers(bank, *pair)) for pair in pairs])
    issued, first = (
        (("issued", None), ("withdrawn", None)),
        (("refused", "benefit_withdrawn"), ("nothing", None)),
    )
    assert set(met) <= {issued, first}
    assert await stock(bank, "early") == 0


async def test_a_gift_is_used_or_taken_back_and_never_both(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await put(bank, "both", stock=20, restock=True)
    member = await bank.member()
    gifts = [asked(member, "both") for _ in range(20)]
    await bank.hear(*gifts)
    key = bank.runtime.tenant.identity_key
    codes = [benefit_code(key, (await benefit_of(bank, one))["benefit_id"]) for one in gifts]
    backs = [back(one) for one in gifts]
    async with running(settings, tenant, "redeem", ON) as other:
        used, _ = await asyncio.gather(
            asyncio.gather(*[use(bank, code) for code in codes]),
            asyncio.gather(*[other.lane.submit(heard(one)) for one in backs]),
        )
    met = Counter(
        (one.status_code, answer[0]) for one, answer in zip(used, await answers(bank, *backs), strict=True)
    )
    assert met.keys() <= {(200, "used_already"), (409, "withdrawn")}
    assert await stock(bank, "both") == met[200, "used_already"]


async def test_what_expires_unused_is_written_off_once_and_owed_no_more(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await put(bank, "brief", valid_days=1)
    member = await bank.member()
    ask, used = asked(member, "brief"), asked(member, "brief")
    await bank.hear(ask, used)
    row = await benefit_of(bank, used)
    await use(bank, benefit_code(bank.runtime.tenant.identity_key, row["benefit_id"]))
    assert await lapse(bank.runtime) == 0
    later = datetime.now(UTC) + timedelta(days=3)
    async with (
        running(settings, tenant, "redeem", ON, clock=lambda: later) as one,
        running(settings, tenant, "redeem", ON, clock=lambda: later) as two,
    ):
        of = OfReward("shops", "brief", issued=0, written_off=1, written_off_minor=350)
        assert (await run(one, dry_run=True, step=1)).rewards == [of]
        done = await asyncio.gather(*[run(k, dry_run=False, step=1) for k in (one, two)])
        assert [k.rewards for k in done if k.written_off] == [[of]]
        assert await lapse(one) == 0
    row = await benefit_of(bank, ask)
    assert row["lapsed_at"] == later
    told = await bank.told(row["benefit_id"])
    assert [one["type"] for one in told] == ["benefit.issued.v1", "benefit.expired.v1"]
    assert told[1]["data"]["unit_cost"] == {"amount_minor": 350, "currency": "SAR"}
    gone = back(ask)
    await bank.hear(gone)
    assert await answers(bank, gone) == [("nothing", None)]


async def test_the_oracle_makes_the_same_of_it_and_sees_what_is_spoilt(
    bank: Bank, settings: Settings
) -> None:
    names = {
        "benefits", "benefits:told", "benefits:answered", "benefits:requests", "benefits:liability", "rewards:stock",
        "sequence:redeem",
    }  # fmt: skip
    await put(bank, "owed", unit_cost_minor=7)
    member = await bank.member()
    kept, gone = asked(member, "owed"), asked(member, "owed")
    await bank.hear(kept, gone, back(gone))
    await bank.hear(back(asked(member, "owed")))  # what it names never comes
    await assert_whole_until_spoilt(settings, bank.code, frozenset(names), SPOILT)


KEPT = "reward = 'owed' AND withdrawn_at IS NULL"
WITHDRAWAL = "INSERT INTO redeem.benefit_withdrawals (effect_id, issued_by, outcome, benefit_id)"
SPOILT = {
    "a gift that nobody asked for": (
        f"""
        UPDATE redeem.benefit_asks SET benefit_id = gen_random_uuid()
        WHERE benefit_id = (SELECT benefit_id FROM redeem.benefits WHERE {KEPT})
        """,
        {"benefits:requests", "benefits:answered"},
    ),
    "a gift that was taken back in silence": (
        f"UPDATE redeem.benefits SET withdrawn_at = issued_at WHERE {KEPT}",
        {"benefits:requests", "benefits:told", "benefits:liability"},
    ),
    "a withdrawal that took nothing": (
        "UPDATE redeem.benefits SET withdrawn_at = NULL WHERE reward = 'owed' AND withdrawn_at IS NOT NULL",
        {"benefits:requests", "benefits:told", "benefits:liability"},
    ),
    "a gift that costs more": (
        f"UPDATE redeem.benefits SET unit_cost_minor = 8 WHERE {KEPT}",
        {"benefits", "benefits:told", "benefits:liability"},
    ),
    "a refusal with another reason": (
        "UPDATE redeem.benefit_asks SET code = 'reward_sold_out' WHERE code = 'reward_unknown'",
        {"benefits:answered"},
    ),
    "a withdrawal that took nothing of a gift that stands": (
        f"{WITHDRAWAL} SELECT gen_random_uuid(), asked_by, 'nothing', benefit_id FROM redeem.benefits WHERE {KEPT}",
        {"benefits:requests"},
    ),
    "a withdrawal that came late, and names no gift": (
        f"{WITHDRAWAL} SELECT gen_random_uuid(), asked_by, 'nothing', NULL FROM redeem.benefits WHERE {KEPT}",
        {"benefits:requests"},
    ),
    "a withdrawal that came first, and left no mark": (
        "UPDATE redeem.benefit_asks SET withdrawn_first = false WHERE outcome IS NULL",
        {"benefits:requests"},
    ),
    "a gift that is refused as asked back, which nobody did": (
        "UPDATE redeem.benefit_asks SET code = 'benefit_withdrawn' WHERE code = 'reward_unknown'",
        {"benefits:requests"},
    ),
    "an answer that is gone": (
        "DELETE FROM redeem.benefit_withdrawals WHERE outcome = 'withdrawn'",
        {"benefits:answered", "benefits:requests"},
    ),
    "a stock that forgot a return": (
        "UPDATE redeem.benefits SET restocked = false WHERE restocked",
        {"rewards:stock", "benefits:told"},
    ),
}


async def test_what_is_asked_back_is_there_for_who_asks_after_it_in_one_batch_too(bank: Bank) -> None:
    await put(bank, "last", stock=1, restock=True)
    member = await bank.member()
    first, early, late, then = (asked(member, "last") for _ in range(4))
    await bank.hear(first)
    # One batch of the stream: nothing is left for who asks before it is given back, and it is there for who asks after.
    again, gone = back(first), back(late)
    await bank.hear(early, again, late, gone, then)
    assert await answers(bank, early, again, late, gone, then) == [
        ("refused", "reward_sold_out"), ("withdrawn", None), ("issued", None), ("withdrawn", None), ("issued", None),
    ]  # fmt: skip
    assert await stock(bank, "last") == 1
    ends = [
        [one["type"] for one in await bank.told((await benefit_of(bank, ask))["benefit_id"])]
        for ask in (late, then)
    ]
    assert ends == [["benefit.issued.v1", "benefit.withdrawn.v1"], ["benefit.issued.v1"]]

    # Asked back before it came, in one batch: refused, and nothing is taken of the stock.
    await put(bank, "none", stock=1, restock=True)
    ask = asked(member, "none")
    before = back(ask)
    await bank.hear(before, ask)
    assert await answers(bank, before, ask) == [("nothing", None), ("refused", "benefit_withdrawn")]
    assert await stock(bank, "none") == 0


async def test_a_gift_that_was_over_by_the_clock_when_it_was_asked_back_is_no_objection(
    bank: Bank, settings: Settings
) -> None:
    """Nothing is written off yet; and a process whose clock is behind lets it be used after that."""
    await put(bank, "short", valid_days=1)
    member = await bank.member()
    used, left = asked(member, "short"), asked(member, "short")
    await bank.hear(used, left)
    row = await benefit_of(bank, used)
    clock = bank.runtime.clock
    try:
        bank.runtime.clock = bank.runtime.writer.clock = lambda: row["expires_at"]
        backs = back(used), back(left)
        await bank.hear(*backs)
        assert await answers(bank, *backs) == [("nothing", None)] * 2
        bank.runtime.clock = bank.runtime.writer.clock = lambda: row["expires_at"] - timedelta(seconds=2)
        code = benefit_code(bank.runtime.tenant.identity_key, row["benefit_id"])
        assert (await use(bank, code)).json()["status"] == "consumed"
    finally:
        bank.runtime.clock = bank.runtime.writer.clock = clock
    earlier = (
        "UPDATE redeem.audit SET at = at - interval '1 second' WHERE action = 'benefit.answer'"
        f" AND object = 'benefit_ask/{backs[1].effect_id}'"
    )
    spoilt = {"an answer from before its end": (earlier, {"benefits:requests"})}
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"benefits", "benefits:requests"}), spoilt)
