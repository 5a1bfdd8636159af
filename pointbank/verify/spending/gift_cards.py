"""Gift cards: each replayed from its lines, against its row, its uses, its programme and what was told of it.

The bytes of a line are those of docs/ledger.md, "Gift cards".
"""

from __future__ import annotations

import re
import struct
from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from hashlib import sha256
from typing import Any

from pointbank.verify.books import Books, Follower
from pointbank.verify.database import Snapshot
from pointbank.verify.events import Envelope, GiftCardChanged, GiftCardMoved, binary
from pointbank.verify.ledger.canonical import BEGINNING, NOTHING, micros
from pointbank.verify.ledger.seals import check_heads
from pointbank.verify.matching import told
from pointbank.verify.programme.terms import MOMENT, Terms
from pointbank.verify.reading import of_the_books, said_of
from pointbank.verify.report import Check

LAYOUT = struct.Struct(">B32s16sQ16sBBBq16sqqqqqq")
VERSION = 0x47
BUCKETS = {"issued": 1, "balance": 2, "used": 3, "expired": 4}
KINDS = {"activate": 1, "reload": 2, "use": 3, "refund": 4, "expire": 5, "cancel": 6}
MOVES = {
    "activate": ("issued", "balance"),
    "reload": ("issued", "balance"),
    "use": ("balance", "used"),
    "refund": ("used", "balance"),
    "expire": ("balance", "expired"),
    "cancel": ("balance", "issued"),
}
TOLD = {
    "activate": "gift_card.activated.v1",
    "reload": "gift_card.reloaded.v1",
    "use": "gift_card.used.v1",
    "refund": "gift_card.refunded.v1",
    "expire": "gift_card.expired.v1",
    "cancel": "gift_card.cancelled.v1",
}
CHANGED = tuple(f"gift_card.{what}.v1" for what in ("issued", "voided", "blocked", "unblocked", "locked"))
OF_A_USE = frozenset({"use", "refund"})
_BCRYPT = re.compile(r"\$2b\$(\d\d)\$[./A-Za-z0-9]{53}")
LEAST_COST = 10
CHAIN = "each card's lines have no gap, rise in time, and each hash is that of its bytes"


