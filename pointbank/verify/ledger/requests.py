"""What earn asked of the bank: each request kept once, answered once, and no accrual past its targets."""

from __future__ import annotations

from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.events import Asked, Released, ReversalRefused, Reversed, binary, home_of
from pointbank.verify.matching import told

ANSWERS = {
    ("release", "done"): "points.released.v1",
    ("reverse", "done"): "points.reversed.v1",
    ("reverse", "refused"): "points.reversal_refused.v1",
}


class Requests:
    """The side of the table `asked`, and the side of requests and answers."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._kept = books.match(
            "requests:kept", 1, "each request that the bank heard is kept once, with its target",
            ("kind", "accrual", "through"), ours="the events", theirs="the requests",
        )  # fmt: skip
        self._told = books.match(
            "requests:told", 5, "each request that was done or refused has one answer, with what it came to",
            ("type", "accrual", "wallet", "posting", "parts"), ours="the requests", theirs="the answers",
        )  # fmt: skip
        self._targets = books.check(
            "requests:targets",
            2,
            "an accrual's requests come to no more than their target, and to what its lots say",
        )
        self._recovered = books.match(
            "requests:recovered", 5, "what came back after a reversal that was short was taken once, and told",
            ("request", "accrual", "wallet", "points"), ours="the recoveries", theirs="the late answers",
        )  # fmt: skip
        self._seen: set[bytes] = set()

    async def walk(self) -> None:
        """The table, accrual by accrual."""
        reached: dict[str, list[int]] = {"release": [0, 0], "reverse": [0, 0]}
        accrual: bytes | None = None
        async for page in self._books.snapshot.pages("ledger/bank.sql", "asked"):
            self._books.progress("requests")
            for row in page:
                request_id = binary(row["request_id"])
                self._kept.theirs((request_id, row["kind"], row["accrual_id"], row["through"]))
                if row["accrual_id"] != accrual:
                    self._within(accrual, reached)
                    accrual, reached = row["accrual_id"], {"release": [0, 0], "reverse": [0, 0]}
                self._row(row, request_id, reached)
        self._within(accrual, reached)
        async for page in self._books.snapshot.pages("ledger/bank.sql", "recoveries"):
            for row in page:
                self._recovered.ours(
                    (row["posting_id"], row["request_id"], row["accrual_id"], row["wallet_id"], row["points"])
                )
        for row in await self._books.snapshot.rows("ledger/bank.sql", "recovered_too_much"):
            self._targets.wrong(
                f"accrual {told(row['accrual_id'])} was {row['shortfall']} short; {row['points']} were taken later"
            )
        async for page in self._books.snapshot.pages("ledger/bank.sql", "asked_against_lots"):
            for row in page:
                self._targets.wrong(
                    f"accrual {told(row['accrual_id'])}: its requests took back {row['asked_reversed']}, {row['asked_owed']} are "
                    f"owed; its lots say {row['lots_reversed']} and {row['lots_owed']}"
                )

    def _row(self, row: Any, request_id: bytes, reached: dict[str, list[int]]) -> None:
        parts = {
            "points.released.v1": (row["released"],),
            "points.reversed.v1": (
                row["cancelled"],
                row["reversed"],
                row["owed"],
                row["lapsed"],
                row["shortfall"],
            ),
            "points.reversal_refused.v1": (row["shortfall"],),
        }
        if row["state"] == "waiting":
            return
        type_ = ANSWERS.get((row["kind"], row["state"]))
        if type_ is None:
            self._targets.wrong(f"request {told(request_id)}: a {row['kind']} that is {row['state']}")
            return
        self._told.ours(
            (request_id, type_, row["accrual_id"], row["wallet_id"], row["posting_id"], parts[type_])
        )
        if row["state"] == "done":
            self._targets.compared += 1
            target = reached[row["kind"]]
            target[0] = max(target[0], row["through"])
            target[1] += sum(parts[type_])

    def _within(self, accrual: bytes | None, reached: dict[str, list[int]]) -> None:
        for kind, (target, came) in reached.items():
            if came > target:
                self._targets.wrong(f"accrual {told(accrual)}: {kind} came to {came}, {target} was asked for")

    def on_asked(self, n: int | None, event: Asked) -> None:
        """A request, as often as it was made."""
        heard = self._books.heard["earn", "redeem"]
        request_id = binary(event.request_id)
        if not heard.applied(n):
            self._kept.check.note("dead letters" if n in heard.dead else "not heard yet")
        elif request_id not in self._seen:
            self._seen.add(request_id)
            release, reverse = event.release_through, event.reverse_through
            kind, through = ("release", release) if release is not None else ("reverse", reverse)
            self._kept.ours((request_id, kind, binary(event.accrual_id), through))

    def on_released(self, event: Released) -> None:
        """An answer."""
        self._answer(event, "points.released.v1", event.posting_id, (event.released.points,))

    def on_reversed(self, event: Reversed) -> None:
        """An answer."""
        if event.late:
            assert event.posting_id is not None
            ids = (event.posting_id, event.request_id, event.accrual_id)
            self._recovered.theirs((*map(binary, ids), home_of(event), event.reversed.points))
            return
        parts = (
            event.hold_cancelled.points,
            event.reversed.points,
            event.owed.points,
            event.lapsed.points if event.lapsed is not None else 0,
            event.shortfall.points,
        )
        self._answer(event, "points.reversed.v1", event.posting_id, parts)

    def on_refused(self, event: ReversalRefused) -> None:
        """An answer."""
        self._answer(event, "points.reversal_refused.v1", None, (event.shortfall.points,))

    def _answer(
        self,
        event: Released | Reversed | ReversalRefused,
        type_: str,
        posting_id: str | None,
        parts: tuple[int, ...],
    ) -> None:
        posting = None if posting_id is None else binary(posting_id)
        ids = (binary(event.request_id), type_, binary(event.accrual_id), home_of(event))
        self._told.theirs((*ids, posting, parts))
