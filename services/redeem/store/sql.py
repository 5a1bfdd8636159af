"""The queries of redeem, for its store alone."""

from collections.abc import Sequence
from typing import Any

from shared.sql import load

queries = load("services.redeem")
redemptions = load("services.redeem", "redemptions.sql")
merging = load("services.redeem", "merging.sql")
moving = load("services.redeem", "moving.sql")
adjustments = load("services.redeem", "adjustments.sql")
disputes = load("services.redeem", "disputes.sql")
rewards = load("services.redeem", "rewards.sql")
giving = load("services.redeem", "giving.sql")
thresholds = load("services.redeem", "thresholds.sql")
holding = load("services.redeem", "holding.sql")
statements = load("services.redeem", "statements.sql")
offline = load("services.redeem", "offline.sql")
gift_cards = load("services.redeem", "gift_cards.sql")
stock = load("services.redeem", "stock.sql")


def columns(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Rows as the columns that `unnest` takes, each under its parameter's name."""
    if not rows:
        return dict.fromkeys(names, ())
    return dict(zip(names, zip(*rows, strict=True), strict=True))
