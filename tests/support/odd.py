"""Odd input for decoders: JSON that is almost right, bytes that are almost JSON, and bombs."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "\0",
            "a\0b",
            "\ud7ff",
            "\u202e",
            "'; DROP TABLE bills; --",
            "{{ 7 * 7 }}",
            "${jndi:ldap://x}",
            "%s%n%x",
            "a\r\nX-Injected: 1",
            "\x1b[2J",
            "9" * 400,
            "4111111111111111",
            "a" * 300,
            "../../etc/passwd",
        ]
    ),
)
NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63, 2**64, 10**40, 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
BOMBS: list[bytes] = [
    b"[" * 100_000,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b"1" * 300_000,
    b"1e999999999",
    b"-" + b"9" * 5_000,
    b"0." + b"1" * 100_000,
    b'"' + b"\\u0000" * 20_000 + b'"',
    b'"' + b"\\\\" * 100_000 + b'"',
    b'"\\ud800"',
    b'"\xff\xfe"',
    b"NaN",
    b"[" + b"{}," * 50_000 + b"{}]",
    b'{"a":1,"a":2}',
    b"",
    b"\xef\xbb\xbf{}",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00",  # the beginning of gzip
]


@st.composite
def altered(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """The good object with something in it, at any depth, left out, replaced, added or spoilt in its bytes."""
    document = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        node: Any = document
        while True:
            places = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not places:
                break
            place = draw(st.sampled_from(places))
            if isinstance(node[place], dict | list) and draw(st.booleans()):
                node = node[place]
                continue
            match draw(st.sampled_from(["replace", "leave out", "add", "twice"])):
                case "replace":
                    node[place] = draw(VALUES)
                case "leave out":
                    del node[place]
                case "add" if isinstance(node, dict):
                    node[draw(TEXTS)] = draw(VALUES)
                case "add":
                    node.append(draw(VALUES))
                case _ if isinstance(node, list):
                    node.append(node[place])
            break
    return _json(document)


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """The good bytes with some cut out, put in or changed."""
    raw = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        put = draw(
            st.one_of(st.binary(max_size=6), st.sampled_from([b"\\u0000", b'"', b"{", b"\xff", b"null"]))
        )
        raw[at : at + draw(st.integers(0, 12))] = put
    return bytes(raw)


def bombs(good: dict[str, Any], *places: str) -> list[bytes]:
    """Each bomb by itself, and in place of each of these members."""
    made = list(BOMBS)
    for place in places:
        before, _, after = _json({**good, place: "HERE"}).partition(b'"HERE"')
        made += [before + bomb + after for bomb in BOMBS]
    return made


def _json(document: object) -> bytes:
    # Whole numbers of any size: msgspec writes them up to 64 bits only.
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


def storable(text: str | None) -> bool:
    """Whether PostgreSQL can keep it as text."""
    if text is None:
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
