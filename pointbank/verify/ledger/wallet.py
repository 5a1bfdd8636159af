"""One wallet's lines replayed from nothing: what its row, its lots and its hashes must then be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from pointbank.verify.ledger.canonical import (
    ACTIVE,
    BEGINNING,
    BUCKETS,
    IN_LOTS,
    KINDS,
    LAYOUT,
    MOVES,
    NAMES_NO_LOT,
    NEVER_NEGATIVE,
    NEVER_POSITIVE,
    NOTHING,
    OPENING,
    PASSIVE,
    RENEWING,
    SPENDING,
    TOGETHER,
    VERSION,
    micros,
)
from pointbank.verify.matching import told

_pack = LAYOUT.pack
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
_SHORTEST_SILENCE = timedelta(days=28)
"""The shortest month: before that none has ended anything."""


class LotLine(NamedTuple):
    """A line's part for its lot."""

    seq: int
    kind: str
    points: int
    posting_id: bytes
    effective_at: datetime


class Release(NamedTuple):
    """Held points of a lot that were set free, and what was available of it before."""

    seq: int
    at: datetime
    available: int


class Gone(NamedTuple):
    """A line by which points of a lot expired, and when the wallet's member had been active by then."""

    seq: int
    lot_id: bytes
    points: int
    at: datetime
    posted_at: datetime
    active_at: datetime | None


class Spent(NamedTuple):
    """A line by which points were spent, given away or taken so long after their member had last been active by then that silence
    may have ended them. None: by the wallet's own lines never; they were merged into it."""

    seq: int
    at: datetime
    posted_at: datetime
    active_at: datetime | None


class Back(NamedTuple):
    """A line by which expired points of a lot came back, for what a till that could not ask had spent of it."""

    seq: int
    lot_id: bytes
    points: int
    at: datetime
    redemption_id: bytes


class LotWalk:
    """What the lines that name a lot did to it."""

    __slots__ = (
        "available",
        "expired",
        "held",
        "latest_spent",
        "opened",
        "opened_in",
        "owed",
        "reinstated",
        "releases",
        "renewed",
        "reserved",
        "reversed",
        "source_id",
        "voided_at",
        "went_at",
    )

    def __init__(self, opened: LotLine | None, source_id: bytes, opened_in: bytes) -> None:
        self.opened = opened
        self.opened_in = opened_in  # this wallet, whichever has the lot by now
        self.source_id = source_id
        self.available = self.held = self.reserved = 0
        self.expired = self.reversed = self.owed = 0
        self.renewed = self.reinstated = False
        self.releases: list[Release] = []
        """Until a person brought something back: then its end is what that person said."""
        self.went_at: datetime | None = None
        self.voided_at: datetime | None = None
        self.latest_spent: datetime | None = None


class Posting:
    """The lines of one posting, as far as they have come."""

    __slots__ = (
        "balance",
        "debt",
        "effective_at",
        "incoming",
        "kind",
        "kinds",
        "lots",
        "points",
        "posted_at",
        "posting_id",
        "source_id",
    )

    def __init__(self, posting_id: bytes, kind: str, source_id: bytes) -> None:
        self.posting_id, self.kind, self.source_id = posting_id, kind, source_id
        self.points = self.debt = 0
        self.incoming = False
        self.kinds: dict[str, int] = {}
        self.lots: list[tuple[bytes, int, int]] = []
        self.effective_at = self.posted_at = _BEFORE_ALL
        self.balance = (0, 0, 0)


