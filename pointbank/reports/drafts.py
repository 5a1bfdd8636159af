"""What members would say of a programme document, without asking them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from services.members.domain.programmes import MOST_DOCUMENT_BYTES
from shared.errors import FieldError, Refusal
from shared.http.bodies import refuse_unstorable
from shared.http.problems import MalformedJson
from shared.programme.validation import ProgrammeInvalid, validate, validate_for_activation
from shared.repeats import says_twice

Document = dict[str, Any]


class Judged(NamedTuple):
    """Whether a document could be drafted, and activated, and all its mistakes (the first 50), each with its JSON pointer."""

    programme: str | None
    drafted: bool
    activated: bool
    mistakes: tuple[FieldError, ...]

    def shown(self) -> dict[str, Any]:
        """For machines."""
        return {
            "programme": self.programme,
            "drafted": self.drafted,
            "activated": self.activated,
            "mistakes": [msgspec.to_builtins(one) for one in self.mistakes],
        }


def judge(raw: bytes, document: Document) -> Judged:
    """The document, which was read from these bytes, as members takes it. What depends on the active version (currency, time zone)
    and on what else there is (rewards, merchants) is not looked at."""
    header = document.get("programme")
    code = header.get("code") if isinstance(header, Mapping) else None
    body = _mistakes(lambda: _as_a_body(raw, document))
    drafted = body or _mistakes(lambda: validate(document))
    activated = body or _mistakes(lambda: validate_for_activation(document))
    return Judged(code if isinstance(code, str) else None, not drafted, not activated, activated)


def _mistakes(taken: Callable[[], object]) -> tuple[FieldError, ...]:
    try:
        taken()
    except Refusal as refusal:
        return refusal.errors or (FieldError("", refusal.code, refusal.detail),)
    return ()


def _as_a_body(raw: bytes, document: Document) -> None:
    """What any body is held to, and a document's size."""
    if says_twice(raw, document):
        raise MalformedJson("A name stands twice in the same object. Say each once.")
    refuse_unstorable(document)
    if len(msgspec.json.encode(document)) > MOST_DOCUMENT_BYTES:
        raise ProgrammeInvalid(f"A programme document has at most {MOST_DOCUMENT_BYTES} bytes.")
