"""Redemptions from their first instant to their last return: each act against its posting, lot by lot, and what was told of it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from pointbank.verify.books import Books, Follower
from pointbank.verify.events import Posted, Returned, binary
from pointbank.verify.ledger.canonical import NOTHING
from pointbank.verify.ledger.wallet import Posting, WalletWalk
from pointbank.verify.matching import told
from pointbank.verify.spending.bill_shares import BillShares
from pointbank.verify.spending.deciding import Deciding
from pointbank.verify.spending.revived import Revived

ACTS = ("reserve", "redeem", "void", "return")
OF_THE_LEDGER = {"overdraw": "redeem", **{act: act for act in ACTS}}
"""A posting's kind -> the act that it is of: one that had nothing to take is a redemption too."""
SETTLED = {None: "authorised", "captured": "captured", "voided": "voided", "expired": "voided"}
"""What became of a reservation -> the status of its redemption."""


class Taken(NamedTuple):
    """What the redemptions of a wallet took of lots, and where returned points went."""

    lots: list[Any]
    back: list[Any]

    @classmethod
    def of(cls, parts: list[Taken]) -> Taken:
        """Of several wallets together."""
        return cls([row for one in parts for row in one.lots], [row for one in parts for row in one.back])


class Redemptions:
    """What the bank's tables say of redemptions, against the ledger and the events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._acts = books.match(
            "redemptions", 3, "each redemption has its postings, and each such posting its redemption", ("wallet", "acts"),
            ours="the redemptions", theirs="the ledger",
        )  # fmt: skip
        self._spent = books.match(
            "redemptions:told", 5, "each redemption has one points.redeemed event, with what the points paid for",
            ("posting", "points", "money", "merchant", "bill_ref"), ours="the redemptions", theirs="the events",
        )  # fmt: skip
        self._set_aside = books.match(
            "reservations:told", 5, "each authorisation has one points.reserved event, with its end",
            ("posting", "points", "money", "merchant", "expires_at"), ours="the reservations", theirs="the events",
        )  # fmt: skip
        self._returned = books.match(
            "returns:told", 5, "each return has one points.returned event",
            ("redemption", "posting", "points", "money", "effective_at", "request"), ours="the returns", theirs="the events",
        )  # fmt: skip
        self._returns = books.match(
            "returns", 3, "each return has its posting, to the lots that it names, and each such posting its return",
            ("redemption", "points", "effective_at", "lots"), ours="the returns", theirs="the ledger",
        )  # fmt: skip
        self._parts = books.match(
            "redemptions:lots", 3, "what was lent, captured, voided and returned of each lot is what its lines say", ("lots",),
            ours="the redemptions", theirs="the ledger",
        )  # fmt: skip
        self._standing = books.match(
            "reservations", 2, "what stands set aside is what the wallets, and each of their lots, have reserved",
            ("reserved",), ours="the reservations", theirs="the wallets and lots",
        )  # fmt: skip
        self._kept = books.check(
            "redemptions:kept",
            3,
            "a redemption's status, times and returned sums fit its reservation and returns",
        )
        self._placed = books.check(
            "redemptions:accepted", 3, "points were spent where their version of the programme takes them"
        )
        self._shares, self._deciding = BillShares(books), Deciding(books)
        self._days = books.check(
            "redemptions:recorded",
            3,
            "each redemption, capture and return stands on the day of its posting in a statement",
        )
        self._overdrawn = books.match(
            "redemptions:overdrawn", 2, "only a till that could not ask overdrew, by what it reported", ("points",),
            ours="the offline redemptions", theirs="the ledger",
        )  # fmt: skip
        self._revived = Revived(books)
        self._allowances = books.check(
            "allowances", 2, "what was spent on an allowance is within its points, place and time"
        )
        self._codes = books.check("reservations:codes", 1, "a code names one redemption")
        self._refunds = books.check(
            "returns:refunds",
            8,
            "of each redemption as much came back as its bill's refund says, of those that it meant",
        )

    # ---- beside the walk over wallets

    def begin(self) -> None:
        """Opens the rows that go by in the order of their wallets."""
        self._lot_rows = Follower(self._books.snapshot, "spending/redemptions.sql", "lots")
        self._back_rows = Follower(self._books.snapshot, "spending/redemptions.sql", "returned_lots")

    async def fill(self, through: bytes) -> None:
        """Reads on to this wallet."""
        await self._lot_rows.fill(through)
        await self._back_rows.fill(through)

    def take(self, wallet_id: bytes) -> Taken:
        """The rows of a wallet, in the order of wallets."""
        return Taken(self._lot_rows.take(wallet_id), self._back_rows.take(wallet_id))

    def wallet(self, walk: WalletWalk, lots: list[Any], reserved: int, taken: Taken) -> None:
        """One wallet, with its lots and its row's reserved points."""
        wallet_id, back = walk.wallet_id, taken.back
        self._revived.wallet(walk)
        moved_from = {
            row["to_lot"]: row["lot_id"] for row in back if row["to_lot"] not in {None, row["lot_id"]}
        }
        listed = {row["redemption_id"] for row in taken.lots}
        by_redemption: dict[bytes, list[Posting]] = defaultdict(list)
        for posting in walk.postings:
            if posting.kind in OF_THE_LEDGER:
                by_redemption[posting.source_id].append(posting)
        for redemption_id, postings in by_redemption.items():
            acts = [one for one in postings if one.kind != "return"]
            self._acts.theirs(
                (
                    redemption_id,
                    wallet_id,
                    tuple(
                        [
                            (OF_THE_LEDGER[one.kind], one.posting_id, one.points, one.effective_at)
                            for one in acts
                        ]
                    ),
                )
            )
            owed = sum(points for one in acts for lot_id, points, _ in one.lots if lot_id == NOTHING)
            if owed:
                self._overdrawn.theirs((redemption_id, owed))
            for one in postings:
                if one.kind == "return":
                    lots_of = tuple(sorted((lot_id, points) for lot_id, points, _ in one.lots))
                    self._returns.theirs(
                        (one.posting_id, redemption_id, one.points, one.effective_at, lots_of)
                    )
            # A return of less than a point's worth has no posting; what was taken of lots is written down by it all the same.
            if redemption_id in listed or any(one.kind in {"reserve", "return"} for one in postings):
                self._parts.theirs((redemption_id, _parts(redemption_id, postings, moved_from)))
        self._of_tables(wallet_id, taken)
        for lot_id, lot in walk.lots.items():
            if lot.opened is not None and lot.opened.kind == "return" and lot_id not in moved_from:
                self._kept.wrong(f"lot {told(lot_id)} was opened by a return that names no lot it came from")
        if reserved:
            self._standing.theirs((wallet_id, reserved))
        for row in lots:
            if row["reserved"]:
                self._standing.theirs((row["lot_id"], row["reserved"]))

    def _of_tables(self, wallet_id: bytes, taken: Taken) -> None:
        parts: dict[bytes, list[tuple[Any, ...]]] = defaultdict(list)
        standing: dict[bytes, int] = defaultdict(int)
        for row in taken.lots:
            parts[row["redemption_id"]].append(
                (row["lot_id"], row["lent"], row["captured"], row["voided"], row["returned"])
            )
            if open_points := row["lent"] - row["captured"] - row["voided"]:
                standing[row["lot_id"]] += open_points
                standing[wallet_id] += open_points
        for redemption_id, lots_of in parts.items():
            self._parts.ours((redemption_id, tuple(lots_of)))
        for key, points in standing.items():
            self._standing.ours((key, points))
        returns: dict[bytes, list[Any]] = defaultdict(list)
        for row in taken.back:
            if row["posting_id"] is not None:
                returns[row["posting_id"]].append(row)
        for posting_id, rows in returns.items():
            first = rows[0]
            lots = tuple(sorted((row["to_lot"], row["lot_points"]) for row in rows))
            self._returns.ours(
                (posting_id, first["redemption_id"], first["points"], first["effective_at"], lots)
            )

    # ---- the tables by themselves

    async def walk(self) -> None:
        """Every redemption, after all wallets."""
        snapshot = self._books.snapshot
        async for orphan in self._lot_rows.rest():
            self._kept.wrong(
                f"redemption {told(orphan['redemption_id'])} took of a lot of a wallet without lines"
            )
        async for page in snapshot.pages("spending/redemptions.sql", "redemptions"):
            for row in page:
                with self._books.reading("redemption", row["redemption_id"]):
                    self._redemption(row)
        async for page in snapshot.pages("spending/redemptions.sql", "returns"):
            for return_id, redemption_id, posting_id, points, money_minor, effective_at, request_id in page:
                self._returned.ours(
                    (return_id, redemption_id, posting_id, points, money_minor, effective_at, request_id)
                )
        for row in await snapshot.rows("spending/redemptions.sql", "recorded"):
            self._days.wrong(
                f"{row['what']} was recorded at {row['recorded_at']}, posted at {row['posted_at']}"
            )
        async for page in snapshot.pages("spending/offline.sql", "overdrawn"):
            for redemption_id, points in page:
                self._overdrawn.ours((redemption_id, points))
        if self._books.closed:
            return  # what follows is held against no event
        await self._revived.walk()
        async for page in snapshot.pages("spending/offline.sql", "allowances"):
            for row in page:
                self._allowance(row)
        for row in await snapshot.rows("spending/redemptions.sql", "codes_twice"):
            self._codes.wrong(f"the code of hash {told(row['code_hash'])} names several redemptions")
        async for page in snapshot.pages("spending/redemptions.sql", "refunds"):
            for row in page:
                self._refunds.compared += 1
                if row["returned_points"] < row["due"]:
                    self._refunds.wrong(
                        f"redemption {row['redemption_id']}: request {row['request_id']} asked for {row['due']} points in "
                        f"all, {row['returned_points']} came back"
                    )
        for row in await snapshot.rows("spending/redemptions.sql", "refunds_given"):
            self._refunds.wrong(
                f"redemption {row['redemption_id']}: {row['returned']} points came back with refunds, which ask for {row['due']}"
            )
        for row in await snapshot.rows("spending/redemptions.sql", "refunds_meant"):
            self._refunds.wrong(
                f"request {row['request_id']} found {row['redemptions']} redemptions and names {row['named']}; points of "
                f"{row['back']} came back with it, or of others than it found"
            )
        async with self._books.part("shares of bills"):
            await self._shares.walk()
        async with self._books.part("what decided redemptions"):
            await self._deciding.walk()
        [counts] = await snapshot.rows("spending/redemptions.sql", "counts")
        self._codes.compared += counts["reservations"]

    def _allowance(self, row: Any) -> None:
        self._allowances.compared += 1
        said = f"allowance {row['allowance_id']}"
        if row["used_points"] != row["spent"]:
            self._allowances.wrong(
                f"{said}: {row['used_points']} are used, its redemptions are of {row['spent']}"
            )
        if row["spent"] > row["points"]:
            self._allowances.wrong(f"{said} is of {row['points']} points, {row['spent']} were spent on it")
        if row["elsewhere"]:
            self._allowances.wrong(f"{said}: {row['elsewhere']} uses are not of its member, terminal or time")

    def _redemption(self, row: Any) -> None:
        redemption_id, spent = row["redemption_id"], None
        terms = self._books.terms.get((row["programme"], row["programme_version"]))
        if terms is not None and terms.closed:
            self._kept.wrong(
                f"redemption {told(redemption_id)}: version {terms.version} had closed its programme"
            )
        if row["authorised"]:
            acts = [("reserve", row["posting_id"], row["points"], row["effective_at"])]
            if row["capture_posting"] is not None:
                acts.append(("redeem", row["capture_posting"], row["captured_points"], row["ended_at"]))
                spent = row["capture_posting"], row["captured_points"], row["captured_minor"]
            if row["void_posting"] is not None:
                acts.append(
                    ("void", row["void_posting"], row["points"] - row["captured_points"], row["ended_at"])
                )
            self._set_aside.ours(
                (
                    redemption_id,
                    row["posting_id"],
                    row["points"],
                    row["money_minor"],
                    row["merchant"],
                    row["expires_at"],
                )
            )
        else:
            acts = [("redeem", row["posting_id"], row["points"], row["effective_at"])]
            spent = row["posting_id"], row["points"], row["money_minor"]
        self._acts.ours((redemption_id, self._books.merges.heir(row["wallet_id"]), tuple(acts)))
        if spent is not None:
            self._spent.ours((redemption_id, *spent, row["merchant"], row["bill_ref"]))
        self._fits(row, spent)
        self._accepted(row)

    def _accepted(self, row: Any) -> None:
        self._days.compared += 1
        terms = self._books.terms.get((row["programme"], row["programme_version"]))
        if terms is None or terms.accepts is None:
            return
        self._placed.compared += 1
        terminals = terms.accepts.get(row["merchant"], frozenset())
        if terminals is not None and row["terminal"] not in terminals:
            self._placed.wrong(
                f"redemption {told(row['redemption_id'])} at {row['merchant']}, {row['terminal']}: no points are taken there"
            )

    def _fits(self, row: Any, spent: tuple[Any, ...] | None) -> None:
        self._kept.compared += 1
        wrong = self._kept.wrong
        redemption = f"redemption {told(row['redemption_id'])}"
        ended = row["ended"] if row["authorised"] else "captured"
        if SETTLED.get(ended) != row["status"]:
            wrong(f"{redemption} is {row['status']}, its reservation says {ended}")
        if row["authorised"] and row["set_aside"] != row["points"]:
            wrong(f"{redemption} is of {row['points']} points, {row['set_aside']} were set aside")
        if row["authorised"] and row["ended"] is not None:
            late = row["ended_at"] >= row["expires_at"]
            if late != (row["ended"] == "expired"):
                wrong(
                    f"{redemption} was {row['ended']} at {row['ended_at']}, its time ended at {row['expires_at']}"
                )
        back = row["returned_points"], row["returned_minor"]
        if back != (row["back_points"], row["back_minor"]):
            wrong(
                f"{redemption}: {back} came back, its returns add up to {row['back_points']}, {row['back_minor']}"
            )
        of = (0, 0) if spent is None else spent[1:]
        if back[0] > of[0] or back[1] > of[1] or (back[0] == of[0] and back[1] != of[1]):
            wrong(f"{redemption}: {back} came back of {of} that were spent")

    # ---- the side of the events

    def on_told(self, event: Posted) -> None:
        """points.redeemed, points.reserved."""
        assert event.redemption_id is not None
        if event.redeemed is not None:
            self._spent.theirs(
                (
                    binary(event.redemption_id), binary(event.posting_id), event.redeemed.points,
                    event.redeemed.money.amount_minor, event.merchant, event.bill_ref,
                )
            )  # fmt: skip
        elif event.reserved is not None:
            self._set_aside.theirs(
                (
                    binary(event.redemption_id), binary(event.posting_id), event.reserved.points,
                    event.reserved.money.amount_minor, event.merchant, event.expires_at,
                )
            )  # fmt: skip

    def on_returned(self, event: Returned) -> None:
        """points.returned, where something came back."""
        if event.return_id is None or event.redemption_id is None or event.returned is None:
            return
        self._returned.theirs(
            (
                binary(event.return_id), binary(event.redemption_id),
                None if event.posting_id is None else binary(event.posting_id), event.returned.points,
                event.returned.money.amount_minor, event.effective_at,
                None if event.request_id is None else binary(event.request_id),
            )
        )  # fmt: skip


