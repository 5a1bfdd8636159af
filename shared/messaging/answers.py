"""Answers under idempotency keys: how a refusal is kept and told again exactly as it was."""

from __future__ import annotations

import functools

import msgspec

from shared.errors import FieldError, Refusal


class _Kept(msgspec.Struct, frozen=True):
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Kept).decode


@functools.cache
def _class_of(code: str) -> type[Refusal]:
    return type(code, (Refusal,), {"code": code})


def refusal(code: str, detail: str, errors: tuple[FieldError, ...] = ()) -> Refusal:
    """A refusal with this public code."""
    return _class_of(code)(detail, errors=errors)


def keep(refused: Refusal) -> bytes:
    """The refusal as bytes for the idempotency table."""
    return _encode(_Kept(refused.code, refused.detail, refused.errors))


def kept(body: bytes) -> Refusal:
    """The refusal that `keep` kept."""
    found = _decode(body)
    return refusal(found.code, found.detail, found.errors)
