"""Who must hear whom: written a second time, so that a hearer lost from the services' own table is noticed."""

from __future__ import annotations

HEARERS: dict[str, tuple[str, ...]] = {
    "members": ("earn", "redeem", "tiers", "notifier"),
    "earn": ("redeem", "notifier"),
    "redeem": ("earn", "tiers", "notifier"),
    "tiers": ("earn", "redeem", "notifier"),
    "notifier": (),
}
SERVICES = tuple(HEARERS)


def stream_key(cell: str, tenant: str, service: str) -> str:
    """The Redis key of a service's stream; its head stands beside it, at `:head`."""
    return f"pb:{{{cell}}}:{tenant}:{service}"
