"""Held points: each held accrual has its plans, no more of it is released than its days and its activation allow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.earning.bills import told_entries
from pointbank.verify.events import ActivationAnswer, Asked, Envelope, entries_of
from pointbank.verify.programme.numbers import zone_of
from pointbank.verify.report import Check

_ASKED = ("bill", "accrual", "through", "effective_at", "decided_at")

_SKEW = timedelta(minutes=1)
"""A refund's answer and a release that are nearer to each other may have come in either order: two clocks."""


class Holds:
    """The side of earn's plans, and the side of its events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._asked = books.match(
            "holds:asked", 5, "each release is asked for by one event, with its target", _ASKED,
            ours="the releases", theirs="the events",
        )  # fmt: skip

        self._told = books.match(
            "activations:told", 5, "each activation that a till told is answered once, and again when its bill has come after it",
            ("event", "bill", "status", "occurred_at", "entries"), ours="the activations", theirs="the events",
        )  # fmt: skip

    async def walk(self) -> None:
        """Every plan, and every release; every activation that was told."""
        await self._activations()
        check = self._books.check(
            "holds:planned",
            8,
            "held points have plans that add up to them, without what refunds took, released when their days come and no sooner",
        )
        plans: list[Any] = []
        async for page in self._books.snapshot.pages("earning/holds.sql", "plans"):
            for plan in page:
                if plans and plans[0]["accrual_id"] != plan["accrual_id"]:
                    with self._books.reading("plans of accrual", plans[0]["accrual_id"]):
                        check_plans(check, plans)
                    plans = []
                plans.append(plan)
        if plans:
            with self._books.reading("plans of accrual", plans[0]["accrual_id"]):
                check_plans(check, plans)
        for row in await self._books.snapshot.rows("earning/holds.sql", "unplanned"):
            check.wrong(f"accrual {row['accrual_id']} is held and has no plan")
        for row in await self._books.snapshot.rows("earning/holds.sql", "stuck"):
            due = "never due" if row["next_at"] is None else f"due since {row['next_at']}"
            check.wrong(
                f"accrual {row['accrual_id']}, rule {row['rule']}: {row['points']} points are held and {due}"
            )
        async for page in self._books.snapshot.pages("earning/holds.sql", "releases"):
            for row in page:
                self._asked.ours(
                    (
                        (row["request_id"], row["sequence"]), row["bill_id"], row["accrual_id"], row["release_through"],
                        row["effective_at"], row["decided_at"],
                    )
                )  # fmt: skip

    async def _activations(self) -> None:
        kept = self._books.check(
            "activations:kept",
            1,
            "what a till told activates the bill of its merchant and reference, and no other",
        )
        async for page in self._books.snapshot.pages("earning/holds.sql", "told_activations"):
            for row in page:
                kept.compared += 1
                if row["bill_id"] is not None and (
                    row["bill_id"] != row["own_bill_id"] or not row["activated"]
                ):
                    kept.wrong(
                        f"{row['merchant']} {row['bill_ref']} was told to be activated; it is bill {row['own_bill_id']}, "
                        f"bill {row['bill_id']} is {'' if row['activated'] else 'not '}activated"
                    )
                subject = f"activation/{row['merchant']}/{row['bill_ref']}"
                entry = (row["stream_id"], row["source"], row["event_id"])
                first = None if row["waited"] else row["bill_id"]
                self._told.ours(
                    (
                        (subject, 1), row["recorded_event_id"], first, "waiting_for_bill" if row["waited"] else "activated",
                        row["occurred_at"], (entry,),
                    )
                )  # fmt: skip
                if row["settled_event_id"] is not None:
                    settled = (row["settled_event_id"], row["bill_id"], "activated", row["occurred_at"])
                    entries = told_entries(entry, row["listeners"], row["told"])
                    self._told.ours(((subject, 2), *settled, entries))

    def on_activation(self, n: int | None, envelope: Envelope, told: ActivationAnswer) -> None:
        """activation.recorded and activation.settled."""
        place = int(envelope.sequence)
        self._told.theirs(
            (
                (envelope.subject, place), envelope.id, told.bill_id, told.status, told.occurred_at,
                entries_of(told),
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


def check_plans(check: Check, plans: Sequence[Any]) -> None:
    """The plans of one accrual, as `plans` of holds.sql gives them."""
    first = plans[0]
    accrual = f"accrual {first['accrual_id']}"
    check.compared += 1
    points = [plan["points"] for plan in plans]
    if sum(points) != first["earned"]:
        check.wrong(f"{accrual} of {first['earned']} points has plans for {points}")
    released = sum(plan["released"] for plan in plans)
    if (first["through"] or 0) != released:
        check.wrong(f"{accrual} was asked through {first['through']}; its plans have released {released}")
    taken = list(zip(first["taken"] or (), first["taken_at"] or (), strict=True))
    # What was asked to be released may have been taken back before the bank heard of it.
    cancelled, lost = sum(plan["cancelled"] for plan in plans), sum(part for part, _ in taken)
    if first["ended"]:
        lost = sum(points)  # a cancelled review leaves nothing to be released, whatever had died with its lot
    if cancelled != min(lost, sum(points) - released):
        check.wrong(f"{accrual}: refunds took {lost} of its held points; its plans count {cancelled}")
    early = [part for part, at in taken if first["first_at"] is None or at < first["first_at"] - _SKEW]
    for plan, own in zip(plans, _shares(points, early), strict=True):
        name = f"{accrual}, rule {plan['rule']}"
        if plan["cancelled"] < own or (
            first["first_at"] is None and not first["ended"] and plan["cancelled"] != own
        ):
            check.wrong(f"{name}: {plan['cancelled']} are cancelled, {own} are its share")
        if plan["released"] + plan["cancelled"] > plan["points"]:
            check.wrong(
                f"{name}: {plan['released']} released, {plan['cancelled']} cancelled of {plan['points']}"
            )
        if plan["released"] > (allowed := _allowed(plan, plan["points"] - own)):
            check.wrong(f"{name}: {plan['released']} are released, {allowed} were due")


def _shares(points: Sequence[int], taken: Sequence[int]) -> list[int]:
    """How much of each plan is taken, one refund after the other, by what each holds, while none has released any."""
    held = list(points)
    for part in taken:
        whole, reached, gone = sum(held), 0, 0
        for k, own in enumerate(held):
            reached += own
            due = min(part, whole) * reached // max(whole, 1)
            held[k], gone = own - (due - gone), due
    return [had - has for had, has in zip(points, held, strict=True)]


def _allowed(plan: Any, points: int) -> int:
    """How many of these points of a plan were due when it was asked last."""
    if plan["last_at"] is None:
        return 0
    if plan["review"] not in (None, "released"):
        return 0
    if plan["until"] == "review":
        return points
    if plan["until"] == "activation":
        return points if plan["activated_at"] is not None else 0
    day: date = plan["last_at"].astimezone(zone_of(plan["zone"])).date()
    if day >= plan["last_on"]:
        return points
    if plan["until"] == "date":
        return 0
    passed: int = (day - plan["billed_on"]).days
    return points // int(plan["days"]) * max(passed, 0)
