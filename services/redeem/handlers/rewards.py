"""Rewards: put into the catalogue, and bought with points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain import limits, reserving, rewards, spending
from services.redeem.domain.acceptance import Place
from services.redeem.domain.codes import benefit_code, benefit_hash
from services.redeem.domain.deciding import Inputs, of_reward
from services.redeem.domain.holding import Hold
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.posting import Posting
from services.redeem.domain.redemption import missing
from services.redeem.domain.rewards import (
    Benefit,
    PutReward,
    RedeemReward,
    RewardUnknown,
    Stock,
)
from services.redeem.handlers import reward_cards
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.tell import tell_expired, tell_redeemed
from services.redeem.handlers.tell_rewards import reward_answer, tell_issued
from services.redeem.handlers.tell_settled import tell_reserved
from services.redeem.store import deciding, holding, limiting, meeting, postings, versions
from services.redeem.store import rewards as store
from services.redeem.store.idle import note_idle
from services.redeem.store.locked import Locked
from services.redeem.store.redemptions import Authorised, authorise
from services.redeem.store.stock import keep_supply
from services.redeem.store.thresholds import learn as learn_thresholds
from shared.errors import (
    AmountOutOfRange,
    ProgrammeClosed,
    ProgrammeUnknown,
    Refusal,
)
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.money import money_of
from shared.programme.compiled import CompiledProgramme


async def put_reward(tx: Tx, items: Sequence[Item[PutReward]]) -> list[Outcome]:
    """Makes rewards, or changes them to be so: another content is another version, and the stock is set beside it."""
    outcomes: dict[int, Outcome] = {}
    asked: dict[int, CompiledProgramme] = {}
    for k, item in enumerate(items):
        command = item.command
        terms = await versions.newest(tx.db, tx.cache, command.programme)
        if terms is None:
            outcomes[k] = Refused(
                ProgrammeUnknown(f"There is no programme {command.programme}.", pointer="/programme")
            )
            continue
        try:
            rewards.check(command.reward, terms)
            asked[k] = terms
        except Refusal as refusal:
            outcomes[k] = Refused(refusal)
    names = {(items[k].command.programme, items[k].command.code) for k in asked}
    if names:
        await store.begin(tx.db, names)
    known = await store.lock(tx.db, names) if names else {}
    thresholds = False
    for k, terms in asked.items():
        command = items[k].command
        name = command.programme, command.code
        before = known[name]
        gone = before.issued + before.held if before is not None else 0
        if command.stock is not None and command.stock < gone:
            outcomes[k] = Refused(
                AmountOutOfRange(
                    f"{gone} of {command.code} are issued or set aside; the stock can't have been less.",
                    pointer="/stock",
                )
            )
            continue
        changed = before is None or before.reward != command.reward
        version = (before.version if before else 0) + changed
        issued = before.issued if before else 0
        held = before.held if before else 0
        after = Stock(command.programme, command.code, version, command.reward, command.stock, issued, held)
        if changed or before is None or before.supplied != after.supplied:
            await store.put(tx.db, after, changed=changed, now=tx.now())
            if before is None or before.supplied != after.supplied:
                await keep_supply(tx.db, name, after.supplied, tx.now())
            tx.audit(
                "reward.put",
                f"reward/{command.programme}/{command.code}",
                item=items[k],
                before=before,
                after=after,
            )
        known[name] = after
        old = before.reward if before is not None else None
        thresholds = (
            thresholds
            or (old.issues_at if old is not None else None) != after.reward.issues_at
            or (old is not None and old.active != after.reward.active)
        )
        outcomes[k] = Done(201 if before is None else 200, reward_answer(after, terms))
    if thresholds:
        await learn_thresholds(tx.db, tx.cache)
    return [outcomes[k] for k in range(len(items))]


class _Asked(msgspec.Struct):
    """A redemption whose parties and reward are known."""

    wallet_id: UUID
    terms: CompiledProgramme
    stock: Stock
    tier: str | None
    points: int
    facts: limits.Facts
    had: int = 0

    def check_limits(self, now: datetime, place: Place) -> None:
        """Refuses what the programme lets nobody spend; a reward pays for no bill, so its share of one is not asked."""
        all_of_them = limits.limits(self.terms, self.facts, bill_total_minor=None, now=now, place=place)
        limits.check_limits(
            (one for one in all_of_them if one.refusal not in limits.OF_BILLS),
            points=self.points,
            money_minor=0,
            pointer="/reward",
        )


async def redeem_reward(tx: Tx, items: Sequence[Item[RedeemReward]]) -> list[Outcome]:
    """Spends points on rewards: what each costs at its buyer's tier, one benefit each, never more than there are on stock."""
    outcomes: dict[int, Outcome] = {}
    commands = [item.command for item in items]
    names = [meeting.Asked.of(command) for command in commands]
    parties, wallets, lacking = await meeting.meet(tx.db, names, (), now=tx.now())
    agreed = await _agree(tx, commands, parties, outcomes)
    asked, now = await _stocked(tx, commands, agreed, outcomes)
    spent = [(one.wallet_id, one.points, one.terms.consumption) for one in asked.values()]
    await postings.load_lots(tx.db, wallets, [one for one in spent if one[0] in lacking], now)
    await note_idle(tx.db, tx.cache, wallets.values(), now)
    sales = _Sales(tx, wallets, now)
    for k, one in asked.items():
        try:
            outcomes[k] = sales.sell(k, items[k], one)
        except Refusal as refusal:
            outcomes[k] = Refused(refusal)
    await sales.write(outcomes)
    return [outcomes[k] for k in range(len(items))]


