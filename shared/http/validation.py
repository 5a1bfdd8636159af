"""pydantic's mistakes in the words of the contract: public codes, JSON pointers, one sentence each."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.errors import PROBLEMS, FieldError, pointer_to
from shared.shapes import wanted

MOST = 50  # a body of a thousand wrong lines is told about fifty times, not a thousand

_CODES = {
    "missing": "field_missing",
    "extra_forbidden": "field_unknown",
    "greater_than": "amount_out_of_range",
    "greater_than_equal": "amount_out_of_range",
    "less_than": "amount_out_of_range",
    "less_than_equal": "amount_out_of_range",
    "int_parsing_size": "amount_out_of_range",
}

_WORDS = {
    "missing": "This field is required.",
    "extra_forbidden": "There is no such field.",
    "int_type": "This must be an integer: no text, no fraction, no true or false.",
    "string_type": "This must be text.",
    "bool_type": "This must be true or false.",
    "list_type": "This must be a list.",
    "tuple_type": "This must be a list.",
    "dict_type": "This must be an object.",
    "model_type": "This must be an object.",
    "timezone_aware": "This time must have an offset, as in 2026-11-22T11:31:04+03:00, or Z.",
}


def field_errors(error: ValidationError, document: object) -> list[FieldError]:
    """Each mistake of a body with its pointer into `document`, the same body decoded; never quotes a value.

    A validator may raise PydanticCustomError with a public code as its type: that code and message are kept.
    """
    found = error.errors(include_url=False, include_input=False)
    return _unique(_translated(mistake, document) for mistake in found)[:MOST]


def summary(errors: Sequence[FieldError]) -> str:
    """The first mistake in a sentence, and how many more there are."""
    first = f"{errors[0].pointer or 'The body'}: {errors[0].detail}"
    more = len(errors) - 1
    return first if not more else f"{first} And {more} more."


def _translated(mistake: ErrorDetails, document: object) -> FieldError:
    kind = mistake["type"]
    pointer = pointer_to(_path(mistake["loc"], document, missing=kind == "missing"))
    if kind in PROBLEMS:
        return FieldError(pointer, kind, mistake["msg"])
    return FieldError(pointer, _CODES.get(kind, "field_type"), _WORDS.get(kind) or f"{_said(mistake)}.")


def _said(mistake: ErrorDetails) -> str:
    if mistake["type"] == "string_pattern_mismatch" and (words := wanted(mistake["ctx"]["pattern"])):
        return words
    return mistake["msg"].removeprefix("Value error, ").rstrip(".")


def _path(loc: Iterable[str | int], document: object, *, missing: bool) -> list[str | int]:
    """The part of pydantic's location that exists in the document: it also names the branches of unions."""
    steps = list(loc)
    path: list[str | int] = []
    here: Any = document
    for place, step in enumerate(steps):
        match here, step:
            case dict(), _ if step in here:
                here = here[step]
            case list(), int() if step < len(here):
                here = here[step]
            case _ if not (missing and place == len(steps) - 1):
                continue
        path.append(step)
    return path


def _unique(errors: Iterable[FieldError]) -> list[FieldError]:
    # A union tells the same mistake once for each of its branches.
    return list(dict.fromkeys(errors))
