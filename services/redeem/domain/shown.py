"""Rewards and benefits as they are answered: ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.redeem.domain.rewards import AsIssued, Price, Stock
from shared.money import Money, Worth
from shared.programme.compiled import CompiledProgramme


def reward_out(stock: Stock, terms: CompiledProgramme) -> dict[str, Any]:
    """A reward as it is answered: its price in points with their money, for each tier that has one of its own."""
    reward = stock.reward
    return {
        "programme": stock.programme,
        "reward": stock.code,
        "version": stock.version,
        "kind": reward.kind,
        "name": reward.name,
        "active": reward.active,
        "price": _price(reward.price, terms),
        "tier_prices": {tier: _price(price, terms) for tier, price in reward.tier_prices.items()},
        "unit_cost": Money(reward.unit_cost_minor, terms.currency),
        "valid_days": reward.valid_days,
        "windows": reward.windows,
        "limit": reward.limit,
        "restock": reward.restock,
        "issues_at": reward.issues_at,
        "loads": reward.loads,
        "stock": None
        if stock.supplied is None
        else {"supplied": stock.supplied, "issued": stock.issued, "held": stock.held, "left": stock.left},
    }


def benefit_out(row: Mapping[str, Any], reward: AsIssued, now: datetime) -> dict[str, Any]:
    """A benefit as it is answered; its state as of that instant."""
    if row["consumed_at"] is not None:
        status = "consumed"
    elif row["withdrawn_at"] is not None:
        status = "withdrawn"
    else:
        expired = row["expires_at"] is not None and (row["lapsed_at"] is not None or row["expires_at"] <= now)
        status = "expired" if expired else "issued"
    fields = (
        "benefit_id", "redemption_id", "origin", "wallet_id", "programme", "reward", "version", "issued_at", "expires_at",
        "consumed_at", "withdrawn_at", "merchant", "terminal", "bill_ref",
    )  # fmt: skip
    return {
        **{field: row[field] for field in fields},
        "kind": reward.kind,
        "name": reward.name,
        "status": status,
        "unit_cost": Money(row["unit_cost_minor"], row["currency"]),
    }


def _price(price: Price, terms: CompiledProgramme) -> Worth:
    return terms.worth(price.points_of(terms))
