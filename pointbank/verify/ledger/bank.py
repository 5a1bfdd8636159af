"""The bank: every wallet replayed from its lines, and each posting against what asked for it and what was told of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pointbank.verify.books import Books, Follower
from pointbank.verify.events import (
    Asked,
    Balance,
    Envelope,
    PointsAccrued,
    PointsExpiring,
    PointsMerged,
    Posted,
    Released,
    Returned,
    ReversalRefused,
    Reversed,
    Worth,
    binary,
    home_of,
)
from pointbank.verify.ledger.adjustments import Adjustments
from pointbank.verify.ledger.canonical import NOTHING
from pointbank.verify.ledger.merged import Families, Family, Held
from pointbank.verify.ledger.requests import Requests
from pointbank.verify.ledger.revived import revived
from pointbank.verify.ledger.silence import Silences
from pointbank.verify.ledger.snapshots import NONE_CLOSED, MonthsWalk, orphan, read_closings
from pointbank.verify.ledger.wallet import Posting, WalletWalk
from pointbank.verify.matching import told
from pointbank.verify.programme.numbers import MOST_MINOR, minor_per_point, money_of
from pointbank.verify.reading import of_the_books, said_of
from pointbank.verify.spending.redemptions import Redemptions, Taken

TOLD = {
    "earn": "points.credited.v1",
    "earn_held": "points.credited.v1",
    "redeem": "points.redeemed.v1",
    "overdraw": "points.redeemed.v1",
    "expire": "points.expired.v1",
    "reserve": "points.reserved.v1",
    "void": "points.voided.v1",
    "return": "points.returned.v1",
    "opening": "points.credited.v1",
    "release": "points.released.v1",
    "cancel_hold": "points.reversed.v1",
    "reverse": "points.reversed.v1",
    "owe": "points.reversed.v1",
    "repay": "points.repaid.v1",
    "transfer": "points.transferred.v1",
    "adjust": "points.adjusted.v1",
    "reinstate": "points.reinstated.v1",
    "merge": "points.merged.v1",
}
"""Kinds of posting that are told, and how. Others come with their services."""
EARNED = frozenset({"earn", "earn_held"})


class Bank:
    """The ledger's side, and the side of the events about points."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._told = books.match(
            "postings:told", 5, "each posting has one event, with the points, lots and balance of its lines",
            ("type", "kind", "wallet", "member", "programme", "points", "effective_at", "posted_at", "balance", "lots"),
            ours="the ledger", theirs="the events",
        )  # fmt: skip
        self._known = books.match(
            "postings:once", 1, "each posting id is kept once, for the wallet, kind and points of its lines",
            ("wallet", "kind", "points"), ours="the ledger", theirs="the posting ids",
        )  # fmt: skip
        self._posted = books.match(
            "accruals:posted", 1, "each accrual that the bank heard is posted once, lot by lot",
            ("kind", "wallet", "member", "programme", "source", "effective_at", "points", "lots"),
            ours="the events", theirs="the ledger",
        )  # fmt: skip
        self._redemptions = Redemptions(books)
        self._money = books.check(
            "ledger:money", 8, "points are worth what a version of their programme says, in whole minor units"
        )
        self._silences = Silences(books)
        self._requests = Requests(books)
        self._adjustments = Adjustments(books)
        self._idle = {
            terms.code for terms in books.terms.values() if terms.expiry.get("policy") == "inactivity"
        }
        self._transfers = books.match(
            "transfers", 2, "what one wallet gave another received, lot by lot",
            ("programme", "points", "lots"), ours="the givers", theirs="the receivers",
        )  # fmt: skip
        self._merges = books.match(
            "merges:moved", 2, "all that one wallet had when it was merged its heir received, lot by lot and bucket by bucket",
            ("programme", "points", "parts"), ours="the merged", theirs="the heirs",
        )  # fmt: skip
        self._notices = books.match(
            "notices:told", 6, "members are told once of points that expire, and so many days before",
            ("points",), ours="the notices", theirs="the events",
        )  # fmt: skip
        self._rates: dict[str, set[tuple[int, int]]] = {}
        for terms in books.terms.values():
            self._rates.setdefault(terms.code, set()).add(terms.per_point.as_integer_ratio())

    # ---- the side of the ledger

    async def walk(self) -> None:
        """Every wallet with its lines and lots."""
        books, snapshot = self._books, self._books.snapshot
        self._chain = books.check(
            "ledger:chain", 4, "seq has no gap, posted_at rises, each hash is that of its bytes"
        )
        self._balances = books.check(
            "ledger:balances", 2, "each wallet's buckets are the sums of its lines, and sum to zero"
        )
        self._lots = books.check(
            "ledger:lots", 3, "each line names its lot; each lot holds what its lines left in it"
        )
        self._revived = books.check(
            "ledger:revived",
            3,
            "what a release finds over of its lot is over, and not released with the rest; what was released ends no earlier, and "
            "no lot when neither a release nor a person says",
        )
        self._born = books.check("wallets:born", 5, "each wallet is its member's, as members gave it out")
        self._past = books.check(
            "ledger:snapshots", 8, "what past balances begin from is what the lines of closed months come to"
        )
        self._checks = {"chain": self._chain, "balances": self._balances, "lots": self._lots}
        closings = NONE_CLOSED
        with books.reading("closed months"):
            closings, problems = read_closings(await snapshot.rows("ledger/bank.sql", "closings"))
            for problem in problems:
                self._past.wrong(problem)
        self._wallets = Follower(snapshot, "ledger/bank.sql", "wallets")
        self._lot_rows = Follower(snapshot, "ledger/bank.sql", "lots")
        self._snapshots = Follower(snapshot, "ledger/bank.sql", "snapshots")
        self._strays = Follower(snapshot, "ledger/bank.sql", "strays")
        self._redemptions.begin()
        self._families = Families(books.merges)
        current: MonthsWalk | None = None
        async for page in snapshot.pages("ledger/bank.sql", "lines"):
            books.progress("ledger lines")
            last = page[-1]["wallet_id"]
            await self._wallets.fill(last)
            await self._lot_rows.fill(last)
            await self._snapshots.fill(last)
            await self._strays.fill(last)
            await self._redemptions.fill(last)
            self._chain.compared += len(page)
            for row in page:
                wallet_id = row[0]
                if current is None or current.walk.wallet_id != wallet_id:
                    if current is not None:
                        self._finish(current)
                    current = MonthsWalk(closings, wallet_id)
                try:
                    current.line(row)
                except Exception as error:
                    if not of_the_books(error):
                        raise
                    self._chain.wrong(f"wallet {told(wallet_id)}, line {row[1]}: {said_of(error)}")
            for row in self._wallets.passed():
                self._lineless(row)
        if current is not None:
            self._finish(current)
        for family in self._families.families():
            with books.reading("the wallets that became", family.heir):
                self._finish_family(family)
        await self._without_lines()
        await self._heirs()
        async with books.part("posting ids"):
            async for page in snapshot.pages("ledger/bank.sql", "postings"):
                for row in page:
                    self._known.theirs(tuple(row))
        async with books.part("redemptions"):
            await self._redemptions.walk()
        async with books.part("requests"):
            await self._requests.walk()
        async with books.part("adjustments"):
            await self._adjustments.walk()
        async for page in snapshot.pages("ledger/bank.sql", "notices"):
            for row in page:
                self._notices.ours((tuple(row[:3]), row["points"]))

    async def _heirs(self) -> None:
        books, merges = self._books, self._books.merges
        check = books.check(
            "merges:kept", 1, "what is posted for a merged wallet is looked up to the end of its chain"
        )
        kept = {row[0]: row[1] for row in await books.snapshot.rows("ledger/bank.sql", "heirs")}
        check.compared = len(merges.into)
        for wallet_id in merges.into.keys() | kept.keys():
            heir = merges.heir(wallet_id) if wallet_id in merges.into else None
            if kept.get(wallet_id) != heir:
                check.wrong(f"wallet {told(wallet_id)} is led to another than it was merged into")

    def _finish(self, months: MonthsWalk) -> None:
        with self._books.reading("wallet", months.walk.wallet_id):
            self._against_books(months)

    def _against_books(self, months: MonthsWalk) -> None:
        walk = months.walk
        wallet_id, wallet = walk.wallet_id, f"wallet {told(walk.wallet_id)}"
        for where, problem in walk.problems:
            self._checks[where].wrong(f"{wallet}: {problem}")
        self._balances.compared += 1
        rows = self._wallets.take(wallet_id)
        for row in rows:
            walk.active_elsewhere(row["active_elsewhere_at"])
        lots = self._lot_rows.take(wallet_id)
        self._lots.compared += len(lots)
        snapshots, strays = self._snapshots.take(wallet_id), self._strays.take(wallet_id)
        self._past.compared += len(snapshots) + len(strays)
        for problem in months.against(snapshots, strays):
            self._past.wrong(f"{wallet}: {problem}")
        of_redemptions = self._redemptions.take(wallet_id)
        if wallet_id in self._families:
            self._families.hold(Held(months, rows, lots, of_redemptions))
            return
        self._against_lots(walk, rows, lots)
        if self._against_row(walk, rows):
            self._redemptions.wallet(walk, lots, rows[0]["reserved"], of_redemptions)
            self._postings(walk, rows[0], lots)

    def _finish_family(self, family: Family) -> None:
        """A lot that was moved is opened in one wallet and used in another: the family's lots and redemptions are one wallet's."""
        for where, problem in family.problems():
            self._checks[where].wrong(problem)
        together = family.walk()
        rows = [row for one in family.held for row in one.rows]
        self._against_lots(together, rows[:1], family.lots)
        self._redemptions.wallet(
            together, family.lots, family.reserved, Taken.of([one.of_redemptions for one in family.held])
        )
        for one in family.held:
            walk = one.months.walk
            if self._against_row(walk, one.rows, last_active_at=family.last_active_at(one.wallet_id)):
                self._postings(walk, one.rows[0], family.lots)

    def _against_lots(self, walk: WalletWalk, rows: list[Any], lots: list[Any]) -> None:
        may_idle = len(rows) == 1 and rows[0]["programme"] in self._idle
        for problem in walk.against_lots(lots, may_idle=may_idle):
            self._lots.wrong(f"wallet {told(walk.wallet_id)}: {problem}")
        if may_idle:
            self._silences.wallet(walk, rows[0]["programme"], lots)
        released = [(row, walk.lots[row["lot_id"]]) for row in lots if row["lot_id"] in walk.lots]
        for row, lot in released if rows else ():
            self._revived.compared += 1
            changed = lot.releases or row["expires_at"] != row["first_expires_at"]
            returned = lot.opened is not None and lot.opened.kind == "return"
            versions = self._books.versions_of(rows[0]["programme"]) if changed or returned else []
            for problem in revived(row["lot_id"], row, lot, versions):
                self._revived.wrong(f"wallet {told(walk.wallet_id)}: {problem}")

    def _against_row(
        self, walk: WalletWalk, rows: list[Any], *, last_active_at: datetime | None = None
    ) -> bool:
        """Whether the wallet has one row."""
        wallet = f"wallet {told(walk.wallet_id)}"
        if len(rows) != 1:
            self._balances.wrong(f"{wallet} has lines and no row")
            return False
        for where, problem in walk.against_row(rows[0], last_active_at=last_active_at):
            self._checks[where].wrong(f"{wallet}: {problem}")
        self._check_born(wallet, rows[0])
        return True

    def _postings(self, walk: WalletWalk, row: Any, lots: list[Any]) -> None:
        of_acts = {lot["lot_id"] for lot in lots if lot["by_act"]}
        expiries = {lot["lot_id"]: lot["first_expires_at"] for lot in lots}
        parents = {lot["lot_id"]: lot["parent_lot"] for lot in lots}
        ended = walk.wallet_id in self._books.merges.into
        for posting in walk.postings:
            self._posting(walk.wallet_id, row, posting, expiries, of_acts)
            if posting.kind == "transfer":
                self._transfer(row, posting, parents)
            elif posting.kind == "adjust":
                self._adjustments.on_posting(walk.wallet_id, posting, expiries)
            elif posting.kind == "reinstate" and posting.source_id in {posting.posting_id, NOTHING}:
                self._adjustments.on_reinstated(walk.wallet_id, posting)
            elif posting.kind == "merge":
                last = ended and posting is walk.postings[-1]
                side = self._merges.ours if last else self._merges.theirs
                parts = tuple([(lot_id, points) for lot_id, points, _ in posting.lots])
                side(((posting.source_id, row["programme"]), row["programme"], posting.points, parts))

    def _transfer(self, row: Any, posting: Posting, parents: dict[bytes, Any]) -> None:
        if posting.incoming:
            lots = tuple([(parents.get(lot_id) or b"", points) for lot_id, points, _ in posting.lots])
            self._transfers.theirs((posting.source_id, row["programme"], posting.points, lots))
        else:
            lots = tuple([(lot_id, points) for lot_id, points, _ in posting.lots])
            self._transfers.ours((posting.source_id, row["programme"], posting.points, lots))

    def _check_born(self, wallet: str, row: Any) -> None:
        self._born.compared += 1
        if (row["member_id"], row["programme"]) != (row["born_member_id"], row["born_programme"]):
            self._born.wrong(
                f"{wallet} is {row['member_id']}'s in {row['programme']}; "
                f"members gave it to {row['born_member_id']} in {row['born_programme']}"
            )

    def _posting(
        self, wallet_id: bytes, row: Any, posting: Posting, expiries: dict[bytes, Any], of_acts: set[bytes]
    ) -> None:
        kind = posting.kind
        self._known.ours((posting.posting_id, wallet_id, kind, posting.points))
        if kind in TOLD:
            balance: tuple[int, ...] = posting.balance
            if kind == "repay":
                balance = (*balance, -posting.debt)
            self._told.ours(
                (
                    posting.posting_id, TOLD[kind], kind, wallet_id, row["member_id"], row["programme"], _told_points(posting),
                    posting.effective_at, posting.posted_at, balance,
                    tuple([(lot_id, points) for lot_id, points, _ in posting.lots if lot_id != NOTHING]),
                )
            )  # fmt: skip
        for _, points, money in posting.lots:
            self._worth(row["programme"], points, money, posting.posting_id)
        if kind in EARNED:
            self._posted.theirs(
                (
                    posting.posting_id, kind, *self._now(wallet_id, row["member_id"]), row["programme"],
                    ("act" if posting.lots[0][0] in of_acts else "bill", posting.source_id),
                    posting.effective_at, posting.points,
                    tuple([(lot_id, points, money, expiries.get(lot_id)) for lot_id, points, money in posting.lots]),
                )
            )  # fmt: skip

    def _now(self, wallet_id: bytes, member_id: str) -> tuple[bytes, str]:
        """A wallet and its member, as they are after every merge: an accrual may come before and after one."""
        return self._books.merges.heir(wallet_id), self._books.merges.person(member_id)

    def _worth(self, programme: str, points: int, money_minor: int, posting_id: bytes) -> None:
        self._money.compared += 1
        for minor, per in self._rates.get(programme, ()):
            if min(points * minor // per, MOST_MINOR) == money_minor:
                return
        self._money.wrong(
            f"posting {told(posting_id)}: {points} points of {programme} are not worth {money_minor}"
        )

    async def _without_lines(self) -> None:
        for follower, what in ((self._snapshots, "snapshot"), (self._strays, "stray")):
            async for row in follower.rest():
                self._past.wrong(orphan(row, what))
        async for lot in self._lot_rows.rest():
            self._lots.wrong(f"wallet {told(lot['wallet_id'])} has a lot and no line")
        async for row in self._wallets.rest():
            self._lineless(row)

    def _lineless(self, row: Any) -> None:
        self._balances.compared += 1
        with self._books.reading("wallet", row["wallet_id"]):
            wallet = f"wallet {told(row['wallet_id'])}"
            for _, problem in WalletWalk(row["wallet_id"]).against_row(row):
                self._balances.wrong(f"{wallet} without lines: {problem}")
            self._check_born(wallet, row)

    # ---- the side of the events

    def on_accrued(self, n: int | None, envelope: Envelope, event: PointsAccrued) -> None:
        """points.accrued: the bank posts it once it has heard it."""
        heard = self._books.heard["earn", "redeem"]
        if not heard.applied(n):
            self._posted.check.note("dead letters" if n in heard.dead else "not heard yet")
            return
        per = minor_per_point(event.point_value, event.currency)
        self._posted.ours(
            (
                binary(event.accrual_id), event.kind, *self._now(binary(event.wallet_id), event.member_id), event.programme,
                _source(event), event.effective_at, event.points,
                tuple([(binary(lot.lot_id), lot.points, money_of(lot.points, per), lot.expires_at) for lot in event.lots]),
            )
        )  # fmt: skip

    def on_posted(self, n: int | None, envelope: Envelope, event: Posted) -> None:
        """Whatever moved points and is told with its posting's kind."""
        moved = (
            event.credited
            or event.redeemed
            or event.expired
            or event.repaid
            or event.reserved
            or event.voided
        )
        moved = moved or event.transferred or event.adjusted or event.reinstated
        if event.redemption_id is not None and (event.redeemed or event.reserved) is not None:
            self._redemptions.on_told(event)
        elif moved is not None:
            self._worth(event.programme, moved.points, moved.money.amount_minor, binary(event.posting_id))
        if event.programme_version is not None:
            self._silences.on_expired(event, event.programme_version)
        balance = _balance(event.balance)
        if event.debt is not None:
            balance = (*balance, event.debt.points)
        self._told.theirs(
            (
                binary(event.posting_id), envelope.type, event.kind, home_of(event), event.member_id, event.programme,
                None if moved is None else moved.points, event.effective_at, event.posted_at,
                balance, tuple([(binary(lot.lot_id), lot.points) for lot in event.lots]),
            )
        )  # fmt: skip

    def on_asked(self, n: int | None, envelope: Envelope, event: Asked) -> None:
        """points.release_requested, points.reversal_requested."""
        self._requests.on_asked(n, event)

    def on_released(self, n: int | None, envelope: Envelope, event: Released) -> None:
        """points.released."""
        self._requests.on_released(event)
        self._answered(envelope, "release", event, event.released.points)
        self._worth_of(event.programme, event.request_id, event.released)

    def on_reversed(self, n: int | None, envelope: Envelope, event: Reversed) -> None:
        """points.reversed."""
        self._requests.on_reversed(event)
        kind = "cancel_hold" if event.hold_cancelled.points else "reverse" if event.reversed.points else "owe"
        points = event.hold_cancelled.points + event.reversed.points + event.owed.points
        self._answered(envelope, kind, event, points)
        self._worth_of(event.programme, event.request_id, event.hold_cancelled, event.reversed, event.owed)

    def on_refused(self, n: int | None, envelope: Envelope, event: ReversalRefused) -> None:
        """points.reversal_refused."""
        self._requests.on_refused(event)

    def on_merged(self, n: int | None, envelope: Envelope, event: PointsMerged) -> None:
        """points.merged: one for each side; without a posting where there was nothing."""
        self._worth_of(event.programme, event.merge_id, event.merged)
        if event.posting_id is None:
            return
        self._told.theirs(
            (
                binary(event.posting_id), envelope.type, "merge", binary(event.wallet_id), event.member_id, event.programme,
                event.merged.points, event.effective_at, event.posted_at, _balance(event.balance),
                tuple([(binary(lot.lot_id), lot.points) for lot in event.lots]),
            )
        )  # fmt: skip

    def on_expiring(self, n: int | None, envelope: Envelope, event: PointsExpiring) -> None:
        """points.expiring."""
        key = (binary(event.wallet_id), event.expires_at, event.days)
        self._notices.theirs((key, event.expiring.points))
        self._worth_of(event.programme, event.wallet_id, event.expiring)

    def _worth_of(self, programme: str, about: str, *moved: Worth) -> None:
        for one in moved:
            self._worth(programme, one.points, one.money.amount_minor, binary(about))

    def _answered(self, envelope: Envelope, kind: str, event: Released | Reversed, points: int) -> None:
        if event.posting_id is None:
            return
        self._told.theirs(
            (
                binary(event.posting_id), envelope.type, kind, home_of(event), event.member_id, event.programme,
                points, event.effective_at, event.posted_at, _balance(event.balance),
                tuple([(binary(lot.lot_id), lot.points) for lot in event.lots]),
            )
        )  # fmt: skip

    def on_returned(self, n: int | None, envelope: Envelope, event: Returned) -> None:
        """points.returned: a return, or the answer that nothing came back."""
        self._redemptions.on_returned(event)
        if (
            event.posting_id is None
            or event.wallet_id is None
            or event.returned is None
            or event.balance is None
        ):
            return
        balance = event.balance
        self._told.theirs(
            (
                binary(event.posting_id), envelope.type, event.kind, binary(event.wallet_id), event.member_id, event.programme,
                event.returned.points, event.effective_at, event.posted_at,
                (balance.available.points, balance.held.points, balance.reserved.points),
                tuple([(binary(lot.lot_id), lot.points) for lot in event.lots]),
            )
        )  # fmt: skip


def _told_points(posting: Posting) -> int:
    """What is told of a posting's points: of a merge those that lie in lots."""
    if posting.kind != "merge":
        return posting.points
    return sum(points for lot_id, points, _ in posting.lots if lot_id != NOTHING)


def _balance(balance: Balance) -> tuple[int, ...]:
    return (balance.available.points, balance.held.points, balance.reserved.points)


def _source(event: PointsAccrued) -> tuple[str, bytes]:
    """What earned points, as the bank is to keep it; nothing where the event names neither or both."""
    if (event.bill_id is None) == (event.act_id is None):
        return "nothing", b""
    return (
        ("bill", binary(event.bill_id)) if event.bill_id is not None else ("act", binary(event.act_id or ""))
    )