async def _agree(
    tx: Tx,
    commands: Sequence[RedeemReward],
    parties: Sequence[meeting.Party],
    outcomes: dict[int, Outcome],
) -> dict[int, tuple[UUID, CompiledProgramme]]:
    """Settles those whose parties are not known, or whose programme is closed; gives the others' wallets and terms."""
    agreed: dict[int, tuple[UUID, CompiledProgramme]] = {}
    for k, (command, party) in enumerate(zip(commands, parties, strict=True)):
        if (unknown := missing(command, party)) is not None:
            unknown.frozen = not command.patient
            outcomes[k] = Refused(unknown)
            continue
        assert party.wallet_id is not None
        terms = await versions.as_found(tx.db, tx.cache, command.programme, party.newest)
        if terms.closed:
            outcomes[k] = Refused(ProgrammeClosed.named(terms.code, pointer="/programme"))
            continue
        agreed[k] = party.wallet_id, terms
    return agreed


class _Sales:
    """What a batch sells and sets aside, in the order it came; made under all its locks."""

    def __init__(self, tx: Tx, wallets: Locked, now: datetime) -> None:
        self._tx, self._wallets, self._now = tx, wallets, now
        self._keys: list[postings.NewPosting] = []
        self._spent: list[postings.Redemption] = []
        self._issued: list[Benefit] = []
        self._set_aside: list[Authorised] = []
        self._holds: list[Hold] = []
        self._cards: list[reward_cards.Wanted] = []
        self._kept: list[Inputs] = []
        self._taken: Counter[store.Name] = Counter()
        self._bought: Counter[tuple[UUID, str, str]] = Counter()

    def sell(self, k: int, item: Item[RedeemReward], one: _Asked) -> Outcome:
        """Spends the points now, or sets them and the reward aside. Refuses what the reward, its programme and the wallet do."""
        tx, command, wallet = self._tx, item.command, self._wallets[one.wallet_id]
        mine = one.wallet_id, command.programme, command.reward
        had = one.had + self._bought[mine]
        benefit_id, redemption_id = uuid7(), uuid7()
        decided = self._decided(command, one, wallet, had, redemption_id)
        self._kept.append(
            of_reward(redemption_id, one.terms, one.stock.reward, one.facts, had=had, now=self._now)
        )
        one.facts.count(one.points)
        one.stock.taken += 1
        self._bought[mine] += 1
        if decided.expired is not None:
            self._keys.append(postings.NewPosting.of(wallet, decided.expired))
            tell_expired(tx, item, one.terms, wallet, decided.expired)
        posting = decided.spent if isinstance(decided, spending.Redeemed) else decided.set_aside
        self._keys.append(postings.NewPosting.of(wallet, posting))
        row = _redemption(redemption_id, command, one, wallet, posting)
        if isinstance(decided, reserving.Reserved):
            return self._hold(item, one, wallet, decided, row)
        self._spent.append(row)
        benefit = _benefit(tx, benefit_id, row, one, wallet, self._now)
        self._issued.append(benefit)
        self._taken[command.programme, command.reward] += 1
        if command.draft is not None and one.stock.reward.loads is not None:
            self._cards.append(
                reward_cards.Wanted(k, item, one.terms, one.stock.reward, benefit, row, command.draft)
            )
        done = tell_redeemed(tx, item, one.terms, wallet, posting, row)
        return tell_issued(tx, item, one.terms, one.stock.reward, benefit, row, done)

    def _decided(
        self, command: RedeemReward, one: _Asked, wallet: Wallet, had: int, redemption_id: UUID
    ) -> spending.Redeemed | reserving.Reserved:
        one.stock.offer(tier=one.tier, now=self._now, had=had)
        reward_cards.check(one.stock.reward, one.terms, draft=command.draft, later=command.code is not None)
        if wallet.status == "active":
            one.check_limits(self._now, Place(command.merchant, command.terminal))
        decide = spending.redeem if command.code is None else reserving.reserve
        return decide(
            wallet,
            points=one.points,
            pointer="/reward",
            terms=one.terms,
            now=self._now,
            redemption_id=redemption_id,
            new_id=uuid7,
        )

    def _hold(
        self,
        item: Item[RedeemReward],
        one: _Asked,
        wallet: Wallet,
        decided: reserving.Reserved,
        row: postings.Redemption,
    ) -> Outcome:
        code, stock = item.command.code, one.stock
        assert code is not None
        made = Authorised(row, code.hash, self._now + one.terms.redeeming.authorisation, decided.lots)
        self._set_aside.append(made)
        self._holds.append(
            Hold(
                row.redemption_id, stock.programme, stock.code, stock.version, one.tier, "held", stock.reward
            )
        )
        return tell_reserved(self._tx, item, one.terms, wallet, decided.set_aside, made, code.sealed)

    async def write(self, outcomes: dict[int, Outcome]) -> None:
        """Writes all of it; sales of gift cards are answered with their cards."""
        tx, wallets = self._tx, self._wallets
        if self._issued:
            await store.issue(tx.db, self._issued, self._taken)
        await reward_cards.issue(tx, self._cards, outcomes)
        await authorise(tx.db, self._set_aside)
        await holding.hold(tx.db, self._holds)
        await deciding.keep(tx.db, self._kept)
        await postings.write(tx, wallets.values(), postings=self._keys, redemptions=self._spent)
        tx.after_commit(lambda: count_points(tx, wallets.values()))


