"""An answer goes out in one write; what comes from a real server is in tests/integration/http/test_server.py."""

import asyncio

from shared.http.protocol import Whole

HEAD, BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", b"{}"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Wire(asyncio.Transport):
    """Keeps what is written, call by call, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def test_head_and_body_are_one_write_and_the_next_part_another() -> None:
    wire = Wire()
    whole = Whole(wire)
    for part in (HEAD, BODY, b"more", HEAD, BODY):
        whole.write(part)
    assert wire.written == [HEAD + BODY, b"more", HEAD + BODY]


def test_an_answer_that_is_only_a_head_goes_out_when_it_is_complete() -> None:
    wire = Wire()
    whole = Whole(wire)
    whole.write(HEAD)
    assert wire.written == []
    whole.flush()
    whole.flush()
    assert wire.written == [HEAD]


def test_a_caller_that_waits_for_100_is_told_at_once() -> None:
    wire = Wire()
    Whole(wire).write(CONTINUE)
    assert wire.written == [CONTINUE]


def test_what_was_written_goes_out_before_the_connection_ends() -> None:
    wire = Wire()
    whole = Whole(wire)
    whole.write(HEAD)
    assert not whole.is_closing()
    whole.close()
    assert (wire.written, wire.closed, whole.is_closing()) == ([HEAD], True, True)
