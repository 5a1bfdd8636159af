"""A Merkle tree over the heads of wallets and gift cards, as RFC 6962 (section 2.1) builds one: leaves and nodes are hashed apart.

A tree is cut into pages of 1,024 leaves. Because a page is a power of two, the tree over the roots of the pages is the tree
over the leaves: a proof needs one page of leaves, and the roots of the others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from hashlib import sha256
from uuid import UUID

PAGE = 1024
_LEAF = struct.Struct(">c16sQ32s").pack


def leaf_hash(holder_id: UUID, seq: int, head: bytes) -> bytes:
    """SHA-256 over 0x00, the id of the wallet or card, the number of its last line and that line's hash."""
    return sha256(_LEAF(b"\x00", holder_id.bytes, seq, head)).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 over 0x01 and both children."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Iterable[bytes]) -> bytes:
    """The root over these subtrees of one size, of which the last may be smaller; at least one. Holds a root for each
    power of two."""
    whole: list[tuple[int, bytes]] = []
    for hash_ in hashes:
        size, root = 1, hash_
        while whole and whole[-1][0] == size:
            root = node_hash(whole.pop()[1], root)
            size *= 2
        whole.append((size, root))
    _, root = whole.pop()
    while whole:
        root = node_hash(whole.pop()[1], root)
    return root


def path_to(position: int, hashes: Sequence[bytes]) -> list[bytes]:
    """The siblings from this subtree up to the root over all of them, the nearest first (RFC 6962, 2.1.1)."""
    if len(hashes) == 1:
        return []
    split = 1 << (len(hashes) - 1).bit_length() - 1
    if position < split:
        return [*path_to(position, hashes[:split]), root_of(hashes[split:])]
    return [*path_to(position - split, hashes[split:]), root_of(hashes[:split])]


class Pages:
    """Takes a tree's leaves in their order; knows the roots of its pages, and the root over all."""

    def __init__(self) -> None:
        self.count = 0
        self._roots: list[bytes] = []
        self._page: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """The next leaf's hash."""
        self._page.append(leaf)
        self.count += 1
        if len(self._page) == PAGE:
            self._close()

    def close(self) -> tuple[bytes, bytes]:
        """(the root, the roots of the pages one after the other); at least one leaf was added."""
        if self._page:
            self._close()
        return root_of(self._roots), b"".join(self._roots)

    def _close(self) -> None:
        self._roots.append(root_of(self._page))
        self._page = []
