"""Our HTTP API from outside, as a till's or a CRM's client: a key on every write, repeated until it is answered."""

from __future__ import annotations

import asyncio
import http.client
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import msgspec

from pointbank.journal import Acknowledged, Called, Journal, now

Token = Callable[[str], str]
"""Gives a bearer token for a role (`till`, `crm`, `admin`...)."""

_CHUNK = 200
_UNSETTLED = frozenset({409, 429, 503})
_OF_SOMETHING_BETWEEN = frozenset({502, 503, 504})
"""Without a code of ours: a proxy found nobody."""
_UNSETTLED_CODES = frozenset(
    {
        "idempotency_key_in_flight",
        "rate_limited",
        "tenant_unavailable",
        "tenant_migrating",
        "tenant_suspended",
    }
)


class CallFailed(Exception):
    """A call was refused where it must not be, or had no answer in time; the message says which."""


class Unreachable(CallFailed):
    """Nothing answers at the URL; the message names it."""


class Call(NamedTuple):
    """One call. A write has a `key`; `told` says whether its body may stand in the journal."""

    method: str
    path: str
    body: Any = None
    key: str | None = None
    role: str = "admin"
    told: bool = True


class _Mistake(msgspec.Struct):
    pointer: str
    detail: str


class _Coded(msgspec.Struct):
    code: str


class _Problem(_Coded):
    detail: str
    request_id: str
    errors: list[_Mistake] = []


