"""What moved, in the metrics."""

from __future__ import annotations

from collections.abc import Iterable

from services.redeem.domain.ledger import Wallet
from shared.messaging import Tx
from shared.metrics import Metrics


def count_points(tx: Tx, wallets: Iterable[Wallet]) -> None:
    """Counts the points of all lines that were posted to these wallets, by kind. After the commit."""
    metrics: Metrics = tx.cache[Metrics]
    points: dict[str, int] = {}
    for wallet in wallets:
        for line in wallet.lines:
            points[line.kind] = points.get(line.kind, 0) + line.points
    for kind, moved in points.items():
        metrics.posted(tx.tenant.code, kind, moved)