class CardWalk:
    """One card from its lines: the buckets they leave, the chain, and what each use took and got back."""

    def __init__(self, card_id: bytes) -> None:
        self.card_id = card_id
        self.seq, self.head = 0, BEGINNING
        self.posted_at: datetime | None = None
        self.buckets = dict.fromkeys(BUCKETS, 0)
        self.taken: dict[bytes, int] = {}
        self.used_at: dict[bytes, datetime] = {}
        self.back: dict[bytes, int] = {}
        self.lines: list[Any] = []
        self.problems: list[tuple[str, str]] = []

    def line(self, row: Any) -> None:
        """The next line."""
        try:
            self._line(row)
        except Exception as error:
            if not of_the_books(error):
                raise
            self.problems.append(("chain", f"line {row['seq']}: {said_of(error)}"))

    def _line(self, row: Any) -> None:
        self.lines.append(row)
        self._chain(row)
        kind, amount = row["kind"], row["amount_minor"]
        moved = row["from_bucket"], row["to_bucket"]
        if MOVES[kind] != moved or amount <= 0:
            self.problems.append(
                ("balances", f"line {row['seq']} moves {amount} from {moved[0]} to {moved[1]} as {kind}")
            )
        self.buckets[moved[0]] -= amount
        self.buckets[moved[1]] += amount
        after = {bucket: row[f"{bucket}_after"] for bucket in BUCKETS}
        if after != self.buckets:
            self.problems.append(("balances", f"line {row['seq']} says {after}, its lines {self.buckets}"))
        if self.buckets["balance"] < 0 or self.buckets["used"] < 0:
            self.problems.append(("balances", f"line {row['seq']} takes more than there was"))
        if (kind == "activate") != (len(self.lines) == 1) or (kind == "cancel" and len(self.lines) != 2):
            self.problems.append(("balances", f"line {row['seq']} is {kind}"))
        if len(self.lines) > 2 and self.lines[1]["kind"] == "cancel":
            self.problems.append(("balances", f"line {row['seq']} is {kind}, after it was cancelled"))
        if (kind in OF_A_USE) != (row["source_id"] is not None):
            self.problems.append(("uses", f"line {row['seq']} is of no use, or should be"))
        elif kind == "use":
            self.taken[row["source_id"]] = amount
            self.used_at[row["source_id"]] = row["effective_at"]
            if row["source_id"] != row["posting_id"]:
                self.problems.append(("uses", f"line {row['seq']} names another use than its own"))
        elif kind == "refund":
            self.back[row["source_id"]] = self.back.get(row["source_id"], 0) + amount

    @property
    def cancelled(self) -> bool:
        """Whether it was taken back, with what bought it."""
        return bool(self.lines) and self.lines[-1]["kind"] == "cancel"

    def _chain(self, row: Any) -> None:
        if row["seq"] != self.seq + 1:
            self.problems.append(("chain", f"line {row['seq']} stands where line {self.seq + 1} should"))
        if self.posted_at is not None and row["posted_at"] <= self.posted_at:
            self.problems.append(("chain", f"line {row['seq']} was not posted after the one before it"))
        packed = LAYOUT.pack(
            VERSION, self.head, self.card_id, row["seq"], row["posting_id"], KINDS[row["kind"]], BUCKETS[row["from_bucket"]],
            BUCKETS[row["to_bucket"]], row["amount_minor"], row["source_id"] or NOTHING, micros(row["effective_at"]),
            micros(row["posted_at"]), row["issued_after"], row["balance_after"], row["used_after"], row["expired_after"],
        )  # fmt: skip
        if sha256(packed).digest() != row["hash"]:
            self.problems.append(("chain", f"the hash of line {row['seq']} is not that of its bytes"))
        self.seq, self.head, self.posted_at = row["seq"], row["hash"], row["posted_at"]

    def against_row(self, row: Any) -> list[tuple[str, str]]:
        """How the card's row differs from what its lines leave."""
        found = []
        if (row["seq"], row["head"]) != (self.seq, self.head):
            found.append(("chain", f"the row counts {row['seq']} lines and ends with another hash"))
        kept = {bucket: row[bucket] for bucket in BUCKETS}
        if kept != self.buckets:
            found.append(("balances", f"the row says {kept}, its lines {self.buckets}"))
        if sum(kept.values()) != 0:
            found.append(("balances", f"its buckets sum to {sum(kept.values())}"))
        if (row["status"] == "active") != (bool(self.lines) and not self.cancelled):
            found.append(("balances", f"it is {row['status']} and has {len(self.lines)} lines"))
        if self.lines:
            first = self.lines[0]
            if (first["amount_minor"], first["effective_at"]) != (row["amount_minor"], row["activated_at"]):
                found.append(("balances", "it was activated with another amount, or at another moment"))
        return found

    def against_uses(self, rows: Sequence[Any]) -> list[str]:
        """How the card's uses differ from its lines."""
        found = []
        for row in rows:
            use = f"use {told(row['use_id'])}"
            if self.taken.get(row["use_id"]) != row["applied_minor"]:
                found.append(
                    f"{use} applied {row['applied_minor']}; its line {self.taken.get(row['use_id'])}"
                )
            if row["applied_minor"] > row["asked_minor"]:
                found.append(f"{use} applied more than was asked")
            if row["used_at"] != self.used_at.get(row["use_id"], row["used_at"]):
                found.append(f"{use} was at {row['used_at']}; by its line at {self.used_at[row['use_id']]}")
            if row["elsewhere"]:
                found.append(
                    f"{use}: {row['elsewhere']} of its refunds stand under another merchant's reference"
                )
            back = self.back.get(row["use_id"], 0)
            if not back == row["refunded_minor"] == row["refunds"] or back > row["applied_minor"]:
                found.append(
                    f"{use}: {back} came back by its lines, {row['refunded_minor']} by its row, {row['refunds']} by refunds"
                )
        if strange := (self.taken.keys() | self.back.keys()) - {row["use_id"] for row in rows}:
            found.append(f"use {told(min(strange))} has lines and no row")
        return found


async def check_card_chains(chain: Check, heads: Check, snapshot: Snapshot) -> None:
    """The chain of every card alone, with its row, and the heads of it that are sealed: for a check of chains and nothing else."""
    cards = Follower(snapshot, "spending/gift_cards.sql", "cards")

    def finish(walk: CardWalk) -> None:
        rows = cards.take(walk.card_id)
        problems = [*walk.problems, *(walk.against_row(rows[0]) if rows else [("chain", "it has no row")])]
        for where, problem in problems:
            if where == "chain":
                chain.wrong(f"card {told(walk.card_id)}: {problem}")

    def lineless(row: Any) -> None:
        if row["seq"]:
            chain.wrong(f"card {told(row['card_id'])} counts {row['seq']} lines and has none")

    walk: CardWalk | None = None
    async for page in snapshot.pages("spending/gift_cards.sql", "lines"):
        await cards.fill(page[-1]["card_id"])
        chain.compared += len(page)
        for row in page:
            if walk is None or walk.card_id != row["card_id"]:
                if walk is not None:
                    finish(walk)
                walk = CardWalk(row["card_id"])
            walk.line(row)
        for row in cards.passed():
            lineless(row)
    if walk is not None:
        finish(walk)
    async for row in cards.rest():
        lineless(row)
    heads.compared += await snapshot.value("spending/gift_cards.sql", "sealed")
    await check_heads(heads, snapshot, "card", "off_card_chain")


