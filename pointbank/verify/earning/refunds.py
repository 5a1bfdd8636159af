"""Refunds: computed again from their bills, line by line; what was asked of the bank, what it answered, what was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from pointbank.verify.books import Books, Follower
from pointbank.verify.earning.bills import told_entries
from pointbank.verify.earning.decisions import Decision, Judged, decode_decision, decode_lines
from pointbank.verify.earning.gifts import Gifts, taken_of
from pointbank.verify.events import (
    Asked,
    Envelope,
    RefundAnswer,
    Returned,
    ReversalRefused,
    Reversed,
    entries_of,
)
from pointbank.verify.programme.numbers import minor_per_point, money_of
from pointbank.verify.programme.terms import Terms
from pointbank.verify.report import Check

_encode = msgspec.json.Encoder().encode

_TOLD = (
    "place", "type", "status", "bill", "merchant", "refund_ref", "refunded_minor", "currency", "code", "detail", "entries",
    "reversals",
)  # fmt: skip
_ASKED = (
    "type", "refund", "bill", "accrual", "wallet", "programme", "point_value", "on_spent", "through", "of", "effective_at",
    "decided_at",
)  # fmt: skip
_ANSWERED = (
    "kind", "wallet", "programme", "reversed", "hold_cancelled", "owed", "lapsed", "shortfall", "returned", "money", "code", "late",
)  # fmt: skip


class _Line(msgspec.Struct, frozen=True):
    line_id: str
    amount_minor: int | None = None


class _Asked(msgspec.Struct, frozen=True):
    lines: tuple[_Line, ...] | None = None
    amount_minor: int | None = None
    all: bool = False


_decode_asked = msgspec.json.Decoder(_Asked).decode


@dataclass
class _Bill:
    """A bill on the way through its refunds."""

    bill_id: str
    occurred_at: datetime
    currency: str
    total_minor: int
    line_ids: tuple[str, ...]
    amounts: tuple[int, ...]
    decision: Decision
    refunded: list[int]
    counted: dict[str, int] = field(default_factory=dict)
    given_back: int = 0
    refunds: int = 0
    in_flight: bool = False
    begun: dict[str, list[int]] = field(default_factory=dict)
    """By programme, of each line what refunds came to that were within its window and began."""


class Refunds:
    """The refunds' side, and the side of what earn and the bank said of them."""

    def __init__(self, books: Books, gifts: Gifts) -> None:
        self._books, self._gifts = books, gifts
        self._told = books.match(
            "refunds:told", 5, "each refund is told at once, and once more when it is settled", _TOLD,
            ours="the refunds", theirs="the events",
        )  # fmt: skip
        self._asked = books.match(
            "refunds:asked", 5, "each request to the bank was told as often as it says, always the same", _ASKED,
            ours="the requests", theirs="the events",
        )  # fmt: skip
        self._answered = books.match(
            "refunds:answered", 1, "each answer of the bank that earn heard is kept, once", _ANSWERED,
            ours="the answers", theirs="the events",
        )  # fmt: skip

    # ---- the side of the tables

    async def walk(self) -> None:
        """Every refund of every bill, with its requests and answers."""
        books, snapshot = self._books, self._books.snapshot
        self._keys = books.check("refunds:keys", 1, "each refund has one key, with the hash of its content")
        self._made = books.check(
            "refunds:computed",
            8,
            "each refund, and what it asks, comes out again from its bill and the refunds before it",
        )
        requests = Follower(snapshot, "earning/refunds.sql", "requests")
        answers = Follower(snapshot, "earning/refunds.sql", "answers")
        bill: _Bill | None = None
        async for page in snapshot.pages("earning/refunds.sql", "refunds"):
            books.progress("refunds")
            last = page[-1]["place"]
            await requests.fill(last)
            await answers.fill(last)
            for refund in page:
                own, heard = requests.take(refund["place"]), answers.take(refund["place"])
                with books.reading("the key of refund", refund["id"]):
                    self._key(refund)
                if bill is None or bill.bill_id != refund["bill_id"]:
                    self._stamps(bill)
                    bill = self._bill(refund)
                if bill is not None:
                    with books.reading("refund", refund["id"]):
                        self._refund(bill, refund, own, heard)
                with books.reading("what was told of refund", refund["id"]):
                    self._tell(refund, own, heard)
        self._stamps(bill)
        async for orphan in requests.rest():
            self._made.wrong(f"request {orphan['request_id']} is of no refund that was taken")
        async for page in snapshot.pages("earning/refunds.sql", "untaken"):
            for refund in page:
                with books.reading("refund", refund["id"]):
                    self._untaken(refund)
        for saga in await snapshot.rows("earning/refunds.sql", "sagas"):
            self._made.wrong(
                f"bill {saga['bill_id']}: its saga counts {saga['sequence']} events and {saga['refunds']} refunds; "
                f"decided through {saga['decided_through']}, asked {saga['asks']} times for {saga['counted']}"
            )

    def _key(self, refund: Any) -> None:
        self._keys.compared += 1
        head = (
            refund["merchant"], refund["refund_ref"], refund["terminal"], refund["cashier"], refund["channel"],
            refund["occurred_at"], refund["merchant"], refund["bill_ref"], refund["currency"],
        )  # fmt: skip
        if not refund["has_key"]:
            self._keys.wrong(f"refund {refund['id']} has no key")
        elif sha256(_encode(head) + b"\n" + refund["asked"].encode()).digest() != refund["content_hash"]:
            self._keys.wrong(f"refund {refund['id']}: its content is not what its key was taken for")

    def _untaken(self, refund: Any) -> None:
        if refund["id"] is None:
            self._keys.wrong(f"key of refund {refund['key_refund_id']}, which is not there")
            return
        self._key(refund)
        self._made.compared += 1
        if refund["status"] not in ("waiting_for_bill", "refused"):
            self._made.wrong(f"refund {refund['id']} is {refund['status']} and was taken by no bill")
        self._tell(refund, [], [])

    def _bill(self, refund: Any) -> _Bill | None:
        if not refund["has_bill"] or refund["decision"] is None:
            self._made.wrong(f"refund {refund['id']} is of bill {refund['bill_id']}, which is not there")
            return None
        try:
            lines, decision = decode_lines(refund["lines"]), decode_decision(refund["decision"])
        except msgspec.MsgspecError as error:
            self._made.wrong(f"bill {refund['bill_id']} can't be read: {error}")
            return None
        amounts = tuple([line.amount_minor for line in lines]) or (refund["total_minor"],)
        return _Bill(
            refund["bill_id"],
            refund["bill_occurred_at"],
            refund["bill_currency"],
            refund["total_minor"],
            tuple([line.line_id for line in lines]),
            amounts,
            decision,
            [0] * len(amounts),
        )

    def _stamps(self, bill: _Bill | None) -> None:
        """What all refunds of a bill took of its stamps."""
        if bill is None or not bill.begun:
            return
        whole = {code for code, amounts in bill.begun.items() if sum(amounts) == bill.total_minor}
        self._gifts.taken(
            bill.bill_id,
            taken_of(bill.decision, bill.amounts, bill.begun),
            whole={judged.wallet_id for judged in bill.decision.programmes if judged.programme in whole},
        )

    def _refund(self, bill: _Bill, refund: Any, requests: Sequence[Any], answers: Sequence[Any]) -> None:
        check, name = self._made, f"refund {refund['id']}"
        check.compared += 1
        bill.refunds += 1
        if refund["n"] != bill.refunds:
            check.wrong(f"{name} is number {refund['n']} of its bill, counted {bill.refunds}")
        if (refund["merchant"], refund["bill_ref"]) != (refund["bill_merchant"], refund["own_bill_ref"]):
            check.wrong(f"{name} is of {refund['merchant']} {refund['bill_ref']}, its bill is another's")
        if refund["currency"] != bill.currency:
            check.wrong(f"{name} in {refund['currency']} of a bill in {bill.currency}")
        amounts = _amounts(_decode_asked(refund["asked"]), bill)
        if amounts is None or list(amounts) != refund["amounts"] or sum(amounts) != refund["refunded_minor"]:
            check.wrong(f"{name} refunds {refund['amounts']}, computed {amounts}")
            fits = len(refund["amounts"]) == len(bill.amounts)
            amounts = tuple(refund["amounts"]) if fits else (0,) * len(bill.amounts)
        for place, amount in enumerate(amounts):
            bill.refunded[place] += amount
            if bill.refunded[place] > bill.amounts[place]:
                check.wrong(f"{name}: more of line {place + 1} was refunded than it came to")
        within = self._open(bill, refund)
        if refund["status"] == "queued" or within is None:
            wanted: list[tuple[Any, ...]] = []
            if (
                within is None
                and (refund["status"], refund["code"]) != ("refused", "window_closed")
                and (refund["status"] != "queued")
            ):
                check.wrong(f"{name} is {refund['status']} outside of its window")
            if refund["status"] == "queued" and not bill.in_flight:
                check.wrong(f"{name} waits for another one of its bill, and none is in flight")
        else:
            wanted = sorted(_wanted(bill, refund, amounts, within, self._books.terms), key=str)
            for code in within:
                before = bill.begun.get(code, [0] * len(amounts))
                bill.begun[code] = [a + b for a, b in zip(before, amounts, strict=True)]
        found = sorted([_request(one) for one in requests], key=str)
        if found != wanted:
            check.wrong(f"{name} asked {found}, computed {wanted}")
        self._status(check, bill, refund, requests, answers)
        refused = {answer["request_id"] for answer in answers if answer["kind"] == "refused"}
        for one in requests:
            if one["kind"] == "return":
                bill.given_back += one["part_minor"]
            elif one["request_id"] not in refused:
                bill.counted[one["accrual_id"]] = bill.counted.get(one["accrual_id"], 0) + one["part_minor"]

    def _open(self, bill: _Bill, refund: Any) -> frozenset[str] | None:
        earned = [
            (one.programme, self._books.terms.get((one.programme, one.version)))
            for one in bill.decision.programmes
        ]
        if not earned and refund["code"] == "window_closed":
            return None  # it followed the programmes that earn knew then; more may have come since
        if not earned:
            codes = {code for code, _ in self._books.terms}
            active = [(code, _active(self._books.versions_of(code), bill.occurred_at)) for code in codes]
            earned = [
                (code, terms)
                for code, terms in active
                if bill.currency in {terms.currency, *terms.currencies}
            ]
        found = frozenset(
            code
            for code, terms in earned
            if terms is not None and terms.refunds_until(bill.occurred_at, refund["occurred_at"])
        )
        return found if found or not earned else None

    def _status(
        self, check: Check, bill: _Bill, refund: Any, requests: Sequence[Any], answers: Sequence[Any]
    ) -> None:
        if bill.in_flight and refund["status"] != "queued":
            check.wrong(f"refund {refund['id']} is {refund['status']} while one before it is in flight")
        answers = [answer for answer in answers if not answer["late"]]
        parts = {answer["request_id"]: answer["parts"] for answer in answers}
        heard = {(answer["request_id"], answer["redemption_id"]) for answer in answers}
        counted = Counter(request_id for request_id, _ in heard)
        left = [
            one["request_id"]
            for one in requests
            if counted[one["request_id"]] < parts.get(one["request_id"], 1)
        ]
        refused = [answer for answer in answers if answer["kind"] == "refused"]
        if refund["status"] == "pending":
            bill.in_flight = True
            if not left:
                check.wrong(f"refund {refund['id']} is pending, and all is answered")
        elif refund["status"] != "queued":
            if left:
                check.wrong(
                    f"refund {refund['id']} is {refund['status']}, and request {left[0]} is not answered"
                )
            closed = refund["code"] == "window_closed"
            if (refund["status"] == "refused") != (bool(refused) or closed):
                check.wrong(
                    f"refund {refund['id']} is {refund['status']}, with {len(refused)} reversals refused"
                )

    def _tell(self, refund: Any, requests: Sequence[Any], answers: Sequence[Any]) -> None:
        """Adds what this refund must have said, and the requests and answers that are kept of it."""
        base = (refund["merchant"], refund["refund_ref"])
        entry = (refund["stream_id"], refund["source"], refund["event_id"])
        final = _reversals(refund, requests, answers)
        settled = refund["settled_event_id"] is not None
        early = refund["told_status"] in ("pending", "waiting_for_bill")
        waits = refund["told_status"] == "waiting_for_bill"
        if settled and not early:
            self._made.wrong(f"refund {refund['id']} was {refund['told_status']} at once, and settled again")
        closed = refund["status"] in ("completed", "refused")
        if closed != (settled or not early) or refund["sequence"] != 1 + settled:
            self._made.wrong(f"refund {refund['id']} is {refund['status']}, told {refund['sequence']} times")
        self._told.ours(
            (
                refund["recorded_event_id"], 1, "refund.recorded.v1", refund["told_status"],
                None if waits else refund["bill_id"], *base, None if waits else refund["refunded_minor"], refund["currency"],
                *((None, None) if early else (refund["code"], refund["detail"])), (entry,), () if early else final,
            )
        )  # fmt: skip
        if settled:
            self._told.ours(
                (
                    refund["settled_event_id"], 2, "refund.settled.v1", refund["status"], refund["bill_id"], *base,
                    refund["refunded_minor"], refund["currency"], refund["code"], refund["detail"],
                    told_entries(entry, refund["listeners"], refund["told"]), final,
                )
            )  # fmt: skip
        for one in requests:
            through = one["through_minor"] if one["kind"] == "return" else one["target"]
            of = one["of_minor"] if one["kind"] == "return" else None
            for place in one["asks"] or (0,):
                self._asked.ours(
                    (
                        (one["request_id"], place), f"points.{one['kind']}_requested.v1", one["refund_id"], one["bill_id"],
                        one["accrual_id"], one["wallet_id"], one["programme"], one["point_value"], one["on_spent"], through, of,
                        one["effective_at"], one["decided_at"],
                    )
                )  # fmt: skip
        for answer in answers:
            self._answered.ours(
                (
                    answer["event_id"], answer["kind"], answer["wallet_id"], answer["programme"], answer["reversed"],
                    answer["hold_cancelled"], answer["owed"], answer["lapsed"], answer["shortfall"], answer["returned"],
                    answer["money_minor"], answer["code"], answer["late"],
                )
            )  # fmt: skip

    # ---- the side of the events

    def on_refund(self, n: int | None, envelope: Envelope, told: RefundAnswer) -> None:
        """refund.recorded and refund.settled."""
        self._told.theirs(
            (
                envelope.id, int(envelope.sequence), envelope.type, told.status, told.bill_id, told.merchant, told.refund_ref,
                told.refunded_minor, told.currency, told.code, told.detail, entries_of(told),
                tuple(sorted(one.row() for one in told.reversals)),
            )
        )  # fmt: skip

    def on_asked(self, n: int | None, envelope: Envelope, asked: Asked) -> None:
        """points.reversal_requested and points.return_requested, of refunds."""
        if asked.refund_id is None:
            return
        through, of = (
            (asked.returned_minor, asked.total_minor)
            if asked.returned_minor is not None
            else (asked.reverse_through, None)
        )
        self._asked.theirs(
            (
                (asked.request_id, int(envelope.sequence)), envelope.type, asked.refund_id, asked.bill_id, asked.accrual_id or None,
                asked.wallet_id, asked.programme, asked.point_value, asked.on_spent, through, of, asked.effective_at,
                asked.decided_at,
            )
        )  # fmt: skip

    def on_reversed(self, n: int | None, envelope: Envelope, told: Reversed) -> None:
        """points.reversed, of a refund."""
        if told.refund_id is not None:
            sums = (told.reversed, told.hold_cancelled, told.owed, told.lapsed, told.shortfall)
            parts = tuple(0 if one is None else one.points for one in sums)
            self._heard(
                n, envelope, "reversed", told.wallet_id, told.programme, *parts, 0, 0, None, told.late
            )

    def on_refused(self, n: int | None, envelope: Envelope, told: ReversalRefused) -> None:
        """points.reversal_refused, of a refund."""
        if told.refund_id is not None:
            parts = (0, 0, 0, 0, told.shortfall.points)
            self._heard(
                n, envelope, "refused", told.wallet_id, told.programme, *parts, 0, 0, told.code, False
            )

    def on_returned(self, n: int | None, envelope: Envelope, told: Returned) -> None:
        """points.returned, as a refund asked."""
        if told.refund_id is not None:
            returned = (
                (0, 0) if told.returned is None else (told.returned.points, told.returned.money.amount_minor)
            )
            self._heard(
                n,
                envelope,
                "returned",
                told.wallet_id,
                told.programme,
                0,
                0,
                0,
                0,
                0,
                *returned,
                None,
                told.late,
            )

    def _heard(self, n: int | None, envelope: Envelope, *row: Any) -> None:
        if self._books.heard["redeem", "earn"].applied(n):
            self._answered.theirs((envelope.id, *row))


