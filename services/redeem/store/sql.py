"""The queries of redeem, for its store alone."""

from collections.abc import Sequence
from typing import Any

from shared.sql import load

queries = load("services.redeem")
redemptions = load("services.redeem.store", "redemptions.sql")
merging = load("services.redeem.store", "merging.sql")
moving = load("services.redeem.store", "moving.sql")
adjustments = load("services.redeem.store", "adjustments.sql")
disputes = load("services.redeem.store", "disputes.sql")
rewards = load("services.redeem.store", "rewards.sql")
giving = load("services.redeem.store", "giving.sql")
thresholds = load("services.redeem.store", "thresholds.sql")
holding = load("services.redeem.store", "holding.sql")
deciding = load("services.redeem.store", "deciding.sql")
statements = load("services.redeem.store", "statements.sql")
offline = load("services.redeem.store", "offline.sql")
gift_cards = load("services.redeem.store", "gift_cards.sql")
liability = load("services.redeem.store", "liability.sql")
stock = load("services.redeem.store", "stock.sql")
versions = load("services.redeem.store", "versions.sql")


def columns(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Rows as the columns that `unnest` takes, each under its parameter's name."""
    if not rows:
        return dict.fromkeys(names, ())
    return dict(zip(names, zip(*rows, strict=True), strict=True))
