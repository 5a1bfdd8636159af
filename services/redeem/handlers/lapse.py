"""Benefits that expired unused are written off: what they would have cost is owed no more."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.redeem.domain.giving import LapseBenefits, Lapsed, LapsedOf
from services.redeem.handlers.tell_given import tell_lapsed
from services.redeem.store import giving, rewards
from shared.messaging import Done, Item, Outcome, Tx

_encode = msgspec.json.Encoder().encode


async def lapse_benefits(tx: Tx, items: Sequence[Item[LapseBenefits]]) -> list[Outcome]:
    """Writes off the next that are due; of two that do it at once each does what the other did not."""
    outcomes: list[Outcome] = []
    for item in items:
        now = tx.now()
        due = await giving.next_lapsing(tx.db, now, most=item.command.most)
        done = await giving.lapse(tx.db, due, now) if due else []
        rows = await rewards.benefits(tx.db, done) if done else {}
        of: dict[tuple[str, str], LapsedOf] = {}
        for benefit_id in done:
            row = rows[benefit_id]
            tell_lapsed(tx, item, row)
            name = row["programme"], row["reward"]
            one = of.setdefault(name, LapsedOf(*name))
            one.benefits += 1
            one.cost_minor += row["unit_cost_minor"]
        by_reward = tuple(of[name] for name in sorted(of))
        outcomes.append(Done(200, _encode(Lapsed(by_reward, len(due) == item.command.most))))
    return outcomes
