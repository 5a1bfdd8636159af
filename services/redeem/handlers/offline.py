"""Tills that can't ask: allowances given, and what was spent on them posted in the order in which it happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain import limits, offline
from services.redeem.domain.acceptance import objection
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.offline import (
    Allowance,
    AskAllowance,
    RedemptionConflict,
    ReportUses,
    Use,
    UseAnswer,
)
from services.redeem.domain.redemption import missing
from services.redeem.domain.spending import WalletBlocked
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.tell import tell_expired, tell_redeemed_offline
from services.redeem.store import learned, limiting, postings
from services.redeem.store import offline as store
from services.redeem.store.idle import note_idle
from shared.errors import NotFound, ProgrammeClosed, Refusal
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.money import money_of
from shared.programme.compiled import CompiledProgramme

_encode = msgspec.json.Encoder().encode


async def give_allowance(tx: Tx, items: Sequence[Item[AskAllowance]]) -> list[Outcome]:
    """Gives allowances: one stands for a member at a terminal, and is answered again until it is used up or over."""
    outcomes: dict[int, Outcome] = {}
    commands = [item.command for item in items]
    names = [postings.Asked.of(one) for one in commands]
    parties, wallets, _ = await postings.meet(tx.db, names, (), now=tx.now())
    now = tx.now()
    meant: dict[int, tuple[UUID, CompiledProgramme, int]] = {}
    for k, (command, party) in enumerate(zip(commands, parties, strict=True)):
        if (unknown := missing(command, party)) is not None:
            outcomes[k] = Refused(unknown)
            continue
        assert party.version is not None
        assert party.wallet_id is not None
        terms = await learned.programme(tx.db, tx.cache, command.programme, party.version)
        if terms.closed:
            outcomes[k] = Refused(ProgrammeClosed.named(terms.code, pointer="/programme"))
            continue
        meant[k] = party.wallet_id, terms, party.version
    tiered = {wallet_id for wallet_id, terms, _ in meant.values() if terms.redeeming.tiers is not None}
    facts = await limiting.facts(tx.db, {}, tiered, now=now) if tiered else {}
    places = {(meant[k][0], commands[k].merchant, commands[k].terminal) for k in meant}
    standing = await store.standing(tx.db, places, now) if places else {}
    made: list[Allowance] = []
    for k, (wallet_id, terms, version) in meant.items():
        command = commands[k]
        try:
            _check(wallets[wallet_id], terms, facts.get(wallet_id), now)
            if (no := objection(terms.redeeming, command.merchant, command.terminal)) is not None:
                raise no
        except Refusal as refusal:
            outcomes[k] = Refused(refusal)
            continue
        place = wallet_id, command.merchant, command.terminal
        allowance = standing.get(place)
        if allowance is None:
            assert terms.redeeming.offline is not None
            allowance = standing[place] = offline.allow(
                wallet_id,
                command,
                version=version,
                terms=terms.redeeming.offline,
                now=now,
                allowance_id=uuid7(),
            )
            made.append(allowance)
            tx.audit("allowance.give", f"wallet/{wallet_id}", item=items[k], after=allowance)
            outcomes[k] = Done(201, _allowance_answer(allowance, terms))
        else:
            outcomes[k] = Done(200, _allowance_answer(allowance, terms))
    await store.give(tx.db, made)
    return [outcomes[k] for k in range(len(items))]


def _check(wallet: Wallet, terms: CompiledProgramme, facts: limits.Facts | None, now: datetime) -> None:
    if terms.redeeming.offline is None:
        raise offline.OfflineNotAllowed(
            f"Tills of {terms.code} spend no points offline. The programme declares it under redemption.offline."
        )
    if wallet.status != "active":
        raise WalletBlocked(f"The wallet is {wallet.status}; nothing can be spent from it.")
    if terms.redeeming.tiers is not None:
        every = limits.limits(terms, facts or limits.Facts(), bill_total_minor=0, now=now)
        limits.check_limits(
            (one for one in every if one.refusal is limits.TierNotEligible),
            points=1,
            money_minor=0,
            pointer="/member",
        )


def _allowance_answer(allowance: Allowance, terms: CompiledProgramme) -> bytes:
    return _encode(
        offline.AllowanceAnswer(
            allowance_id=allowance.allowance_id,
            programme=allowance.programme,
            wallet_id=allowance.wallet_id,
            merchant=allowance.merchant,
            terminal=allowance.terminal,
            allowed=terms.worth(allowance.left),
            issued_at=allowance.issued_at,
            expires_at=allowance.expires_at,
        )
    )


async def report_uses(tx: Tx, items: Sequence[Item[ReportUses]]) -> list[Outcome]:
    """Posts what was spent on allowances, each use once, in the order in which they happened whoever reports them first."""
    outcomes: dict[int, Outcome] = {}
    allowances = await store.by_id(tx.db, {item.command.allowance_id for item in items})
    for k, item in enumerate(items):
        found = allowances.get(item.command.allowance_id)
        own = item.command.merchant
        if found is None or (own is not None and own != found.merchant):
            outcomes[k] = Refused(NotFound("There is no such allowance."))
    ours = [k for k in range(len(items)) if k not in outcomes]
    if not ours:
        return [outcomes[k] for k in range(len(items))]
    wallets = await postings.lock(tx.db, {allowances[items[k].command.allowance_id].wallet_id for k in ours})
    batch = _Uses(tx, wallets, await store.by_id(tx.db, {items[k].command.allowance_id for k in ours}))
    await batch.begin([items[k].command for k in ours])
    told: dict[int, dict[int, UseAnswer]] = {k: {} for k in ours}
    every = [
        (use.occurred_at, k, place, use) for k in ours for place, use in enumerate(items[k].command.uses)
    ]
    for _, k, place, use in sorted(every, key=lambda one: one[:3]):
        told[k][place] = await batch.post(items[k], use)
    await batch.write()
    for k in ours:
        command = items[k].command
        wallet = wallets[batch.allowances[command.allowance_id].wallet_id]
        terms = await batch.terms(batch.allowances[command.allowance_id])
        answers = [told[k][place] for place in range(len(command.uses))]
        outcomes[k] = Done(
            200,
            _encode(
                {
                    "allowance_id": command.allowance_id,
                    "left": terms.worth(batch.allowances[command.allowance_id].left),
                    "redemptions": answers,
                    "balance": {
                        "available": terms.worth(wallet.available),
                        "held": terms.worth(wallet.held),
                        "reserved": terms.worth(wallet.reserved),
                        "debt": terms.worth(wallet.debt),
                    },
                }
            ),
        )
    return [outcomes[k] for k in range(len(items))]


class _Uses:
    """A batch's uses, while they are posted."""

    def __init__(self, tx: Tx, wallets: dict[UUID, Wallet], allowances: dict[UUID, Allowance]) -> None:
        self.tx, self.wallets, self.allowances = tx, wallets, allowances
        self.now = tx.now()
        self._known: dict[tuple[UUID, str], store.Known] = {}
        self._keys: list[postings.NewPosting] = []
        self._used: list[store.Used] = []

    async def begin(self, commands: Sequence[ReportUses]) -> None:
        """Reads what was reported before, and the lots that all of it can touch."""
        named = {(one.allowance_id, use.redemption_ref) for one in commands for use in one.uses}
        self._known = await store.known(self.tx.db, sorted(named))
        needs: dict[UUID, tuple[int, str]] = {}
        for one in commands:
            allowance = self.allowances[one.allowance_id]
            points, _ = needs.get(allowance.wallet_id, (0, ""))
            consumption = (await self.terms(allowance)).consumption
            needs[allowance.wallet_id] = points + sum(use.points for use in one.uses), consumption
        await postings.load_lots(self.tx.db, self.wallets, needs, self.now)
        await note_idle(self.tx.db, self.tx.cache, self.wallets.values(), self.now)

    async def terms(self, allowance: Allowance) -> CompiledProgramme:
        """The version that it was given under."""
        return await learned.programme(
            self.tx.db, self.tx.cache, allowance.programme, allowance.programme_version
        )

    async def post(self, item: Item[ReportUses], use: Use) -> UseAnswer:
        """Posts one use, or says why not."""
        allowance = self.allowances[item.command.allowance_id]
        terms = await self.terms(allowance)
        name = allowance.allowance_id, use.redemption_ref
        try:
            if (before := self._known.get(name)) is not None:
                return self._repeated(before, use, terms)
            if use.occurred_at > self.now + offline.EARLY:
                raise offline.OccurredInFuture(
                    f"It is {self.now:%Y-%m-%dT%H:%M:%SZ} here; this is said to be at {use.occurred_at:%Y-%m-%dT%H:%M:%SZ}."
                )
            offline.check_use(allowance, use, now=self.now)
        except Refusal as refused:
            return UseAnswer(
                redemption_ref=use.redemption_ref, outcome="refused", code=refused.code, detail=refused.detail
            )
        wallet = self.wallets[allowance.wallet_id]
        # A till whose clock is ahead by a little spends nothing in the future.
        at = min(use.occurred_at, self.now)
        redemption_id = uuid7()
        decided = offline.overdraw(
            wallet, points=use.points, terms=terms, at=at, redemption_id=redemption_id, new_id=uuid7
        )
        if decided.expired is not None:
            self._keys.append(postings.NewPosting.of(wallet, decided.expired))
            tell_expired(self.tx, item, terms, wallet, decided.expired)
        row = postings.Redemption(
            redemption_id,
            decided.spent.posting_id,
            wallet.wallet_id,
            terms.code,
            terms.version,
            use.points,
            money_of(use.points, terms.point_value, terms.currency),
            allowance.merchant,
            allowance.terminal,
            use.cashier,
            None,
            use.bill_ref,
            at,
        )
        blocked = wallet.status != "active"
        allowance.used_points += use.points
        self._keys.append(postings.NewPosting.of(wallet, decided.spent))
        self._used.append(
            store.Used(
                row, allowance.allowance_id, use.redemption_ref, use.content_hash, decided.owed, blocked
            )
        )
        self._known[name] = store.Known(
            *name, use.content_hash, redemption_id, use.points, decided.owed, blocked
        )
        tell_redeemed_offline(self.tx, item, terms, wallet, decided, row)
        return _posted("posted", self._known[name], terms)

    def _repeated(self, before: store.Known, use: Use, terms: CompiledProgramme) -> UseAnswer:
        if before.content_hash != use.content_hash:
            raise RedemptionConflict(
                f"Another redemption was reported as {use.redemption_ref} of this allowance."
            )
        return _posted("repeated", before, terms)

    async def write(self) -> None:
        """Writes all that was posted."""
        await store.keep(self.tx.db, self._used, self.allowances.values(), self.now)
        await postings.write(self.tx, self.wallets.values(), postings=self._keys)
        self.tx.after_commit(lambda: count_points(self.tx, self.wallets.values()))


def _posted(outcome: str, one: store.Known, terms: CompiledProgramme) -> UseAnswer:
    return UseAnswer(
        redemption_ref=one.redemption_ref,
        outcome=outcome,
        redemption_id=one.redemption_id,
        redeemed=terms.worth(one.points),
        overdrawn=terms.worth(one.overdrawn_points),
        wallet_blocked=one.wallet_blocked,
    )
