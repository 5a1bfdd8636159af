"""The API's client against a server that answers as told: what is repeated, and what is journalled."""

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pointbank.api import Api, Call, CallFailed
from pointbank.files.segments import move_members
from pointbank.files.settlement import import_file
from pointbank.jobs.turns import ask_in_turns
from pointbank.journal import Acknowledged, Called, Journal, read

SILENCE = (0, None)
Answers = list[tuple[int, Any] | None]  # None: the connection breaks; SILENCE: no answer


class Server(ThreadingHTTPServer):
    answers: Answers
    seen: list[tuple[str, str | None, str | None]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, self.headers["Idempotency-Key"], self.headers["Authorization"]))
        answer = self.server.answers.pop(0) if self.server.answers else (201, {"path": self.path})
        if answer == SILENCE:
            self.rfile.read(1)  # until the other end goes
            return
        if answer is None:
            self.close_connection = True
            return
        body = answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode()
        self.send_response(answer[0])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_POST  # noqa: N815  # named by the library

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.answers, running.seen = [], []
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def api(server: Server, **more: Any) -> Api:
    tokens = iter(f"token-{number}" for number in range(100))
    return Api(f"http://127.0.0.1:{server.server_port}", lambda _: next(tokens), **more)


async def test_a_broken_connection_and_a_passing_refusal_are_repeated_under_the_same_key(
    server: Server,
) -> None:
    server.answers = [
        None,
        (503, {"code": "tenant_unavailable"}),
        (409, {"code": "idempotency_key_in_flight"}),
    ]
    async with api(server) as client:
        assert await client.call("POST", "/v1/bills", {"a": 1}, key="k1") == {"path": "/v1/bills"}
    assert [seen[:2] for seen in server.seen] == [("/v1/bills", "k1")] * 4


async def test_an_expired_token_is_renewed_once(server: Server) -> None:
    server.answers = [(401, {"code": "token_expired"})]
    async with api(server) as client:
        await client.call("POST", "/v1/bills", {}, key="k1")
    assert [seen[2] for seen in server.seen] == ["Bearer token-0", "Bearer token-1"]
    server.answers = [(401, {"code": "token_invalid"})] * 2
    async with api(server) as client:
        with pytest.raises(CallFailed, match="token_invalid"):
            await client.call("POST", "/v1/bills", {}, key="k2")


async def test_a_decided_refusal_is_not_repeated(server: Server) -> None:
    server.answers = [(409, {"code": "bill_conflict"})]
    async with api(server) as client:
        with pytest.raises(CallFailed, match="bill_conflict"):
            await client.call("POST", "/v1/bills", {}, key="k1")
    assert len(server.seen) == 1


async def test_writes_are_journalled_before_and_after_and_answers_keep_their_order(
    server: Server, tmp_path: Path
) -> None:
    with Journal(tmp_path / "till.jsonl", tenant="demo", cell="main") as journal:
        async with api(server, journal=journal, connections=8) as client:
            calls = [Call("POST", f"/v1/{number}", {"n": number}, key=str(number)) for number in range(450)]
            calls.append(Call("POST", "/v1/members", {"name": "Noor"}, key="told", told=False))
            found = [answer.json()["path"] async for _, answer in client.call_many(calls)]
    assert found == [call.path for call in calls]
    entries = list(read(tmp_path / "till.jsonl"))
    called = [entry for entry in entries if isinstance(entry, Called)]
    assert [entry.key for entry in called] == [call.key for call in calls]
    assert [entry.key for entry in entries if isinstance(entry, Acknowledged)] == [call.key for call in calls]
    assert b"Noor" not in (tmp_path / "till.jsonl").read_bytes()


async def test_whoever_releases_by_hand_ends_where_nothing_moves_though_something_is_left(
    server: Server,
) -> None:
    turns = [{"bills": bills, "points": 10 * bills, "left": 201, "dry_run": False} for bills in (200, 0)]
    server.answers = [(200, turn) for turn in turns]
    told: list[tuple[int, int]] = []
    async with api(server) as client:
        done = await ask_in_turns(
            client,
            "/v1/holds/release",
            ["bills", "points"],
            towards_left=["bills"],
            dry_run=False,
            said=lambda bills, left: told.append((bills, left)),
        )
    assert done == {"bills": 200, "points": 2000, "dry_run": False}
    assert told == [(200, 201), (200, 201)]


