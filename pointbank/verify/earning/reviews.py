"""Fraud guards: what they counted, what they flagged, and what became of that."""

from __future__ import annotations

from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.earning.decisions import Judged
from pointbank.verify.earning.gifts import Gifts
from pointbank.verify.events import Asked, Envelope


class Reviews:
    """The side of decisions and events, and the side of earn's reviews."""

    def __init__(self, books: Books, gifts: Gifts) -> None:
        self._books, self._gifts = books, gifts
        self._counted = books.match(
            "guards:counted", 8, "each bill of a programme with guards that may be counted still is one that they count",
            ("programme", "merchant", "terminal", "currency", "total", "occurred_at"), ours="the decisions", theirs="the sightings",
        )  # fmt: skip
        self._kept = books.match(
            "reviews:kept", 8, "each accrual that was flagged is under review, for the patterns and in the money of its decision",
            (
                "bill", "wallet", "member", "programme", "points", "patterns", "currency", "point_value", "merchant", "bill_ref",
                "terminal", "cashier", "occurred_at", "total",
            ),
            ours="the decisions", theirs="the reviews",
        )  # fmt: skip
        self._asked = books.match(
            "reviews:asked", 5, "each cancelled review has one points.reversal_requested, for all of its accrual",
            ("bill", "accrual", "wallet", "through", "decided_at", "place"), ours="the reviews", theirs="the events",
        )  # fmt: skip

    def on_decided(self, bill: Any, member_id: str | None, judged: Judged) -> None:
        """A decision for a wallet."""
        thinned = self._books.thinned.get(judged.programme)
        if judged.seen and (thinned is None or bill["occurred_at"] >= thinned):
            self._counted.ours(
                (
                    f"{bill['id']}/{judged.wallet_id}", judged.programme, bill["merchant"], bill["terminal"], bill["currency"],
                    bill["total_minor"], bill["occurred_at"],
                )
            )  # fmt: skip
        if judged.flagged:
            for one in judged.accruals:
                self._kept.ours(
                    (
                        one.accrual_id, bill["id"], judged.wallet_id, member_id, judged.programme, one.points, judged.flagged,
                        judged.currency, judged.point_value, bill["merchant"], bill["bill_ref"], bill["terminal"], bill["cashier"],
                        bill["occurred_at"], bill["total_minor"],
                    )
                )  # fmt: skip

    async def walk(self) -> None:
        """The tables."""
        await self._thinned()
        async for page in self._books.snapshot.pages("earning/reviews.sql", "sightings"):
            for key, *row in page:
                self._counted.theirs((key, *row))
        async for page in self._books.snapshot.pages("earning/reviews.sql", "reviews"):
            for row in page:
                accrual_id, patterns = row["accrual_id"], tuple(row["patterns"])
                self._kept.theirs(
                    (
                        accrual_id, row["bill_id"], row["wallet_id"], row["member_id"], row["programme"], row["points"], patterns,
                        row["currency"], row["point_value"], row["merchant"], row["bill_ref"], row["terminal"], row["cashier"],
                        row["occurred_at"], row["total_minor"],
                    )
                )  # fmt: skip
                if row["request_id"] is not None:
                    self._gifts.cancelled(row["bill_id"], row["wallet_id"])
                    self._asked.ours(
                        (
                            row["request_id"], row["bill_id"], accrual_id, row["wallet_id"], row["points"], row["decided_at"],
                            row["sequence"],
                        )
                    )  # fmt: skip
        check = self._books.check(
            "reviews:settled",
            8,
            "what was released is free as its rules say, and what was cancelled is taken back",
        )
        for row in await self._books.snapshot.rows("earning/reviews.sql", "wrongly_settled"):
            check.wrong(
                f"review {row['review_id']} is {row['state']}: {row['released']} of its {row['points']} points were released, "
                f"{row['taken']} taken back; the bank says {row['reversed']}"
            )
        check.compared = await self._books.snapshot.value("earning/reviews.sql", "decided")

    async def _thinned(self) -> None:
        """What is counted no more lies in the past."""
        if self._books.closed or not self._books.thinned:
            return
        now = await self._books.snapshot.value("members/tiers.sql", "now")
        for programme, before in self._books.thinned.items():
            with self._books.reading("what guards count of", programme):
                if before > now:
                    self._counted.check.wrong(
                        f"of {programme} nothing of before {before} is said to count any more"
                    )

    def on_asked(self, n: int | None, envelope: Envelope, asked: Asked) -> None:
        """points.reversal_requested that is of no refund and about its bill: what is about an act takes a referral back."""
        if asked.refund_id is None and envelope.subject == asked.bill_id:
            self._asked.theirs(
                (
                    asked.request_id, asked.bill_id, asked.accrual_id, asked.wallet_id, asked.reverse_through, asked.decided_at,
                    int(envelope.sequence),
                )
            )  # fmt: skip
