"""Rewards that issue themselves: with the posting that passes the threshold, and by a sweep for who has reached it otherwise."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain import giving
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.rewards import Benefit, standing_of
from services.redeem.domain.thresholds import Issued, IssueReached, passed, passed_alive, reached
from services.redeem.handlers.tell_given import tell_given
from services.redeem.store import postings, rewards, versions
from services.redeem.store import thresholds as store
from services.redeem.store.idle import note_idle, sweepable
from services.redeem.store.rewards import Name
from shared.errors import Refusal
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Tx

_encode = msgspec.json.Encoder().encode
Cause = Callable[[Name, UUID], Item[Any]]
"""By what a wallet is issued a reward."""


async def issue_passed(tx: Tx, wallets: Iterable[Wallet], causes: Mapping[UUID, Item[Any]]) -> None:
    """Issues what the lines of this batch passed the thresholds of. Asks nothing where none was: the usual case. Before
    `postings.write`; `causes`: what each wallet was posted to by."""
    known = store.known(tx.cache)
    if not known:
        return
    due: dict[Name, list[Wallet]] = defaultdict(list)
    for wallet in wallets:
        for reward in passed(wallet, known):
            due[wallet.programme, reward].append(wallet)
    if due:
        await _issue(tx, due, lambda _, wallet_id: causes[wallet_id], just_passed=True)


async def issue_reached(tx: Tx, items: Sequence[Item[IssueReached]]) -> list[Outcome]:
    """Issues to those who have reached a threshold and were not issued its reward: they had the points before it was declared, or
    got them by a road that does not look. Of two that name a wallet for one reward the first issues it."""
    wallets = await postings.lock(tx.db, {one for item in items for one in item.command.wallet_ids})
    ours, _ = await sweepable(tx.db, tx.cache, wallets.values())
    await note_idle(tx.db, tx.cache, ours, tx.now())
    here = {wallet.wallet_id for wallet in ours}
    first: dict[Name, dict[UUID, Item[Any]]] = defaultdict(dict)
    for item in items:
        name = item.command.programme, item.command.reward
        for wallet_id in item.command.wallet_ids:
            wallet = wallets.get(wallet_id)
            if wallet is not None and wallet.wallet_id in here and wallet.programme == name[0]:
                first[name].setdefault(wallet.wallet_id, item)
    due = {name: [wallets[wallet_id] for wallet_id in named] for name, named in first.items()}
    issued = await _issue(tx, due, lambda name, wallet_id: first[name][wallet_id], just_passed=False)
    counts = Counter([id(first[one.programme, one.reward][one.wallet_id]) for one in issued])
    return [Done(200, _encode(Issued(counts[id(item)]))) for item in items]


async def _issue(
    tx: Tx, due: Mapping[Name, Sequence[Wallet]], cause: Cause, *, just_passed: bool
) -> list[Benefit]:
    stocks = await rewards.lock_read(tx.db, due)
    # Of what this release can't read the sweep of another issues: points come, and others have their rewards, all the same.
    newest = await versions.newest_read(tx.db, tx.cache, {programme for programme, _ in due})
    standings: dict[UUID, tuple[str, Any]] = {}
    if any(one is not None and one.reward.windows for one in stocks.values()):
        standings = await store.standings(tx.db, {one.wallet_id for own in due.values() for one in own})
    now = tx.now()
    gone = await store.gone(tx.db, {one.wallet_id: one for own in due.values() for one in own}, now)
    made: list[Benefit] = []
    for name in sorted(due):
        stock = stocks.get(name)
        terms = newest.get(name[0])
        if stock is None or stock.reward.issues_at is None or terms is None or terms.closed:
            continue
        ladder = [one.code for one in terms.ladder]
        active = [one for one in due[name] if one.status == "active"]
        had = await store.had(tx.db, *name, {one.wallet_id for one in active})
        for wallet in active:
            # What the reward says now is asked again: this process may have learned another threshold.
            threshold, dead = stock.reward.issues_at, gone[wallet.wallet_id]
            there = just_passed and passed_alive(wallet, threshold, dead)
            if wallet.wallet_id in had or not (there or reached(wallet, threshold, dead)):
                continue
            tier = standing_of(standings.get(wallet.wallet_id), ladder, now)
            if not stock.reward.open_at(now, tier):
                continue
            try:
                benefit = giving.give(
                    stock, benefit_id=uuid7(), wallet_id=wallet.wallet_id, member_id=wallet.member_id, origin="threshold",
                    asked_by=None, key=tx.tenant.identity_key, zone=terms.zone,
                    programme_version=terms.version, now=now,
                )  # fmt: skip
            except Refusal:  # none is left: the sweep tries again
                break
            had.add(wallet.wallet_id)
            made.append(benefit)
            tell_given(tx, cause(name, wallet.wallet_id), stock.reward, benefit, terms.currency, None)
    if made:
        taken: dict[Name, int] = {
            name: one.taken for name, one in stocks.items() if one is not None and one.taken
        }
        await rewards.issue(tx.db, made, taken)
    return made
