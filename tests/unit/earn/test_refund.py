"""How much a refund takes back: the vectors, the windows, and the law that the whole takes back all and never more."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earn.domain.bill import read_bill
from services.earn.domain.judge import Facts, Member, Wallet, judge
from services.earn.domain.refund import (
    Answer,
    Asked,
    Refund,
    RefundedBill,
    RefundedLine,
    allocate,
    check,
    conclude,
    open_programmes,
    requests_for,
    spread,
)
from services.earn.domain.refund_answer import reversals_of
from services.earn.domain.refund_body import read_refund
from shared.errors import Refusal
from shared.programme.compiled import compile_programme
from tests.support.programmes import SHOPS, document, earning, rule
from tests.unit.earn.test_bill import BILL

KEY = b"k" * 32
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SALE_AT = datetime(2026, 11, 22, 8, 31, 4, tzinfo=UTC)
_ids = count(1000)


def new_id() -> UUID:
    return UUID(int=next(_ids))


def bill(*amounts: int, programme: Any = SHOPS, categories: Sequence[str] = ()) -> RefundedBill:
    """A bill whose lines come to these amounts, judged by the programme."""
    lines: list[dict[str, Any]] = [
        {"line_id": str(n), "amount_minor": amount, "categories": [category] if category else []}
        for n, (amount, category) in enumerate(
            zip(amounts, [*categories, *[""] * len(amounts)], strict=False), start=1
        )
    ]
    read = read_bill(msgspec.json.encode({**BILL, "total_minor": sum(amounts), "lines": lines}), KEY)
    assert read.identity is not None
    facts = Facts(
        merchants={"riyadh-mall"},
        terminals={("riyadh-mall", "T03")},
        members={read.identity.hash: Member(UUID(int=1), True, (Wallet(UUID(int=2), "shops", None),))},
        programmes={"shops": [(SALE_AT - timedelta(days=90), compile_programme(programme, 1))]},
    )
    return RefundedBill(
        bill_id=UUID(int=3),
        merchant=read.merchant,
        bill_ref=read.bill_ref,
        occurred_at=read.occurred_at,
        currency=read.currency,
        total_minor=read.total_minor,
        line_ids=tuple(line.line_id for line in read.lines),
        amounts=tuple(line.amount_minor for line in read.lines),
        decision=judge(read, facts, NOW, new_id),
        sequence=2,
        waits=False,
    )


class Till:
    """Refunds a bill step by step; the bank takes what it is asked for, unless it has to refuse."""

    def __init__(self, of: RefundedBill, programme: Any = SHOPS) -> None:
        self.bill, self.refunds = of, list[Refund]()
        self.versions = {"shops": [(SALE_AT - timedelta(days=90), compile_programme(programme, 1))]}
        self.taken: dict[UUID, int] = {}
        self.given_back = 0

    def refund(self, asked: Asked, *, refused: bool = False) -> int:
        """How many points it takes back."""
        before = [refund.amounts for refund in self.refunds if refund.amounts]
        columns = [sum(column) for column in zip(*before, strict=True)] or [0] * len(self.bill.amounts)
        one = Refund(new_id(), "riyadh-mall", "r", "b", NOW, "SAR", asked, "pending", "q")
        one.amounts = check(asked, self.bill, columns, currency="SAR")
        one.refunded_minor = sum(one.amounts)
        one.requests = requests_for(
            one, self.bill, self.refunds, within={"shops"}, versions=self.versions, now=NOW, new_id=new_id
        )
        self.refunds.append(one)
        taken = 0
        for request in one.requests:
            if request.accrual_id is None:
                self.given_back = request.through_minor
                one.answers.append(Answer(request_id=request.request_id, event_id=new_id(), kind="returned"))
                continue
            assert request.target is not None
            had = self.taken.get(request.accrual_id, 0)
            if refused:
                one.answers.append(
                    Answer(
                        request_id=request.request_id,
                        event_id=new_id(),
                        kind="refused",
                        code="points_spent",
                        detail="Spent.",
                    )
                )
                continue
            assert request.target >= had
            self.taken[request.accrual_id] = request.target
            taken += request.target - had
            one.answers.append(
                Answer(
                    request_id=request.request_id,
                    event_id=new_id(),
                    kind="reversed",
                    reversed=request.target - had,
                )
            )
        conclude(one)
        return taken


def amount(minor: int) -> Asked:
    return Asked(amount_minor=minor)


def lines(**amounts: int | None) -> Asked:
    return Asked(lines=tuple(RefundedLine(name[1:], minor) for name, minor in amounts.items()))


FIVE_A_DOLLAR = document(earning=earning(rule(points="5", per_minor=100)))


def test_vector_e1_parts_of_an_amount_take_back_their_share() -> None:
    till = Till(bill(10_000, programme=FIVE_A_DOLLAR), FIVE_A_DOLLAR)
    assert (till.refund(amount(2_000)), till.refund(amount(3_000))) == (100, 150)


def test_vector_e3_a_quarter_of_the_points_is_kept_with_a_quarter_of_the_bill() -> None:
    till = Till(bill(10_000))
    assert 100 - till.refund(amount(7_500)) == 25


def test_vector_e5_one_of_two_lines_then_the_other_leaves_nothing() -> None:
    till = Till(bill(1_000, 1_000))
    assert (till.refund(lines(l1=None)), till.refund(lines(l2=1_000))) == (10, 10)


def test_vector_e6_lines_take_back_what_they_earned() -> None:
    till = Till(bill(4_000, 6_000, 2_000))
    assert (till.refund(lines(l2=6_000)), till.refund(lines(l3=2_000))) == (60, 20)


def test_vector_e7_what_was_taken_back_is_not_taken_twice() -> None:
    till = Till(bill(15_000))
    assert till.refund(Asked(all=True)) == 150
    with pytest.raises(Refusal, match="refund_exceeds_bill"):
        till.refund(Asked(all=True))


def test_a_line_that_earned_nothing_takes_nothing_back() -> None:
    till = Till(bill(9_000, 1_500, categories=["coffee", "service-fee"]))
    assert till.refund(lines(l2=1_500)) == 0
    assert till.refund(lines(l1=4_500)) == 45


def test_a_line_that_came_to_nothing_goes_with_the_others_and_alone_takes_nothing_back() -> None:
    till = Till(bill(9_000, 0, 1_000))
    assert till.refund(lines(l2=None)) == 0
    assert till.refunds[-1].requests == []
    assert till.refund(lines(l1=None, l2=None)) == 90
    assert till.refunds[-1].amounts == (9_000, 0, 0)
    with pytest.raises(Refusal, match="refund_exceeds_bill"):
        till.refund(lines(l1=None, l2=None))
    assert till.refund(lines(l2=None, l3=None)) == 10


def test_a_refund_whose_reversal_was_refused_is_not_counted_and_its_money_is() -> None:
    till = Till(bill(10_000))
    assert till.refund(amount(4_000), refused=True) == 0
    assert (till.refunds[0].status, till.refunds[0].code) == ("refused", "points_spent")
    with pytest.raises(Refusal, match="refund_exceeds_bill"):
        till.refund(amount(6_001))
    assert till.refund(amount(6_000)) == 60  # the 40 of the refused one stay with the member
    assert till.given_back == 10_000  # what had paid comes back whatever became of what was earned


HELD = document(
    earning=earning(
        rule("phones", category="phone", timing="hold", priority=5), rule("everything", points="0.37")
    )
)

AMOUNTS = st.lists(st.integers(0, 20_000), min_size=1, max_size=5).filter(any)


@given(amounts=AMOUNTS, data=st.data(), held=st.booleans())
def test_any_sequence_of_partial_refunds_that_adds_up_to_the_whole_takes_back_all_and_never_more(
    amounts: list[int], data: st.DataObject, held: bool
) -> None:
    programme = HELD if held else document(earning=earning(rule(points="1.7", per_minor=97)))
    of = bill(*amounts, programme=programme, categories=["phone"] if held else ())
    till = Till(of, programme)
    earned = {one.accrual_id: one.points for judged in of.decision.programmes for one in judged.accruals}
    left = list(amounts)
    while sum(left):
        if data.draw(st.booleans(), label="by line"):
            place = data.draw(st.sampled_from([n for n, one in enumerate(left) if one]), label="line")
            minor = data.draw(st.integers(1, left[place]), label="of the line")
            asked = Asked(lines=(RefundedLine(str(place + 1), minor),))
        else:
            asked = amount(data.draw(st.integers(max(sum(left) // 4, 1), sum(left)), label="amount"))
        till.refund(asked)
        last = till.refunds[-1].amounts
        assert last is not None
        left = [one - part for one, part in zip(left, last, strict=True)]
        assert min(left) >= 0
        assert all(points <= earned[accrual] for accrual, points in till.taken.items())
    assert {accrual: points for accrual, points in till.taken.items() if points} == earned
    assert till.given_back == sum(amounts)


@given(st.lists(st.integers(0, 10**12), max_size=8), st.data())
def test_an_amount_is_spread_whole_and_within_the_lines(left: list[int], data: st.DataObject) -> None:
    minor = data.draw(st.integers(0, sum(left)))
    parts = spread(minor, left)
    assert sum(parts) == minor
    assert all(0 <= part <= one for part, one in zip(parts, left, strict=True))


def test_a_bill_without_lines_counts_as_one_and_one_over_nothing_can_be_refunded_whole() -> None:
    whole = msgspec.structs.replace(bill(5_000), line_ids=())
    assert allocate(amount(1_200), whole, (0,)) == (1_200,)
    free = msgspec.structs.replace(bill(5_000), total_minor=0, amounts=(0,))
    assert allocate(Asked(all=True), free, (0,)) == (0,)


@pytest.mark.parametrize(
    ("asked", "code", "pointer"),
    [
        (amount(10_001), "refund_exceeds_bill", "/amount_minor"),
        (lines(l1=10_001), "refund_exceeds_bill", "/lines/0/amount_minor"),
        (lines(l1=1, l9=1), "line_unknown", "/lines/1/line_id"),
    ],
)
def test_what_the_bill_does_not_have_is_refused(asked: Asked, code: str, pointer: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(asked, bill(10_000), (0,), currency="SAR")
    assert (refused.value.code, refused.value.errors[0].pointer) == (code, pointer)


def test_another_currency_is_refused() -> None:
    with pytest.raises(Refusal, match="currency_mismatch"):
        check(amount(1), bill(10_000), (0,), currency="KWD")


def test_the_window_is_open_to_the_end_of_its_last_day_in_the_programmes_zone() -> None:
    programme = document(earning={**SHOPS["earning"], "refund_window_days": 1})
    versions = {"shops": [(SALE_AT - timedelta(days=90), compile_programme(programme, 1))]}
    of = bill(10_000, programme=programme)
    last = datetime(2026, 11, 23, 20, 59, 59, tzinfo=UTC)  # 23:59:59 in Riyadh, the day after
    assert open_programmes(of, versions, last) == frozenset({"shops"})
    assert open_programmes(of, versions, last + timedelta(seconds=1)) is None
    anonymous = msgspec.structs.replace(of, decision=msgspec.structs.replace(of.decision, programmes=()))
    assert open_programmes(anonymous, versions, last + timedelta(seconds=1)) is None


def test_the_answer_sums_what_was_moved_by_wallet() -> None:
    till = Till(bill(9_000, 10_000, programme=HELD, categories=["phone"]), HELD)
    till.refund(Asked(all=True))
    [told] = reversals_of(till.refunds[0])
    assert (told.wallet_id, told.reversed.points, told.reversed.money.amount_minor) == (
        UUID(int=2),
        127,
        1270,
    )


def test_what_comes_back_late_is_shown_and_is_no_part_of_what_was_told() -> None:
    till = Till(bill(9_000))
    till.refund(Asked(all=True))
    one = till.refunds[0]
    reversal = next(request for request in one.requests if request.accrual_id is not None)
    one.answers = [answer for answer in one.answers if answer.request_id != reversal.request_id]
    assert one.unanswered == [reversal]
    late = Answer(request_id=reversal.request_id, event_id=new_id(), kind="reversed", reversed=20, late=True)
    one.answers.append(late)
    assert one.unanswered == [reversal], "a late answer answers nothing"
    one.answers.append(msgspec.structs.replace(late, reversed=30, shortfall=60, late=False))
    [shown], [told] = reversals_of(one), reversals_of(one, late=False)
    assert (shown.reversed.points, shown.shortfall.points) == (50, 40)
    assert (told.reversed.points, told.shortfall.points) == (30, 60)


REFUND: dict[str, Any] = {
    "bill": {"merchant": "riyadh-mall", "bill_ref": "RM-T03-20261122-00841"},
    "refund_ref": "RM-T01-20261123-00007",
    "occurred_at": "2026-11-23T12:00:00+03:00",
    "merchant": "riyadh-mall",
    "terminal": "T01",
    "cashier": "c090",
    "channel": "store",
    "currency": "SAR",
    "lines": [{"line_id": "1", "amount_minor": 4500}],
}


def test_the_contracts_refund_is_read() -> None:
    read = read_refund(msgspec.json.encode(REFUND))
    assert read.asked == lines(l1=4500)
    assert read.occurred_at == datetime(2026, 11, 23, 9, tzinfo=UTC)
    same = read_refund(msgspec.json.encode({**REFUND, "occurred_at": "2026-11-23T09:00:00Z", "all": None}))
    reference = ("riyadh-mall", "RM-T03-20261122-00841")
    assert same.content_hash(*reference) == read.content_hash(*reference)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"all": True}, "field_unknown"),
        ({"lines": None}, "field_missing"),
        ({"lines": []}, "field_type"),
        ({"lines": [{"line_id": "1", "amount_minor": 0}]}, "amount_out_of_range"),
        ({"bill": None}, "field_missing"),
        ({"reason": "broken"}, "field_unknown"),
        ({"occurred_at": "yesterday"}, "field_type"),
    ],
)
def test_a_refund_of_another_shape_is_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_refund(msgspec.json.encode({**REFUND, **changes}))
    assert refused.value.code == code