class WalletWalk:
    """A wallet while its lines go by. Problems are (check, what is wrong)."""

    def __init__(self, wallet_id: bytes) -> None:
        self.wallet_id = wallet_id
        self.seq = 0
        self.head = BEGINNING
        self.posted_at = _BEFORE_ALL
        self.last_active_at: datetime | None = None
        self.buckets = dict.fromkeys(BUCKETS, 0)
        self.lots: dict[bytes, LotWalk] = {}
        self.postings: list[Posting] = []
        self.problems: list[tuple[str, str]] = []
        self.gone: list[Gone] = []
        self.spent: list[Spent] = []
        self.elsewhere_at: datetime | None = None
        self.back: list[Back] = []
        self.unopened: list[tuple[int, bytes]] = []
        """Lines whose lots were not opened here: in the wallet that was merged into this one, or nowhere."""

    def line(self, row: Any) -> None:
        """The next line, in the order of the columns of the query."""
        (
            _, seq, posting_id, kind, source, target, points, money_minor, lot_id, source_id, effective_at, posted_at,
            available, held, reserved, debt, hash_,
        ) = row  # fmt: skip
        problem = self.problems.append
        if seq != self.seq + 1:
            problem(("chain", f"line {seq} follows {self.seq}"))
        self.seq = seq
        if posted_at <= self.posted_at:
            problem(("chain", f"line {seq} was posted at {posted_at}, the one before at {self.posted_at}"))
        self.posted_at = posted_at
        computed = sha256(
            _pack(
                VERSION, self.head, self.wallet_id, seq, posting_id, KINDS[kind], BUCKETS[source], BUCKETS[target], points,
                money_minor, lot_id or NOTHING, source_id or NOTHING, micros(effective_at), micros(posted_at), available,
                held, reserved, debt,
            )
        ).digest()  # fmt: skip
        if computed != hash_:
            problem(("chain", f"line {seq}: its hash is not that of its bytes"))
        self.head = hash_
        buckets = self.buckets
        buckets[source] -= points
        buckets[target] += points
        if (
            buckets["available"] != available
            or buckets["held"] != held
            or buckets["reserved"] != reserved
            or buckets["debt"] != debt
        ):
            problem(("balances", f"line {seq}: the balances after it are not the sums"))
        if available < 0 or held < 0 or reserved < 0 or debt > 0 or buckets["issued"] > 0 or points <= 0:
            problem(("balances", f"line {seq} leaves a bucket on the wrong side of zero"))
        if (source, target) not in MOVES[kind]:
            problem(("balances", f"line {seq}: {kind} does not move {source} to {target}"))
        # What a person brings back has that act's id for its source, and another end; what had been spent keeps its own.
        late_spent = kind == "reinstate" and source_id not in {None, posting_id}
        silent_since = self.last_active_at
        if (
            source == "available" and kind in SPENDING
            and (silent_since is None or effective_at - silent_since >= _SHORTEST_SILENCE)
        ):  # fmt: skip
            self.spent.append(Spent(seq, effective_at, posted_at, silent_since))
        if (target in ACTIVE and kind not in PASSIVE and not late_spent) and (
            self.last_active_at is None or effective_at > self.last_active_at
        ):
            self.last_active_at = effective_at
        self._to_lot(
            seq, posting_id, kind, source, target, points, lot_id, source_id, effective_at, late_spent
        )
        self._to_posting(
            posting_id,
            kind,
            points,
            money_minor,
            lot_id,
            source_id,
            effective_at,
            posted_at,
            available,
            held,
            reserved,
            debt,
            target,
        )

    def _to_lot(
        self,
        seq: int,
        posting_id: bytes,
        kind: str,
        source: str,
        target: str,
        points: int,
        lot_id: bytes | None,
        source_id: bytes | None,
        effective_at: datetime,
        late_spent: bool,
    ) -> None:
        if lot_id is None:
            if kind not in NAMES_NO_LOT:
                self.problems.append(("lots", f"line {seq} names no lot"))
            return
        lot = self.lots.get(lot_id)
        if lot is None:
            # A return opens one for points that are to live longer: what it says of that is compared elsewhere.
            opens = kind != "merge" and (source in OPENING or kind == "return")
            if not opens:
                self.unopened.append((seq, lot_id))
            opened = LotLine(seq, kind, points, posting_id, effective_at) if opens else None
            lot = self.lots[lot_id] = LotWalk(opened, source_id or NOTHING, self.wallet_id)
        elif source in OPENING and kind != "merge":
            self.problems.append(("lots", f"line {seq} opens lot {told(lot_id)} once more"))
        if kind == "release" and not lot.reinstated:
            lot.releases.append(Release(seq, effective_at, lot.available))
        if source in IN_LOTS:
            setattr(lot, source, getattr(lot, source) - points)
            if getattr(lot, source) < 0:
                self.problems.append(("lots", f"line {seq} takes more than lot {told(lot_id)} has there"))
        if target in IN_LOTS:
            setattr(lot, target, getattr(lot, target) + points)
        lot.renewed = lot.renewed or (kind in RENEWING and not late_spent)
        lot.reinstated = lot.reinstated or (kind == "reinstate" and not late_spent)
        if kind == "expire":
            lot.went_at = effective_at
            self.gone.append(Gone(seq, lot_id, points, effective_at, self.posted_at, self.last_active_at))
        elif late_spent:
            assert source_id is not None
            self.back.append(Back(seq, lot_id, points, effective_at, source_id))
        elif kind == "void":
            lot.voided_at = effective_at
        lot.expired += points * ((target == "expired") - (source == "expired"))
        if lot.expired < 0 and lot.opened is not None and lot.opened.kind != "return":
            self.problems.append(("lots", f"line {seq} reinstates more than expired of lot {told(lot_id)}"))
        if source == "debt" and kind == "owe":
            lot.owed += points
        elif target == "reversed":
            lot.reversed += points
        if (
            source == "available"
            and kind in {"redeem", "reserve"}
            and (lot.latest_spent is None or effective_at > lot.latest_spent)
        ):
            lot.latest_spent = effective_at

    def _to_posting(
        self,
        posting_id: bytes,
        kind: str,
        points: int,
        money_minor: int,
        lot_id: bytes | None,
        source_id: bytes | None,
        effective_at: datetime,
        posted_at: datetime,
        available: int,
        held: int,
        reserved: int,
        debt: int,
        target: str,
    ) -> None:
        if not self.postings or self.postings[-1].posting_id != posting_id:
            self.postings.append(Posting(posting_id, kind, source_id or NOTHING))
        posting = self.postings[-1]
        if kind not in TOGETHER.get(posting.kind, {posting.kind}):
            self.problems.append(
                ("balances", f"posting {told(posting_id)} is {posting.kind} and {kind} at once")
            )
        posting.incoming = target == "available"
        posting.points += points
        posting.kinds[kind] = posting.kinds.get(kind, 0) + points
        posting.debt = debt
        posting.lots.append((lot_id or NOTHING, points, money_minor))
        posting.effective_at, posting.posted_at = effective_at, posted_at
        posting.balance = (available, held, reserved)

    def active_elsewhere(self, at: datetime | None) -> None:
        """Its member was active then before there was this ledger, as was said with a balance that was brought along."""
        self.elsewhere_at = at
        if at is not None and (self.last_active_at is None or at > self.last_active_at):
            self.last_active_at = at

    def against_row(self, row: Any, *, last_active_at: datetime | None = None) -> Iterator[tuple[str, str]]:
        """What of the wallet's own row is not what its lines come to. `last_active_at`: where others were merged into it, theirs or
        its own, whichever was later."""
        active = last_active_at or self.last_active_at
        for bucket in BUCKETS:
            if row[bucket] != self.buckets[bucket]:
                yield "balances", f"{bucket} is {row[bucket]}, its lines come to {self.buckets[bucket]}"
        if any(row[bucket] < 0 for bucket in NEVER_NEGATIVE) or any(
            row[bucket] > 0 for bucket in NEVER_POSITIVE
        ):
            yield "balances", "a bucket is on the wrong side of zero"
        if sum(row[bucket] for bucket in BUCKETS) != 0:
            yield "balances", "its buckets do not sum to zero"
        if row["seq"] != self.seq:
            yield "chain", f"it counts {row['seq']} lines, the last is {self.seq}"
        if row["last_active_at"] != active:
            yield (
                "balances",
                f"its member was last active at {row['last_active_at']}, its lines and openings say {active}",
            )
        if row["head"] != self.head:
            yield "chain", "its head is not the hash of its last line"
        if self.seq and row["last_posted_at"] != self.posted_at:
            yield (
                "chain",
                f"it was last posted to at {row['last_posted_at']}, its last line says {self.posted_at}",
            )

    def against_lots(self, rows: list[Any], *, may_idle: bool = True) -> Iterator[str]:
        """What of the wallet's lots is not what the lines that name them come to. `may_idle`: a balance of this programme may
        expire before its lots do, when its member is not active."""
        kept = {row["lot_id"]: row for row in rows}
        if len(kept) != len(rows):
            yield "a lot stands there twice"
        for seq, lot_id in self.unopened:
            if self.lots[lot_id].opened is None:
                yield f"line {seq} takes from lot {told(lot_id)}, which nothing opened"
        for lot_id in self.lots.keys() - kept.keys():
            yield f"lot {told(lot_id)} is named by lines and is not there"
        for lot_id, row in kept.items():
            lot = self.lots.get(lot_id)
            if lot is None or lot.opened is None:
                yield f"lot {told(lot_id)} was opened by no line"
                continue
            line = lot.opened
            if (row["points"], row["accrual_id"], row["source_id"] or NOTHING, row["earned_at"]) != (
                line.points,
                line.posting_id,
                lot.source_id,
                line.effective_at,
            ):
                yield f"lot {told(lot_id)} is not what line {line.seq} opened"
            if (row["held"], row["reserved"]) != (lot.held, lot.reserved):
                yield f"lot {told(lot_id)}: held and reserved are not what its lines come to"
            if (row["expired"], row["reversed"], row["owed"]) != (lot.expired, lot.reversed, lot.owed):
                yield (
                    f"lot {told(lot_id)}: {row['expired']} expired, {row['reversed']} reversed, {row['owed']} owed; "
                    f"its lines say {lot.expired}, {lot.reversed}, {lot.owed}"
                )
            if lot.owed > row["points"]:
                yield f"lot {told(lot_id)}: {lot.owed} are owed of {row['points']} points"
            if row["expires_at"] != row["first_expires_at"] and not lot.renewed:
                yield f"lot {told(lot_id)} expires at {row['expires_at']}, and nothing renewed it since {row['first_expires_at']}"
            if (
                lot.went_at is not None
                and not lot.renewed
                and lot.went_at != row["expires_at"]
                # What was set aside outlives its lot, and goes when it comes back.
                and (
                    lot.went_at != lot.voided_at
                    or row["expires_at"] is None
                    or lot.went_at < row["expires_at"]
                )
                and not may_idle
            ):
                yield f"lot {told(lot_id)} went at {lot.went_at}, it was to expire at {row['expires_at']}"
            yield from _descends(lot_id, row, lot, self.lots.get(row["parent_lot"]))
            remaining = lot.available + lot.held + lot.reserved
            if row["remaining"] != remaining or not 0 <= remaining <= row["points"]:
                yield f"lot {told(lot_id)}: {row['remaining']} remain, its lines leave {remaining}"
            if (
                row["expires_at"] is not None
                and lot.latest_spent is not None
                and lot.latest_spent >= row["expires_at"]
            ):
                yield f"lot {told(lot_id)} was spent at {lot.latest_spent}, it expired at {row['expires_at']}"
        usable = sum(self.buckets[bucket] for bucket in IN_LOTS)
        remaining = sum(row["remaining"] for row in rows)
        if usable != remaining:
            yield f"available, held and reserved are {usable}, its lots hold {remaining}"


def _descends(lot_id: bytes, row: Any, lot: LotWalk, parent: LotWalk | None) -> Iterator[str]:
    """Whether a lot that came from another wallet says so, and lives no longer than what it was made of. `parent`: that, where the
    wallet, or one that was merged into it since, opened it."""
    assert lot.opened is not None
    opened = lot.opened
    given = opened.kind == "transfer" and row["given"]
    if given and row["parent_lot"] is None:
        yield f"lot {told(lot_id)} was given and names no lot that it was made of"
    if row["given"] and opened.kind != "transfer":
        yield f"lot {told(lot_id)} was given, and opened by {opened.kind}"
    if given and row["parent_lot"] is not None:
        came_from = row["parent_wallet"] if parent is None else parent.opened_in
        if came_from in (None, lot.opened_in):
            yield f"lot {told(lot_id)} was made of a lot that is not another wallet's"
        elif row["first_expires_at"] != row["parent_expires_at"] and not row["parent_changed"]:
            yield f"lot {told(lot_id)} expires at {row['first_expires_at']}, what it was made of at {row['parent_expires_at']}"
