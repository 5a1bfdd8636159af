"""Tills that can't ask: allowances given, and what was spent on them posted in the order in which it happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain import limits, offline
from services.redeem.domain.acceptance import objection
from services.redeem.domain.deciding import Inputs, standing_in
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.offline import Allowance, AskAllowance, ReportUses
from services.redeem.domain.redemption import missing
from services.redeem.domain.spendable import spendable
from services.redeem.domain.spending import WalletBlocked
from services.redeem.handlers.uses import Told, Uses
from services.redeem.store import deciding, limiting, meeting, postings, returns, versions
from services.redeem.store import offline as store
from shared.errors import NotFound, ProgrammeClosed, Refusal
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.programme.compiled import CompiledProgramme

_encode = msgspec.json.Encoder().encode


async def give_allowance(tx: Tx, items: Sequence[Item[AskAllowance]]) -> list[Outcome]:
    """Gives allowances: one stands for a member at a terminal, and is answered again until it is used up or over."""
    outcomes: dict[int, Outcome] = {}
    commands = [item.command for item in items]
    names = [meeting.Asked.of(one) for one in commands]
    parties, wallets, _ = await meeting.meet(tx.db, names, (), now=tx.now())
    now = tx.now()
    meant: dict[int, tuple[UUID, CompiledProgramme]] = {}
    for k, (command, party) in enumerate(zip(commands, parties, strict=True)):
        if (unknown := missing(command, party)) is not None:
            outcomes[k] = Refused(unknown)
            continue
        assert party.wallet_id is not None
        terms = await versions.as_found(tx.db, tx.cache, command.programme, party.newest)
        if terms.closed:
            outcomes[k] = Refused(ProgrammeClosed.named(terms.code, pointer="/programme"))
            continue
        meant[k] = party.wallet_id, terms
    tiered = {wallet_id for wallet_id, terms in meant.values() if terms.redeeming.tiers is not None}
    facts = await limiting.facts(tx.db, {}, tiered, now=now) if tiered else {}
    places = {(meant[k][0], commands[k].merchant, commands[k].terminal) for k in meant}
    standing = await store.standing(tx.db, places, now) if places else {}
    made: list[Allowance] = []
    kept: list[Inputs] = []
    for k, (wallet_id, terms) in meant.items():
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
                version=terms.version,
                terms=terms.redeeming.offline,
                now=now,
                allowance_id=uuid7(),
            )
            made.append(allowance)
            if terms.redeeming.tiers is not None:
                stood = standing_in(terms, facts.get(wallet_id), now)
                kept.append(Inputs(allowance.allowance_id, "allowance", stood))
            tx.audit("allowance.give", f"wallet/{wallet_id}", item=items[k], after=allowance)
            outcomes[k] = Done(201, _allowance_answer(allowance, terms))
        else:
            given_under = await versions.promised(tx.db, tx.cache, allowance)
            outcomes[k] = Done(200, _allowance_answer(allowance, given_under))
    await store.give(tx.db, made)
    await deciding.keep(tx.db, kept)
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
    every = [
        (use.occurred_at, k, place, use) for k in ours for place, use in enumerate(items[k].command.uses)
    ]
    bills = {
        (allowances[items[k].command.allowance_id].merchant, use.bill_ref)
        for _, k, _, use in every
        if use.bill_ref is not None
    }
    if bills:
        await returns.meet_bills(tx.db, bills)
    wallets = await postings.lock(tx.db, {allowances[items[k].command.allowance_id].wallet_id for k in ours})
    batch = Uses(tx, wallets, await store.by_id(tx.db, {items[k].command.allowance_id for k in ours}))
    await batch.begin([items[k].command for k in ours])
    told: dict[int, dict[int, Told]] = {k: {} for k in ours}
    for _, k, place, use in sorted(every, key=lambda one: one[:3]):
        told[k][place] = await batch.post(items[k], use)
    await batch.give_back()
    await batch.write()
    for k in ours:
        command = items[k].command
        allowance = batch.allowances[command.allowance_id]
        wallet = wallets[allowance.wallet_id]
        terms, newest = await batch.terms(allowance), batch.newest(allowance)
        answers = [batch.answer(told[k][place], terms) for place in range(len(command.uses))]
        outcomes[k] = Done(
            200,
            _encode(
                {
                    "allowance_id": command.allowance_id,
                    "left": terms.worth(allowance.left),
                    "redemptions": answers,
                    "balance": {
                        "available": newest.worth(spendable(wallet, batch.now)),
                        "held": newest.worth(wallet.held),
                        "reserved": newest.worth(wallet.reserved),
                        "debt": newest.worth(wallet.debt),
                    },
                }
            ),
        )
    return [outcomes[k] for k in range(len(items))]