async def _stocked(
    tx: Tx,
    commands: Sequence[RedeemReward],
    agreed: Mapping[int, tuple[UUID, CompiledProgramme]],
    outcomes: dict[int, Outcome],
) -> tuple[dict[int, _Asked], datetime]:
    """The rewards that are asked for, their stock locked after the wallets, and what each buyer has had of them; and the moment at
    which all is decided, once nothing is waited for any more."""
    wanted = {(commands[k].programme, commands[k].reward) for k in agreed}
    stocks = await store.lock(tx.db, wanted) if wanted else {}
    now = tx.now()
    moments = {
        wallet_id: limits.moments(terms, now) if terms.redeeming.counts else []
        for wallet_id, terms in agreed.values()
    }
    facts = await limiting.facts(tx.db, moments, set(moments), now=now)
    asked: dict[int, _Asked] = {}
    counted: list[tuple[int, tuple[UUID, str, str, datetime]]] = []
    for k, (wallet_id, terms) in agreed.items():
        name = commands[k].programme, commands[k].reward
        stock = stocks.get(name)
        if stock is None:
            outcomes[k] = Refused(
                RewardUnknown(
                    f"{commands[k].programme} has no reward {commands[k].reward}.", pointer="/reward"
                )
            )
            continue
        told = facts[wallet_id]
        standing = (told.tier, told.until) if told.tier is not None else None
        tier = rewards.standing_of(standing, [one.code for one in terms.ladder], now)
        points = stock.reward.price_for(terms, tier)
        asked[k] = _Asked(wallet_id, terms, stock, tier, points, told)
        since = stock.reward.counted_since(now, terms.zone)
        if since is not None:
            counted.append((k, (wallet_id, *name, since)))
    if counted:
        for (k, _), had in zip(counted, await store.had(tx.db, [one for _, one in counted]), strict=True):
            asked[k].had = had
    return asked, now


def _redemption(
    redemption_id: UUID, command: RedeemReward, one: _Asked, wallet: Wallet, posting: Posting
) -> postings.Redemption:
    terms = one.terms
    return postings.Redemption(
        redemption_id,
        posting.posting_id,
        wallet.wallet_id,
        terms.code,
        terms.version,
        posting.points,
        money_of(posting.points, terms.point_value, terms.currency),
        command.merchant,
        command.terminal,
        command.cashier,
        command.channel,
        command.bill_ref,
        posting.effective_at,
    )


def _benefit(
    tx: Tx, benefit_id: UUID, row: postings.Redemption, one: _Asked, wallet: Wallet, now: datetime
) -> Benefit:
    key = tx.tenant.identity_key
    return Benefit(
        benefit_id,
        row.redemption_id,
        wallet.wallet_id,
        wallet.member_id,
        one.stock.programme,
        one.stock.code,
        one.stock.version,
        one.tier,
        row.points,
        one.stock.reward.unit_cost_minor,
        benefit_hash(key, benefit_code(key, benefit_id)),
        now,
        one.stock.reward.expires_at(now, one.terms.zone),
    )
