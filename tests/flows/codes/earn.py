"""What earn refuses: bills, refunds, acts, settlements, reviews."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from shared.ids import uuid7
from tests.flows.codes.asking import (
    CARD,
    LONG_AGO,
    SOON,
)
from tests.support.desk import Ask, Desk, altered

SIMPLE: dict[str, Callable[[Desk], Ask]] = {
    "amount_out_of_range": lambda desk: desk.post(total_minor=10**13),
    "total_mismatch": lambda desk: desk.post(kept_by="earn", total_minor=10_400),
    "currency_mismatch": lambda desk: desk.post(kept_by="earn", currency="EUR"),
    "occurred_in_future": lambda desk: desk.post(kept_by="earn", occurred_at=SOON),
    "occurred_too_early": lambda desk: desk.post(kept_by="earn", occurred_at=LONG_AGO),
    "card_check_digit": lambda desk: desk.post(member={"card_number": "6270158304941179"}),
    "identity_ambiguous": lambda desk: desk.post(member={"email": "a@b.example", "mobile": "+966501234567"}),
    "identity_malformed": lambda desk: desk.post(member={"mobile": "0501234567"}),
    "payment_card_number": lambda desk: desk.post(cashier=CARD),
    "act_unknown": lambda desk: Ask(
        "POST",
        "/v1/acts",
        {
            "act": "survey",
            "act_ref": "s-1",
            "occurred_at": desk.bill()["occurred_at"],
            "member": desk.bill()["member"],
        },
        kept_by="earn",
    ),
}


async def bill_conflict(desk: Desk) -> None:
    first = desk.post()
    assert (await desk.call(first)).status_code == 201
    await desk.town.settled()
    await desk.refused(
        desk.post(kept_by="earn", bill_ref=first.body["bill_ref"], cashier="c999"), "bill_conflict"
    )


async def refund_conflict(desk: Desk) -> None:
    nothing = desk.post(total_minor=0, lines=[])  # there is nothing to ask the bank for
    assert (await desk.call(nothing)).status_code == 201
    first = desk.refund(nothing.body, all=True)
    assert (await desk.call(first)).json()["status"] == "completed"
    await desk.town.settled()
    other = {**first.body, "cashier": "c999"}
    await desk.refused(Ask("POST", "/v1/refunds", other, kept_by="earn"), "refund_conflict")


async def refund_exceeds_bill(desk: Desk) -> None:
    await _refund_refused(desk, "refund_exceeds_bill", amount_minor=10_501)


async def settlement_conflict(desk: Desk) -> None:
    line = {"merchant": "riyadh-mall", "day": "2026-11-01", "kind": "total", "amount": "1"}

    def said(amount: str) -> Ask:
        body = {"programme": "shops", "file_hash": "0" * 64, "lines": [{**line, "amount": amount}]}
        return Ask("POST", "/v1/settlements", body, role="operator", kept_by="earn")

    assert (await desk.call(said("1"))).status_code == 200
    await desk.refused(said("2"), "settlement_conflict")


async def variance_exists(desk: Desk) -> None:
    closed, standing = uuid7(), uuid7()
    there = "".join(
        f"""
        INSERT INTO earn.settlement_variances (variance_id, merchant, day, kind, currency, zone, expected_minor, found_minor,
            first_seen, last_seen, state, reason)
        VALUES ('{one}', 'riyadh-mall', '2026-11-02', 'total', 'SAR', 'Asia/Riyadh', 1, 2, now(), now(), {state});
        """
        for one, state in ((closed, "'closed', 'counted again'"), (standing, "'open', NULL"))
    )
    gone = f"DELETE FROM earn.settlement_variances WHERE variance_id IN ('{closed}', '{standing}')"
    async with altered(desk, there, gone):
        path = f"/v1/settlements/variances/{closed}"
        await desk.refused(
            Ask("POST", path, {"state": "open"}, role="finance", kept_by="earn"), "variance_exists"
        )


async def variance_changed(desk: Desk) -> None:
    one = uuid7()
    there = f"""
        INSERT INTO earn.settlement_variances (variance_id, merchant, day, kind, currency, zone, expected_minor, found_minor,
            first_seen, last_seen)
        VALUES ('{one}', 'riyadh-mall', '2026-11-03', 'total', 'SAR', 'Asia/Riyadh', 1, 3, now(), now())
    """
    async with altered(desk, there, f"DELETE FROM earn.settlement_variances WHERE variance_id = '{one}'"):
        said = {"state": "closed", "reason": "counted again", "found_minor": "2"}
        await desk.refused(
            Ask("POST", f"/v1/settlements/variances/{one}", said, role="finance", kept_by="earn"),
            "variance_changed",
        )


async def review_decided(desk: Desk) -> None:
    review = uuid7()
    there = f"""
        INSERT INTO earn.reviews (review_id, bill_id, merchant, bill_ref, occurred_at, total_minor, member_id, wallet_id, programme,
            accrual_id, points, currency, point_value, patterns, flagged_at, state, decided_at, decided_by, reason)
        VALUES ('{review}', '{review}', 'riyadh-mall', 'R', now(), 1, '{review}', '{review}', 'shops', '{review}', 1, 'SAR', '0.10',
            '{{own_card}}', now(), 'released', now(), 'somebody', 'none')
    """
    async with altered(desk, there, f"DELETE FROM earn.reviews WHERE review_id = '{review}'"):
        path = f"/v1/reviews/{review}/cancel"
        await desk.refused(
            Ask("POST", path, {"reason": "odd"}, role="finance", kept_by="earn"), "review_decided"
        )


async def line_unknown(desk: Desk) -> None:
    await _refund_refused(desk, "line_unknown", lines=[{"line_id": "9", "amount_minor": 1}])


async def merchant_mismatch(desk: Desk) -> None:
    await _refund_refused(desk, "merchant_mismatch", merchant="jeddah-port", amount_minor=1)


async def _refund_refused(desk: Desk, code: str, **asked: Any) -> None:
    bill = desk.post()
    assert (await desk.call(bill)).status_code == 201
    await desk.town.settled()
    await desk.refused(desk.refund(bill.body, **asked), code)


SPECIAL: dict[str, Callable[[Desk], Awaitable[None]]] = {
    made.__name__: made
    for made in (
        bill_conflict,
        refund_conflict,
        refund_exceeds_bill,
        review_decided,
        settlement_conflict,
        variance_changed,
        variance_exists,
        line_unknown,
        merchant_mismatch,
    )
}
