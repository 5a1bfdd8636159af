"""Logs: one JSON object a line on stderr, or colours on a terminal. Secrets and identities are left out."""

import logging
import re
import sys
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEFT_OUT = "[left out]"

_SECRET = {
    "access_token", "authorization", "body", "cookie", "dsn", "password", "payload", "private_key", "secret", "token",
}  # fmt: skip
_PERSONAL = {
    "birth_date", "card_id", "card_number", "contact", "email", "external_id", "identities", "identity", "member",
    "mobile", "name", "phone",
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
        logger_factory=_StderrFactory(),
        cache_logger_on_first_use=True,
    )
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


class _Stderr:
    """Writes to whatever sys.stderr is at the moment: a process may exchange it."""

    def msg(self, line: str) -> None:
        sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = exception = log = failure = fatal = warn = err = msg


class _StderrFactory:
    def __call__(self, *_: Any) -> _Stderr:
        return _Stderr()


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  # logging's own contract: a line that can't be written stops nobody
            self.handleError(record)
