"""A server in a service's place behind a gateway: it keeps what it is asked, and answers or goes away."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: secret/1.0\r\nConnection: close\r\n\r\n{}"


@dataclass(frozen=True, slots=True)
class Asked:
    """One call as it came: its first line, its headers by their names in small letters, its body."""

    line: str
    headers: dict[str, list[str]]
    body: bytes


@dataclass
class Stub:
    """Always well (`/readyz`). With `leaves` it hears each call to its end, and closes without an answer."""

    leaves: bool = False
    answer: bytes = ANSWER
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[Stub]:
        with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(8) as pool:
            self.port = listening.getsockname()[1]
            accepting = Thread(target=self._accept, args=(listening, pool))
            accepting.start()
            try:
                yield self
            finally:
                listening.shutdown(socket.SHUT_RDWR)
                accepting.join()

    def _accept(self, listening: socket.socket, pool: ThreadPoolExecutor) -> None:
        while True:
            try:
                there, _ = listening.accept()
            except OSError:
                return  # it was shut down
            pool.submit(self._answer, there)

    def _answer(self, there: socket.socket) -> None:
        with there, there.makefile("rb") as said:
            there.settimeout(10)
            line = said.readline().decode().strip()
            headers: dict[str, list[str]] = {}
            while one := said.readline().decode().strip():
                name, _, value = one.partition(": ")
                headers.setdefault(name.lower(), []).append(value)
            body = said.read(int(headers.get("content-length", ["0"])[0]))
            if " /readyz " not in line:
                self.asked.append(Asked(line, headers, body))
                if self.leaves:
                    return
            there.sendall(self.answer)
