"""Names that a JSON text says twice in one object. Decoders keep the last of them, another reader may keep the first."""

from __future__ import annotations

from typing import Any

import msgspec


def quotes(raw: bytes) -> int:
    """How many quotes begin or end a text in this JSON: a document that was made of it has fewer where a name is said twice."""
    return raw.replace(rb"\\", b"").replace(rb"\"", b"").count(b'"')


def says_twice(raw: bytes, document: Any) -> bool:
    """Whether this JSON says a name twice in one object, by the document that was decoded from it."""
    return quotes(msgspec.json.encode(document)) != quotes(raw)
