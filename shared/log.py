"""Logs: one JSON object a line on stderr, or colours on a terminal. Secrets and identities are left out."""

import asyncio
import atexit
import logging
import re
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEFT_OUT = "[left out]"

_SECRET = {
    "access_token", "authorization", "body", "cookie", "dsn", "password", "payload", "private_key", "secret", "token",
}  # fmt: skip
_PERSONAL = {
    "birth_date", "birth_month", "birthday", "card_id", "card_number", "contact", "email", "external_id", "identities",
    "identity", "member", "mobile", "name", "phone",
}  # fmt: skip
_HIDDEN = _SECRET | _PERSONAL

# Words that carry secrets or values in any text: tokens, passwords in URLs, PostgreSQL's DETAIL (it quotes rows).
_IN_TEXT = re.compile(
    r"(?P<jwt>\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*)|(?P<url>(?<=://)[^\s/@:]*:[^\s/@]+(?=@))|(?P<detail>(?<=DETAIL:)[^\n]*)"
)
# Chatty at a level that we want of everyone else; our own line tells each call.
_SILENCED = ("uvicorn.access",)
_TAKEN_OVER = ("uvicorn", "uvicorn.error", "faststream")


_PROCESSORS: list[Processor] = []


def configure(mode: Literal["json", "console", "auto"] = "auto") -> None:
    """Sets up logging for this process, the standard library's too. `auto`: console when stderr is a terminal."""
    console = mode == "console" or (mode == "auto" and sys.stderr.isatty())
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    # Without show_locals and such: what a frame holds is nobody's business. The console prints tracebacks itself.
    ending: list[Processor] = [structlog.processors.format_exc_info, leave_out]
    ending.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else _json)
    # One list for ever: loggers that were used before keep it, and must see a later set-up (and a test's capture) too.
    _PROCESSORS[:] = [*common, *ending]
    structlog.configure(
        processors=_PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _STDERR,
        cache_logger_on_first_use=True,
    )
    atexit.register(_STDERR.flush)
    handler = _Handler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [other for other in root.handlers if not isinstance(other, _Handler)] + [handler]
    root.setLevel(logging.WARNING)  # libraries tell too much of what they do
    for name in _TAKEN_OVER:
        taken = logging.getLogger(name)
        taken.handlers.clear()
        taken.propagate = True
    for name in _SILENCED:
        silenced = logging.getLogger(name)
        silenced.handlers.clear()
        silenced.propagate = False


def leave_out(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Processor: values of secret or personal names, and secrets inside texts, are replaced."""
    for name, value in event.items():
        if name in _HIDDEN and value is not None:
            event[name] = LEFT_OUT
        elif isinstance(value, str):
            # Three searches for a word take a tenth of one for the pattern, and every line comes through here.
            if "eyJ" in value or "://" in value or "DETAIL:" in value:
                event[name] = _IN_TEXT.sub(LEFT_OUT, value)
        elif isinstance(value, BaseException):
            event[name] = _IN_TEXT.sub(LEFT_OUT, repr(value))
    return event


_encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=repr).encode


def _json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return _encode(event).decode()


def info(logger: Any, event: str, said: dict[str, Any]) -> None:
    """As `logger.info(event, **said)`, of which it takes an eighth where lines are JSON: for what is told of every call. `said`
    is given up to it, and has what is bound too: that is not asked for."""
    if structlog.get_config()["processors"] is not _PROCESSORS or _PROCESSORS[-1] is not _json:
        logger.info(event, **said)
        return
    said["event"] = event
    said["level"] = "info"
    said["at"] = datetime.now(UTC).isoformat()[:-6] + "Z"
    _STDERR.soon(_encode(leave_out(logger, "info", said)).decode())


class _Stderr:
    """Writes to whatever sys.stderr is at the moment: a process may exchange it.

    A write to the system costs as much as ten lines. So what is of level info or below waits for the end of the event loop's turn,
    and goes with all others of that turn; anything worse goes at once, after what waits.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._turn: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def soon(self, line: str) -> None:
        """Writes a line before the loop waits again; where there is no loop, at once."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.msg(line)
            return
        with self._lock:
            self._lines.append(line)
        if self._turn is not loop:
            self._turn = loop
            loop.call_soon(self.flush)

    def msg(self, line: str) -> None:
        """Writes a line."""
        with self._lock:
            self._lines.append(line)
        self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        self._turn = None
        with self._lock:
            lines, self._lines = self._lines, []
        if lines:
            sys.stderr.write("\n".join([*lines, ""]))

    debug = info = soon
    warning = error = critical = exception = log = failure = fatal = warn = err = msg


_STDERR = _Stderr()
"""One for all loggers, so that their lines keep their order."""


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            _STDERR.msg(self.format(record))
        except Exception:  # noqa: BLE001  # logging's own contract: a line that can't be written stops nobody
            self.handleError(record)
