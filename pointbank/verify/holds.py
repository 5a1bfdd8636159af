"""Held points: each held accrual has its plans, no more of it is released than its days and its activation allow."""

from __future__ import annotations

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from pointbank.verify.books import Books
from pointbank.verify.events import Asked, Envelope
from pointbank.verify.report import Check

_ASKED = ("bill", "accrual", "through", "effective_at", "decided_at")


class Holds:
    """The side of earn's plans, and the side of its events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._asked = books.match(
            "holds:asked", 5, "each release is asked for by one event, with its target", _ASKED,
            ours="the releases", theirs="the events",
        )  # fmt: skip

    async def walk(self) -> None:
        """Every plan, and every release."""
        check = self._books.check(
            "holds:planned",
            8,
            "held points have plans that add up to them, released as far as their days allow",
        )
        plans: list[Any] = []
        async for page in self._books.snapshot.pages("holds.sql", "plans"):
            for plan in page:
                if plans and plans[0]["accrual_id"] != plan["accrual_id"]:
                    _check(check, plans)
                    plans = []
                plans.append(plan)
        if plans:
            _check(check, plans)
        for row in await self._books.snapshot.rows("holds.sql", "unplanned"):
            check.wrong(f"accrual {row['accrual_id']} is held and has no plan")
        async for page in self._books.snapshot.pages("holds.sql", "releases"):
            for row in page:
                self._asked.ours(
                    (
                        (row["request_id"], row["sequence"]), row["bill_id"], row["accrual_id"], row["release_through"],
                        row["effective_at"], row["decided_at"],
                    )
                )  # fmt: skip

    def on_asked(self, n: int | None, envelope: Envelope, asked: Asked) -> None:
        """points.release_requested."""
        self._asked.theirs(
            (
                (asked.request_id, int(envelope.sequence)), asked.bill_id, asked.accrual_id, asked.release_through,
                asked.effective_at, asked.decided_at,
            )
        )  # fmt: skip


def _check(check: Check, plans: list[Any]) -> None:
    """The plans of one accrual."""
    accrual = f"accrual {plans[0]['accrual_id']}"
    check.compared += 1
    if sum(plan["points"] for plan in plans) != plans[0]["earned"]:
        check.wrong(
            f"{accrual} of {plans[0]['earned']} points has plans for {[plan['points'] for plan in plans]}"
        )
    released = sum(plan["released"] for plan in plans)
    if (plans[0]["through"] or 0) != released:
        check.wrong(f"{accrual} was asked through {plans[0]['through']}; its plans have released {released}")
    for plan in plans:
        if plan["released"] > (allowed := _allowed(plan)):
            check.wrong(
                f"{accrual}, rule {plan['rule']}: {plan['released']} are released, {allowed} were due"
            )


def _allowed(plan: Any) -> int:
    """How many points of a plan were due when it was asked last."""
    if plan["last_at"] is None:
        return 0
    if plan["until"] == "activation":
        return int(plan["points"]) if plan["activated_at"] is not None else 0
    day: date = plan["last_at"].astimezone(ZoneInfo(plan["zone"])).date()
    if day >= plan["last_on"]:
        return int(plan["points"])
    if plan["until"] == "date":
        return 0
    passed: int = (day - plan["billed_on"]).days
    return int(plan["points"]) // int(plan["days"]) * max(passed, 0)
