"""Messages: one for each event that has something to say to its member, sent to who consented, each once."""

from __future__ import annotations

from typing import Any

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.events import (
    Envelope,
    MessageDelivered,
    PointsExpiring,
    Posted,
    TierChanged,
    binary,
)

_decode = msgspec.json.decode
_sorted = msgspec.json.Encoder(order="sorted").encode

TEMPLATES = {"earn": "earned", "earn_held": "earned_held"}
LANGUAGES = ("en", "ar")
LAST_ATTEMPT = 80
OVER = "Over"
"""Why a message is given up sooner: the points that it says will expire have."""


class Messages:
    """The side of notifier's tables, and the side of what it heard and said."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._made = books.match(
            "messages:made", 1, "each event with news for a member made one message",
            ("channel", "member", "wallet", "programme", "facts"), ours="the events", theirs="the messages",
        )  # fmt: skip
        self._told = books.match(
            "messages:told", 5, "each delivered message has one message.delivered event",
            ("member", "wallet", "channel", "template", "locale", "cause", "delivered_at"),
            ours="the delivered messages", theirs="the events",
        )  # fmt: skip

    # ---- the side of the tables

    async def walk(self) -> None:
        """Every message and what became of it."""
        check = self._books.check(
            "messages:delivered",
            6,
            "each message has a delivery or a dispatch: sent to who consented, in their language, suppressed for others",
        )
        snapshot = self._books.snapshot
        async for page in snapshot.pages("members/messages.sql", "of_no_message"):
            for what, one in page:
                check.wrong(f"the {what} {one} is of no message")
        async for page in snapshot.pages("members/messages.sql", "other_ends"):
            for message_id, kept, told in page:
                check.wrong(f"message {message_id}: its points expire at {kept}, its event says {told}")
        async for page in snapshot.pages("members/messages.sql", "messages"):
            self._books.progress("messages")
            for row in page:
                check.compared += 1
                if (problem := _problem(row)) is not None:
                    check.wrong(f"message {row['message_id']}: {problem}")
                for state in ("due", "failed"):
                    if row["state"] == state:
                        check.note(state)
                if row["takeovers"]:
                    check.note("taken over from a sender that died, and perhaps sent twice")
                with self._books.reading("message", row["message_id"]):
                    self._message(row)

    def _message(self, row: Any) -> None:
        key, facts = (row["cause"], row["template"]), _decode(row["facts"])
        facts.pop("expires_at", None)  # `other_ends`
        wallet_id = self._heir(row["wallet_id"])
        self._made.theirs(
            (key, row["channel"], row["member_id"], wallet_id, row["programme"], _sorted(facts))
        )
        if row["state"] == "delivered":
            self._told.ours(
                (
                    row["message_id"], row["member_id"], row["wallet_id"], row["channel"], row["template"],
                    row["locale"], row["cause"], row["delivered_at"],
                )
            )  # fmt: skip

    # ---- the side of the events

    def on_credited(self, n: int | None, envelope: Envelope, event: Posted) -> None:
        """points.credited."""
        template = TEMPLATES.get(event.kind)
        if (
            template is None
            or event.credited is None
            or not self._books.heard["redeem", "notifier"].applied(n)
        ):
            return
        worth = event.credited
        facts = {
            "points": worth.points,
            "amount_minor": worth.money.amount_minor,
            "currency": worth.money.currency,
        }
        self._made.ours(
            (
                (envelope.id, template),
                "log",
                event.member_id,
                self._heir(event.wallet_id),
                event.programme,
                _sorted(facts),
            )
        )

    def on_expiring(self, n: int | None, envelope: Envelope, event: PointsExpiring) -> None:
        """points.expiring: every notice is news."""
        if not self._books.heard["redeem", "notifier"].applied(n):
            return
        worth = event.expiring
        facts = {
            "points": worth.points,
            "amount_minor": worth.money.amount_minor,
            "currency": worth.money.currency,
            "days": event.days,
        }
        self._made.ours(
            (
                (envelope.id, "expiring"),
                "log",
                event.member_id,
                self._heir(event.wallet_id),
                event.programme,
                _sorted(facts),
            )
        )

    def on_tier(self, n: int | None, envelope: Envelope, event: TierChanged) -> None:
        """tier.changed: only a step up is news, and not the first."""
        if (
            event.direction != "up"
            or event.from_ is None
            or not self._books.heard["tiers", "notifier"].applied(n)
        ):
            return
        facts = _sorted({"tier": event.name})
        self._made.ours(
            (
                (envelope.id, "reached"),
                "log",
                event.member_id,
                self._heir(event.wallet_id),
                event.programme,
                facts,
            )
        )

    def _heir(self, wallet_id: str) -> bytes:
        """A message names the wallet that had the points when they were told; older ones that of a bill, merged or not."""
        return self._books.merges.heir(binary(wallet_id))

    def on_delivered(self, n: int | None, envelope: Envelope, event: MessageDelivered) -> None:
        """message.delivered."""
        self._told.theirs(
            (
                event.message_id, event.member_id, event.wallet_id, event.channel, event.template, event.locale, event.cause,
                event.delivered_at,
            )
        )  # fmt: skip


def _problem(row: Any) -> str | None:
    state = row["state"]
    if state is None:
        return "it has no delivery, and no dispatch"
    if row["left_early"]:
        return "it has a delivery of its own, and its dispatch is not settled"
    if row["delivered_to"] not in (None, row["member_id"]):
        return f"it is {row['member_id']}'s, its delivery {row['delivered_to']}'s"
    if state == "delivered" and row["consented"] is not True:
        return "it was sent to a member who had not consented"
    if state == "suppressed" and row["consented"] is not False:
        return "it was suppressed, and its member consents"
    if row["locale"] is not None and row["locale"] != (reads := _language(row["reads"])):
        return f"it is in {row['locale']}, and its member reads {reads}"
    if state == "delivered" and row["attempts"] < 1:
        return "it was sent, and no sender had it"
    if state == "failed" and row["attempts"] < LAST_ATTEMPT and not _over(row):
        return f"it was given up after {row['attempts']} attempts"
    return None


def _over(row: Any) -> bool:
    return bool(row["error"] == OVER and row["template"] == "expiring")


def _language(locale: str | None) -> str | None:
    """What a member with this locale is written to in: the first that there is where theirs is not."""
    if locale is None:
        return None
    language = locale.split("-")[0]
    return language if language in LANGUAGES else LANGUAGES[0]
