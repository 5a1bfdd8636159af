"""Merges as each keeper has them: nobody goes on as another, and no wallet as another, unless that was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pointbank.verify.books import Books
from pointbank.verify.events import Envelope, MemberMerged

KEEPERS = ("members", "earn", "redeem", "tiers")
Steps = dict[str, str]


class Merging:
    """The side of the tables, and the side of the events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._kept = books.check(
            "merges:heard",
            1,
            "who goes on as another, and which wallet as another, is kept wherever that was heard, and nowhere else",
        )
        self._found = books.check(
            "wallets:found",
            1,
            "at the bank each is found in a wallet of their own, or of who they go on as, wherever that one is",
        )
        self._ids = books.check(
            "identities:own",
            1,
            "at earn as many own ids of members name each as there are who go on as that one",
        )
        self._members: dict[str, Steps] = {keeper: {} for keeper in KEEPERS}
        self._wallets: dict[str, Steps] = {keeper: {} for keeper in KEEPERS}

    def on_merged(self, n: int | None, envelope: Envelope, event: MemberMerged) -> None:
        """member.merged."""
        for keeper in KEEPERS:
            if keeper == "members" or self._books.heard["members", keeper].applied(n):
                self._members[keeper][event.member_id] = event.merged_into
                self._wallets[keeper].update({one.wallet_id: one.merged_into for one in event.wallets})

    async def walk(self) -> None:
        """The tables, after the events."""
        if self._books.closed:
            return
        snapshot = self._books.snapshot
        kept: dict[str, Steps] = {keeper: {} for keeper in KEEPERS}
        for keeper, member_id, into in await snapshot.rows("members/merging.sql", "members"):
            kept[keeper][member_id] = into
        for keeper in ("members", "earn", "redeem"):
            told = self._members[keeper]
            for member_id in kept[keeper].keys() | told.keys():
                self._kept.compared += 1
                if (is_ := kept[keeper].get(member_id)) != (was := told.get(member_id)):
                    self._kept.wrong(f"member {member_id} goes on as {is_} at {keeper}; told was {was}")
        await self._of_wallets()
        await self._finding()
        await self._own_ids(kept["earn"])

    async def _of_wallets(self) -> None:
        kept: dict[str, Steps] = {keeper: {} for keeper in KEEPERS}
        for keeper, wallet_id, heir in await self._books.snapshot.rows("members/merging.sql", "wallets"):
            kept[keeper][wallet_id] = heir
        for keeper in ("earn", "redeem", "tiers"):
            told = self._wallets[keeper]
            for wallet_id in kept[keeper].keys() | told.keys():
                self._kept.compared += 1
                is_, was = (
                    _end(steps, wallet_id) if wallet_id in steps else None for steps in (kept[keeper], told)
                )
                if is_ != was:
                    self._kept.wrong(f"wallet {wallet_id} goes on as {is_} at {keeper}; told was {was}")

    async def _finding(self) -> None:
        snapshot, person = self._books.snapshot, self._books.merges.person
        self._found.compared += await snapshot.value("members/merging.sql", "finding")
        async for page in snapshot.pages("members/merging.sql", "strangers"):
            for member_id, programme, wallet_id, whose, of_programme, ended in page:
                if ended or whose is None or (person(member_id), programme) != (person(whose), of_programme):
                    self._found.wrong(
                        f"member {member_id} is found in {programme} in wallet {wallet_id}, which is {whose}'s in {of_programme}"
                        f"{', and merged' if ended else ''}"
                    )
        async for page in snapshot.pages("members/merging.sql", "unfound"):
            for member_id, programme, goes_on in page:
                self._found.wrong(
                    f"member {member_id}, who goes on as {goes_on}, is not found in {programme}, as that one is"
                )

    async def _own_ids(self, goes_on: Mapping[str, str]) -> None:
        snapshot = self._books.snapshot
        self._ids.compared += await snapshot.value("members/merging.sql", "own_ids")
        come_to: Counter[str] = Counter()
        async for page in snapshot.pages("members/merging.sql", "ids"):
            for member_id, known, n in page:
                come_to[member_id] += n
                if known:
                    come_to[_end(goes_on, member_id)] -= 1
        for member_id, too_many in come_to.items():
            if too_many:
                self._ids.wrong(
                    f"{abs(too_many)} own ids {'too many name' if too_many > 0 else 'miss'} {member_id}"
                )


def _end(steps: Mapping[str, str], one: str) -> str:
    seen = set()
    while one in steps and one not in seen:
        seen.add(one)
        one = steps[one]
    return one