def _active(versions: Sequence[Terms], at: datetime) -> Terms:
    found = sorted(versions, key=lambda terms: (terms.activated_at, terms.version))
    return next((terms for terms in reversed(found) if terms.activated_at <= at), found[0])


def _amounts(asked: _Asked, bill: _Bill) -> tuple[int, ...] | None:
    """What a refund takes of each line; None where the bill does not have it."""
    left = [amount - before for amount, before in zip(bill.amounts, bill.refunded, strict=True)]
    if asked.all:
        return tuple(left)
    if asked.amount_minor is not None:
        whole = sum(left)
        if not 0 < asked.amount_minor <= whole:
            return None
        ends = [asked.amount_minor * sum(left[: k + 1]) // whole for k in range(len(left))]
        return tuple(end - begin for begin, end in zip([0, *ends], ends, strict=False))
    found = [0] * len(left)
    for line in asked.lines or ():
        if line.line_id not in bill.line_ids:
            return None
        place = bill.line_ids.index(line.line_id)
        found[place] = left[place] if line.amount_minor is None else line.amount_minor
    return tuple(found)


def _wanted(
    bill: _Bill,
    refund: Any,
    amounts: Sequence[int],
    within: frozenset[str],
    terms: dict[tuple[str, int], Terms],
) -> Iterator[tuple[Any, ...]]:
    """What this refund has to ask: (kind, accrual, wallet, programme, point_value, on_spent, part, through, of, target,
    currency of the programme)."""
    for judged in bill.decision.programmes:
        version = terms.get((judged.programme, judged.version))
        if judged.programme not in within or version is None:
            continue
        for accrual in judged.accruals:
            places = _places(judged, accrual.kind, bill)
            of = sum(bill.amounts[place] for place in places)
            part = sum(amounts[place] for place in places) if of else 1
            if not part:
                continue
            through = min(bill.counted.get(accrual.accrual_id, 0) + part, of or 1)
            yield (
                "reversal", accrual.accrual_id, judged.wallet_id, judged.programme, judged.point_value, version.on_spent, part,
                through, of or 1, accrual.points * through // (of or 1), judged.currency,
            )  # fmt: skip
    if refund["refunded_minor"]:
        part = refund["refunded_minor"]
        yield (
            "return",
            None,
            None,
            None,
            None,
            None,
            part,
            bill.given_back + part,
            bill.total_minor,
            None,
            None,
        )


def _places(judged: Judged, kind: str, bill: _Bill) -> list[int]:
    """The lines that earned an accrual: those of rules with its timing, or of any under review; all, where they came to
    nothing."""
    rules = {
        rule
        for rule, timing, *_ in judged.by_rule
        if judged.flagged or (timing == "hold") == (kind == "earn_held")
    }
    found = [k for k, line in enumerate(judged.lines) if line[1] == "earned" and line[0] in rules]
    return found if sum(bill.amounts[k] for k in found) else list(range(len(bill.amounts)))


def _request(one: Any) -> tuple[Any, ...]:
    return (
        one["kind"], one["accrual_id"], one["wallet_id"], one["programme"], one["point_value"], one["on_spent"],
        one["part_minor"], one["through_minor"], one["of_minor"], one["target"],
        one["currency"] if one["kind"] == "reversal" else None,
    )  # fmt: skip


def _reversals(refund: Any, requests: Sequence[Any], answers: Sequence[Any]) -> tuple[tuple[Any, ...], ...]:
    """By wallet what was moved when it was settled: (programme, wallet, points and money of each of reversed .. owed)."""
    if refund["status"] not in ("completed", "refused"):
        return ()
    worths = {one["request_id"]: (one["point_value"], one["currency"]) for one in requests}
    sums: dict[str, list[Any]] = {}
    values: dict[str, tuple[str, str]] = {}
    for answer in answers:
        wallet = answer["wallet_id"]
        if wallet is None or answer["late"]:
            continue
        row = sums.setdefault(wallet, [answer["programme"], *(0,) * 7])
        if answer["kind"] == "returned":
            row[6] += answer["returned"]
            row[7] += answer["money_minor"]
            continue
        values[wallet] = worths[answer["request_id"]]
        for place, name in enumerate(("reversed", "hold_cancelled", "shortfall", "owed", "lapsed"), start=1):
            row[place] += answer[name]
    told = []
    for wallet, (programme, reversed_, cancelled, shortfall, owed, lapsed, returned, money) in sums.items():

        def priced(points: int, wallet: str = wallet) -> tuple[int, int]:
            if wallet not in values:
                return points, 0
            return points, money_of(points, minor_per_point(*values[wallet]))

        told.append(
            (
                programme,
                wallet,
                *priced(reversed_),
                *priced(cancelled),
                returned,
                money,
                *priced(shortfall),
                *priced(owed),
                *priced(lapsed),
            )
        )
    return tuple(sorted(told))
