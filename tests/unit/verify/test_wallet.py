"""A wallet replayed from its lines: the worked example of docs/ledger.md, and every way in which it can be spoilt."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import pytest

from pointbank.verify.ledger.canonical import BEGINNING, BUCKETS, KINDS, LAYOUT, micros
from pointbank.verify.ledger.wallet import WalletWalk

WALLET = UUID("01a1f82f-1e80-7e8d-8405-0873dba865aa").bytes
ACCRUAL = UUID("01a20261-6110-795b-bb36-a8786c764f97").bytes
LOT = UUID("01a20261-6110-7b7b-b0d6-e4f8c864714b").bytes
BILL = UUID("01a20261-6110-7623-a101-67553939c87e").bytes
POSTING = UUID("01a2027d-d250-7c60-8f6e-0b0e2c9a7f11").bytes
REDEMPTION = UUID("01a2027d-d250-7b1f-91a5-11f1da0cd348").bytes
EARNED = datetime(2026, 11, 22, 8, 31, 4, tzinfo=UTC)
POSTED = datetime(2026, 11, 22, 8, 31, 6, 102_000, tzinfo=UTC)
SPENT = datetime(2026, 11, 22, 9, 2, 10, tzinfo=UTC)

FIRST = bytes.fromhex("3e40e6218b38420038fe0409dcc653bb724c4ace1e4d6f662a36e2aba82f1bff")
SECOND = bytes.fromhex("0c894ef1ef7be08e7ee85862bf6d0f5c178691762f72575f3060cf3c951696a4")

Line = list[Any]
SEQ, POINTS, LOT_ID, EFFECTIVE, POSTED_AT, AVAILABLE, HASH = 1, 6, 8, 10, 11, 12, 16


def lines() -> list[Line]:
    return [
        [
            WALLET,
            1,
            ACCRUAL,
            "earn",
            "issued",
            "available",
            108,
            1080,
            LOT,
            BILL,
            EARNED,
            POSTED,
            108,
            0,
            0,
            0,
            FIRST,
        ],
        [
            WALLET,
            2,
            POSTING,
            "redeem",
            "available",
            "redeemed",
            100,
            1000,
            LOT,
            REDEMPTION,
            SPENT,
            SPENT,
            8,
            0,
            0,
            0,
            SECOND,
        ],
    ]


def chained(made: list[Line]) -> list[Line]:
    """The lines with hashes that fit them: as somebody would who knows how."""
    head = BEGINNING
    for one in made:
        _, seq, posting, kind, source, target, points, money, lot, by, effective, posted, *after, _ = one
        head = one[HASH] = sha256(
            LAYOUT.pack(
                1, head, WALLET, seq, posting, KINDS[kind], BUCKETS[source], BUCKETS[target], points, money,
                lot or bytes(16), by or bytes(16), micros(effective), micros(posted), *after,
            )
        ).digest()  # fmt: skip
    return made


def row(**more: Any) -> dict[str, Any]:
    made = dict.fromkeys(BUCKETS, 0) | {"issued": -108, "available": 8, "redeemed": 100}
    return made | {"seq": 2, "head": SECOND, "last_posted_at": SPENT, "last_active_at": SPENT} | more


def lot(**more: Any) -> dict[str, Any]:
    made = {"lot_id": LOT, "accrual_id": ACCRUAL, "source_id": BILL, "earned_at": EARNED, "points": 108}
    made |= {"remaining": 8, "held": 0, "reserved": 0, "expired": 0, "reversed": 0, "owed": 0, "given": False}
    made |= {"parent_lot": None, "expires_at": datetime(2027, 11, 30, 21, tzinfo=UTC)} | more
    return {"first_expires_at": made["expires_at"]} | made


def replayed(made: list[Line]) -> WalletWalk:
    walk = WalletWalk(WALLET)
    for one in made:
        walk.line(one)
    return walk


def problems(made: list[Line]) -> set[str]:
    walk = replayed(made)
    found = {where for where, _ in walk.problems} | {where for where, _ in walk.against_row(row())}
    return found | {"lots" for _ in walk.against_lots([lot()])}


def test_the_worked_example_has_the_hashes_of_the_document() -> None:
    walk = replayed(lines())
    assert walk.problems == []
    assert list(walk.against_row(row())) == []
    assert list(walk.against_lots([lot()])) == []
    assert [(one.kind, one.points, one.balance) for one in walk.postings] == [
        ("earn", 108, (108, 0, 0)),
        ("redeem", 100, (8, 0, 0)),
    ]


def test_the_tests_own_chain_is_that_of_the_document() -> None:
    assert [one[HASH] for one in chained(lines())] == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("place", "column", "value"),
    [
        (0, POINTS, 109),
        (1, POINTS, 99),
        (0, LOT_ID, BILL),
        (1, EFFECTIVE, SPENT + timedelta(microseconds=1)),
        (0, HASH, SECOND),
        (1, AVAILABLE, 9),
    ],
)
def test_an_edited_line_breaks_the_chain(place: int, column: int, value: Any) -> None:
    made = lines()
    made[place][column] = value
    assert "chain" in problems(made)


@pytest.mark.parametrize("made", [lines()[:1], lines()[1:], lines()[::-1]], ids=["cut", "removed", "swapped"])
def test_lines_that_were_cut_removed_or_swapped_break_the_chain(made: list[Line]) -> None:
    assert "chain" in problems(made)


def test_an_edit_with_a_chain_computed_anew_still_breaks_the_balances() -> None:
    made = lines()
    made[1][POINTS], made[1][AVAILABLE] = 50, 58
    assert problems(chained(made)) == {"balances", "chain", "lots"}  # chain: the wallet's own head


def test_a_line_that_was_not_later_than_the_one_before_is_seen() -> None:
    made = lines()
    made[1][POSTED_AT] = POSTED
    assert ("chain", f"line 2 was posted at {POSTED}, the one before at {POSTED}") in replayed(
        chained(made)
    ).problems


def test_a_redemption_that_names_no_lot_is_seen() -> None:
    made = lines()
    made[1][LOT_ID] = None
    assert ("lots", "line 2 names no lot") in replayed(chained(made)).problems


def test_more_than_a_lot_holds_is_seen() -> None:
    made = lines()
    made[1][POINTS], made[1][AVAILABLE] = 109, -1
    found = replayed(chained(made)).problems
    assert [where for where, _ in found] == ["balances", "lots"]


def test_a_move_of_another_kind_is_seen() -> None:
    made = lines()
    made[1][3] = "expire"
    assert ("balances", "line 2: expire does not move available to redeemed") in replayed(
        chained(made)
    ).problems


def test_a_lot_that_was_spent_after_its_expiry_is_seen() -> None:
    [problem] = replayed(lines()).against_lots([lot(expires_at=SPENT)])
    assert problem.endswith(f"was spent at {SPENT}, it expired at {SPENT}")


@pytest.mark.parametrize(("went_late", "seen"), [(0, False), (1, True)])
def test_what_was_set_aside_goes_when_it_comes_back_to_a_lot_that_is_over(went_late: int, seen: bool) -> None:
    earned, spent = lines()
    voided = SPENT + timedelta(hours=1)
    made = [earned]
    for seq, kind, source, target, at, after in (
        (2, "reserve", "available", "reserved", SPENT, (0, 0, 108, 0)),
        (3, "void", "reserved", "available", voided, (108, 0, 0, 0)),
        (4, "expire", "available", "expired", voided + timedelta(minutes=went_late), (0, 0, 0, 0)),
    ):
        own = uuid4().bytes
        made.append(
            [WALLET, seq, own, kind, source, target, 108, 1080, LOT, *spent[9:10], at, at, *after, b""]
        )
    kept = lot(remaining=0, expired=108, expires_at=SPENT + timedelta(minutes=30))
    found = list(replayed(chained(made)).against_lots([kept], may_idle=False))
    assert [" went at " in problem for problem in found] == [True] * seen


@pytest.mark.parametrize(
    "more",
    [
        {"remaining": 7},
        {"held": 1},
        {"points": 107},
        {"accrual_id": BILL},
        {"earned_at": SPENT},
        {"expired": 1},
        {"reversed": 1},
        {"owed": 1},
        {"given": True},
        {"first_expires_at": None},
    ],
)
def test_a_lot_that_is_not_what_its_lines_made_is_seen(more: dict[str, Any]) -> None:
    assert list(replayed(lines()).against_lots([lot(**more)]))


@pytest.mark.parametrize(
    "more",
    [
        {"available": 9, "issued": -109},
        {"seq": 3},
        {"head": FIRST},
        {"last_posted_at": POSTED},
        {"debt": 8},
        {"last_active_at": EARNED},
    ],
)
def test_a_wallet_that_is_not_what_its_lines_made_is_seen(more: dict[str, Any]) -> None:
    assert list(replayed(lines()).against_row(row(**more)))
