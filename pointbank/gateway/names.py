"""What a machine is told of names (resolv.conf), for HAProxy, which asks nameservers itself and knows no search domains."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pointbank.gateway.errors import CannotBuild

PORT = 53


@dataclass(frozen=True, slots=True)
class Names:
    """Nameservers as host:port, and the domain that a name without a dot is in; none where nothing said so."""

    servers: Sequence[str]
    domain: str | None = None

    def of(self, backends: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Servers of each service (host:port); a name without a dot is given the domain, where one is known."""
        return {service: [self._whole(one) for one in servers] for service, servers in backends.items()}

    def _whole(self, address: str) -> str:
        host, _, port = address.rpartition(":")
        if self.domain is None or "." in host or ":" in host:
            return address
        return f"{host}.{self.domain}:{port}"


def names_of(given: Iterable[str]) -> Names:
    """Each is a nameserver (host:port) or the path of a resolv.conf. CannotBuild where a file names no nameserver."""
    servers: list[str] = []
    domain = None
    for one in given:
        if one.startswith("/"):
            found = resolv_conf(Path(one))
            servers += found.servers
            domain = domain or found.domain
        else:
            servers.append(one)
    return Names(servers, domain)


def resolv_conf(path: Path) -> Names:
    """The nameservers of a resolv.conf and the first of its search domains: in a pod that is the one of its namespace."""
    servers: list[str] = []
    domain = None
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise CannotBuild(f"{path} can't be read: {error.strerror}") from error
    for line in lines:
        match line.split():
            case ["nameserver", address, *_]:
                servers.append(_server(path, address))
            case ["search" | "domain", first, *_]:
                domain = first.rstrip(".")  # the last such line counts
    if not servers:
        raise CannotBuild(f"{path} names no nameserver: give one, --dns host:port")
    return Names(servers, domain)


def _server(path: Path, address: str) -> str:
    try:
        known = ipaddress.ip_address(address)
    except ValueError as error:
        raise CannotBuild(f"{path}: {address!r} is no address of a nameserver") from error
    return f"[{known}]:{PORT}" if known.version == 6 else f"{known}:{PORT}"