HTML = b"<html>503 Service Unavailable</html>"


async def test_what_a_proxy_says_in_our_stead_is_repeated_as_no_answer_is(server: Server) -> None:
    server.answers = [(503, HTML), (502, b""), (504, b"[]")]
    async with api(server) as client:
        assert await client.call("POST", "/v1/bills", {"a": 1}, key="k1") == {"path": "/v1/bills"}
    assert [key for _, key, _ in server.seen] == ["k1", "k1", "k1", "k1"]


async def test_a_page_that_is_not_our_api_is_told_by_its_address(server: Server) -> None:
    server.answers = [(200, b"<html>Welcome</html>"), (404, b"<html>Not here</html>")]
    async with api(server) as client:
        with pytest.raises(
            CallFailed,
            match=rf"what answers at http://127.0.0.1:{server.server_port} is not our API; `--url`",
        ):
            await client.call("POST", "/v1/bills", {"a": 1}, key="k1")
        found = await client.ask("POST", "/v1/bills", {"a": 1}, key="k2")
    assert (found.status, found.code, found.said) == (404, None, "404 <html>Not here</html>")


async def test_a_segment_stands_in_the_path_as_one_word_and_a_refusal_says_what_is_wrong(
    server: Server,
) -> None:
    problem = {
        "code": "field_type", "detail": "segment: this is no code.", "request_id": "01a2027d", "errors": [],
    }  # fmt: skip
    server.answers = [(200, {"member_id": "m1"}), (422, problem)]
    async with api(server) as client:
        with pytest.raises(CallFailed) as refused:
            await move_members(client, "gold members/é", ["crm-1"])
    assert server.seen[1][0] == "/v1/segments/gold%20members%2F%C3%A9/members/m1"
    assert str(refused.value) == (
        "/v1/segments/gold%20members%2F%C3%A9/members/m1: segment: this is no code. (field_type) request_id 01a2027d"
    )


async def test_a_member_whom_two_lines_name_is_moved_and_counted_once(server: Server) -> None:
    server.answers = [*[(200, {"member_id": one}) for one in ("m1", "m2", "m1")], (200, {}), (200, {})]
    async with api(server, connections=1) as client:
        assert await move_members(client, "vip", ["crm-1", "crm-2", "crm-1-again"]) == (2, [])
    assert [path for path, _, _ in server.seen[3:]] == [
        f"/v1/segments/vip/members/{one}" for one in ("m1", "m2")
    ]


@pytest.mark.parametrize("answer", [(503, {"code": "tenant_unavailable"}), SILENCE])
async def test_who_breaks_off_waits_for_no_answer(server: Server, answer: Any) -> None:
    server.answers = [answer] * 10_000
    async with asyncio.timeout(20), api(server, patience_s=600) as client:
        asking = asyncio.create_task(client.ask("POST", "/v1/bills", {"a": 1}, key="k1"))
        while not server.seen:
            await asyncio.sleep(0.01)
        asking.cancel()
    assert asking.cancelled()


async def test_a_file_of_settlements_that_is_given_again_is_asked_about_again(
    server: Server, tmp_path: Path
) -> None:
    """What was refused, or told of the first time, is no answer to the second: its lines have keys of their own."""
    file = tmp_path / "days.csv"
    file.write_text("merchant,day,total\nmall,2026-11-22,1\n")
    server.answers = [(200, {"imported": 1, "known": 0}), (200, {"imported": 0, "known": 1})]
    async with api(server) as client:
        told = [await import_file(client, file, programme="shops", said=lambda _: None) for _ in range(2)]
    assert told == [{"imported": 1, "known": 0}, {"imported": 0, "known": 1}]
    assert len({key for _, key, _ in server.seen}) == 2
