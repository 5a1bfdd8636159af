"""The tills' journal against the books: whatever was seen acknowledged is there, the same, and once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.earning.decisions import decode_decision
from pointbank.verify.till.journal import Journal
from pointbank.verify.till.later import AcknowledgedLater
from pointbank.verify.till.refunds import AcknowledgedRefunds, is_refund
from pointbank.verify.till.refused import AcknowledgedRefused, kind_of
from pointbank.verify.till.sent import differences

AT_ONCE = 2_000

Entry = dict[str, Any]


class Acknowledged:
    """One journal, read once; its entries are held against the database in pages."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._bills = books.check(
            "journal:bills", 1, "each bill that was seen answered is there, with that answer"
        )
        self._content = books.check(
            "journal:content", 1, "each bill that was answered holds what the till sent"
        )
        self._refunds = AcknowledgedRefunds(books)
        self._redemptions = books.check(
            "journal:redemptions", 1, "each redemption that was seen acknowledged is posted, once"
        )
        self._members = books.check(
            "journal:members", 1, "each enrolment that was seen acknowledged is there"
        )
        self._calls_refused = AcknowledgedRefused(books)
        self._later = AcknowledgedLater(books)
        self._poison = books.check("journal:poison", 9, "each entry that was no bill died once")
        self._first: dict[tuple[str, str], str] = {}
        """(source, id) of a till, or ("", key) by HTTP, -> the bill that it was first answered with."""
        self._refused: set[tuple[str, str]] = set()
        self._effects: dict[str, str] = {}
        """Idempotency key -> what it made."""

    def without_journal(self) -> None:
        """There is none."""
        self._later.without_journal()
        self._refunds.without_journal()
        self._calls_refused.without_journal()
        for check in (
            self._bills,
            self._content,
            self._redemptions,
            self._members,
            self._poison,
        ):
            check.why_not = "no journal was given"

    async def walk(self, journal: Journal) -> None:
        """Answers first, then what they were answers to."""
        for page in _pages(journal.lines(), _is_answer):
            self._books.progress("the journal's answers")
            await self._answers([entry for entry in page if entry["kind"] == "answered"])
            self._calls_refused.answers(page)
            acknowledged = [
                entry for entry in page if entry["kind"] == "acknowledged" and entry["http_status"] < 300
            ]
            await self._http(acknowledged)
            await self._refunds.by_http(acknowledged)
            await self._later.walk(acknowledged)
            await self._placed([entry["entry"] for entry in page if entry["kind"] == "placed"])
        for page in _pages(journal.lines(), _was_sent):
            self._books.progress("the journal's bills")
            self._calls_refused.sent(page)
            await self._sent([entry for entry in page if entry.get("path") in (None, "/v1/bills")])
            refunds = [entry for entry in page if "path" not in entry or is_refund(entry["path"])]
            await self._refunds.sent(
                [(_key(entry), entry["body"]) for entry in refunds if _key(entry) not in self._refused]
            )
        await self._calls_refused.end()

    # ---- answers

    async def _answers(self, entries: list[Entry]) -> None:
        rejected = {entry["reply"]: entry for entry in entries if entry["status"] == "rejected"}
        codes = {row[0]: row[1] for row in await self._rows("rejections", list(rejected))}
        for entry in entries:
            if entry["status"] != "rejected":
                continue
            self._bills.compared += 1
            if entry.get("source") is not None:
                self._refused.add((entry["source"], entry["id"]))
            if codes.get(entry["reply"]) != entry["code"]:
                self._bills.wrong(
                    f"{_who(entry)} was rejected with {entry['code']}, earn keeps {codes.get(entry['reply'])}"
                )
        await self._refunds.by_stream([entry for entry in entries if entry["event"].startswith("refund.")])
        taken = [
            entry
            for entry in entries
            if entry["status"] != "rejected" and not entry["event"].startswith("refund.")
        ]
        decisions = await self._decisions([entry["bill_id"] for entry in taken])
        for entry in taken:
            self._answer(
                _who(entry),
                (entry["source"], entry["id"]),
                entry["bill_id"],
                entry["status"],
                sum(one["points"] + one["held"] for one in entry.get("accruals", ())),
                decisions,
                first=entry["event"] == "bill.recorded.v1",
            )

    def _answer(
        self,
        who: str,
        key: tuple[str, str],
        bill_id: str,
        status: str,
        points: int,
        decisions: dict[str, list[tuple[int, str, int]]],
        *,
        first: bool,
    ) -> None:
        self._bills.compared += 1
        before = self._first.setdefault(key, bill_id)
        if before != bill_id:
            self._bills.wrong(f"{who} was answered with bill {before}, and with {bill_id}")
        made = decisions.get(bill_id)
        if made is None:
            self._bills.wrong(f"{who} was answered with bill {bill_id}, which is not there")
        elif not any((status, points) == (kept, sum_) and (n == 1) == first for n, kept, sum_ in made):
            self._bills.wrong(f"{who} was answered {status} with {points} points, decided was {made}")

    async def _decisions(self, bill_ids: list[str]) -> dict[str, list[tuple[int, str, int]]]:
        found: dict[str, list[tuple[int, str, int]]] = {}
        for row in await self._rows("decisions", sorted(set(bill_ids))):
            with self._books.reading("decision", row["n"], "of bill", row["bill_id"]):
                points = sum(judged.points for judged in decode_decision(row["decision"]).programmes)
                found.setdefault(row["bill_id"], []).append((row["n"], row["status"], points))
        return found

    # ---- by HTTP

    async def _http(self, entries: list[Entry]) -> None:
        bills = [entry for entry in entries if entry["path"] == "/v1/bills"]
        decisions = await self._decisions([entry["answer"]["bill_id"] for entry in bills])
        for entry in bills:
            told = entry["answer"]
            points = sum(one["available"]["points"] + one["held"]["points"] for one in told["accruals"])
            self._answer(
                f"key {entry['key']}",
                ("", entry["key"]),
                told["bill_id"],
                told["status"],
                points,
                decisions,
                first=True,
            )
        await self._spent([entry for entry in entries if entry["path"] == "/v1/redemptions"])
        await self._enrolled([entry for entry in entries if entry["path"] == "/v1/members"])

    async def _spent(self, entries: list[Entry]) -> None:
        found = {
            row["redemption_id"]: row
            for row in await self._rows(
                "redemptions", [entry["answer"]["redemption_id"] for entry in entries]
            )
        }
        for entry in entries:
            self._redemptions.compared += 1
            told = entry["answer"]
            captured = told["status"] == "captured"
            worth = told["redeemed"] if captured else told["reserved"]
            wanted = (told["wallet_id"], worth["points"], worth["money"]["amount_minor"])
            row = found.get(told["redemption_id"])
            if self._effects.setdefault(entry["key"], told["redemption_id"]) != told["redemption_id"]:
                self._redemptions.wrong(f"key {entry['key']} redeemed twice")
            if row is None:
                self._redemptions.wrong(
                    f"redemption {told['redemption_id']} was acknowledged and is not there"
                )
            elif (row["wallet_id"], row["points"], row["money_minor"]) != wanted or (
                captured and row["status"] != "captured"
            ):
                self._redemptions.wrong(
                    f"redemption {told['redemption_id']} was acknowledged as {wanted}, kept is {tuple(row)}"
                )
            elif captured and row["posted"] != row["points"]:
                self._redemptions.wrong(
                    f"redemption {told['redemption_id']} took {row['points']} points, posted are {row['posted']}"
                )

    async def _enrolled(self, entries: list[Entry]) -> None:
        kept = {
            (row["member_id"], row["programme"], row["wallet_id"], row["card_number"])
            for row in await self._rows("members", [entry["answer"]["member_id"] for entry in entries])
        }
        known = {row[0] for row in kept}
        for entry in entries:
            self._members.compared += 1
            told = entry["answer"]
            member_id = told["member_id"]
            if self._effects.setdefault(entry["key"], member_id) != member_id:
                self._members.wrong(f"key {entry['key']} enrolled twice")
            if member_id not in known:
                self._members.wrong(f"member {member_id} was acknowledged and is not there")
            for wallet in told["wallets"]:
                if (
                    member_id,
                    wallet["programme"],
                    wallet["wallet_id"],
                    wallet["card"]["card_number"],
                ) not in kept:
                    self._members.wrong(
                        f"member {member_id}: wallet {wallet['wallet_id']} or its card is not there"
                    )

    # ---- what was sent

    async def _sent(self, entries: list[Entry]) -> None:
        wanted = []
        for entry in entries:
            key = _key(entry)
            bill_id = self._first.get(key)
            if bill_id is None:
                continue  # not answered, or refused
            if key in self._refused:
                self._content.note("ids that were offered with other content too")
            else:
                wanted.append((key, bill_id, entry["body"]))
        found = {
            row["bill_id"]: row
            for row in await self._rows("bills", sorted({bill_id for _, bill_id, _ in wanted}))
        }
        for key, bill_id, body in wanted:
            row = found.get(bill_id)
            if row is None:
                continue  # told with the answers
            self._content.compared += 1
            with self._books.reading("bill", bill_id):
                for field, sent, kept in differences(body, row):
                    self._content.wrong(
                        f"{' '.join(key).strip()}: {field} was sent as {sent}, bill {bill_id} has {kept}"
                    )

    async def _placed(self, entries: list[str]) -> None:
        died = {row["entry_id"]: row["n"] for row in await self._rows("dead_letters", entries)}
        for entry in entries:
            self._poison.compared += 1
            if died.get(entry) != 1:
                self._poison.wrong(f"entry {entry} died {died.get(entry, 0)} times")

    async def _rows(self, query: str, ids: list[str]) -> list[Any]:
        return await self._books.snapshot.rows("till/journal.sql", query, ids) if ids else []


def _pages(entries: Iterator[Entry], wanted: Callable[[Entry], bool]) -> Iterator[list[Entry]]:
    page: list[Entry] = []
    for entry in entries:
        if wanted(entry):
            page.append(entry)
            if len(page) == AT_ONCE:
                yield page
                page = []
    if page:
        yield page


def _is_answer(entry: Entry) -> bool:
    return entry["kind"] in {"answered", "acknowledged", "placed"}


def _was_sent(entry: Entry) -> bool:
    """Whether it says what was sent of a bill, of a refund or of a redemption."""
    return "body" in entry and (
        entry["kind"] == "offered"
        or (
            entry["kind"] == "called" and (entry["path"] == "/v1/bills" or kind_of(entry["path"]) is not None)
        )
    )


def _key(entry: Entry) -> tuple[str, str]:
    return (entry["source"], entry["id"]) if entry["kind"] == "offered" else ("", entry["key"])


def _who(entry: Entry) -> str:
    return (
        f"{entry.get('source')} {entry.get('id')}"
        if entry.get("source") is not None
        else f"entry {entry.get('entry')}"
    )
