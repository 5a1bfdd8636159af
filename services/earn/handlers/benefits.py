"""Rewards that earn asks of the bank: asked for with a decision, asked back with a refund, and what the bank answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.earn.domain.benefit import Effect, TakenStamps, asked_of
from services.earn.domain.decision import Decision
from services.earn.domain.giving_back import refused_back
from services.earn.domain.judge import CardKey
from services.earn.store import benefits as store
from services.earn.store import counters, merging
from shared.events import BenefitAnswered, BenefitAsked, BenefitSource, BenefitWithdrawalAsked
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Tx

_DONE = Done()


class AskBenefitsAgain(msgspec.Struct, frozen=True):
    """Ask the bank again for what it has not answered, and was asked for before that time."""

    asked_before: datetime


class TakenBack(NamedTuple):
    """What a refund or a cancelled review takes back: stamps of its bill, and what campaigns gave these wallets for it as
    `rewards`: all of them where the bill is refunded whole."""

    bill_id: UUID
    stamps: Sequence[TakenStamps]
    rewards: Collection[UUID]
    item: Item[Any]


def gives(decision: Decision) -> bool:
    """Whether a decision has stamps, or asks for rewards."""
    return any(judged.stamps or judged.offers for judged in decision.programmes)


async def ask_benefits(tx: Tx, decided: Iterable[tuple[UUID, datetime, Decision, Item[Any]]]) -> None:
    """Keeps the stamps that these decisions gave, and asks the bank for the rewards that they give: (bill, when it
    happened, decision, item)."""
    stamps: list[tuple[UUID, UUID, str, int]] = []
    effects: list[Effect] = []
    for bill_id, occurred_at, decision, item in decided:
        for judged in decision.programmes:
            stamps += [
                (bill_id, judged.wallet_id, one.card, one.stamps) for one in judged.stamps if one.stamps
            ]
        for effect in asked_of(
            bill_id, occurred_at, decision, request_id=item.request_id, traceparent=item.traceparent
        ):
            effects.append(effect)
            _ask(tx, effect, item)
    await store.write_stamps(tx.db, stamps)
    await store.write_effects(tx.db, effects)


async def take_back(tx: Tx, taken: Sequence[TakenBack]) -> None:
    """Takes stamps off their cards, and asks rewards back. The bills' sagas are locked."""
    causes: dict[CardKey, Item[Any]] = {}
    through: list[TakenStamps] = []
    less: dict[CardKey, int] = {}
    if any(one.stamps for one in taken):
        known = await store.stamps_of_bills(tx.db, {one.bill_id for one in taken if one.stamps})
        homes = await merging.homes(tx.db, {stamps.wallet_id for one in taken for stamps in one.stamps})
        for one in taken:
            for stamps in one.stamps:
                key = stamps.bill_id, stamps.wallet_id, stamps.card
                if stamps.through > known[key]:
                    card = homes[stamps.wallet_id], stamps.card
                    less[card] = less.get(card, 0) + stamps.through - known[key]
                    known[key] = stamps.through
                    causes[card] = one.item
                    through.append(stamps)
    cards = await store.hold_cards(tx.db, less) if less else {}
    before = dict(cards)
    for card, stamps_less in less.items():
        cards[card] -= stamps_less
    short = [card for card, progress in cards.items() if progress < 0]
    given = {(one.bill_id, wallet_id): one.item for one in taken for wallet_id in one.rewards}
    ids = await store.standing_of_cards(tx.db, short)
    ids += await store.standing_of_bills(tx.db, given)
    effects = await store.lock_effects(tx.db, ids)
    homes = await merging.homes(tx.db, {effect.wallet_id for effect in effects.values()})
    moved: list[Effect] = []
    for effect in sorted(effects.values(), key=lambda one: one.effect_id, reverse=True):  # the latest first
        if effect.status not in ("asked", "issued"):
            continue
        card = homes[effect.wallet_id], effect.code
        if effect.kind == "stamp_card":
            if cards[card] >= 0:
                continue
            cards[card] += effect.withdraw(uuid7)
            cause = causes[card]
        else:
            effect.withdraw(uuid7)
            cause = given[effect.bill_id, effect.wallet_id]
        effect.sequence += 1
        moved.append(effect)
        _ask_back(tx, effect, cause)
    if moved:
        await store.move_effects(tx.db, moved)
    if through:
        await store.take_stamps(tx.db, through)
    await store.move_cards(tx.db, cards, before=before)


