"""What earn asked of benefits: each request kept once as it was heard, answered once, and done to the benefit that it names."""

from __future__ import annotations

from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.events import BenefitAnswered, BenefitAsked, binary
from pointbank.verify.matching import told


class Given:
    """The bank's side of benefits that nobody bought."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._kept = books.match(
            "benefits:asked", 1, "each request about a benefit that the bank heard is kept once, as it was said", ("what",),
            ours="the requests kept", theirs="earn's events",
        )  # fmt: skip
        self._answers = books.match(
            "benefits:answered", 5, "each request about a benefit has one benefit.answered event, with what it came to",
            ("what",), ours="the requests kept", theirs="the events",
        )  # fmt: skip
        self._done = books.check(
            "benefits:requests",
            3,
            "what was asked was issued to that wallet, or taken back, once; and nothing else was",
        )
        self._seen: set[bytes] = set()

    def on_asked(self, n: int | None, envelope: Any, event: BenefitAsked) -> None:
        """benefit.asked, benefit.withdrawal_asked: as often as it was made."""
        heard = self._books.heard["earn", "redeem"]
        effect_id = binary(event.effect_id)
        if not heard.applied(n):
            self._kept.check.note("dead letters" if n in heard.dead else "not heard yet")
        elif effect_id not in self._seen:
            self._seen.add(effect_id)
            if event.issued_by is not None:
                self._kept.theirs((effect_id, ("withdrawal", binary(event.issued_by))))
                return
            assert event.source is not None
            assert event.wallet_id is not None
            assert event.member_id is not None
            bill = None if event.source.bill_id is None else binary(event.source.bill_id)
            said = (
                binary(event.wallet_id), binary(event.member_id), event.programme, event.reward, event.source.kind,
                event.source.code, bill, event.effective_at,
            )  # fmt: skip
            self._kept.theirs((effect_id, said))

    def on_answered(self, n: int | None, envelope: Any, event: BenefitAnswered) -> None:
        """benefit.answered."""
        benefit = None if event.benefit_id is None else binary(event.benefit_id)
        self._answers.theirs((binary(event.effect_id), (event.outcome, benefit, event.code)))

    async def walk(self) -> None:
        """The side of the tables."""
        snapshot = self._books.snapshot
        async for page in snapshot.pages("spending/rewards.sql", "asks"):
            for row in page:
                self._ask(row)
        async for page in snapshot.pages("spending/rewards.sql", "withdrawals"):
            for row in page:
                self._withdrawal(row)
        for row in await snapshot.rows("spending/rewards.sql", "unasked"):
            self._done.wrong(f"benefit {row['benefit_id']} was issued or taken back, and nobody asked")

    def _ask(self, row: Any) -> None:
        effect_id = row["effect_id"]
        if row["outcome"] is None:
            return
        self._done.compared += 1
        said = (
            row["wallet_id"], row["member_id"], row["programme"], row["reward"], row["source_kind"], row["source_code"],
            row["bill_id"], row["effective_at"],
        )  # fmt: skip
        self._kept.ours((effect_id, said))
        self._answers.ours((effect_id, (row["outcome"], row["benefit_id"], row["code"])))
        if row["outcome"] == "issued" and not (row["there"] and row["fits"]):
            self._done.wrong(f"request {told(effect_id)}: its benefit is not there, or another's")
        if row["withdrawn_first"] and row["outcome"] == "issued":
            self._done.wrong(f"request {told(effect_id)} was asked back before it came, and issued")
        if row["withdrawn_first"] != (row["code"] == "benefit_withdrawn"):
            self._done.wrong(
                f"request {told(effect_id)} was {'' if row['withdrawn_first'] else 'not '}asked back before it came"
            )

    def _withdrawal(self, row: Any) -> None:
        effect_id = row["effect_id"]
        self._done.compared += 1
        self._kept.ours((effect_id, ("withdrawal", row["issued_by"])))
        self._answers.ours((effect_id, (row["outcome"], row["benefit_id"], None)))
        if row["benefit_id"] != row["issued"]:
            self._done.wrong(f"withdrawal {told(effect_id)} names another benefit than was issued")
        if not row["withdrawn_first"] and row["asked"] is None:
            self._done.wrong(f"withdrawal {told(effect_id)} came first, and left no mark for what it names")
        if row["outcome"] == "withdrawn" and row["withdrawn_at"] is None:
            self._done.wrong(f"withdrawal {told(effect_id)}: its benefit was not taken back")
        if row["outcome"] == "used_already" and row["consumed_at"] is None:
            self._done.wrong(f"withdrawal {told(effect_id)}: its benefit was not used")
        if row["outcome"] == "nothing" and row["issued"] is not None and not row["over"]:
            self._done.wrong(f"withdrawal {told(effect_id)} took nothing, and its benefit was not over")
