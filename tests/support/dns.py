"""A nameserver of one zone, over UDP: it answers A of the names it is told, and may refuse, deny, or be silent."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TTL_S = 5
A, IN = 1, 1
NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME, REFUSED = 0, 2, 3, 5


@dataclass
class Nameserver:
    """Names are without the last dot. A name that is not here does not exist; one without addresses does, and has none."""

    names: dict[str, list[str]] = field(default_factory=dict)
    silent: bool = False
    code: int | None = None
    """Instead of an answer."""
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @contextmanager
    def running(self) -> Iterator[Nameserver]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listens:
            listens.bind(("127.0.0.1", self.port))
            listens.settimeout(0.1)
            self.port = listens.getsockname()[1]
            ended = threading.Event()
            answering = threading.Thread(target=self._serve, args=(listens, ended))
            answering.start()
            try:
                yield self
            finally:
                ended.set()
                answering.join()

    def _serve(self, listens: socket.socket, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                query, sender = listens.recvfrom(4096)
            except TimeoutError:
                continue
            if not self.silent:
                listens.sendto(self.answer(query), sender)

    def answer(self, query: bytes) -> bytes:
        """The whole message (RFC 1035, 4): the question again, and an address a record."""
        number, flags = struct.unpack_from("!HH", query)
        name, end = _name(query)
        (kind,) = struct.unpack_from("!H", query, end)
        self.asked.append(name)
        found = self.names.get(name) if self.code is None else None
        code = self.code if self.code is not None else NO_SUCH_NAME if found is None else NO_ERROR
        records = [
            struct.pack("!HHHIH", 0xC00C, A, IN, TTL_S, 4) + socket.inet_aton(address)
            for address in (found or ())
            if kind == A
        ]
        head = struct.pack("!HHHHHH", number, 0x8400 | (flags & 0x0100) | code, 1, len(records), 0, 0)
        return head + query[12 : end + 4] + b"".join(records)


def _name(query: bytes) -> tuple[str, int]:
    """The name of the first question, and where it ends."""
    at, labels = 12, []
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels).lower(), at + 1
