"""What a caller sends is never compared with something secret letter by letter: how long that takes tells how much was right."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import identity
from shared.identity import normalise

ROOT = Path(__file__).parents[3]
SECRET = re.compile(r"(^|_)(request_hash|pin|pin_hash|code_hash|secret|password|signature|mac|digest|token)$")
EXCEPT = {
    # Both are read of one row: whether the card got another PIN between the check and the decision.
    ("services/redeem/domain/giftcards/card.py", "tried.pin_hash != card.pin_hash"),
    # A till's own return, as it stands in its body: nobody's secret is in that.
    ("services/redeem/handlers/give_back.py", "before.request_hash != asked"),
    # A seal's hash stands in its file beside the bytes that it is of, for everybody.
    ("services/redeem/domain/seal.py", "sha256(signed).digest() != seal.hash"),
}


def _last_name(node: ast.expr) -> str:
    match node:
        case (
            ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name)))
        ):
            return name
        case ast.Call(func=func):
            return _last_name(func)
    return ""


def _compared_letter_by_letter() -> Iterator[tuple[str, str]]:
    """Each == and != with something secret on a side, constants aside: (file, what is written)."""
    for path in sorted([*(ROOT / "services").rglob("*.py"), *(ROOT / "shared").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq)):
                continue
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) for side in sides):
                continue
            if any(SECRET.search(_last_name(side)) for side in sides):
                yield str(path.relative_to(ROOT)), ast.unparse(node)


def test_nothing_secret_is_compared_letter_by_letter() -> None:
    assert set(_compared_letter_by_letter()) == EXCEPT


@pytest.mark.parametrize(
    ("kind", "value"),
    [("mobile", "+966501234999"), ("email", "seen@example.com"), ("external_id", "seen-1")],
)
def test_an_identity_that_somebody_has_just_named_is_worked_out_anew(
    kind: identity.IdentityKind, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process serves many tenants: what one of them named is no faster for another."""
    worked: list[str] = []
    form = identity._NORMAL_FORMS[kind]

    def counted(text: str) -> str:
        worked.append(text)
        return form(text)

    monkeypatch.setitem(identity._NORMAL_FORMS, kind, counted)
    assert normalise(kind, value) == normalise(kind, value) == value
    assert identity.hashed(b"a" * 32, kind, value) != identity.hashed(b"b" * 32, kind, value)
    assert worked == [value] * 4
