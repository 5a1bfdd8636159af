"""Members, wallets, cards, merchants and programmes: each told once, and learned by who must know it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.events import (
    CardIssued,
    Envelope,
    MemberBirthday,
    MemberEnrolled,
    MemberMerged,
    MerchantChanged,
    ProgrammeActivated,
    RatePublished,
    binary,
)

_sorted = msgspec.json.Encoder(order="sorted").encode

LEARN_WALLETS = ("earn", "redeem", "tiers", "notifier")
ALSO_BY_OTHERS = frozenset({"earn", "redeem", "tiers"})
"""They may hear of a wallet before its enrolment: earn from tiers, tiers from the bank, the bank from a merge. Streams promise no
order between them."""
LEARN_BIRTH_MONTHS = ("earn", "redeem")
LEARN_PROGRAMMES = ("earn", "redeem", "tiers")


class Members:
    """The side of members' tables, and of what others learned; and the side of its events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._enrolled = books.match(
            "members:told", 5, "each member was enrolled by one event, with the wallets it has",
            ("locale", "channel", "enrolled_at", "wallets", "referred_by"), ours="the members", theirs="the events",
        )  # fmt: skip
        self._cards = books.match(
            "cards:told", 5, "each card was issued by one event", ("member", "wallet", "programme", "issued_at"),
            ours="the cards", theirs="the events",
        )  # fmt: skip
        self._programmes = books.match(
            "programmes:told", 5, "each activated version was told by one event, with its document",
            ("activated_at", "document"), ours="the versions", theirs="the events",
        )  # fmt: skip
        self._in_order = books.check("programmes:order", 8, "each version begins after those before it")
        self._merchants = books.match(
            "merchants:told", 5, "each merchant is what its last event says", ("terminals", "cashiers", "brand"),
            ours="the merchants", theirs="the events",
        )  # fmt: skip
        self._wallets_learned = books.match(
            "wallets:learned", 1, "each wallet that a service heard of is known there, as its member's", ("member", "programme"),
            ours="the events", theirs="the hearers",
        )  # fmt: skip
        self._programmes_learned = books.match(
            "programmes:learned", 8, "each version that a service heard of is kept there, word for word",
            ("activated_at", "document"),
            ours="the events", theirs="the hearers",
        )  # fmt: skip
        self._rates = books.match(
            "rates:told", 5, "each rate between currencies was told by one event, as it is kept",
            ("rate", "valid_from", "source", "author", "published_at"), ours="the rates", theirs="the events",
        )  # fmt: skip
        self._rates_learned = books.match(
            "rates:learned", 8, "each rate that earn heard is kept there", ("rate", "valid_from", "source"),
            ours="the events", theirs="earn",
        )  # fmt: skip
        self._birthdays = books.match(
            "birthdays:told", 1, "each birthday is told once for each member, programme and year, and said by one event", (),
            ours="the birthdays told", theirs="the events",
        )  # fmt: skip
        self._birth_months = books.match(
            "birth_months:learned", 1, "each birth month that was told is kept by who heard it, and no other", ("month",),
            ours="the events", theirs="the hearers",
        )  # fmt: skip
        self._merged = books.match(
            "merges:told", 5, "each merge of members was told by one event, with the wallets that became others",
            ("member", "merged_into", "reason", "merged_at", "wallets"), ours="the merges", theirs="the events",
        )  # fmt: skip
        self._merges_learned = books.check(
            "merges:learned", 1, "wallets that the bank heard to be one person's are one there"
        )
        self._led = books.check(
            "merges:led", 8, "what named a member who earn heard to be merged names who goes on there"
        )
        self._earns = books.match(
            "enrolments:learned", 8, "whoever earn heard to be enrolled is known there, since that moment", ("enrolled_at",),
            ours="the events", theirs="earn",
        )  # fmt: skip
        self._earns_later: dict[str, tuple[str, datetime]] = {}
        """Member -> what earn must know, should it know the member already."""
        self._last_of_merchant: dict[str, tuple[int, tuple[str, ...], bytes, str | None]] = {}
        self._not_heard_yet: dict[tuple[str, str], tuple[tuple[str, str], str, str]] = {}
        """(hearer, wallet) -> what it must know of a wallet, should it know it already."""

    # ---- the side of the tables

    async def walk(self) -> None:
        """Everything that members keeps, and that others keep of it. After the events of members."""
        books, snapshot = self._books, self._books.snapshot
        cards = books.check("cards:digits", 8, "each card number ends in its check digit")
        began: dict[str, datetime] = {}
        for code, version, activated_at, document in await snapshot.rows("members/members.sql", "programmes"):
            with books.reading("version", version, "of", code, "at members"):
                self._programmes.ours(((code, version), activated_at, _sorted(msgspec.json.decode(document))))
            self._in_order.compared += 1
            if activated_at < began.get(code, activated_at):
                self._in_order.wrong(f"version {version} of {code} begins before one that it supersedes")
            began[code] = max(activated_at, began.get(code, activated_at))
        for row in await snapshot.rows("members/members.sql", "misled"):
            self._in_order.wrong(
                f"{row['code']} says version {row['active_version']} of {row['latest_version']}, in {row['currency']}; "
                f"its versions say {row['active']} of {row['latest']}, in {row['of_active']}"
            )
        async for page in snapshot.pages("members/members.sql", "members"):
            books.progress("members")
            for member_id, locale, channel, enrolled_at, wallets, referred_by in page:
                self._enrolled.ours(
                    (member_id, locale, channel, enrolled_at, tuple(wallets or ()), referred_by)
                )
        async for page in snapshot.pages("members/members.sql", "earning"):
            for row in page:
                if on_its_way := self._earns_later.get(row["member_id"]):
                    self._earns.ours(on_its_way)
                self._earns.theirs(tuple(row))
        await self._consents()
        async for page in snapshot.pages("members/members.sql", "cards"):
            for card_id, member_id, wallet_id, programme, issued_at, number in page:
                self._cards.ours((card_id, member_id, wallet_id, programme, issued_at))
                cards.compared += 1
                with books.reading("card", card_id):
                    if not ends_in_check_digit(number):
                        cards.wrong(f"card {card_id} does not end in its check digit")
        for merchant, version, terminals, cashiers, brand in await snapshot.rows(
            "members/members.sql", "merchants"
        ):
            with books.reading("merchant", merchant, "at members"):
                told = _sorted(msgspec.json.decode(cashiers))
                self._merchants.ours(((merchant, version), tuple(sorted(terminals)), told, brand))
        for merchant, (version, *rest) in self._last_of_merchant.items():
            self._merchants.theirs(((merchant, version), *rest))
        for from_currency, to_currency, number, *rate in await snapshot.rows("members/members.sql", "rates"):
            self._rates.ours(((from_currency, to_currency, number), *rate))
        async for page in snapshot.pages("members/members.sql", "birthdays"):
            for row in page:
                self._birthdays.ours((tuple(row),))
        async for page in snapshot.pages("members/members.sql", "merges"):
            for merge_id, member_id, merged_into, reason, merged_at, ended, heirs, born in page:
                wallets = sorted(zip(ended or (), heirs or (), born or (), strict=True))
                self._merged.ours((merge_id, member_id, merged_into, reason, merged_at, tuple(wallets)))
        for key, known in books.rates.items():
            self._rates_learned.theirs((key, *known))
        await self._learned()

    async def _consents(self) -> None:
        check = self._books.check(
            "consents:kept",
            8,
            "each member agreed once, to the terms that the audit names, where they were enrolled",
        )
        check.compared = await self._books.snapshot.value("members/members.sql", "enrolled")
        async for page in self._books.snapshot.pages("members/members.sql", "disagreed"):
            for member_id, terms, audited in page:
                check.wrong(f"member {member_id} agreed to {terms}, the audit says {audited}")

    async def _learned(self) -> None:
        snapshot = self._books.snapshot
        async for page in snapshot.pages("members/members.sql", "learned_members"):
            for hearer, wallet_id, member_id, programme in page:
                if told := self._not_heard_yet.get((hearer, wallet_id)):
                    self._wallets_learned.ours(told)
                self._wallets_learned.theirs(((hearer, wallet_id), member_id, programme))
        self._led.compared = await snapshot.value("members/members.sql", "merged_for_earn")
        for kind, member_id, goes_on in await snapshot.rows("members/members.sql", "led_astray"):
            self._led.wrong(f"a {kind} names {member_id}, who goes on as {goes_on}")
        async for page in snapshot.pages("members/members.sql", "learned_birth_months"):
            for hearer, member_id, month in page:
                self._birth_months.theirs(((hearer, member_id), month))
        for hearer, code, version, activated_at, document in await snapshot.rows(
            "members/members.sql", "learned_programmes"
        ):
            with self._books.reading("version", version, "of", code, "at", hearer):
                kept = _sorted(msgspec.json.decode(document))
                self._programmes_learned.theirs(((hearer, code, version), activated_at, kept))

    # ---- the side of the events

    def on_enrolled(self, n: int | None, envelope: Envelope, event: MemberEnrolled) -> None:
        """member.enrolled."""
        wallets = sorted(f"{wallet.programme} {wallet.wallet_id}" for wallet in event.wallets)
        wallets.sort(key=lambda told: told.rpartition(" ")[2])
        self._enrolled.theirs(
            (
                event.member_id,
                event.locale,
                event.channel,
                event.enrolled_at,
                tuple(wallets),
                event.referred_by,
            )
        )
        known = event.member_id, event.enrolled_at
        if self._books.heard["members", "earn"].applied(n):
            self._earns.ours(known)
        else:
            self._earns_later[event.member_id] = known
        for hearer in LEARN_BIRTH_MONTHS if event.birth_month is not None else ():
            if self._books.heard["members", hearer].applied(n):
                self._birth_months.ours(((hearer, event.member_id), event.birth_month))
        for hearer in LEARN_WALLETS:
            applied = self._books.heard["members", hearer].applied(n)
            for wallet in event.wallets:
                programme = "" if hearer == "notifier" else wallet.programme
                row = ((hearer, wallet.wallet_id), event.member_id, programme)
                if applied:
                    self._wallets_learned.ours(row)
                elif hearer in ALSO_BY_OTHERS:
                    self._not_heard_yet[row[0]] = row

    def on_card(self, n: int | None, envelope: Envelope, event: CardIssued) -> None:
        """card.issued."""
        self._cards.theirs(
            (event.card_id, event.member_id, event.wallet_id, event.programme, event.issued_at)
        )

    def on_merged(self, n: int | None, envelope: Envelope, event: MemberMerged) -> None:
        """member.merged: the wallets that were born with it are enrolled by it."""
        wallets = sorted((one.wallet_id, one.merged_into, one.born) for one in event.wallets)
        self._merged.theirs(
            (
                event.merge_id,
                event.member_id,
                event.merged_into,
                event.reason,
                event.merged_at,
                tuple(wallets),
            )
        )
        heir = self._books.merges.heir
        if self._books.heard["members", "redeem"].applied(n):
            for wallet in event.wallets:
                self._merges_learned.compared += 1
                if heir(binary(wallet.wallet_id)) != heir(binary(wallet.merged_into)):
                    self._merges_learned.wrong(
                        f"wallet {wallet.wallet_id} was not merged into {wallet.merged_into}"
                    )
        for hearer in LEARN_WALLETS:
            applied = self._books.heard["members", hearer].applied(n)
            for wallet in event.wallets:
                if not wallet.born:
                    continue
                programme = "" if hearer == "notifier" else wallet.programme
                row = ((hearer, wallet.merged_into), event.merged_into, programme)
                if applied:
                    self._wallets_learned.ours(row)
                elif hearer in ALSO_BY_OTHERS:
                    self._not_heard_yet[row[0]] = row

    def on_merchant(self, n: int | None, envelope: Envelope, event: MerchantChanged) -> None:
        """merchant.changed."""
        if event.version > self._last_of_merchant.get(event.merchant, (0, (), b"", None))[0]:
            self._last_of_merchant[event.merchant] = (
                event.version,
                tuple(sorted(event.terminals)),
                _sorted(event.cashiers),
                event.brand,
            )

    def on_rate(self, n: int | None, envelope: Envelope, event: RatePublished) -> None:
        """rate.published."""
        key = event.from_currency, event.to_currency, event.number
        said = event.rate, event.valid_from, event.source
        self._rates.theirs((key, *said, event.author, event.published_at))
        if self._books.heard["members", "earn"].applied(n):
            self._rates_learned.ours((key, *said))

    def on_birthday(self, n: int | None, envelope: Envelope, event: MemberBirthday) -> None:
        """member.birthday."""
        self._birthdays.theirs(((event.member_id, event.programme, event.year),))

    def on_programme(self, n: int | None, envelope: Envelope, event: ProgrammeActivated) -> None:
        """programme.activated."""
        document = _sorted(event.document)
        self._programmes.theirs(((event.programme, event.version), event.activated_at, document))
        for hearer in LEARN_PROGRAMMES:
            if self._books.heard["members", hearer].applied(n):
                self._programmes_learned.ours(
                    ((hearer, event.programme, event.version), event.activated_at, document)
                )


def ends_in_check_digit(number: str) -> bool:
    """Whether the last digit is the Luhn check digit of the others (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 * (value > 4)
        total += value
    return total % 10 == 0
