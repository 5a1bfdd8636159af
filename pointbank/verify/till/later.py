"""What the journal saw acknowledged after the first word: the ends of reservations, versions of programmes."""

from __future__ import annotations

from typing import Any

from pointbank.verify.books import Books

Entry = dict[str, Any]


def ends_as(told: str, kept: str | None) -> bool:
    """Whether what was told of an end is how it is kept. A void after the reservation's time gives back as its expiry would, and is
    kept as one: so it is on a process whose clock is an hour ahead, too (`make soak`, seed 75 of 26 November 2026)."""
    return kept == told or (told, kept) == ("voided", "expired")


class AcknowledgedLater:
    """Entries of one journal, held against the database as they come."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._ends = books.check(
            "journal:reservations",
            1,
            "each capture and void that was seen acknowledged is there, with that end",
        )
        self._versions = books.check(
            "journal:programmes",
            1,
            "each version that was seen drafted or activated is there, and stays what it was",
        )

    def without_journal(self) -> None:
        """There is none."""
        for check in (self._ends, self._versions):
            check.why_not = "no journal was given"

    async def walk(self, entries: list[Entry]) -> None:
        """Answers of success, whatever their path."""
        ends = ("/capture", "/void")
        await self._ended(
            [
                one
                for one in entries
                if one["path"].startswith("/v1/redemptions/") and one["path"].endswith(ends)
            ]
        )
        await self._versioned([one for one in entries if _of_a_version(one["path"])])

    async def _ended(self, entries: list[Entry]) -> None:
        kept = {
            row["redemption_id"]: row
            for row in await self._rows("ends", [entry["answer"]["redemption_id"] for entry in entries])
        }
        for entry in entries:
            self._ends.compared += 1
            told = entry["answer"]
            given_back = told["voided"]["points"] + told["expired"]["points"]
            wanted = (told["status"], told["redeemed"]["points"], given_back)
            row = kept.get(told["redemption_id"])
            if (
                row is None
                or not ends_as(told["status"], row["ended"])
                or (row["captured"], row["given_back"]) != wanted[1:]
            ):
                self._ends.wrong(
                    f"redemption {told['redemption_id']} was acknowledged as {wanted}, kept is {row and tuple(row)}"
                )

    async def _versioned(self, entries: list[Entry]) -> None:
        kept = {
            (row["programme"], row["version"]): row["status"]
            for row in await self._rows(
                "versions", sorted({entry["answer"]["programme"] for entry in entries})
            )
        }
        for entry in entries:
            self._versions.compared += 1
            told = entry["answer"]
            version = (told["programme"], told["version"])
            status = kept.get(version)
            if status is None or (told["status"] == "active" and status == "draft"):
                self._versions.wrong(
                    f"version {version} was acknowledged as {told['status']}, kept is {status}"
                )

    async def _rows(self, query: str, ids: list[str]) -> list[Any]:
        return await self._books.snapshot.rows("till/journal.sql", query, ids) if ids else []


def _of_a_version(path: str) -> bool:
    return path == "/v1/programmes" or (path.startswith("/v1/programmes/") and path.endswith("/activate"))
