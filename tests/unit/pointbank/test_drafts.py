"""`pointbank programme check`: what members would say of a document, told before anybody is asked."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pointbank.cli.app import app
from tests.support.programmes import SHOPS, changed


def checked(tmp_path: Path, document: Any, *options: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, their lines joined."""
    file = tmp_path / "draft.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    told = CliRunner().invoke(app, ["programme", "check", str(file), *options])
    return told.exit_code, " ".join(told.stdout.split()), " ".join(told.stderr.split())


def test_a_document_without_mistakes_can_be_drafted_and_activated(tmp_path: Path) -> None:
    assert checked(tmp_path, SHOPS) == (
        0,
        (
            "shops has no mistakes: 2 rules, 0 campaigns, 0 stamp cards, 0 acts, 3 tiers. "
            "A programme that is active keeps its currency and time zone besides."
        ),
        "",
    )


def test_all_mistakes_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    document = changed("/earning/rules/1/rate/points", "many")
    document["redemption"]["minimum"] = 5
    assert checked(tmp_path, document) == (
        1,
        "",
        (
            "/earning/rules/1/rate/points: A decimal has 1 to 15 digits and at most 12 more after a point. "
            "/redemption/minimum: This field is not known. shops has 2 mistakes: it can't be drafted."
        ),
    )


def test_what_keeps_a_draft_from_being_activated_is_told_before_somebody_is_asked_to(tmp_path: Path) -> None:
    document = changed("/earning/rules/0/match", {})  # takes every line before the rule that earns
    code, told, said = checked(tmp_path, document, "--json")
    assert (code, said) == (1, "")
    assert json.loads(told) == {
        "programme": "shops",
        "drafted": True,
        "activated": False,
        "mistakes": [
            {
                "pointer": "/earning/rules/1",
                "code": "programme_invalid",
                "detail": "It is never tried: service-fees takes all of its lines.",
            }
        ],
    }
    assert checked(tmp_path, document)[2].endswith(
        "shops has 1 mistake: it can be drafted, and not activated."
    )


def test_a_document_of_which_something_is_missing_is_no_traceback(tmp_path: Path) -> None:
    code, told, said = checked(tmp_path, {"document": 1})
    assert (code, told) == (1, "")
    assert said.endswith("It has 3 mistakes: it can't be drafted.")
    assert "/programme: This field is missing." in said


@pytest.mark.parametrize(
    ("written", "mistake"),
    [
        ('{"document": 1, "document": 1}', "/: A name stands twice in the same object. Say each once."),
        (
            json.dumps(changed("/programme/name/en", "4111111111111111")),
            "/programme/name/en: This looks like the number of a payment card; such numbers are never taken.",
        ),
        (json.dumps(changed("/programme/name/en", "a\0b")), "/programme/name/en: This text has a NUL character."),
        (
            json.dumps(changed("/earning/rules/0/code", "x" * 600_000)),
            "/: A programme document has at most 524288 bytes.",
        ),
    ],
)  # fmt: skip
def test_what_the_api_refuses_of_any_body_is_refused_here(tmp_path: Path, written: str, mistake: str) -> None:
    code, _, said = checked(tmp_path, written)
    assert code == 1
    assert mistake in said
    assert said.endswith("it can't be drafted.")


def test_a_file_that_is_no_json_is_told_with_its_place(tmp_path: Path) -> None:
    code, _, said = checked(tmp_path, '{"document": 1,\n "programme": }')
    assert code == 2
    assert "draft.json is no JSON: Expecting value: line 2 column 15" in said
