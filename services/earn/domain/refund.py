"""What a refund takes back: pure, from the bill, what was decided about it, and the refunds before this one.

- Each line of the bill remembers how much of it was refunded. `lines` names amounts of lines (none: what is left of the
  line, which of one that came to nothing is nothing), `all` takes what is left of every line, an amount is spread over what
  is left of the lines in proportion: of the first k lines together the floor, so that no line is refunded more than it was,
  and the parts add up to the amount.
- An accrual was earned by some of the lines: those whose rule earned it, of one that is held for a review all that earned
  (where they came to nothing, all of them).
  After a refund, floor(points x refunded of these lines / what these lines came to) of it is to be taken back in all. So
  the whole takes back exactly what was earned, whatever the steps. A refund whose reversal was refused is not counted.
- The points that paid come back in the proportion of all that was refunded to the bill's total.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from services.earn.domain.decision import Decision, Judged
from services.earn.domain.versions import Versions, Wanted, active_at, judged_by, then, those
from shared.errors import CurrencyMismatch, Refusal
from shared.programme.compiled import CompiledProgramme, OnSpent

Status = Literal["waiting_for_bill", "queued", "pending", "completed", "refused"]
"""`queued`: another refund of the bill is in flight. Told as `pending`."""

WINDOW_CLOSED = "window_closed"


class RefundExceedsBill(Refusal):
    code = "refund_exceeds_bill"


class LineUnknown(Refusal):
    code = "line_unknown"


class MerchantMismatch(Refusal):
    code = "merchant_mismatch"


class RefundConflict(Refusal):
    code = "refund_conflict"


class RefundedLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """`amount_minor` None: what is left of the line."""

    line_id: str
    amount_minor: int | None = None


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is refunded; exactly one of the three."""

    lines: tuple[RefundedLine, ...] | None = None
    amount_minor: int | None = None
    all: bool = False


class RefundedBill(msgspec.Struct, frozen=True, kw_only=True):
    """What a refund needs to know of its bill. `amounts`: of each line, or the one total of a bill without lines."""

    bill_id: UUID
    merchant: str
    bill_ref: str
    occurred_at: datetime
    currency: str
    total_minor: int
    line_ids: tuple[str, ...]
    amounts: tuple[int, ...]
    decision: Decision
    sequence: int
    waits: bool


