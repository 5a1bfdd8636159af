"""`verify_proof.py PROOF.json PUBLIC_KEY`: exit 0 where the line stands in the bank's ledger (ledger.md). Trusts the key alone."""

import json
import struct
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EPOCH, unhex = datetime(1970, 1, 1, tzinfo=UTC), bytes.fromhex
WALLET, CARD = ("wallet_id", b"\x01", 172, "points"), ("card_id", b"\x47", 148, "minor units")


def need(holds: bool, said: str) -> None:
    if not holds:
        raise ValueError(said)


def climb(leaf: bytes, position: int, count: int, path: list[bytes]) -> bytes | None:
    """The root that a Merkle path leads to (RFC 9162, 2.1.3.2); None: a tree of so many leaves has no such path."""
    root, last = leaf, count - 1
    for sibling in path:
        if last == 0:
            return None
        left = position % 2 or position == last
        root = sha256(b"\x01" + (sibling + root if left else root + sibling)).digest()
        while left and position and not position % 2:
            position, last = position // 2, last // 2
        position, last = position // 2, last // 2
    return root if last == 0 else None


def verify(proof: dict[str, Any], public_key: str) -> str:
    whose, layout, size, unit = CARD if "card_id" in proof else WALLET
    holder, seal, lines = layout + unhex(proof[whose].replace("-", "")), proof["seal"], proof["lines"]
    need(bool(lines) and 0 <= proof["position"] < seal["leaves"], "no line, or a place that the tree lacks")
    chain = [unhex(line["bytes"]) for line in lines]
    for n, line in enumerate(chain, proof["seq"]):
        need(len(line) == size and line[:1] + line[33:57] == holder + n.to_bytes(8, "big"), f"not line {n}")
    need(all(b[1:33] == sha256(a).digest() for a, b in pairwise(chain)), "the lines are no chain")
    leaf = sha256(b"\x00" + holder[1:] + n.to_bytes(8, "big") + sha256(chain[-1]).digest()).digest()
    root = climb(leaf, proof["position"], seal["leaves"], [unhex(one) for one in proof["path"]])
    need(root == unhex(seal["root"]), "the path from the last of the lines does not lead to the seal's root")
    at = (datetime.fromisoformat(seal["sealed_at"]) - EPOCH) // timedelta.resolution
    of = (b"pointbank:seal:1", sha256(seal["tenant"].encode()).digest(), seal["no"], unhex(seal["previous"]))
    signed = struct.pack(">16s32sQ32sqQ32s", *of, at, seal["leaves"], root)
    Ed25519PublicKey.from_public_bytes(unhex(public_key)).verify(unhex(seal["signature"]), signed)
    return f"{int.from_bytes(chain[0][76:84], 'big')} {unit}, under seal {seal['no']} of {seal['sealed_at']}"


if __name__ == "__main__":
    try:
        sys.stdout.write(f"PROVEN: {verify(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])}\n")
    except (InvalidSignature, KeyError, ValueError, struct.error) as error:
        sys.exit(f"NOT PROVEN: {error!r}")
