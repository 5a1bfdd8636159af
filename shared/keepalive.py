"""A TCP connection to PostgreSQL whose other end is gone: the kernels of both ends find it out within seconds."""

from __future__ import annotations

import socket
from typing import Any

UNHEARD_MS = 8_000
IDLE_S, EVERY_S, TIMES = 4, 2, 2
"""What nobody acknowledges, and who does not say that it lives, ends a connection after eight seconds."""

OF_THE_SERVER = {
    "tcp_keepalives_idle": str(IDLE_S),
    "tcp_keepalives_interval": str(EVERY_S),
    "tcp_keepalives_count": str(TIMES),
    "tcp_user_timeout": str(UNHEARD_MS),
}
"""The same at the other end: who died holds its locks no longer."""


def keep_alive(db: Any) -> None:
    """Asks the kernel to watch a new connection's socket, as far as it can."""
    line: socket.socket | None = db._transport.get_extra_info("socket")  # noqa: SLF001
    if line is None or line.family not in (socket.AF_INET, socket.AF_INET6):
        return
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", IDLE_S),
        ("TCP_KEEPINTVL", EVERY_S),
        ("TCP_KEEPCNT", TIMES),
        ("TCP_USER_TIMEOUT", UNHEARD_MS),
    ):
        if hasattr(socket, name):  # Linux has them all
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
