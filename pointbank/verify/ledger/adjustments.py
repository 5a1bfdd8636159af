"""What people put right: each posting against the request that it came from, and each request against who had to agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.ledger.wallet import Posting
from pointbank.verify.matching import told

BY_DISPUTE = "dispute"
DECIDED = {"posted": "approve", "rejected": "reject"}


class Adjustments:
    """The side of the requests and disputes; the ledger's side comes posting by posting."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._posted = books.match(
            "adjustments:posted", 1, "each adjustment was asked for, for that wallet, with these points, expiry and moment",
            ("adjustment", "wallet", "points", "expires_at", "effective_at"), ours="the requests", theirs="the ledger",
        )  # fmt: skip
        self._reinstated = books.match(
            "reinstatements", 1, "what was brought back was asked for, of that lot and at that moment",
            ("wallet", "lot", "points", "effective_at"), ours="the requests", theirs="the ledger",
        )  # fmt: skip
        self._allowed = books.check(
            "adjustments:allowed",
            8,
            "above the programme's threshold, and for several wallets, somebody else approved; the audit names both",
        )
        self._disputes = books.check(
            "disputes",
            8,
            "each upheld dispute has evidence and one correction, as it was asked for and by another person",
        )

    def on_posting(self, wallet_id: bytes, posting: Posting, expiries: dict[bytes, Any]) -> None:
        """A posting of kind adjust."""
        points = posting.points if posting.incoming else -posting.points
        expires_at = expiries.get(posting.lots[0][0]) if posting.incoming else None
        self._posted.theirs(
            (
                posting.posting_id,
                posting.source_id,
                self._books.merges.heir(wallet_id),
                points,
                expires_at,
                posting.effective_at,
            )
        )

    def on_reinstated(self, wallet_id: bytes, posting: Posting) -> None:
        """A posting of kind reinstate."""
        self._reinstated.theirs(
            (posting.posting_id, wallet_id, posting.lots[0][0], posting.points, posting.effective_at)
        )

    async def walk(self) -> None:
        """The side of the tables."""
        snapshot = self._books.snapshot
        async for page in snapshot.pages("ledger/adjustments.sql", "parts"):
            for row in page:
                posting_id, adjustment_id, wallet_id, *rest = row
                self._posted.ours((posting_id, adjustment_id, self._books.merges.heir(wallet_id), *rest))
        async for page in snapshot.pages("ledger/adjustments.sql", "adjustments"):
            self._books.progress("adjustments")
            for row in page:
                self._allowed.compared += 1
                for problem in self._wrongs(row):
                    self._allowed.wrong(f"adjustment {told(row['adjustment_id'])}: {problem}")
                if row["disputed"]:
                    for problem in _miscorrected(row):
                        self._disputes.wrong(f"adjustment {told(row['adjustment_id'])}: {problem}")
        async for page in snapshot.pages("ledger/adjustments.sql", "reinstatements"):
            for row in page:
                self._reinstated.ours(
                    (row["posting_id"], row["wallet_id"], row["lot_id"], row["points"], row["effective_at"])
                )
                self._allowed.compared += 1
                for problem in self._too_much(row):
                    self._allowed.wrong(f"reinstatement {told(row['posting_id'])}: {problem}")
        async for page in snapshot.pages("ledger/adjustments.sql", "openings"):
            for row in page:
                self._allowed.compared += 1
                for problem in self._opened(row):
                    self._allowed.wrong(f"opening {told(row['posting_id'])}: {problem}")
        async for page in snapshot.pages("ledger/adjustments.sql", "activities"):
            for row in page:
                self._allowed.compared += 1
                if not row["posted"]:
                    self._allowed.wrong(
                        f"opening {told(row['posting_id'])}: its member was active elsewhere, and no such posting is there"
                    )
        async for page in snapshot.pages("ledger/adjustments.sql", "disputes"):
            for row in page:
                self._disputes.compared += 1
                for problem in _misjudged(row):
                    self._disputes.wrong(f"dispute {told(row['dispute_id'])}: {problem}")

    def _opened(self, row: Any) -> Iterator[str]:
        if not row["posted"]:
            yield "it was asked for, and no such posting is there"
        terms = self._books.terms.get((row["programme"], row["programme_version"]))
        if terms is None or row["second_person_above"] != terms.second_person_above:
            yield f"version {row['programme_version']} of {row['programme']} does not say {row['second_person_above']}"
        elif row["most"] > terms.second_person_above:
            yield f"{row['most']} points of its wallet within a day were put right by one person"
        if not row["audited"]:
            yield "the audit has no such opening of that person, then"

    def _too_much(self, row: Any) -> Iterator[str]:
        terms = self._books.terms.get((row["programme"], row["programme_version"]))
        if terms is None or row["second_person_above"] != terms.second_person_above:
            yield f"version {row['programme_version']} of {row['programme']} does not say {row['second_person_above']}"
        elif row["most"] > terms.second_person_above or row["reason"] not in terms.reasons:
            yield f"{row['most']} points of its wallet within a day were put right by one person, for {row['reason']}"
        if not row["audited"]:
            yield "the audit has it of nobody, of another person or for another reason"

    def _wrongs(self, row: Any) -> Iterator[str]:
        terms = self._books.terms.get((row["programme"], row["programme_version"]))
        if terms is None:
            yield f"there is no version {row['programme_version']} of {row['programme']}"
            return
        if row["second_person_above"] != terms.second_person_above:
            yield f"it was held against {row['second_person_above']}, its version says {terms.second_person_above}"
        if not row["at_home"]:
            yield f"it has no part, or one of a wallet that is not in {row['programme']}"
        if row["decided_by"] == row["requested_by"]:
            yield f"{row['decided_by']} decided about a request of their own"
        if row["state"] == "posted" and row["decided_by"] is None:
            if row["parts"] > 1:
                yield f"{row['parts']} parts were posted without a second person"
            if row["most"] is not None and row["most"] > terms.second_person_above:
                yield f"{row['most']} points of a wallet within a day were posted without a second person"
        if row["reason"] == BY_DISPUTE:
            if not row["disputed"]:
                yield "it corrects a dispute that names it nowhere"
            return
        if row["reason"] not in terms.reasons:
            yield f"its version has no reason {row['reason']}"
        if row["disputed"]:
            yield "a dispute names it, and it is not one's correction"
        audited = [f"adjustment.request {row['requested_by']}"]
        if row["decided_by"] is not None:
            audited.append(f"adjustment.{DECIDED.get(row['state'])} {row['decided_by']}")
        if sorted(row["audited"] or ()) != sorted(audited):
            yield f"the audit says {row['audited']}"
        elif not row["noted"]:
            yield "the audit has another reason, evidence or moment"


