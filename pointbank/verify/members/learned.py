"""What earn and the bank go by when they judge: merchants with their terminals, whom an identity names, where wallets stand."""

from __future__ import annotations

from typing import Any

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.events import (
    CardBlocked,
    CardIssued,
    Envelope,
    MemberEnrolled,
    MerchantChanged,
    ProgrammeActivated,
    TierChanged,
)
from pointbank.verify.events.members import Identity

_sorted = msgspec.json.Encoder(order="sorted").encode

HEARERS = ("earn", "redeem")


class Learned:
    """The events of members and tiers, against what their hearers keep of them."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._merchants = books.check(
            "merchants:learned",
            8,
            "each merchant is kept by its hearers as its last event there says: terminals, brand, cashiers",
        )
        self._identities = books.match(
            "identities:learned", 1, "each identity names, wherever it was heard, who was enrolled with it, or goes on as that one",
            ("member",), ours="the events", theirs="the tables",
        )  # fmt: skip
        self._consents = books.match(
            "consents:learned", 8, "who consented to messages, and in which language, the notifier keeps as it was told",
            ("locale", "consented", "enrolled_at"), ours="the events", theirs="the notifier",
        )  # fmt: skip
        self._names = books.check(
            "names:learned",
            8,
            "the notifier names each programme as the highest version that it heard of does",
        )
        self._named: dict[str, tuple[int, bytes]] = {}
        self._standings = books.check(
            "standings:learned",
            8,
            "earn and the bank judge each wallet by the last standing that they heard of it",
        )
        self._last: dict[tuple[str, str], MerchantChanged] = {}
        self._unheard: set[tuple[str, str]] = set()
        """(hearer, wallet) of which something was told that is still on its way."""
        self._not_heard_yet: dict[tuple[str, str, str], tuple[Any, ...]] = {}
        """An identity -> its row, should a merge have brought it already."""

    # ---- the side of the events

    def on_merchant(self, n: int | None, envelope: Envelope, event: MerchantChanged) -> None:
        """merchant.changed."""
        for hearer in HEARERS:
            key = hearer, event.merchant
            if self._books.heard["members", hearer].applied(n) and (
                key not in self._last or self._last[key].version < event.version
            ):
                self._last[key] = event

    def on_programme(self, n: int | None, envelope: Envelope, event: ProgrammeActivated) -> None:
        """programme.activated."""
        if self._books.heard["members", "notifier"].applied(n):
            told = event.version, _sorted(event.document["programme"]["name"])
            self._named[event.programme] = max(told, self._named.get(event.programme, told))

    def on_enrolled(self, n: int | None, envelope: Envelope, event: MemberEnrolled) -> None:
        """member.enrolled."""
        if self._books.heard["members", "notifier"].applied(n):
            self._consents.ours((event.member_id, event.locale, event.consented, event.enrolled_at))
        self.on_named(n, envelope, event)

    def on_named(self, n: int | None, envelope: Envelope, event: MemberEnrolled | CardIssued) -> None:
        """member.enrolled and card.issued: an identity names one member, for ever."""
        for one in event.identities:
            self._identities.ours(self._row("members", one, event.member_id))
            for hearer in HEARERS:
                row = self._row(hearer, one, event.member_id)
                if self._books.heard["members", hearer].applied(n):
                    self._identities.ours(row)
                else:
                    self._not_heard_yet[row[0]] = row

    def on_blocked(self, n: int | None, envelope: Envelope, event: CardBlocked) -> None:
        """card.blocked: at the bank it names nobody since (`cards:nobodys`)."""
        if self._books.heard["members", "redeem"].applied(n):
            for one in event.identities:
                row = self._row("redeem", one, event.member_id)
                if row[0] not in self._not_heard_yet:
                    self._identities.theirs(row)

    def on_standing(self, n: int | None, envelope: Envelope, event: TierChanged) -> None:
        """tier.changed."""
        for hearer in HEARERS:
            if not self._books.heard["tiers", hearer].applied(n):
                self._unheard.add((hearer, event.wallet_id))

    def _row(self, hearer: str, one: Identity, member_id: str) -> tuple[Any, ...]:
        return (hearer, one.kind, one.hash), self._books.merges.person(member_id)

    # ---- the side of the tables

    async def walk(self) -> None:
        """What the hearers keep, after all events."""
        snapshot = self._books.snapshot
        await self._of_merchants()
        async for page in snapshot.pages("members/learned.sql", "identities"):
            for hearer, kind, digest, member_id in page:
                row = self._row(hearer, Identity(kind, digest), member_id)
                if on_its_way := self._not_heard_yet.get(row[0]):
                    self._identities.ours(on_its_way)
                self._identities.theirs(row)
        async for page in snapshot.pages("members/learned.sql", "consents"):
            for row in page:
                self._consents.theirs(tuple(row))
        await self._of_programmes()
        self._standings.compared += await snapshot.value("members/learned.sql", "standing")
        async for page in snapshot.pages("members/learned.sql", "standings"):
            for hearer, wallet_id, tier, until, told, told_until in page:
                if (hearer, wallet_id) not in self._unheard:
                    self._standings.wrong(
                        f"{hearer} has wallet {wallet_id} in {tier} until {until}; it was told {told} until {told_until}"
                    )

    async def _of_programmes(self) -> None:
        named = dict(self._named)
        for programme, version, names in await self._books.snapshot.rows("members/learned.sql", "names"):
            self._names.compared += 1
            told = named.pop(programme, None)
            if told is None:
                self._names.wrong(f"the notifier names {programme}, of which it heard nothing")
            elif told != (version, _sorted(msgspec.json.decode(names))):
                self._names.wrong(f"the notifier names {programme} otherwise than version {told[0]} does")
        for programme in sorted(named):
            self._names.wrong(f"the notifier heard of {programme}, and has no name for it")

    async def _of_merchants(self) -> None:
        found = set()
        for row in await self._books.snapshot.rows("members/learned.sql", "merchants"):
            key = row["hearer"], row["merchant"]
            found.add(key)
            self._merchants.compared += 1
            with self._books.reading("merchant", key[1], "at", key[0]):
                if (told := self._last.get(key)) is None:
                    self._merchants.wrong(f"{key[0]} knows the merchant {key[1]}, of which it heard nothing")
                elif not self._as_told(row, told):
                    self._merchants.wrong(
                        f"{key[0]} keeps the merchant {key[1]} otherwise than version {told.version} says"
                    )
        for hearer, merchant in sorted(self._last.keys() - found):
            self._merchants.wrong(f"{hearer} heard of the merchant {merchant}, and does not know it")

    def _as_told(self, row: Any, told: MerchantChanged) -> bool:
        listed = row["version"] == told.version and sorted(row["terminals"]) == sorted(set(told.terminals))
        if row["hearer"] != "earn":
            return listed
        if row["brand"] is None and told.brand is not None:
            self._merchants.note("brands that earn does not know, for they were told before it kept any")
        cashiers = msgspec.json.decode(row["cashiers"] or "{}")
        return listed and row["brand"] in (None, told.brand) and cashiers == told.cashiers
