"""Where bills come from."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec


class Merchant(msgspec.Struct, frozen=True):
    """A merchant as it is now. `version` counts its changes; `cashiers` are those of whom it says which member they are."""

    merchant: str
    brand: str | None
    name: Mapping[str, str]
    terminals: Sequence[str]
    version: int
    cashiers: Mapping[str, UUID] = {}


def put(known: Merchant | None, wanted: Merchant) -> Merchant:
    """The merchant as wanted, under the next version; the known one itself where nothing differs."""
    version = 1 if known is None else known.version + 1
    if known is not None and msgspec.structs.replace(wanted, version=known.version) == known:
        return known
    return msgspec.structs.replace(wanted, version=version)


class PutMerchant(msgspec.Struct, frozen=True):
    """The merchant is so from now on; its `version` counts for nothing."""

    merchant: Merchant
