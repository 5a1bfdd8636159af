"""What a text must look like is said in words, never by a pattern."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from shared.http.validation import field_errors
from shared.programme.base import Code
from shared.programme.model import Programme
from shared.programme.validation import ProgrammeInvalid, validate
from shared.shapes import SHAPES
from tests.support.programmes import changed

API = Path(__file__).parents[3] / "docs" / "openapi.json"


class Till(BaseModel):
    code: Code


def patterns(schema: Any) -> set[str]:
    """All that stand in a JSON schema."""
    match schema:
        case dict():
            own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
            return own.union(*map(patterns, schema.values()))
        case list():
            return set().union(*map(patterns, schema))
        case _:
            return set()


def test_each_pattern_of_the_api_and_of_the_programme_document_has_words() -> None:
    known = patterns(json.loads(API.read_text())) | patterns(Programme.model_json_schema())
    assert len(known) > 5
    assert known - SHAPES.keys() == set()


def test_a_body_is_told_what_is_wanted() -> None:
    with pytest.raises(ValidationError) as wrong:
        Till.model_validate({"code": "T 03"})
    [told] = field_errors(wrong.value, {"code": "T 03"})
    assert (told.pointer, told.code) == ("/code", "field_type")
    assert told.detail == (
        "This must be a code: 1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first."
    )


def test_a_programme_document_is_told_what_is_wanted() -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        validate(changed("/programme/card_prefix", "62A"))
    [told] = refused.value.errors
    assert (told.pointer, told.detail) == ("/programme/card_prefix", "This must be 4 to 8 digits.")
