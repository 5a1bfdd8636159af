"""Stamps, and the rewards that earn asks of the bank: as decisions gave them, as refunds took them back, as the bank answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.earning.decisions import Decision, Judged
from pointbank.verify.events import BenefitAnswered, BenefitAsked, Envelope

_BACK = frozenset({"withdrawing", "withdrawn", "kept"})
_LYING = frozenset({"refused", "withdrawing", "withdrawn"})
"""Where a reward's stamps lie on its card again."""


class Gifts:
    """The side of earn's tables, of its decisions and refunds, and of the events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._stamps = books.match(
            "stamps:given", 8, "each stamp that a decision gave is kept once", ("stamps",),
            ours="the decisions", theirs="the table",
        )  # fmt: skip
        self._taken = books.match(
            "stamps:taken", 8, "refunds took back the stamps of what was refunded, cancelled reviews all, and no others",
            ("taken_back",), ours="the refunds and reviews", theirs="the table",
        )  # fmt: skip
        self._effects = books.match(
            "gifts:decided", 8, "each reward that a decision gave is kept once, and no other", ("what",),
            ours="the decisions", theirs="the table",
        )  # fmt: skip
        self._told = books.match(
            "gifts:asked", 5, "each reward is asked of the bank, and asked back, as often as it says", ("what",),
            ours="the table", theirs="the events",
        )  # fmt: skip
        self._asked: dict[str, tuple[int, tuple[Any, ...]]] = {}
        self._back: dict[str, tuple[str, int]] = {}
        self._answers: dict[str, tuple[str, str | None]] = {}
        self._whole: set[tuple[str, str]] = set()
        self._flagged: dict[tuple[str, str], dict[str, int]] = {}
        self._cancelled: set[tuple[str, str]] = set()
        self._given: Counter[tuple[str, str]] = Counter()

    # ---- what decisions and refunds come to

    def decided(self, bill_id: str, decision: Decision, judged: Judged) -> None:
        """What a decision for a wallet gave."""
        for one in judged.stamps:
            if one.stamps:
                self._stamps.ours(((bill_id, judged.wallet_id, one.card), one.stamps))
                self._given[judged.wallet_id, one.card] += one.stamps
                if judged.flagged:
                    self._flagged.setdefault((bill_id, judged.wallet_id), {})[one.card] = one.stamps
            for effect_id in one.effects:
                what = (
                    bill_id,
                    judged.wallet_id,
                    "stamp_card",
                    one.card,
                    one.reward,
                    one.needed,
                    decision.member_id,
                )
                self._effects.ours((effect_id, what))
        for gift in judged.offers:
            if gift.effect_id is not None:
                what = (
                    bill_id,
                    judged.wallet_id,
                    "campaign",
                    gift.campaign,
                    gift.what,
                    0,
                    decision.member_id,
                )
                self._effects.ours((gift.effect_id, what))

    def taken(self, bill_id: str, through: Mapping[tuple[str, str], int], *, whole: Collection[str]) -> None:
        """What all refunds of a bill took of its stamps; `whole`: the wallets for whose programmes nothing of it is left."""
        for (wallet_id, card), count in through.items():
            if count and (bill_id, wallet_id) not in self._cancelled:
                self._take(bill_id, wallet_id, card, count)
        self._whole |= {(bill_id, wallet_id) for wallet_id in whole}

    def cancelled(self, bill_id: str, wallet_id: str) -> None:
        """A review was cancelled as fraud: all that its bill gave the wallet goes back, whatever refunds come to. Before them."""
        if (bill_id, wallet_id) not in self._cancelled:
            self._cancelled.add((bill_id, wallet_id))
            for card, count in self._flagged.get((bill_id, wallet_id), {}).items():
                self._take(bill_id, wallet_id, card, count)

    def _take(self, bill_id: str, wallet_id: str, card: str, count: int) -> None:
        self._taken.ours(((bill_id, wallet_id, card), count))
        self._given[wallet_id, card] -= count

    # ---- the tables

    async def walk(self) -> None:
        """After the bills and the refunds."""
        snapshot = self._books.snapshot
        standing = self._books.check(
            "gifts:standing",
            8,
            "each asked reward stands where the bank's answers and the refunds have brought it",
        )
        cards = self._books.check(
            "stamps:cards",
            2,
            "on each card lie the stamps that were given, without those taken back, and used for rewards",
        )
        used: Counter[tuple[str, str]] = Counter()
        async for page in snapshot.pages("earning/gifts.sql", "effects"):
            for row in page:
                standing.compared += 1
                if problem := self._stands(row):
                    standing.wrong(f"reward {row['effect_id']} is {row['status']}: {problem}")
                if row["kind"] == "stamp_card" and row["status"] not in _LYING:
                    used[row["wallet_id"], row["code"]] += row["stamps"]
        async for page in snapshot.pages("earning/gifts.sql", "stamps"):
            for bill_id, wallet_id, card, count, taken_back in page:
                self._stamps.theirs(((bill_id, wallet_id, card), count))
                if taken_back:
                    self._taken.theirs(((bill_id, wallet_id, card), taken_back))
        for effect_id, (times, what) in self._asked.items():
            self._told.theirs((effect_id, (times, what)))
        for withdrawal_id, (issued_by, times) in self._back.items():
            self._told.theirs((withdrawal_id, (times, issued_by)))
        kept: dict[tuple[str, str], int] = {}
        async for page in snapshot.pages("earning/gifts.sql", "cards"):
            for wallet_id, card, progress in page:
                kept[wallet_id, card] = progress
        # Stamps stay on the card that was stamped; of merged wallets the cards are one.
        heirs = {row["wallet_id"]: row["heir"] for row in await snapshot.rows("earning/gifts.sql", "heirs")}
        lie, come_to = _by_heir(kept, heirs), _by_heir(self._given, heirs)
        come_to.subtract(_by_heir(used, heirs))
        for key in lie.keys() | come_to.keys():
            cards.compared += 1
            if lie[key] != come_to[key]:
                cards.wrong(f"card {key[1]} of {key[0]} has {lie[key]} stamps, computed {come_to[key]}")

    def _stands(self, row: Any) -> str | None:
        effect_id, back = row["effect_id"], row["withdrawal_id"]
        what = (
            row["bill_id"], row["wallet_id"], row["kind"], row["code"], row["reward"], row["stamps"], row["member_id"],
        )  # fmt: skip
        self._effects.theirs((effect_id, what))
        times_back = self._back.get(back, ("", 0))[1] if back is not None else 0
        said = (*what[:5], row["member_id"], row["programme"], row["effective_at"])
        self._told.ours((effect_id, (row["sequence"] - max(times_back, back is not None), said)))
        if back is not None:
            self._told.ours((back, (max(times_back, 1), effect_id)))
        asked_back = row["status"] in _BACK
        given = row["bill_id"], row["wallet_id"]
        goes_back = given in self._whole or given in self._cancelled
        if row["kind"] == "campaign" and row["status"] != "refused" and asked_back != goes_back:
            return f"its bill is {'not ' if asked_back else ''}refunded or cancelled as fraud"
        first, benefit_id = self._answers.get(effect_id, ("", None))
        if back is None:
            wanted = first or "asked"
        else:
            answered = self._answers.get(back, ("", None))[0]
            wanted = {"": "withdrawing", "used_already": "kept"}.get(answered, "withdrawn")
        if row["status"] != wanted:
            return f"by the answers it is {wanted}"
        if row["kind"] == "campaign" and row["refused"] != (first == "refused"):
            return f"its budget was {'' if row['refused'] else 'not '}given back, the bank said {first or 'nothing'}"
        if first == "issued" and row["benefit_id"] != benefit_id:
            return f"benefit {row['benefit_id']} is kept, the bank issued {benefit_id}"
        return None

    # ---- the events

    def on_asked(self, n: int | None, envelope: Envelope, event: BenefitAsked) -> None:
        """benefit.asked and benefit.withdrawal_asked."""
        if event.issued_by is not None:
            self._back[event.effect_id] = event.issued_by, self._back.get(event.effect_id, ("", 0))[1] + 1
            return
        source = event.source
        assert source is not None
        what = (
            source.bill_id, event.wallet_id, source.kind, source.code, event.reward, event.member_id, event.programme,
            event.effective_at,
        )  # fmt: skip
        times, before = self._asked.get(event.effect_id, (0, what))
        self._asked[event.effect_id] = times + 1, what if before == what else ("another one",)

    def on_answered(self, n: int | None, envelope: Envelope, event: BenefitAnswered) -> None:
        """benefit.answered, as far as earn has heard it."""
        if self._books.heard["redeem", "earn"].applied(n):
            self._answers.setdefault(event.effect_id, (event.outcome, event.benefit_id))


def taken_of(
    decision: Decision, amounts: Sequence[int], refunded: Mapping[str, Sequence[int]]
) -> dict[tuple[str, str], int]:
    """By (wallet, card), how many stamps of a bill refunds take back that come to so much of each line, by the programmes in whose
    windows they were."""
    found = {}
    for judged in decision.programmes:
        for one in judged.stamps:
            if judged.programme not in refunded or not one.stamps:
                continue
            places = list(one.lines)
            if sum(amounts[place] for place in places) == 0:
                places = list(range(len(amounts)))
            whole = sum(amounts[place] for place in places)
            part = sum(refunded[judged.programme][place] for place in places)
            found[judged.wallet_id, one.card] = one.stamps * part // whole if whole else one.stamps
    return found


def _by_heir(stamps: Mapping[tuple[str, str], int], heirs: Mapping[str, str]) -> Counter[tuple[str, str]]:
    """By (wallet, card), those of merged wallets with their heirs'."""
    found: Counter[tuple[str, str]] = Counter()
    for (wallet_id, card), count in stamps.items():
        found[heirs.get(wallet_id, wallet_id), card] += count
    return found