class GiftCards:
    """What the bank's tables say of gift cards, and what was told of them."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._checks = {
            "chain": books.check(
                "gift_cards:chain", 4, CHAIN
            ),
            "balances": books.check(
                "gift_cards:balances", 2, "each card's buckets are the sums of its lines and sum to zero, and none is overdrawn"
            ),
            "uses": books.check(
                "gift_cards:uses", 3, "each use took what its line says, and no more came back than it took"
            ),
            "terms": books.check(
                "gift_cards:terms", 8, "serial, amount, expiry and lock are as the programme says; nothing was paid after the end"
            ),
        }  # fmt: skip
        self._once = books.match(
            "gift_cards:once", 1, "each posting to a card is kept once, for the card, kind and amount of its line",
            ("card", "kind", "amount"), ours="the lines", theirs="the posting ids",
        )  # fmt: skip
        self._given_back = books.match(
            "gift_cards:refunds", 1, "each line that gives back is one refund, of that use and amount",
            ("use", "amount"), ours="the lines", theirs="the refunds",
        )  # fmt: skip
        self._told = books.match(
            "gift_cards:told", 5, "each line has one event, each card one that it was issued, and one that it was voided if it was",
            ("what",), ours="the cards", theirs="the events",
        )  # fmt: skip

    async def walk(self) -> None:
        """The side of the tables."""
        snapshot = self._books.snapshot
        self._cards = Follower(snapshot, "spending/gift_cards.sql", "cards")
        self._uses = Follower(snapshot, "spending/gift_cards.sql", "uses")
        walk: CardWalk | None = None
        async for page in snapshot.pages("spending/gift_cards.sql", "lines"):
            self._books.progress("gift cards")
            await self._cards.fill(page[-1]["card_id"])
            await self._uses.fill(page[-1]["card_id"])
            self._checks["chain"].compared += len(page)
            for row in page:
                if walk is None or walk.card_id != row["card_id"]:
                    if walk is not None:
                        self._finish(walk)
                    walk = CardWalk(row["card_id"])
                walk.line(row)
            for row in self._cards.passed():
                self._lineless(row)
        if walk is not None:
            self._finish(walk)
        async for row in self._cards.rest():
            self._lineless(row)
        async for row in self._uses.rest():
            self._checks["uses"].wrong(f"use {told(row['use_id'])} has no line")
        async for page in snapshot.pages("spending/gift_cards.sql", "postings"):
            for row in page:
                self._once.theirs(tuple(row))
        async for page in snapshot.pages("spending/gift_cards.sql", "refunds"):
            for row in page:
                self._given_back.theirs(tuple(row))

    def _finish(self, walk: CardWalk) -> None:
        with self._books.reading("gift card", walk.card_id):
            self._against_books(walk)

    def _against_books(self, walk: CardWalk) -> None:
        rows = self._cards.take(walk.card_id)
        if rows:
            self._card(walk, rows[0])
        else:
            self._checks["balances"].wrong(f"card {told(walk.card_id)} has lines and no row")
        uses = self._uses.take(walk.card_id)
        self._checks["uses"].compared += len(uses)
        for problem in walk.against_uses(uses):
            self._checks["uses"].wrong(f"card {told(walk.card_id)}: {problem}")
        places = {row["use_id"]: (row["merchant"], row["bill_ref"]) for row in uses}
        for line in walk.lines:
            self._once.ours((line["posting_id"], walk.card_id, line["kind"], line["amount_minor"]))
            if line["kind"] == "refund":
                self._given_back.ours((line["posting_id"], line["source_id"], line["amount_minor"]))
            place = places.get(line["source_id"], (None, None)) if line["kind"] in OF_A_USE else None
            self._told.ours(
                (
                    line["posting_id"],
                    (
                        TOLD[line["kind"]], walk.card_id, line["amount_minor"], line["balance_after"], line["source_id"],
                        line["effective_at"], line["posted_at"], place,
                    ),
                )
            )  # fmt: skip

    def _lineless(self, row: Any) -> None:
        with self._books.reading("gift card", row["card_id"]):
            self._card(CardWalk(row["card_id"]), row)

    def _card(self, walk: CardWalk, row: Any) -> None:
        self._checks["balances"].compared += 1
        card = f"card {told(walk.card_id)}"
        for where, problem in (*walk.problems, *walk.against_row(row)):
            self._checks[where].wrong(f"{card}: {problem}")
        self._checks["terms"].compared += 1
        for problem in self._against_terms(walk, row):
            self._checks["terms"].wrong(f"{card}: {problem}")
        self._told.ours((walk.card_id, ("gift_card.issued.v1", row["programme"], row["amount_minor"])))
        if row["status"] == "voided" and not walk.cancelled:
            self._told.ours((walk.card_id, ("gift_card.voided.v1", row["programme"], row["amount_minor"])))

    def _against_terms(self, walk: CardWalk, row: Any) -> list[str]:
        found: list[str] = []
        terms = self._books.terms.get((row["programme"], row["programme_version"]))
        rules = terms.gift_cards if terms is not None else None
        if terms is None or rules is None:
            return [f"version {row['programme_version']} of {row['programme']} has no gift cards"]
        if terms.closed:
            found.append(f"version {row['programme_version']} had closed its programme")
        if not row["serial"].startswith(rules["serial_prefix"]) or not _luhn(row["serial"]):
            found.append("its serial is not of its programme, or has another check digit")
        if not _loads(rules, row["amount_minor"]):
            found.append(f"no card of its programme is loaded with {row['amount_minor']}")
        hashed = _BCRYPT.fullmatch(row["pin_hash"])
        if hashed is None or int(hashed[1]) < LEAST_COST:
            found.append("its PIN is not kept as a bcrypt hash of that cost")
        versions = [one for one in self._books.versions_of(row["programme"]) if one.gift_cards is not None]
        if row["activated_at"] is not None and not any(
            _ends_rightly(one, row["activated_at"], row["expires_at"]) for one in versions
        ):
            found.append(f"activated at {row['activated_at']}, it expires at {row['expires_at']}")
        attempts = [(one.gift_cards or {}).get("pin_attempts") or 5 for one in versions]
        if row["locked_until"] is not None and row["wrong_pins"] < min(attempts):
            found.append(f"{row['wrong_pins']} wrong PINs locked it")
        if row["wrong_pins"] > max(attempts):
            found.append(f"{row['wrong_pins']} wrong PINs were counted")
        for line in walk.lines:
            if line["kind"] == "expire":
                if line["effective_at"] != row["expires_at"]:
                    found.append(f"line {line['seq']} lets it expire at another moment than its own")
            elif row["expires_at"] is not None and line["effective_at"] >= row["expires_at"]:
                found.append(f"line {line['seq']} was {line['kind']} after its end")
            if not any(_lets(one.gift_cards or {}, line) for one in versions):
                found.append(
                    f"no version of its programme lets line {line['seq']} {line['kind']} {line['amount_minor']}"
                )
        return found

    # ---- the side of the events

    def on_moved(self, n: int | None, envelope: Envelope, event: GiftCardMoved) -> None:
        """What moved money of a card."""
        of_a_use = event.kind in OF_A_USE
        self._told.theirs(
            (
                binary(event.posting_id),
                (
                    envelope.type, binary(event.card_id), event.moved.amount_minor, event.balance.amount_minor,
                    None if event.use_id is None else binary(event.use_id), event.effective_at, event.posted_at,
                    (event.merchant, event.bill_ref) if of_a_use else None,
                ),
            )
        )  # fmt: skip

    def on_changed(self, n: int | None, envelope: Envelope, event: GiftCardChanged) -> None:
        """A card was issued or voided. Of blocks and locks, which come and go, only the count is held, by sequence:redeem."""
        if envelope.type in {"gift_card.issued.v1", "gift_card.voided.v1"}:
            row = (envelope.type, event.programme, event.amount.amount_minor)
            self._told.theirs((binary(event.card_id), row))


def _luhn(serial: str) -> bool:
    digits = [int(letter) for letter in reversed(serial)]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + doubled) % 10 == 0


def _loads(rules: Mapping[str, Any], amount: int) -> bool:
    if rules.get("denominations") is not None:
        return amount in rules["denominations"]
    span = rules["amounts"]
    return bool(
        span["least_minor"] <= amount <= span["most_minor"] and amount % (span.get("step_minor") or 1) == 0
    )


def _lets(rules: Mapping[str, Any], line: Any) -> bool:
    """Whether these rules let money be loaded again, or given back, as a line does."""
    match line["kind"]:
        case "reload":
            return bool(rules.get("reloadable")) and _loads(rules, line["amount_minor"])
        case "refund":
            return rules.get("refundable") is not False
    return True


def _ends_rightly(terms: Terms, activated_at: datetime, expires_at: datetime | None) -> bool:
    months = (terms.gift_cards or {}).get("valid_months") or "unlimited"
    if months == "unlimited" or expires_at is None:
        return months == "unlimited" and expires_at is None
    day = terms.local_day(activated_at)
    years, month = divmod(day.month - 1 + int(months), 12)
    year = day.year + years
    last = date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
    return terms.local_day(expires_at - MOMENT) <= last < terms.local_day(expires_at)