def _miscorrected(row: Any) -> Iterator[str]:
    asked = ("upheld", row["opened_by"], row["dispute_decided_by"], row["dispute_programme"], 1)
    found = (row["dispute_state"], row["requested_by"], row["decided_by"], row["programme"], row["parts"])
    if asked != found or row["state"] != "posted" or row["reason"] != BY_DISPUTE:
        yield "it is not what was asked for and upheld"
    if not row["as_upheld"]:
        yield "it has another evidence or moment than its dispute"
    if row["dispute_points"] != row["points"] or not row["dispute_wallet"]:
        yield f"it moves {row['points']} points, {row['dispute_points']} were disputed, or of another wallet"


def _misjudged(row: Any) -> Iterator[str]:
    if not row["of_its_wallet"]:
        yield "there is no such posting of its wallet"
    if row["standing"] > 1:
        yield f"its posting is disputed {row['standing']} times"
    if row["decided_by"] == row["opened_by"]:
        yield f"{row['decided_by']} decided about a dispute of their own"
    if (row["state"] == "upheld") != row["adjusted"] or row["corrected"] != row["adjusted"]:
        yield f"it is {row['state']}, and its correction is {'there' if row['adjusted'] else 'not there'}"
    if row["state"] == "upheld" and not (row["evidence"] and row["hashed"]):
        yield "it was upheld without evidence"
    audited = [f"dispute.open {row['opened_by']}"]
    if row["state"] != "open":
        audited.append(f"dispute.{'uphold' if row['state'] == 'upheld' else 'reject'} {row['decided_by']}")
    if sorted(row["audited"] or ()) != sorted(audited):
        yield f"the audit says {row['audited']}"
    elif not row["noted"]:
        yield "the audit has other points, another posting, reason, evidence or moment"
