"""The names of streams in Redis. A cell is a Redis, or a shard of a cluster: hence the hash tag."""

from __future__ import annotations

from dataclasses import dataclass

HEARERS: dict[str, tuple[str, ...]] = {
    "members": ("earn", "redeem", "tiers", "notifier"),
    "earn": ("redeem", "notifier"),
    "redeem": ("earn", "tiers", "notifier"),
    "tiers": ("earn", "redeem", "notifier"),
    "notifier": (),
}
"""Who must hear each service's stream. Declared, not discovered: while one of these groups is missing nothing is trimmed."""

SERVICES = tuple(HEARERS)


def heard_by(service: str) -> tuple[str, ...]:
    """The service streams that this service must hear."""
    return tuple(stream for stream, hearers in HEARERS.items() if service in hearers)


@dataclass(frozen=True, slots=True)
class Keys:
    """The Redis keys of one tenant in its cell."""

    cell: str
    tenant: str

    def _key(self, *rest: str) -> str:
        return ":".join((f"pb:{{{self.cell}}}", self.tenant, *rest))

    def stream(self, service: str) -> str:
        """A service's stream, dense ids `<n>-0`."""
        return self._key(service)

    def head(self, service: str) -> str:
        """Hash n, hash: how far the stream is published, and the chained hash there."""
        return self._key(service, "head")

    def refill(self, service: str) -> str:
        """The lowest position that some consumer misses and asks for."""
        return self._key(service, "refill")

    @property
    def pos(self) -> str:
        """What the tills offer."""
        return self._key("pos")

    def out(self, subscriber: str) -> str:
        """What one subscriber is told; a till's replies."""
        return self._key("out", subscriber)