async def hear_benefits(tx: Tx, items: Sequence[Item[BenefitAnswered]]) -> list[Outcome]:
    """Takes the bank's answers in, each once: what was answered before is so already. What a campaign's refused reward had used
    of budget and caps goes back; their locks are the last."""
    known = await store.answered_effects(tx.db, {item.command.effect_id for item in items})
    stamped = [row for row in known if row["kind"] == "stamp_card"]
    homes = await merging.homes(tx.db, {row["wallet_id"] for row in stamped})
    keys = {(homes[row["wallet_id"]], row["code"]) for row in stamped}
    cards = await store.hold_cards(tx.db, keys) if keys else {}
    before = dict(cards)
    effects = await store.lock_effects(tx.db, {row["effect_id"] for row in known})
    by_answer = {one.withdrawal_id: one for one in effects.values() if one.withdrawal_id is not None}
    moved: dict[UUID, Effect] = {}
    refused: list[Effect] = []
    for item in items:
        told = item.command
        # Outcomes of one id are never those of the other: issued and refused answer the first, the rest the second.
        effect = effects.get(told.effect_id) or by_answer.get(told.effect_id)
        if effect is None:
            continue
        if effect.refused_by(told.outcome):
            refused.append(effect)
        back = effect.answered(told.outcome, told.benefit_id, told.code)
        moved[effect.effect_id] = effect
        if back and effect.kind == "stamp_card":
            cards[homes[effect.wallet_id], effect.code] += back
    if moved:
        await store.move_effects(tx.db, list(moved.values()))
    await store.move_cards(tx.db, cards, before=before)
    if refused:
        await _give_back(tx, refused)
    return [_DONE] * len(items)


async def _give_back(tx: Tx, refused: Sequence[Effect]) -> None:
    """To budgets and caps what these rewards, refused by an answer of this transaction, had used."""
    decisions = await store.decisions_about(tx.db, {effect.bill_id for effect in refused})
    back: dict[counters.Key, int] = {}
    for effect in refused:
        for key, amount in refused_back(decisions[effect.bill_id], effect.effect_id).items():
            back[key] = back.get(key, 0) + amount
    if back:
        await counters.hold(tx.db, back)
        await counters.count(tx.db, given_back=back)


async def ask_benefits_again(tx: Tx, items: Sequence[Item[AskBenefitsAgain]]) -> list[Outcome]:
    """Tells the bank once more what it owes an answer to, under the same ids."""
    for item in items:
        ids = await store.unanswered_effects(tx.db, asked_before=item.command.asked_before)
        effects = [
            one
            for one in (await store.lock_effects(tx.db, ids)).values()
            if one.status in ("asked", "withdrawing")
        ]
        for effect in effects:
            effect.sequence += 1
            (_ask if effect.status == "asked" else _ask_back)(tx, effect, item)
        if effects:
            await store.move_effects(tx.db, effects)
    return [_DONE] * len(items)


def _ask(tx: Tx, effect: Effect, item: Item[Any]) -> None:
    tx.emit(
        BenefitAsked(
            effect_id=effect.effect_id,
            wallet_id=effect.wallet_id,
            member_id=effect.member_id,
            programme=effect.programme,
            reward=effect.reward,
            source=BenefitSource(kind=effect.kind, code=effect.code, bill_id=effect.bill_id),
            effective_at=effect.effective_at,
        ),
        subject=str(effect.effect_id),
        sequence=effect.sequence,
        item=item,
    )
    tx.audit("benefit.ask", f"effect/{effect.effect_id}", item=item, after=_named(effect))


def _ask_back(tx: Tx, effect: Effect, item: Item[Any]) -> None:
    assert effect.withdrawal_id is not None
    tx.emit(
        BenefitWithdrawalAsked(effect_id=effect.withdrawal_id, issued_by=effect.effect_id),
        subject=str(effect.effect_id),
        sequence=effect.sequence,
        item=item,
    )
    tx.audit("benefit.ask_back", f"effect/{effect.effect_id}", item=item, after=_named(effect))


def _named(effect: Effect) -> Mapping[str, Any]:
    return {effect.kind: effect.code, "reward": effect.reward, "bill_id": effect.bill_id}
