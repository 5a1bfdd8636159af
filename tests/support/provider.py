"""A provider of messages over HTTP, and the notifier with a channel that speaks to it: as any provider's would."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.request import ProxyHandler, Request, build_opener

from fastapi import FastAPI

from services.notifier.app import create as create_notifier
from services.notifier.channels import CHANNELS, Channel, Message

ADDRESS = "POINTBANK_TEST_PROVIDER"


class Provider:
    """Takes messages; refuses them while it is told to; or says yes to nobody until it is let go on, when it has them already."""

    def __init__(self) -> None:
        self.refuses = False
        self.taken: list[tuple[int, str]] = []
        """(process, message) as they came, before they were answered."""
        self.answers = threading.Event()
        self.answers.set()
        self.port = 0

    @contextmanager
    def running(self) -> Iterator[Provider]:
        """Listens within."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the library's name
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not provider.refuses:
                    provider.taken += [(sent["process"], one) for one in sent["messages"]]
                    provider.answers.wait(60)
                try:
                    self.send_response(503 if provider.refuses else 200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except ConnectionError:
                    pass  # who asked is dead: what was taken is taken

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.answers.set()
            server.shutdown()
            thread.join()
            server.server_close()


async def _to_provider(messages: Sequence[Message]) -> AsyncIterator[tuple[Message, Exception | None]]:
    sent = {"process": os.getpid(), "messages": [one.message_id for one in messages]}
    request = Request(os.environ[ADDRESS], json.dumps(sent).encode(), method="POST")  # noqa: S310
    why: Exception | None = None
    try:
        await asyncio.to_thread(build_opener(ProxyHandler({})).open, request, timeout=5)
    except OSError as error:
        why = error
    for one in messages:
        yield one, why


def create() -> FastAPI:
    """For `uvicorn --factory`: what would be written to the log goes to the provider."""
    cast(dict[str, Channel], CHANNELS)["log"] = _to_provider
    return create_notifier()
