"""The HTTP side of what proves the ledger: seals, and proofs that a line is under one."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import Path
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from services.redeem.api.portions import WITHIN_S, PortionBody, told
from services.redeem.domain.jobs import JobDone
from services.redeem.domain.seal import written
from services.redeem.jobs.sealing import job_item, signer_of
from services.redeem.jobs.sealing_on_call import SealRun, Wanted, begin_run, wait_for_seal
from services.redeem.proving import proof_of
from services.redeem.store import seals
from services.redeem.store.seals import Holder
from shared.errors import NotFound, Refusal
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.runtime import TenantRuntime

_FIRST_PAGE = 2**63 - 1

ledger = Router(prefix="/v1/ledger", tags=["evidence"])
proofs = Router(prefix="/v1/wallets", tags=["evidence"])
cards = Router(prefix="/v1/gift-cards", tags=["evidence"])
ROUTERS = (ledger, proofs, cards)

Seq = Annotated[int, Path(ge=1, le=2**63 - 1, description="The line's number in its ledger.")]


class NotSealedYet(Refusal):
    code = "not_sealed_yet"


class SealBody(PortionBody):
    """`dry_run` tells what would be sealed; `whole` looks at every wallet and gift card, not only at those posted to since the last
    seal. Each call of a run says both alike."""

    whole: bool = False
    within_s: Annotated[
        int,
        Field(ge=0, le=40, description="Seconds that this call waits for the seal; it goes on meanwhile."),
    ] = WITHIN_S


class SealOut(BaseModel):
    """A seal, as docs/ledger.md says; bytes in hexadecimal."""

    tenant: str
    no: int
    sealed_at: AwareDatetime
    leaves: int
    root: str
    previous: str
    hash: str
    public_key: str
    signature: str


class SealedOut(BaseModel):
    """`seal` is null where nothing was new. `exported`: seals written to this process's folder, or that a dry run would write;
    `foreign` is 0: where files are there of seals that the database does not have, nothing is sealed, and the answer is 503.
    `next_cursor` not null: it is not over, ask again with it."""

    dry_run: bool
    seal: SealOut | None
    exported: int
    foreign: int
    next_cursor: str | None


class SealsOut(BaseModel):
    items: list[SealOut]
    next_cursor: str | None


class PublicKeyOut(BaseModel):
    """Ed25519, in hexadecimal."""

    tenant: str
    public_key: str


class ProvenLine(BaseModel):
    seq: int
    bytes: str


class ProvenHead(BaseModel):
    seq: int
    hash: str


class _ProofOut(BaseModel):
    """docs/verify_proof.py checks it: each of `lines` holds the hash of the one before, the last one's is `head`, `path`
    leads from the head to the seal's root."""

    seq: int
    lines: list[ProvenLine]
    head: ProvenHead
    position: int
    path: list[str]
    seal: SealOut


class ProofOut(_ProofOut):
    """A line of a wallet."""

    wallet_id: UUID


class GiftCardProofOut(_ProofOut):
    """A line of a gift card, proved in the same way."""

    card_id: UUID


class SealPosition(msgspec.Struct):
    """The cursor of the seals: the number of the last one shown."""

    no: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


@ledger.post(
    "/seals",
    status_code=201,
    response_model=SealedOut,
    responses={200: {"model": SealedOut}, 202: {"model": SealedOut}, **problems()},
)
async def seal(body: SealBody, call: Annotated[Write, writes("ops:write")]) -> Response:
    """Seals the heads that are new and exports what is missing outside; 200 where nothing is new, or for a dry run. A seal is one
    transaction: where it takes longer than `within_s` it goes on by itself, and the answer is 202 with `next_cursor`. The next call
    says that, and waits on; where the seal's process died, it is begun anew."""
    runtime = _runtime(call)
    place = decode_cursor(body.cursor, SealRun)
    run = place or await begin_run(runtime)
    item = msgspec.structs.replace(job_item(call.principal.subject), request_id=call.request_id)
    wanted = Wanted(run, item, dry_run=body.dry_run, whole=body.whole, resumed=place is not None)
    done = await wait_for_seal(runtime, wanted, within_s=body.within_s)
    made = done.seal if done is not None else None
    content = {
        "dry_run": body.dry_run,
        "seal": None if made is None else written(runtime.code, made),
        "exported": done.exported if done is not None else 0,
        "foreign": 0,
        "next_cursor": told(None if done is not None else run),
    }
    if done is None:
        return await call.submit(JobDone(202, msgspec.json.encode(content)))
    status = 201 if made is not None and not body.dry_run else 200
    return await call.submit(JobDone(status, msgspec.json.encode(content)))


@ledger.get("/seals", response_model=SealsOut)
async def list_seals(
    call: Annotated[Read, reads("audit:read")], cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """The seals, the newest first."""
    position = decode_cursor(cursor, SealPosition)
    before = position.no if position is not None else _FIRST_PAGE
    async with call.tenant.read() as db:
        found = await seals.seal_page(db, before=before, most=limit + 1)
    shown = [written(call.tenant.code, one) for one in found[:limit]]
    return page(shown, SealPosition(found[limit - 1].no) if len(found) > limit else None)


@ledger.get("/public-key", response_model=PublicKeyOut)
async def public_key(call: Annotated[Read, reads("audit:read", one_merchant="alike")]) -> Response:
    """The key that this tenant's seals are signed with now. Keep a copy where nobody who runs the bank can change it."""
    signer = signer_of(_runtime(call))
    return answer({"tenant": call.tenant.code, "public_key": signer.public_key.hex()})


@proofs.get(
    "/{wallet_id}/ledger/{seq}/proof",
    response_model=ProofOut,
    responses=problems("not_found", "not_sealed_yet"),
)
async def get_proof(wallet_id: UUID, seq: Seq, call: Annotated[Read, reads("audit:read")]) -> Response:
    """Proves that a line stood in its wallet's ledger when its first seal was taken, to who has nothing but the public key."""
    return await _proof(call, "wallet", wallet_id, seq)


@cards.get(
    "/{card_id}/lines/{seq}/proof",
    response_model=GiftCardProofOut,
    responses=problems("not_found", "not_sealed_yet"),
)
async def get_gift_card_proof(
    card_id: UUID, seq: Seq, call: Annotated[Read, reads("audit:read")]
) -> Response:
    """Proves that a line stood in its gift card's ledger when its first seal was taken."""
    return await _proof(call, "card", card_id, seq)


async def _proof(call: Read, holder: Holder, holder_id: UUID, seq: int) -> Response:
    async with call.tenant.read() as db:
        proof = await proof_of(db, call.tenant.code, holder, holder_id, seq)
        if proof is None:
            if await seals.canonical_lines(db, holder, holder_id, first=seq, last=seq):
                raise NotSealedYet("No seal covers this line yet. Ask again in a few minutes.")
            raise NotFound("There is no such line.")
    return answer(proof)


def _runtime(call: Read | Write) -> TenantRuntime:
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    return runtime
