"""What a bill waits for, whether it is taken, what it is worth, and the words for it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import pytest

from services.earn.domain.bill import RecordBill, read_bill
from services.earn.domain.decision import Decision, decode_decision, encode_decision
from services.earn.domain.judge import (
    Facts,
    Member,
    Standing,
    Wallet,
    admit,
    judge,
    waits_for,
)
from services.earn.domain.versions import Versions, active_at
from services.earn.domain.words import decimal, money, words
from shared.errors import Refusal
from shared.programme.compiled import compile_programme
from tests.support.programmes import SHOPS, document
from tests.unit.earn.test_bill import BILL

KEY = b"k" * 32
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MEMBER, WALLET = UUID(int=1), UUID(int=2)


def bill(**changes: Any) -> RecordBill:
    return read_bill(msgspec.json.encode({**BILL, **changes}), KEY)


def ids() -> Callable[[], UUID]:
    numbers = count(100)
    return lambda: UUID(int=next(numbers))


def versions(*documents: Any) -> Versions:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        (start + timedelta(days=100 * n), compile_programme(one, n + 1)) for n, one in enumerate(documents)
    ]


def facts(*wallets: Wallet, **more: Any) -> Facts:
    found = bill().identity
    assert found is not None
    known = Facts(
        merchants={"riyadh-mall"},
        terminals={("riyadh-mall", "T03")},
        members={found.hash: Member(MEMBER, True, wallets or (Wallet(WALLET, "shops", None),))},
        programmes={"shops": versions(SHOPS)},
    )
    return Facts(**{name: more.get(name, getattr(known, name)) for name in Facts.__slots__})


def refused(one: RecordBill, known: Facts) -> str:
    try:
        admit(one, known, NOW)
    except Refusal as refusal:
        return refusal.code
    return ""


def standing(tier: str, sequence: int, days: int) -> Standing:
    return Standing(
        tier, UUID(int=1000 + sequence), sequence, datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=days)
    )


# ---- waiting


def test_a_bill_whose_facts_are_known_waits_for_nothing() -> None:
    assert waits_for(bill(), facts()) == ()


def test_a_bill_waits_for_each_thing_that_is_not_known() -> None:
    nothing = facts(merchants=set(), terminals=set(), members={}, programmes={})
    one = bill(programmes=["shops"])
    assert one.identity is not None
    assert waits_for(one, nothing) == (
        ("merchant", "riyadh-mall"),
        ("terminal", "riyadh-mall/T03"),
        ("identity", one.identity.hash.hex()),
        ("programme", "*"),
        ("programme", "shops"),
    )


def test_a_member_who_has_only_a_card_is_waited_for() -> None:
    found = bill().identity
    assert found is not None
    known = facts(members={found.hash: Member(MEMBER, False, (Wallet(WALLET, "shops", None),))})
    assert waits_for(bill(), known) == (("member", str(MEMBER)),)


def test_a_wallets_programme_is_waited_for_unless_others_are_named() -> None:
    known = facts(Wallet(WALLET, "shops", None), Wallet(UUID(int=3), "later", None))
    assert waits_for(bill(), known) == (("programme", "later"),)
    assert waits_for(bill(programmes=["shops"]), known) == ()


# ---- taking


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (NOW + timedelta(minutes=5), ""),
        (NOW + timedelta(minutes=5, seconds=1), "occurred_in_future"),
        (NOW - timedelta(days=30), ""),
        (NOW - timedelta(days=30, seconds=1), "occurred_too_early"),
    ],
)
def test_a_bill_is_taken_within_its_window(at: datetime, code: str) -> None:
    assert refused(bill(occurred_at=at.isoformat()), facts()) == code


def test_an_unlimited_window_reaches_back_to_1970() -> None:
    unlimited = document(programme={**SHOPS["programme"], "backdating_days": "unlimited"})
    known = facts(programmes={"shops": versions(unlimited)})
    assert refused(bill(occurred_at="1970-01-01T00:00:00Z"), known) == ""


@pytest.mark.parametrize("at", ["1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_no_window_reaches_behind_the_calendars_of_machines(at: str) -> None:
    # In zones behind UTC the first day of the first year is no date at all.
    unlimited = document(programme={**SHOPS["programme"], "backdating_days": "unlimited"})
    for programmes in ({"shops": versions(unlimited)}, {}):
        assert refused(bill(occurred_at=at), facts(programmes=programmes)) == "occurred_too_early"


def test_a_currency_that_no_programme_concerned_counts_in_is_refused() -> None:
    assert refused(bill(currency="EUR"), facts()) == "currency_mismatch"
    assert refused(bill(currency="EUR", member=None), facts()) == "currency_mismatch"
    assert refused(bill(currency="EUR", programmes=["unknown"]), facts()) == ""
    assert refused(bill(currency="EUR"), facts(programmes={})) == ""


def test_one_programme_that_takes_the_bill_is_enough() -> None:
    euro = document(programme={**SHOPS["programme"], "code": "euro", "currency": "EUR"})
    known = facts(
        Wallet(WALLET, "shops", None),
        Wallet(UUID(int=3), "euro", None),
        programmes={"shops": versions(SHOPS), "euro": versions(euro)},
    )
    assert refused(bill(currency="EUR"), known) == ""
    decision = judge(bill(currency="EUR"), known, NOW, ids())
    assert [(one.programme, one.points) for one in decision.programmes] == [("euro", 90)]
    assert decision.passed_over == (("shops", "currency_mismatch"),)


# ---- judging


def test_the_contracts_example_earns_108_at_gold() -> None:
    decision = judge(bill(), facts(Wallet(WALLET, "shops", standing("gold", 7, 0))), NOW, ids())
    assert (decision.status, decision.member_id) == ("earned", MEMBER)
    [judged] = decision.programmes
    assert (judged.tier, judged.tier_sequence, judged.tier_event_id) == ("gold", 7, UUID(int=1007))
    assert (judged.points, judged.available, judged.held) == (108, 108, 0)
    assert judged.rules == ("service-fees", "everything")
    assert judged.lines == (("everything", "earned", 9000, None), ("service-fees", "skipped", 1500, None))
    [accrual] = judged.accruals
    assert (accrual.kind, accrual.points, accrual.expires_at) == (
        "earn",
        108,
        datetime(2027, 11, 30, 21, tzinfo=UTC),
    )


def test_a_decision_is_kept_and_read_without_loss() -> None:
    decision = judge(bill(), facts(Wallet(WALLET, "shops", standing("gold", 7, 0))), NOW, ids())
    assert decode_decision(encode_decision(decision)) == decision


def test_the_same_bill_and_facts_give_the_same_decision() -> None:
    assert judge(bill(), facts(), NOW, ids()) == judge(bill(), facts(), NOW, ids())


def test_held_and_available_points_are_two_accruals() -> None:
    rate = {"points": "1", "per_minor": 100}
    rules = [
        {"code": "later", "priority": 1, "match": {"categories": ["coffee"]}, "action": "earn", "timing": "hold", "rate": rate},
        {"code": "now", "match": {}, "action": "earn", "rate": rate},
    ]  # fmt: skip
    known = facts(programmes={"shops": versions(document(earning={"rules": rules}))})
    decision = judge(bill(), known, NOW, ids())
    assert decision.status == "mixed"
    [judged] = decision.programmes
    assert [(one.kind, one.points) for one in judged.accruals] == [("earn", 15), ("earn_held", 90)]
    only = judge(bill(lines=BILL["lines"][:1], total_minor=9000), known, NOW, ids())
    assert (only.status, only.programmes[0].held) == ("held", 90)


def test_no_points_are_no_accrual() -> None:
    decision = judge(bill(lines=[], total_minor=99), facts(), NOW, ids())
    assert (decision.status, decision.programmes[0].accruals) == ("nothing", ())
    assert judge(bill(programmes=["unknown"]), facts(), NOW, ids()).programmes == ()


def test_a_standing_that_has_ended_counts_no_more() -> None:
    gold = msgspec.structs.replace(standing("gold", 7, 0), until=bill().occurred_at)
    [judged] = judge(bill(), facts(Wallet(WALLET, "shops", gold)), NOW, ids()).programmes
    assert (judged.tier, judged.tier_event_id, judged.points) == ("blue", None, 90)
    later = msgspec.structs.replace(gold, until=bill().occurred_at + timedelta(microseconds=1))
    [judged] = judge(bill(), facts(Wallet(WALLET, "shops", later)), NOW, ids()).programmes
    assert (judged.tier, judged.points) == ("gold", 108)


def test_the_standing_of_the_bills_time_counts() -> None:
    wallet = Wallet(WALLET, "shops", standing("gold", 3, 20))
    history = {WALLET: [standing("silver", 1, 5), standing("blue", 2, 10), standing("gold", 3, 20)]}
    known = facts(wallet, history=history)

    def tier(day: int) -> tuple[str | None, int | None]:
        [judged] = judge(bill(occurred_at=f"2026-11-{day:02}T12:00:00Z"), known, NOW, ids()).programmes
        return judged.tier, judged.tier_sequence

    assert [tier(day) for day in (2, 7, 12, 22)] == [("blue", None), ("silver", 1), ("blue", 2), ("gold", 3)]


def test_the_version_of_the_bills_time_judges_it() -> None:
    known = versions(SHOPS, SHOPS, SHOPS)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    found = [active_at(known, start + timedelta(days=day)).version for day in (-1, 0, 99, 100, 500)]
    assert found == [1, 1, 1, 2, 3]


# ---- words


def said(decision: Decision) -> list[str]:
    return words(decision, line_ids=["1", "2"], total_minor=10500, currency="SAR")


def test_what_a_till_gave_beyond_is_told_in_the_currency_of_its_programme_not_of_the_bill() -> None:
    decision = judge(bill(), facts(Wallet(WALLET, "shops", standing("silver", 1, 0))), NOW, ids())
    decision = msgspec.structs.replace(
        decision, variances=(("shops", "tenth", 900, 800), ("elsewhere", "tenth", 5, 0))
    )
    assert words(decision, line_ids=["1", "2"], total_minor=10500, currency="JPY")[-2:] == [
        "The till gave 9.00 SAR for campaign tenth of shops; 8.00 SAR were granted.",
        "The till gave 5 minor units for campaign tenth of elsewhere; 0 minor units were granted.",
    ]


def test_a_decision_is_told_in_words() -> None:
    decision = judge(bill(), facts(Wallet(WALLET, "shops", standing("silver", 1, 0))), NOW, ids())
    assert said(decision) == [
        "The bill is over 105.00 SAR in 2 lines.",
        f"In shops, version 1, at tier silver, as told by event {UUID(int=1001)}:",
        "Line 1, 90.00 SAR: rule everything earns (not: service-fees).",
        "Line 2, 15.00 SAR: rule service-fees earns nothing.",
        "Rule everything: 90.00 SAR earn 90 points.",
        "Times 1.1 and rounded: 99 points, 99 available and 0 held.",
    ]


def test_what_did_not_earn_is_told_too() -> None:
    assert said(Decision(status="anonymous"))[1:] == ["It names no member, so it earns nothing."]
    assert said(Decision(status="waiting", waiting_for=(("merchant", "m"),)))[1:] == [
        "It waits for the merchant m, not known yet."
    ]
    unheard = Decision(status="waiting", waiting_for=(("identity", "ab" * 32), ("programme", "*")))
    assert words(unheard, line_ids=["1"], total_minor=1, currency="SAR", identity_kind="card_number")[1:] == [
        "It waits for a member with the card_number that it names, any programme, not known yet."
    ]
    assert said(Decision(status="nothing", member_id=MEMBER))[1:] == [
        "The member has no wallet in a programme that the bill is for."
    ]
    assert said(Decision(status="nothing", passed_over=(("euro", "currency_mismatch"),)))[1:] == [
        "It earns nothing in euro: it counts in another currency, and has no rate for this one."
    ]


def test_whole_steps_and_points_by_line_are_told() -> None:
    rate = {"points": "5", "per_minor": 1000, "whole_steps": True}
    earning = {
        "rounding": {"at": "line"},
        "rules": [{"code": "steps", "match": {}, "action": "earn", "rate": rate}],
    }
    known = facts(programmes={"shops": versions(document(earning=earning))})
    decision = judge(bill(), known, NOW, ids())
    assert said(decision)[2:] == [
        "Line 1, 90.00 SAR: rule steps earns, 45 points.",
        "Line 2, 15.00 SAR: rule steps earns, 5 points.",
        "Rule steps: 105.00 SAR, of which 100.00 SAR in whole steps earn 50 points.",
        "Times 1 and rounded: 50 points, 50 available and 0 held.",
    ]


def test_money_and_decimals_are_written_exactly() -> None:
    assert [money(1234, "SAR"), money(5, "KWD"), money(700, "JPY"), money(0, "EUR")] == [
        "12.34 SAR",
        "0.005 KWD",
        "700 JPY",
        "0.00 EUR",
    ]
    assert [decimal(Fraction(1, 8)), decimal(Fraction(90)), decimal(Fraction(1, 3))] == ["0.125", "90", "1/3"]