def _parts(
    redemption_id: bytes, postings: list[Posting], moved_from: dict[bytes, bytes]
) -> tuple[tuple[Any, ...], ...]:
    """(lot, lent, captured, voided, returned), in the order in which they were taken; what was overdrawn, of no lot, stands under
    the redemption's own id."""
    lent: dict[bytes, int] = {}
    did: dict[str, dict[bytes, int]] = {kind: defaultdict(int) for kind in ACTS}
    authorised = any(one.kind == "reserve" for one in postings)
    for one in postings:
        for lot_id, points, _ in one.lots:
            kind = OF_THE_LEDGER[one.kind]
            # What came back to a lot that it was taken from, came there, wherever that lot itself is from.
            moved = kind == "return" and lot_id not in lent
            lot = moved_from.get(lot_id, lot_id) if moved else lot_id
            lot = redemption_id if lot == NOTHING else lot
            did[kind][lot] += points
            if kind == ("reserve" if authorised else "redeem"):
                lent[lot] = lent.get(lot, 0) + points
    lots = [*lent, *sorted({lot for by_lot in did.values() for lot in by_lot} - lent.keys())]
    return tuple(
        (lot, lent.get(lot, 0), did["redeem"][lot], did["void"][lot], did["return"][lot]) for lot in lots
    )
