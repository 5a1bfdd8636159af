"""The bytes that are hashed are those that docs/ledger.md shows."""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from services.redeem.domain.ledger import BUCKETS, GENESIS, KINDS, ClockBehind, Wallet, canonical, micros
from shared.messaging.faults import Fault, classify

DOCUMENT = Path(__file__).parents[3] / "docs" / "ledger.md"
WALLET = UUID("01a1f82f-1e80-7e8d-8405-0873dba865aa")
LOT = UUID("01a20261-6110-7b7b-b0d6-e4f8c864714b")
BILL = UUID("01a20261-6110-7623-a101-67553939c87e")
REDEMPTION = UUID("01a2027d-d250-7b1f-91a5-11f1da0cd348")
POSTED = datetime(2026, 11, 22, 8, 31, 6, 102000, tzinfo=UTC)
REDEEMED = datetime(2026, 11, 22, 9, 2, 10, tzinfo=UTC)


def wallet_at(clock: datetime) -> Wallet:
    return Wallet(WALLET, "shops", UUID("01a1f82f-1e80-7e31-ab64-3c44f7a0ec82"), clock)


def worked_example() -> Wallet:
    wallet = wallet_at(POSTED)
    wallet.move(
        "earn",
        "issued",
        "available",
        108,
        posting_id=UUID("01a20261-6110-795b-bb36-a8786c764f97"),
        money_minor=1080,
        lot_id=LOT,
        source_id=BILL,
        effective_at=datetime(2026, 11, 22, 8, 31, 4, tzinfo=UTC),
    )
    wallet.clock = REDEEMED
    wallet.move(
        "redeem",
        "available",
        "redeemed",
        100,
        posting_id=UUID("01a2027d-d250-7c60-8f6e-0b0e2c9a7f11"),
        money_minor=1000,
        lot_id=LOT,
        source_id=REDEMPTION,
        effective_at=REDEEMED,
    )
    return wallet


def documented_examples() -> list[tuple[bytes, str]]:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.findall(r"```\n([0-9a-f\s]+)```\n\nSHA-256: `([0-9a-f]{64})`", text)
    return [(bytes.fromhex("".join(shown.split())), digest) for shown, digest in found]


def test_the_documented_bytes_are_those_that_the_code_hashes() -> None:
    previous = GENESIS
    computed = []
    for line in worked_example().lines:
        shown = canonical(
            previous,
            line.wallet_id,
            line.seq,
            line.posting_id,
            line.posted_at,
            line.effective_at,
            line.points,
            line.money_minor,
            line.available_after,
            line.held_after,
            line.reserved_after,
            line.debt_after,
            line.lot_id,
            line.source_id,
            line.kind,
            line.from_bucket,
            line.to_bucket,
        )
        computed.append((shown, line.hash.hex()))
        previous = line.hash
    assert computed == documented_examples()
    assert [len(shown) for shown, _ in computed] == [172, 172]


def test_the_documented_bytes_hash_to_the_documented_digest() -> None:
    assert [sha256(shown).hexdigest() for shown, _ in documented_examples()] == [
        "3e40e6218b38420038fe0409dcc653bb724c4ace1e4d6f662a36e2aba82f1bff",
        "0c894ef1ef7be08e7ee85862bf6d0f5c178691762f72575f3060cf3c951696a4",
    ]


def test_every_code_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    buckets = re.search(r"Codes of buckets: (.*?)\.", text, re.DOTALL)
    kinds = re.search(r"Codes of kinds: (.*?)\.", text, re.DOTALL)
    assert buckets is not None
    assert kinds is not None
    for shown, known in ((buckets[1], BUCKETS), (kinds[1], KINDS)):
        pairs = [pair.split() for pair in shown.split(",")]
        assert {name: int(code) for name, code in pairs} == known


def test_moments_are_exact_microseconds() -> None:
    assert micros(POSTED) == 1795336266102000
    assert micros(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1


def test_lines_of_one_instant_are_a_microsecond_apart() -> None:
    wallet = worked_example()
    wallet.move(
        "expire",
        "available",
        "expired",
        8,
        posting_id=REDEMPTION,
        money_minor=80,
        lot_id=LOT,
        source_id=BILL,
        effective_at=REDEEMED,
    )
    assert [line.posted_at - REDEEMED for line in wallet.lines[1:]] == [
        timedelta(0),
        timedelta(microseconds=1),
    ]


@pytest.mark.parametrize(
    ("behind", "fault"),
    [
        (timedelta(seconds=5), None),
        (timedelta(seconds=5.1), Fault.TRANSIENT),
        (timedelta(minutes=2), Fault.ITEM),
    ],
)
def test_a_clock_more_than_five_seconds_behind_the_last_line_is_a_fault(
    behind: timedelta, fault: Fault | None
) -> None:
    wallet = wallet_at(POSTED - behind)
    wallet.last_posted_at = POSTED

    def post() -> None:
        wallet.move(
            "earn",
            "issued",
            "available",
            1,
            posting_id=BILL,
            money_minor=0,
            lot_id=LOT,
            source_id=None,
            effective_at=POSTED,
        )

    if fault is not None:
        with pytest.raises(ClockBehind) as raised:
            post()
        assert classify(raised.value) is fault
        assert (wallet.lines, wallet.available, wallet.seq) == ([], 0, 0)
    else:
        post()
        assert wallet.lines[0].posted_at == POSTED + timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("happened", "posted"),
    [
        (POSTED - timedelta(hours=1), POSTED),
        # Decided after the clock was read, in the same transaction: it is written no sooner than it happened.
        (POSTED + timedelta(milliseconds=1), POSTED + timedelta(milliseconds=1)),
        # A bill of a till whose clock is wrong: the ledger's own stays.
        (POSTED + timedelta(seconds=2), POSTED),
    ],
)
def test_a_line_is_posted_when_it_happens_or_later(happened: datetime, posted: datetime) -> None:
    wallet = wallet_at(POSTED)
    for kind, to_bucket in (("earn", "available"), ("earn_held", "held")):
        wallet.move(
            kind,  # type: ignore[arg-type]
            "issued",
            to_bucket,  # type: ignore[arg-type]
            1,
            posting_id=BILL,
            money_minor=10,
            lot_id=LOT,
            source_id=None,
            effective_at=happened,
        )
    assert [line.posted_at for line in wallet.lines] == [posted, posted + timedelta(microseconds=1)]
