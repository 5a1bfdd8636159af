"""Refunds that a journal saw answered, by stream and by HTTP, against the books: the answer, and what was sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from pointbank.verify.books import Books

Entry = dict[str, Any]
Key = tuple[str, str]

_time = msgspec.json.Decoder(datetime).decode
_encode = msgspec.json.Encoder().encode
MOVED = ("reversed", "hold_cancelled", "returned", "shortfall", "owed", "lapsed")
"""What a refund does to the points of a wallet, in the words of its answer."""
CLOSED = frozenset({"completed", "refused"})


def is_refund(path: str) -> bool:
    """Whether a call of this path records a refund."""
    return path == "/v1/refunds" or (path.startswith("/v1/bills/") and path.endswith("/refunds"))


def untrue(told: Entry, kept: Any, moved: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
    """(what, as it was told over HTTP, as it is kept), for each that the books do not bear out. A refund goes on after it was told
    as pending or waiting; what comes late is added to one that is closed. `moved`: a row a wallet."""
    same = [
        ("refund_ref", told["refund_ref"], kept["refund_ref"]),
        ("currency", told["currency"], kept["currency"]),
    ]
    waits = told["status"] == "waiting_for_bill"
    if not waits:
        same += [("bill_id", told["bill_id"], kept["bill_id"])]
        same += [("refunded_minor", told["refunded_minor"], kept["refunded_minor"])]
    yield from ((what, one, other) for what, one, other in same if one != other)
    status = "pending" if kept["status"] == "queued" else kept["status"]
    if not _became(told["status"], status):
        yield "status", told["status"], status
    yield from _points(told, moved)


def _became(told: str, status: str) -> bool:
    if told == "waiting_for_bill":
        return True
    return status != "waiting_for_bill" if told == "pending" else status == told


def _points(told: Entry, moved: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
    said = {one["wallet_id"]: one for one in told["reversals"]}
    if told["status"] not in CLOSED:
        if said:
            yield "reversals", sorted(said), told["status"]
        return
    at_once = {row["wallet_id"]: row for row in moved}
    for wallet_id in sorted(said.keys() | at_once.keys()):
        one, row = said.get(wallet_id), at_once.get(wallet_id)
        for name in MOVED:
            points = 0 if one is None else one[name]["points"]
            least, most = sorted((0, 0) if row is None else (row[name], row[f"{name}_by_now"]))
            if not least <= points <= most:
                yield f"{name} of wallet {wallet_id}", points, (least, most)


def altered(body: Entry, kept: Any) -> Iterator[tuple[str, Any, Any]]:
    """(field, as it was sent, as it is kept), for each that differs."""
    asked = msgspec.json.decode(kept["asked"])
    sent = {
        "merchant": body["merchant"],
        "refund_ref": body["refund_ref"],
        "terminal": body.get("terminal"),
        "cashier": body.get("cashier"),
        "channel": body.get("channel"),
        "occurred_at": _time(_encode(body["occurred_at"])).astimezone(UTC),
        "currency": body["currency"],
    }
    if "bill" in body:  # else the path names it
        sent["bill_ref"] = body["bill"]["bill_ref"]
    yield from ((field, value, kept[field]) for field, value in sent.items() if value != kept[field])
    if what_is_asked(body) != what_is_asked(asked):
        yield "what is asked", what_is_asked(body), what_is_asked(asked)


def what_is_asked(body: Entry) -> tuple[Any, ...]:
    """All, an amount, or lines with the amount of each (None: the rest of it)."""
    if body.get("all"):
        return ("all",)
    if body.get("amount_minor") is not None:
        return ("amount", body["amount_minor"])
    return ("lines", *sorted((one["line_id"], one.get("amount_minor")) for one in body.get("lines") or ()))


class AcknowledgedRefunds:
    """Entries of one journal, held against the database as they come."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._told = books.check(
            "journal:refunds", 1, "each refund that was seen answered is there, with that answer"
        )
        self._content = books.check(
            "journal:refund-content", 1, "each refund that was answered holds what the till sent"
        )
        self.made: dict[Key, str] = {}
        """(source, id) of a till, or ("", key) by HTTP, -> the refund that it was answered with."""

    def without_journal(self) -> None:
        """There is none."""
        for check in (self._told, self._content):
            check.why_not = "no journal was given"

    async def by_stream(self, entries: list[Entry]) -> None:
        """Each refund that a till saw answered is there, answered so."""
        kept = await self._kept([entry["refund_id"] for entry in entries])
        for entry in entries:
            who = f"{entry['source']} {entry['id']}"
            self._answered(who, (entry["source"], entry["id"]), entry["refund_id"])
            row = kept.get(entry["refund_id"])
            if row is None:
                self._told.wrong(f"{who} was answered with refund {entry['refund_id']}, which is not there")
            elif (row["source"], row["event_id"]) != (entry["source"], entry["id"]):
                self._told.wrong(f"{who} was answered with refund {entry['refund_id']} of {row['event_id']}")
            elif (
                entry["status"] != row["told_status" if entry["event"] == "refund.recorded.v1" else "status"]
            ):
                self._told.wrong(f"{who} was answered {entry['status']}, kept is {tuple(row)}")

    async def by_http(self, entries: list[Entry]) -> None:
        """Answers of success to calls that record a refund."""
        entries = [entry for entry in entries if is_refund(entry["path"])]
        ids = [entry["answer"]["refund_id"] for entry in entries]
        kept, moved = await self._kept(ids), await self._moved(ids)
        for entry in entries:
            told, who = entry["answer"], f"key {entry['key']}"
            self._answered(who, ("", entry["key"]), told["refund_id"])
            row = kept.get(told["refund_id"])
            if row is None:
                self._told.wrong(f"{who} was answered with refund {told['refund_id']}, which is not there")
                continue
            for what, said, is_ in untrue(told, row, moved.get(told["refund_id"], ())):
                self._told.wrong(
                    f"{who}, refund {told['refund_id']}: {what} was told as {said}, kept is {is_}"
                )

    def _answered(self, who: str, key: Key, refund_id: str) -> None:
        self._told.compared += 1
        before = self.made.setdefault(key, refund_id)
        if before != refund_id:
            self._told.wrong(f"{who} was answered with refund {before}, and with {refund_id}")

    async def sent(self, entries: list[tuple[Key, Entry]]) -> None:
        """What was offered or called under keys that were answered with a refund."""
        entries = [(key, body) for key, body in entries if key in self.made]
        kept = await self._kept([self.made[key] for key, _ in entries])
        for key, body in entries:
            row = kept.get(self.made[key])
            if row is None:
                continue  # told with the answers
            self._content.compared += 1
            with self._books.reading("refund", self.made[key]):
                for field, sent, is_ in altered(body, row):
                    self._content.wrong(
                        f"{' '.join(key).strip()}: {field} was sent as {sent}, refund {self.made[key]} has {is_}"
                    )

    async def _kept(self, ids: list[str]) -> dict[str, Any]:
        rows = await self._books.snapshot.rows("till/journal.sql", "refunds", sorted(set(ids))) if ids else []
        return {row["refund_id"]: row for row in rows}

    async def _moved(self, ids: list[str]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        rows = (
            await self._books.snapshot.rows("till/journal.sql", "refund_points", sorted(set(ids)))
            if ids
            else []
        )
        for row in rows:
            found.setdefault(row["refund_id"], []).append(row)
        return found