class Answer(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str | None:
        """The stable code of a problem; None for an answer, and for what is no problem of ours."""
        if self.status < 400:
            return None
        try:
            return msgspec.json.decode(self.body, type=_Coded).code
        except msgspec.MsgspecError:
            return None

    @property
    def said(self) -> str:
        """What a problem says to a person: its details with their codes, and the request's id; else the answer as it came."""
        try:
            problem = msgspec.json.decode(self.body, type=_Problem)
        except msgspec.MsgspecError:
            return f"{self.status} {self.body.decode(errors='replace')}"
        wrong = [f"{one.pointer}: {one.detail}" for one in problem.errors if one.detail not in problem.detail]
        return f"{' '.join([problem.detail, *wrong])} ({problem.code}) request_id {problem.request_id}"


class Api:
    """A client with `connections` kept alive. Writes are journalled where a journal is given."""

    def __init__(
        self,
        base_url: str,
        token: Token,
        *,
        journal: Journal | None = None,
        connections: int = 16,
        patience_s: float = 60,
        absent_s: float | None = None,
    ) -> None:
        """`patience_s`: how long a call is repeated; `absent_s`: how long while nobody so much as listens, else as long."""
        parts = urlsplit(base_url)
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._address = (parts.hostname or "127.0.0.1", parts.port)
        self._base_url = base_url
        self._base_path = parts.path.rstrip("/")
        self._token = token
        self._tokens: dict[str, str] = {}
        self._journal = journal
        self._patience_s = patience_s
        self._absent_s = patience_s if absent_s is None else absent_s
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="api")
        self._local = threading.local()
        self._open: list[http.client.HTTPConnection] = []
        self._broken_off = threading.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # Whoever broke off (Ctrl-C) waits for nobody who asks again and again, or who listens to a server that is silent.
        self._broken_off.set()
        for connection in self._open:
            if (listening := connection.sock) is not None:
                with suppress(OSError):
                    listening.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._open:
            connection.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        role: str = "admin",
        accept: Sequence[int] = (200, 201, 202),
    ) -> Any:
        """The JSON of the answer; CallFailed when its status is not in `accept`."""
        answer = await self.ask(method, path, body, key=key, role=role)
        if answer.status not in accept:
            raise CallFailed(f"{method} {path}: {answer.said}")
        try:
            return answer.json() if answer.body else None
        except msgspec.DecodeError as error:
            raise CallFailed(
                f"{method} {path}: what answers at {self._base_url} is not our API; `--url`"
            ) from error

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, role: str = "admin"
    ) -> Answer:
        """The answer or problem, whichever it is."""
        (answer,) = [found async for _, found in self.call_many([Call(method, path, body, key, role)])]
        return answer

    async def call_many(self, calls: Iterable[Call]) -> AsyncIterator[tuple[Call, Answer]]:
        """Each call with its answer or problem, in order; up to `connections` run at once."""
        remaining = iter(calls)
        loop = asyncio.get_running_loop()
        while chunk := list(islice(remaining, _CHUNK)):
            bodies = [b"" if call.body is None else _bytes_of(call.body) for call in chunk]
            self._append(_called(call, body) for call, body in zip(chunk, bodies, strict=True))
            pending = [
                loop.run_in_executor(self._threads, self._send, call, body)
                for call, body in zip(chunk, bodies, strict=True)
            ]
            answers = await asyncio.gather(*pending)
            self._append(_acknowledged(call, found) for call, found in zip(chunk, answers, strict=True))
            for call, answer in zip(chunk, answers, strict=True):
                yield call, answer

    def _append(self, entries: Iterable[Called | Acknowledged | None]) -> None:
        if self._journal is not None:
            kept = [entry for entry in entries if entry is not None]
            if kept:
                self._journal.append(kept)

    def _send(self, call: Call, body: bytes) -> Answer:
        began = time.monotonic()
        deadline = began + self._patience_s
        pause = 0.05
        renewed = False
        while True:
            try:
                answer = self._send_once(call, body)
            except (OSError, http.client.HTTPException) as unreachable:
                # A write has its key and a read changes nothing: asking again is always right.
                absent = isinstance(unreachable, ConnectionRefusedError | socket.gaierror)
                late = time.monotonic() > (began + self._absent_s if absent else deadline)
                if late or self._broken_off.is_set():
                    raise Unreachable(
                        f"nothing answers at {self._base_url} ({unreachable!r}); is it up? `--url`"
                    ) from unreachable
            else:
                expired = answer.status == 401 and not renewed
                passing = answer.status in _UNSETTLED and answer.code in _UNSETTLED_CODES
                passing |= answer.status in _OF_SOMETHING_BETWEEN and answer.code is None
                if not (expired or passing) or time.monotonic() > deadline:
                    return answer
                if expired:
                    renewed = True
                    self._tokens.pop(call.role, "")
            if self._broken_off.wait(pause * random.uniform(0.5, 1.5)):  # noqa: S311  jitter, no secret
                raise CallFailed(f"{call.method} {call.path}: broken off before it was answered")
            pause = min(pause * 2, 1.0)

    def _send_once(self, call: Call, body: bytes) -> Answer:
        headers = {"Authorization": f"Bearer {self._token_of(call.role)}", "Accept": "application/json"}
        if body:
            headers["Content-Type"] = "application/json"
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        with self._connection() as connection:
            connection.request(call.method, self._base_path + call.path, body=body or None, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())

    @contextmanager
    def _connection(self) -> Any:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect(*self._address, timeout=30)
            self._open.append(connection)
        try:
            yield connection
        except BaseException:
            connection.close()  # the next request opens it anew
            raise

    def _token_of(self, role: str) -> str:
        if role not in self._tokens:
            self._tokens[role] = self._token(role)
        return self._tokens[role]


def _bytes_of(body: Any) -> bytes:
    return body if isinstance(body, bytes) else msgspec.json.encode(body)


def _called(call: Call, body: bytes) -> Called | None:
    if call.key is None:
        return None
    told = msgspec.Raw(body) if call.told and body else msgspec.UNSET
    return Called(at=now(), key=call.key, method=call.method, path=call.path, body=told)


def _acknowledged(call: Call, answer: Answer) -> Acknowledged | None:
    if call.key is None:
        return None
    return Acknowledged(
        at=now(),
        key=call.key,
        method=call.method,
        path=call.path,
        http_status=answer.status,
        answer=msgspec.Raw(answer.body or b"null"),
    )
