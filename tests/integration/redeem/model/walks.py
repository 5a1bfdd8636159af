"""What random acts seldom meet in a short run, each once: walks through a machine's acts in an order that is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tests.integration.redeem.model.house import House
from tests.integration.redeem.model.machine import Machine
from tests.integration.redeem.model.silence import WHAT
from tests.support.models.desk import NOT_SAID
from tests.support.models.limits import Bill

Act: TypeAlias = Callable[[Any], object]


def _silent(what: str) -> Act:
    return lambda desk: desk.a_balance_that_silence_ended_is_touched(points=9, what=what)


def _spends(bill: Bill) -> Act:
    return lambda desk: desk.redeem("some", False, False, 0, True, "SAR", bill)


def _part(points: int, in_money: bool) -> Act:
    return lambda desk: desk.a_part_that_is_none_is_captured(points=points, in_money=in_money, rest=6)


def _told_late(spent: int, ref: int, swept: bool) -> Act:
    return lambda desk: desk.what_was_spent_offline_has_expired_when_it_is_told(
        points=9, spent=spent, swept=swept, ref=ref, again=True
    )


def _threshold(of: str, gone: bool) -> Act:
    return lambda desk: desk.a_threshold_is_passed(points=9, of=of, gone=gone)


WALKS: dict[str, list[Act]] = {
    "tenths": [
        _threshold("balance", False),
        _threshold("balance", True),
        _threshold("earned", False),
        lambda desk: desk.points_expire_and_are_brought_back(points=9, part="half", unswept=True),
        _told_late(5, 6, True),
        _told_late(20, 7, True),
        lambda desk: desk.points_that_repay_a_debt_pass_no_threshold(points=8),
        lambda desk: desk.a_bill_is_named_by_its_capture(first=3, second=2, total=40),
        lambda desk: desk.a_bill_is_named_by_its_capture(first=2, second=2, total=40),
    ],
    "drips": [_told_late(5, 6, True), _told_late(20, 7, True), _told_late(5, 8, False)],
    "crumbs": [_part(3, False), _part(5, False), _part(3, True), _part(7, True)],
    "hushes": [_spends(NOT_SAID), lambda desk: desk.a_bill_is_paid_in_parts(first=3, second=2, total=100)],
    "malls": [
        _spends(NOT_SAID),
        lambda desk: desk.a_bill_is_paid_in_parts(first=3, second=2, total=100),
        *(
            lambda desk, last=last: desk.the_member_spends_too_often(last=last, minutes=59)
            for last in ("points", "reward", "quote")
        ),
        lambda desk: desk.the_member_spends_too_often(last="points", minutes=60),
        lambda desk: desk.points_are_spent_at_another_terminal(later=False, terminal="T01"),
        lambda desk: desk.points_are_spent_at_another_terminal(later=True, terminal="T01"),
    ],
}
MET_BY_WALKS = {
    *(f"silent {what}" for what in WHAT),
    *(f"redemptions {code}" for code in (
        "velocity_exceeded", "points_not_accepted", "bill_total_required", "bill_categories_required", "bill_share_exceeded",
    )),
    "quote velocity_exceeded", "part refused", "bill named 200", "bill named 409", "given balance", "given earned",
    "given by the run", "threshold of balance passed at once", "threshold of balance not passed too late",
    "threshold of earned passed at once", "reinstated beside unswept", "spent offline and swept before it was told",
}  # fmt: skip


def walk(house: House, machine: type[Machine]) -> None:
    """Each walk by a member of its own; what silence ends takes months, and no example has more than five."""
    walks = [*WALKS.items(), *(("hushes", [_silent(what) for what in WHAT[k::3]]) for k in range(3))]
    for k, (code, acts) in enumerate(walks):
        desk = machine()
        desk.house = house
        desk.begin(code=code, twice=k % 2 == 0, lots=[(12, None)])
        try:
            for act in acts:
                act(desk)
                desk.every_balance_is_the_models()
        finally:
            desk.teardown()
