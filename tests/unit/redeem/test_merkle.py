"""Trees over heads: RFC 6962's own construction, its published roots, and paths that lead to them."""

import runpy
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.redeem.domain.merkle import PAGE, Pages, leaf_hash, node_hash, path_to, root_of

VERIFIER = Path(__file__).parents[3] / "docs" / "verify_proof.py"
climb = runpy.run_path(str(VERIFIER))["climb"]


def straightforward(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha256(b"\x01" + straightforward(hashes[:k]) + straightforward(hashes[k:])).digest()


def leaves(count: int) -> list[bytes]:
    return [sha256(b"\x00" + number.to_bytes(4, "big")).digest() for number in range(count)]


# The inputs and roots that implementations of Certificate Transparency test themselves with.
INPUTS = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("count", ROOTS)
def test_published_trees_have_the_published_roots(count: int) -> None:
    hashes = [sha256(b"\x00" + bytes.fromhex(text)).digest() for text in INPUTS[:count]]
    assert root_of(hashes).hex() == ROOTS[count]


def test_a_leaf_is_told_from_a_node() -> None:
    wallet_id, head = UUID(int=1), bytes(range(32))
    assert (
        leaf_hash(wallet_id, 7, head)
        == sha256(b"\x00" + wallet_id.bytes + bytes([0] * 7 + [7]) + head).digest()
    )
    assert node_hash(head, head) == sha256(b"\x01" + head + head).digest()


@given(st.integers(1, 70), st.data())
def test_every_leaf_has_a_path_to_the_root_and_to_no_other(count: int, data: st.DataObject) -> None:
    hashes = leaves(count)
    position = data.draw(st.integers(0, count - 1))
    path = path_to(position, hashes)
    root = straightforward(hashes)
    assert root_of(hashes) == root
    assert climb(hashes[position], position, count, path) == root
    other = data.draw(st.integers(0, count - 1).filter(lambda k: k != position)) if count > 1 else None
    if other is not None:
        assert climb(hashes[other], position, count, path) != root
        assert climb(hashes[position], other, count, path) != root
    assert climb(hashes[position], position, count, [*path, root]) is None


@pytest.mark.parametrize("count", [1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 5 * PAGE + 77])
def test_the_tree_over_pages_is_the_tree_over_leaves(count: int) -> None:
    hashes = leaves(count)
    pages = Pages()
    for hash_ in hashes:
        pages.add(hash_)
    root, joined = pages.close()
    assert (root, pages.count) == (root_of(hashes), count)
    roots = [joined[k : k + 32] for k in range(0, len(joined), 32)]
    for position in {0, count // 2, count - 1}:
        page, place = divmod(position, PAGE)
        path = [*path_to(place, hashes[page * PAGE : (page + 1) * PAGE]), *path_to(page, roots)]
        assert path == path_to(position, hashes)
        assert climb(hashes[position], position, count, path) == root
