"""Seals that were exported and that the database lost: what an operator recorded of them, and where numbers go on.

Written from docs/ledger.md, "After a restore".
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from pointbank.verify.database import Snapshot
from pointbank.verify.ledger.sealed import exported, sealed_bytes, signed_by, wrongly_signed
from pointbank.verify.ledger.trust import Trust
from pointbank.verify.reading import of_the_books, said_of
from pointbank.verify.report import Check

SAYS = (
    "each seal that was recorded as lost is signed and none of the chain, and no number of one is used again"
)


class LostSeals:
    """What was recorded as lost: `files` is what the exported copies of it must hold."""

    def __init__(self, check: Check, tenant: str, trust: Trust) -> None:
        self._check, self._tenant, self._trust = check, tenant, trust
        self._goes_on: dict[int, int] = {}
        self._tops: dict[int, int] = {}
        self.files: dict[str, dict[str, Any]] = {}

    async def load(self, snapshot: Snapshot) -> None:
        """Reads and checks all of it."""
        self._check.why_not = "none was lost"
        async for page in snapshot.pages("ledger/seals.sql", "lost"):
            for row in page:
                self._check.compared += 1
                self._tops[row["epoch"]] = max(row["no"], self._tops.get(row["epoch"], 0))
                try:
                    for problem in self._wrong(row):
                        self._check.wrong(f"lost seal {row['no']} of epoch {row['epoch']}: {problem}")
                    content = exported(self._tenant, row)
                except Exception as error:
                    if not of_the_books(error):
                        raise
                    self._check.wrong(f"lost seal {row['no']} of epoch {row['epoch']}: {said_of(error)}")
                else:
                    self.files[f"{row['no']:012d}-{row['hash'].hex()[:16]}.json"] = content
        await self._adoptions(snapshot)

    def goes_on(self, no: int) -> int:
        """The number of the seal that follows this one (0: none)."""
        return max(no + 1, self._goes_on.get(no, 0))

    def _wrong(self, row: Any) -> list[str]:
        signed = sealed_bytes(self._tenant, row)
        found = []
        if sha256(signed).digest() != row["hash"]:
            found.append("its hash is not that of its bytes")
        if self._trust.keys and row["public_key"] not in self._trust.keys:
            found.append(wrongly_signed(row))
        if not signed_by(row, signed):
            found.append("its signature is not that of its bytes")
        if row["kept"]:
            found.append("it stands in the chain")
        return found

    async def _adoptions(self, snapshot: Snapshot) -> None:
        last, next_no = 0, 1
        for row in await snapshot.rows("ledger/seals.sql", "adoptions"):
            epoch, after_no = row["epoch"], row["after_no"]
            self._check.compared += 1
            next_no = max(next_no, after_no + 1, self._tops.get(epoch, 0) + 1)
            for wrong, problem in (
                (epoch != last + 1, f"it follows epoch {last}"),
                (epoch not in self._tops, "it names no lost seal"),
                (row["next_no"] != next_no, f"it goes on with seal {row['next_no']}, {next_no} is due"),
                (
                    row["skipped"] != row["next_no"] - 1 - row["taken"],
                    f"it leaves out {row['skipped']} numbers, {row['taken']} seals have a smaller one",
                ),
                (not row["audited"], "nobody is said to have done it"),
            ):
                if wrong:
                    self._check.wrong(f"epoch {epoch} of the seals: {problem}")
            last = epoch
            self._goes_on[after_no] = next_no
