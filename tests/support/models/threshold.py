"""Rewards that issue themselves at a number of points, once to a member, on top of the model of the shop; it shares no code with
the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from tests.support.models.shop import ModelBenefit, ModelReward, ModelShop
from tests.support.models.wallet import ModelWallet

AGAINST = ("issued", "held", "reversed")
"""What is in these counts against what was earned."""


class Before(NamedTuple):
    """A wallet before an act: what it had, with what has expired and was not swept; what it had earned; how many moves it had."""

    available: int
    earned: int
    moves: int


class ModelGiving(ModelShop):
    """The shop whose rewards issue themselves."""

    def __init__(self, rules: Any, until_of: Any) -> None:
        super().__init__(rules, until_of)
        self.had: list[tuple[str, ModelWallet]] = []
        """Who was issued what by a threshold."""

    @contextmanager
    def reaching(self, wallet: ModelWallet, now: datetime) -> Iterator[list[ModelBenefit]]:
        """What this act of earn's makes issue itself; it is in the list when the act is over."""
        before = Before(wallet.buckets["available"], earned(wallet), len(wallet.lines))
        made: list[ModelBenefit] = []
        yield made
        for code in sorted(self.rewards):
            reward = self.rewards[code]
            if reward.offer.reaches is not None and self._passed(wallet, reward.offer.reaches, before, now):
                made += self._give(reward, wallet, now)

    def run(self, code: str, wallet: ModelWallet, now: datetime) -> list[ModelBenefit]:
        """What the hourly run issues of a reward, where a wallet has so many points now, however they came."""
        reward = self.rewards[code]
        if reward.offer.reaches is None:
            return []
        points, of = reward.offer.reaches
        there = self.bank.spendable(wallet, now) if of == "balance" else earned(wallet)
        return self._give(reward, wallet, now) if there >= points else []

    def inherit(self, ended: ModelWallet, heir: ModelWallet) -> None:
        """What the one was issued the other was."""
        self.had = [(code, heir if wallet is ended else wallet) for code, wallet in self.had]

    def _passed(self, wallet: ModelWallet, reaches: tuple[int, str], before: Before, now: datetime) -> bool:
        points, of = reaches
        if of == "balance":
            # What was there counts also where nobody could spend it any more; what is there only where somebody can.
            return before.available < points <= self.bank.spendable(wallet, now)
        most = count = before.earned
        for source, target, moved in wallet.lines[before.moves :]:
            count += moved * ((source in AGAINST) - (target in AGAINST))
            most = max(most, count)
        return before.earned < points <= most

    def _give(self, reward: ModelReward, wallet: ModelWallet, now: datetime) -> list[ModelBenefit]:
        had = any(code == reward.code and one is wallet for code, one in self.had)
        blocked = self.blocked and wallet is self.wallet
        if had or blocked or reward.gone() or not reward.offer.active:
            return []
        benefit = ModelBenefit(reward, reward.offer, reward.version, None, now, reward.offer.ends(now))
        self.had.append((reward.code, wallet))
        reward.issued += 1
        self.benefits.append(benefit)
        return [benefit]


def earned(wallet: ModelWallet) -> int:
    """In all, held points left out, less what was taken back."""
    return -sum(wallet.buckets[bucket] for bucket in AGAINST)
