"""The guides for who comes from outside: what they say of codes, calls and events is what the code says."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
import typer.main

from pointbank.cli.app import app
from pointbank.tokens import ROLES
from pointbank.verify.events import SAID_BY
from pointbank.verify.messaging.adoptions import ORPHANED
from services.earn.domain.offer import Offered, read_offer
from services.earn.domain.refund_body import RecordRefund, read_refund
from services.notifier.domain import Reply
from services.redeem.domain.rewards import Kind
from shared.errors import PROBLEMS
from shared.events import EVENTS, EventData
from shared.messaging.keys import SERVICES

DOCS = Path(__file__).parents[2] / "docs"
_ROW = re.compile(r"^\| `(\w+)` \| (?:(\d{3}) \| )?(.+) \|$", re.MULTILINE)


def rows(heading: str) -> dict[str, tuple[str, str]]:
    """Code -> status (or nothing) and words, of all tables under this heading of the page of codes."""
    part = re.split(r"^## ", (DOCS / "codes.md").read_text(), flags=re.MULTILINE)
    [text] = [one for one in part if one.startswith(heading)]
    found = _ROW.findall(text)
    assert len({code for code, *_ in found}) == len(found)
    return {code: (status, words) for code, status, words in found}


def test_the_page_of_codes_has_each_code_once_with_its_status() -> None:
    told = [rows(heading) for heading in ("Send it again", "Mend the call", "Decided", "On the stream")]
    assert sum(len(part) for part in told) == len(PROBLEMS)
    statuses = {code: status for part in told for code, (status, _) in part.items()}
    assert statuses == {
        code: "" if problem.stream_only else str(problem.status) for code, problem in PROBLEMS.items()
    }


def test_what_the_page_says_may_use_the_same_key_is_what_is_not_kept() -> None:
    kept = {code for code, problem in PROBLEMS.items() if problem.frozen}
    assert set(rows("Decided")) == kept
    assert set(rows("On the stream")) == {code for code, problem in PROBLEMS.items() if problem.stream_only}
    again = {code: status for code, (status, _) in rows("Send it again").items()}
    assert {code for code, status in again.items() if status >= "429"} == {
        code for code, problem in PROBLEMS.items() if problem.status in {429, 500, 503}
    }


def test_what_is_to_be_done_is_said_of_each_code() -> None:
    for heading in ("Send it again", "Mend the call", "Decided", "On the stream"):
        assert [code for code, (_, words) in rows(heading).items() if len(words) < 8] == []


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def test_the_events_of_the_guide_are_taken() -> None:
    bill, refund = (block.encode() for block in blocks("tills.md", "json"))
    offered = read_offer(bill, tenant="acme", identity_key=b"k" * 32)
    assert isinstance(offered, Offered)
    assert (offered.source, offered.bill.total_minor, len(offered.bill.lines)) == (
        "/pos/riyadh-mall/T03",
        10_500,
        2,
    )
    event = msgspec.json.decode(refund)
    assert event["type"] == "bill.refunded.v1"
    read = read_refund(msgspec.Raw(msgspec.json.encode(event["data"])))
    assert isinstance(read, RecordRefund)
    assert read.bill_ref == offered.bill.bill_ref


def test_the_guide_names_the_scopes_of_a_till() -> None:
    [told] = re.findall(r"the scopes of a till \(`([a-z: ]+)`\)", (DOCS / "tills.md").read_text())
    assert set(told.split()) == ROLES["till"].scopes


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_page_names_each_event_that_it_hears_or_says(service: str) -> None:
    on = import_module(f"services.{service}.handlers").ON
    heard = {kind.TYPE for kind in on if issubclass(kind, EventData)}
    text = (DOCS.parent / "services" / service / "README.md").read_text()
    named = {one.removesuffix(".v1") for one in re.findall(r"`([a-z_]*\.[a-z_]+(?:\.v1)?)`", text)}
    types = {one.removesuffix(".v1") for one in {*heard, *SAID_BY[service]}}
    # Of several about the same, those after the first are told by their last word: `points.credited`, `.redeemed`.
    assert [one for one in sorted(types) if not {one, f".{one.partition('.')[2]}"} & named] == []


def test_the_oracle_knows_each_event_and_who_may_say_it() -> None:
    said = [one for types in SAID_BY.values() for one in types]
    assert sorted([*said, ORPHANED]) == sorted(EVENTS)


def test_the_guide_names_each_kind_of_reward() -> None:
    text = (DOCS / "programme.md").read_text()
    assert [kind for kind in get_args(Kind) if f"`{kind}`" not in text] == []


def test_each_answer_to_a_till_is_named_by_who_gives_it() -> None:
    text = (DOCS.parent / "services" / "notifier" / "README.md").read_text()
    assert [event.TYPE for event in get_args(Reply) if f"`{event.TYPE}`" not in text] == []


CALLS = [
    (page, *block.partition("\n")[::2])
    for page in ("tills.md", "programme.md", "finance.md")
    for block in blocks(page, "http")
]


def test_the_guides_show_calls() -> None:
    assert {page for page, *_ in CALLS} == {"tills.md", "programme.md", "finance.md"}
    assert len(CALLS) >= 8


@pytest.mark.parametrize(("page", "line", "body"), CALLS, ids=lambda text: str(text).partition("{")[0])
def test_a_call_that_a_guide_shows_is_one_of_the_interface(page: str, line: str, body: str) -> None:
    interface = json.loads((DOCS / "openapi.json").read_text())
    method, address = line.split()
    path, operation = found(interface, method.lower(), address.partition("?")[0])
    named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
    assert {part.partition("=")[0] for part in address.partition("?")[2].split("&") if part} <= named, path
    if not body.strip():
        assert "requestBody" not in operation or not operation["requestBody"].get("required"), page
        return
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate(json.loads(body), {**schema, "components": interface["components"]})


def found(interface: dict[str, Any], method: str, path: str) -> tuple[str, dict[str, Any]]:
    """The operation at this path; what is written `{...}` in it, or stands for an id, is a parameter."""
    for template, operations in interface["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", r"[^/]+", template), path) and method in operations:
            return template, operations[method]
    raise AssertionError(f"the interface has no {method.upper()} {path}")


GROUP = typer.main.get_command(app)
PAGES = [
    *(DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(DOCS.parent / name for name in ("deploy/README.md", "deploy/gateway/README.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((DOCS.parent / "services").glob("*/README.md")),
]  # fmt: skip


def commands_in(text: str) -> list[str]:
    """What a page says of `pointbank`, in a line of words or of a shell."""
    shell = "\n".join(re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    spans = re.findall(r"`pointbank ([a-z][^`]*)`", text)
    return spans + re.findall(r"(?:^|[\s(/])pointbank ([a-z][^#\n]*)", shell, re.MULTILINE)


def unknown_in(words: list[str]) -> str | None:
    """The first word of a command that the command line does not know; alternatives stand as `retry|drop`."""
    at: Any = GROUP
    while words and getattr(at, "commands", None):
        known = [name for name in words[0].split("|") if name in at.commands]
        if len(known) != len(words[0].split("|")):
            return None if words[0].startswith("-") or at.invoke_without_command else words[0]
        at, words = at.commands[known[0]], words[1:]
    options = {"--help", *(option for param in at.params for option in (*param.opts, *param.secondary_opts))}
    given = [word.partition("=")[0].rstrip(").,") for word in words if word.startswith("--")]
    return next((word for word in given if word not in options), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS.parent)))
def test_each_command_that_a_page_names_is_there_with_its_options(page: Path) -> None:
    told = commands_in(page.read_text())
    wrong = {line: found for line in told if (found := unknown_in(re.split(r"\s+[|>]|\s+", line.strip())))}
    assert wrong == {}


def test_pages_name_commands() -> None:
    assert sum(len(commands_in(page.read_text())) for page in PAGES) > 200
