"""What an operator adopts after a restore: the folder's seals that the database does not know, each held against its signature."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from pathlib import Path

from services.redeem.domain.lost_seals import Adoption, AdoptSeals, NoSealsLost, number_above
from services.redeem.domain.seal import NotOurSeal, Seal, Signer, file_of, read_written
from services.redeem.jobs.exporting import foreign_files, read_file
from services.redeem.store import seals
from shared.db import Pool


async def find_lost(pool: Pool, signer: Signer, tenant: str, folder: Path, *, reason: str) -> AdoptSeals:
    """What there is to adopt. NoSealsLost, NotOurSeal, FolderFailed."""
    place = folder / tenant
    names = await foreign_files(pool, place)
    if not names:
        raise NoSealsLost(f"the database knows every seal in {place}")
    async with pool.acquire() as db:
        keys = await seals.keys_used(db) | {signer.public_key}
    return AdoptSeals(await asyncio.to_thread(_read_all, tenant, place, names, keys), reason)


async def would_adopt(pool: Pool, asked: AdoptSeals) -> Adoption:
    """What adopting these would decide now; nothing is written."""
    async with pool.acquire() as db:
        after_no, _ = await seals.standing(db)
        no, _ = await seals.next_place(db)
    return Adoption(after_no, number_above(no, asked.lost), tuple(map(file_of, asked.lost)))


def _read_all(tenant: str, place: Path, names: list[str], keys: Set[bytes]) -> tuple[Seal, ...]:
    return tuple(_read(tenant, place, name, keys) for name in names)


def _read(tenant: str, place: Path, name: str, keys: Set[bytes]) -> Seal:
    try:
        seal = read_written(tenant, read_file(place, name), keys=keys)
        if file_of(seal) != name:
            raise NotOurSeal("it holds another seal than its name says")
    except NotOurSeal as error:
        said = f"{place / name}: {error}. No seal that was lost is there: see who put it, and take it away"
        raise NotOurSeal(said) from error
    return seal