class Earned(msgspec.Struct, frozen=True):
    """An accrual of the bill. `lines`: the places of those that earned it; `of_minor`: what they came to."""

    accrual_id: UUID
    judged: Judged
    points: int
    lines: frozenset[int]
    of_minor: int

    def part_of(self, amounts: Sequence[int]) -> int:
        """How much of these amounts, by line, was on lines that earned it."""
        return sum(amount for place, amount in enumerate(amounts) if place in self.lines)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the bank is asked for a refund: `through_minor` of `of_minor` are refunded by now, `part_minor` by this one.
    A reversal names its accrual and how many points of it are to be taken back in all (`target`)."""

    request_id: UUID
    kind: Literal["reversal", "return"]
    decided_at: datetime
    part_minor: int
    through_minor: int
    of_minor: int
    accrual_id: UUID | None = None
    wallet_id: UUID | None = None
    programme: str | None = None
    point_value: str | None = None
    on_spent: OnSpent | None = None
    target: int | None = None
    currency: str | None = None
    """That of the programme, whatever the bill's."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the bank said to a request, by which event; to one that gives points back for each redemption that had paid. `late`:
    it was answered before, and these points came back since."""

    request_id: UUID
    event_id: UUID
    kind: Literal["reversed", "refused", "returned"]
    redemption_id: UUID | None = None
    parts: int = 1
    wallet_id: UUID | None = None
    programme: str | None = None
    reversed: int = 0
    hold_cancelled: int = 0
    owed: int = 0
    lapsed: int = 0
    shortfall: int = 0
    returned: int = 0
    money_minor: int = 0
    currency: str | None = None
    code: str | None = None
    detail: str | None = None
    late: bool = False


@dataclass(slots=True, eq=False)
class Refund:
    """A refund as it stands. `n` counts the refunds of its bill; None before the bill has come."""

    refund_id: UUID
    merchant: str
    refund_ref: str
    bill_ref: str
    occurred_at: datetime
    currency: str
    asked: Asked
    status: Status
    request_id: str
    traceparent: str | None = None
    entry: tuple[str | None, str | None, str | None] = (None, None, None)
    bill_id: UUID | None = None
    n: int | None = None
    amounts: tuple[int, ...] | None = None
    refunded_minor: int | None = None
    code: str | None = None
    detail: str | None = None
    sequence: int = 0
    requests: list[Request] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def closed(self) -> bool:
        return self.status in ("completed", "refused")

    @property
    def unanswered(self) -> list[Request]:
        """The requests that the bank has not answered, or only in part: of several redemptions each answers for itself."""
        heard: dict[UUID, set[UUID | None]] = {}
        parts: dict[UUID, int] = {}
        for answer in self.answers:
            if answer.late:
                continue
            heard.setdefault(answer.request_id, set()).add(answer.redemption_id)
            parts[answer.request_id] = answer.parts
        return [
            request
            for request in self.requests
            if len(heard.get(request.request_id, ())) < parts.get(request.request_id, 1)
        ]

    def refuse(self, code: str, detail: str) -> None:
        """It is recorded, and moves nothing."""
        self.status, self.code, self.detail = "refused", code, detail


def earned_of(bill: RefundedBill) -> list[Earned]:
    """The accruals of the bill that the bank was told of."""
    return [one for judged in bill.decision.programmes for one in _earned(bill, judged)]


def _earned(bill: RefundedBill, judged: Judged) -> Iterator[Earned]:
    timings = {rule: timing for rule, timing, *_ in judged.by_rule}
    for accrual in judged.accruals:
        timing = "hold" if accrual.kind == "earn_held" else "now"
        lines = frozenset(
            place
            for place, line in enumerate(judged.lines)
            if line[1] == "earned"
            and line[0] is not None
            and (judged.flagged or timings.get(line[0]) == timing)
        )
        of_minor = sum(bill.amounts[place] for place in lines)
        if not of_minor:
            lines, of_minor = frozenset(range(len(bill.amounts))), sum(bill.amounts)
        yield Earned(accrual.accrual_id, judged, accrual.points, lines, of_minor)


def allocate(asked: Asked, bill: RefundedBill, refunded: Sequence[int]) -> tuple[int, ...]:
    """How much of each line is refunded, where `refunded` of each was before; refuses refund_exceeds_bill, line_unknown."""
    left = [amount - before for amount, before in zip(bill.amounts, refunded, strict=True)]
    whole = sum(left)
    if asked.all:
        if not whole and bill.total_minor:
            raise RefundExceedsBill("All of this bill was refunded before.", pointer="/all")
        return tuple(left)
    if asked.amount_minor is not None:
        if asked.amount_minor > whole:
            said = f"{whole} of the bill is left to refund; {asked.amount_minor} were asked."
            raise RefundExceedsBill(said, pointer="/amount_minor")
        return spread(asked.amount_minor, left)
    assert asked.lines is not None
    amounts = [0] * len(left)
    for at, line in enumerate(asked.lines):
        if line.line_id not in bill.line_ids:
            raise LineUnknown(f"The bill has no line {line.line_id}.", pointer=f"/lines/{at}/line_id")
        place = bill.line_ids.index(line.line_id)
        amount = left[place] if line.amount_minor is None else line.amount_minor
        if amount > left[place] or (not amount and bill.amounts[place]):
            said = f"{left[place]} of line {line.line_id} is left to refund; {amount} were asked."
            raise RefundExceedsBill(said, pointer=f"/lines/{at}/amount_minor")
        amounts[place] = amount
    return tuple(amounts)


def spread(amount_minor: int, left: Sequence[int]) -> tuple[int, ...]:
    """The amount over what is left of the lines, in proportion; never more of a line than is left of it."""
    whole, before, reached = sum(left), 0, 0
    parts = []
    for one in left:
        reached += one
        through = amount_minor * reached // whole if whole else 0
        parts.append(through - before)
        before = through
    return tuple(parts)


def check(asked: Asked, bill: RefundedBill, refunded: Sequence[int], *, currency: str) -> tuple[int, ...]:
    """The amounts by line of a refund that is to be taken; refuses currency_mismatch, refund_exceeds_bill, line_unknown."""
    if currency != bill.currency:
        raise CurrencyMismatch(f"The bill is in {bill.currency}.", pointer="/currency")
    return allocate(asked, bill, refunded)


def open_programmes(
    bill: RefundedBill, versions: Mapping[str, Versions], refunded_at: datetime
) -> frozenset[str] | None:
    """The bill's programmes whose windows a refund at that time is within; None where not one is.

    A bill that earned in no programme follows those that count in its currency, or accept it.
    """
    asked = [(one.programme, judged_by(versions, one)) for one in bill.decision.programmes]
    if not asked:
        others = [(code, active_at(known, bill.occurred_at)) for code, known in versions.items()]
        asked = [(code, one) for code, one in others if bill.currency in {one.currency, *one.accepts}]
    found = {code for code, version in asked if is_open(version, bill.occurred_at, refunded_at)}
    return frozenset(found) if found or not asked else None


def versions_for(bills: Iterable[RefundedBill]) -> Wanted:
    """Those that decide about refunds of these bills."""
    every = list(bills)
    wanted = those([judged for bill in every for judged in bill.decision.programmes])
    at = then({bill.occurred_at for bill in every if not bill.decision.programmes})
    return lambda programme, versions: [*wanted(programme, versions), *at(programme, versions)]


def refunded_within(
    bill: RefundedBill, versions: Mapping[str, Versions], refunds: Iterable[Refund]
) -> dict[str, tuple[int, ...]]:
    """Of each programme whose window some of these refunds were within, how much of each line they came to. A refund that one
    programme's window was closed for takes nothing of what was given there, though another's was open."""
    found: dict[str, tuple[int, ...]] = {}
    for refund in refunds:
        if refund.amounts is None:
            continue
        for programme in open_programmes(bill, versions, refund.occurred_at) or ():
            before = found.get(programme, (0,) * len(refund.amounts))
            found[programme] = tuple([a + b for a, b in zip(before, refund.amounts, strict=True)])
    return found


def is_open(version: CompiledProgramme, occurred_at: datetime, refunded_at: datetime) -> bool:
    """Whether a refund at that time is within the window that this version of a programme gives a bill."""
    closes_at = version.refund_closes_at(occurred_at)
    return closes_at is None or refunded_at < closes_at


def requests_for(
    refund: Refund,
    bill: RefundedBill,
    before: Collection[Refund],
    *,
    within: Collection[str],
    versions: Mapping[str, Versions],
    now: datetime,
    new_id: Callable[[], UUID],
) -> list[Request]:
    """What the bank is asked for this refund. `before`: the bill's earlier refunds, all answered; `within`: the programmes
    whose windows are open."""
    assert refund.amounts is not None
    assert refund.refunded_minor is not None
    counted, given_back = _counted(before)
    made = []
    for one in earned_of(bill):
        part = one.part_of(refund.amounts) if one.of_minor else 1
        if one.judged.programme not in within or not part:
            continue
        of_minor = one.of_minor or 1
        through = min(counted.get(one.accrual_id, 0) + part, of_minor)
        made.append(
            Request(
                request_id=new_id(),
                kind="reversal",
                decided_at=now,
                accrual_id=one.accrual_id,
                wallet_id=one.judged.wallet_id,
                programme=one.judged.programme,
                point_value=one.judged.point_value,
                on_spent=judged_by(versions, one.judged).on_spent,
                part_minor=part,
                through_minor=through,
                of_minor=of_minor,
                target=one.points * through // of_minor,
                currency=one.judged.currency,
            )
        )
    if refund.refunded_minor:
        through = given_back + refund.refunded_minor
        made.append(
            Request(
                request_id=new_id(),
                kind="return",
                decided_at=now,
                part_minor=refund.refunded_minor,
                through_minor=through,
                of_minor=bill.total_minor,
            )
        )
    return made


def _counted(before: Iterable[Refund]) -> tuple[dict[UUID, int], int]:
    """By accrual how much was refunded of the lines that earned it, and how much was given back of what was paid."""
    counted: dict[UUID, int] = {}
    given_back = 0
    for refund in before:
        refused = {answer.request_id for answer in refund.answers if answer.kind == "refused"}
        for request in refund.requests:
            if request.accrual_id is None:
                given_back += request.part_minor
            elif request.request_id not in refused:
                counted[request.accrual_id] = counted.get(request.accrual_id, 0) + request.part_minor
    return counted, given_back


def conclude(refund: Refund) -> None:
    """All its requests are answered: it is completed, or refused where a reversal was."""
    refused = next((answer for answer in refund.answers if answer.kind == "refused"), None)
    if refused is None:
        refund.status = "completed"
    else:
        refund.refuse(
            refused.code or "points_spent", refused.detail or "Points that it takes back are spent."
        )
