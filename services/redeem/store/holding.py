"""Rewards that authorisations hold, and the benefits that redemptions bought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from services.redeem.domain.holding import Hold
from services.redeem.domain.rewards import Reward
from services.redeem.store.rewards import Name, reward_of
from services.redeem.store.sql import columns, holding
from shared.db import Connection
from shared.programme.validation import UnreadVersion


class Bought(NamedTuple):
    """The benefit that a redemption bought, and the gift card that it is, where it is one."""

    redemption_id: UUID
    benefit_id: UUID
    programme: str
    reward: str
    card_id: UUID | None


async def hold(db: Connection, held: Sequence[Hold]) -> None:
    """Writes what authorisations hold of locked rewards; their redemptions are written."""
    if not held:
        return
    rows = [(one.redemption_id, one.programme, one.code, one.version, one.tier) for one in held]
    names = ("hold_redemptions", "hold_programmes", "hold_rewards", "hold_versions", "hold_tiers")
    await holding.hold(db, **_counts(held, "mores"), **columns(names, rows))


async def holds(db: Connection, redemption_ids: Iterable[UUID]) -> dict[UUID, Hold]:
    """What redemptions of locked wallets hold or held."""
    rows = await holding.holds(db, redemption_ids=list(redemption_ids))
    return {row[0]: Hold(*[*row[:6], _reward(row)]) for row in rows}


def _reward(row: Any) -> Reward | UnreadVersion:
    try:
        return reward_of(row)
    except UnreadVersion as refusal:
        return refusal


async def end(db: Connection, ended: Sequence[Hold]) -> None:
    """Writes what became of holds; their rewards are locked."""
    if ended:
        states = {
            "redemption_ids": [one.redemption_id for one in ended],
            "states": [one.state for one in ended],
        }
        await holding.end_holds(db, **_counts(ended, "lesses"), **states)


async def bought(db: Connection, redemption_ids: Iterable[UUID]) -> dict[UUID, Bought]:
    """Of these redemptions those that bought a reward, with its benefit."""
    rows = await holding.bought_benefits(db, redemption_ids=list(redemption_ids))
    return {row[0]: Bought(*row) for row in rows}


def _counts(of: Sequence[Hold], name: str) -> dict[str, list[object]]:
    counts = sorted(Counter[Name]((one.programme, one.code) for one in of).items())
    return {
        "programmes": [programme for (programme, _), _ in counts],
        "rewards": [reward for (_, reward), _ in counts],
        name: [count for _, count in counts],
    }
