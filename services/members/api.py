"""The HTTP side of members: bodies in, commands to the lane, answers out."""

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Body as FromBody
from fastapi import Path
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, StringConstraints
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from services.members import store
from services.members.domain.members import Claim, Consent, EnrolMember, Enrolment, Named
from services.members.domain.merchants import Merchant, PutMerchant
from services.members.domain.programmes import (
    ActivateProgramme,
    CloseProgramme,
    DraftProgramme,
    Programmes,
    VersionStatus,
)
from shared.errors import NotFound, Refusal
from shared.http.bodies import Body, Moment
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.identity import IdentityKind, identify, normalise
from shared.programme.model import Code, Locale, Localized, Programme, Text
from shared.shapes import Channel


def _normal(kind: IdentityKind) -> AfterValidator:
    def normal(value: str) -> str:
        try:
            return normalise(kind, value)
        except Refusal as refusal:
            raise PydanticCustomError(refusal.code, refusal.detail) from None

    return AfterValidator(normal)


Mobile = Annotated[str, _normal("mobile")]
Email = Annotated[str, _normal("email")]
ExternalId = Annotated[str, _normal("external_id")]


def _in_a_calendar(text: str) -> str:
    if date.fromisoformat(text).year < 1900:
        raise ValueError("nobody was born before 1900")
    return text


Birthday = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
    AfterValidator(_in_a_calendar),
    Field(json_schema_extra={"format": "date"}),
]


class ConsentBody(Body):
    """What the member agreed to."""

    accepted: bool
    terms_version: Annotated[str, Field(min_length=1, max_length=64)]
    accepted_at: Moment


class LookupBody(Body):
    """Exactly one identity."""

    member_id: str | None = None
    card_id: str | None = None
    card_number: str | None = None
    mobile: str | None = None
    email: str | None = None
    external_id: str | None = None


class MemberBody(Body):
    """Who wants to take part. Without `programmes`: in every active one."""

    external_id: ExternalId | None = None
    mobile: Mobile | None = None
    email: Email | None = None
    name: Text | None = None
    birthday: Birthday | None = None
    """Kept with the other contacts, and told to nobody: only that it is one, on the day."""
    locale: Locale = "en"
    channel: Channel
    programmes: Annotated[list[Code], Field(min_length=1, max_length=100)] | None = None
    consent: ConsentBody
    referred_by: LookupBody | None = None
    """The member who told this one of it."""


class MerchantBody(Body):
    """A merchant as it shall be."""

    brand: Text | None = None
    name: Localized
    terminals: Annotated[list[Code], Field(max_length=10_000)] = Field(default=[])
    cashiers: Annotated[dict[Code, UUID], Field(max_length=10_000)] = Field(default={})
    """Which member a cashier is, for those who are one: a programme may look for cashiers who ring up their own card."""


class CardOut(BaseModel):
    card_id: UUID
    card_number: str


class WalletOut(BaseModel):
    programme: str
    wallet_id: UUID
    card: CardOut | None


class MemberOut(BaseModel):
    member_id: UUID
    status: Literal["active", "blocked", "closed", "merged"]
    locale: str
    wallets: list[WalletOut]
    merged_into: UUID | None = None
    """Who the member goes on as, where it was merged, through every merge: that one's wallets have its points."""


class MerchantOut(BaseModel):
    merchant: str
    brand: str | None
    name: dict[str, str]
    terminals: list[str]
    version: int
    cashiers: dict[str, UUID]


class VersionOut(BaseModel):
    programme: str
    version: int
    status: VersionStatus
    document: Programme
    created_at: AwareDatetime
    activated_at: AwareDatetime | None


class VersionSummaryOut(BaseModel):
    version: int
    status: VersionStatus
    created_at: AwareDatetime
    activated_at: AwareDatetime | None


class ProgrammeOut(BaseModel):
    programme: str
    active_version: int | None
    versions: list[VersionSummaryOut]


class ProgrammeListedOut(BaseModel):
    programme: str
    active_version: int | None
    latest_version: int


class ProgrammesOut(BaseModel):
    programmes: list[ProgrammeListedOut]


VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]

programmes = Router(prefix="/v1/programmes", tags=["programmes"])
merchants = Router(prefix="/v1/merchants", tags=["merchants"])
members = Router(prefix="/v1/members", tags=["members"])
ROUTERS = (programmes, merchants, members)


# The body is taken as any object, because the lane's handler tells all of its mistakes; the interface document shows
# what it should be.
_PROGRAMME = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Programme"}}}}


@programmes.post(
    "",
    status_code=201,
    response_model=VersionOut,
    responses=problems("programme_invalid"),
    openapi_extra={"requestBody": _PROGRAMME},
)
async def draft_programme(
    document: Annotated[dict[str, Any], FromBody()], call: Annotated[Write, writes("programmes:write")]
) -> Response:
    """Keeps a programme document, version 1 of the format, as a new draft. All its mistakes are told at once."""
    return await call.submit(DraftProgramme(document))


@programmes.get("", response_model=ProgrammesOut)
async def list_programmes(call: Annotated[Read, reads("programmes:read", one_merchant="alike")]) -> Response:
    """Every programme with its active and its latest version."""
    async with call.tenant.read() as db:
        return answer(Programmes(await store.all_programmes(db)))


@programmes.get("/{programme}", response_model=ProgrammeOut)
async def get_programme(
    programme: Code, call: Annotated[Read, reads("programmes:read", one_merchant="alike")]
) -> Response:
    """A programme's versions, the latest first."""
    async with call.tenant.read() as db:
        found = await store.programme_summary(db, programme)
    if found is None:
        raise NotFound("There is no such programme.")
    return answer(found)


@programmes.get("/{programme}/versions/{version}", response_model=VersionOut)
async def get_programme_version(
    programme: Code,
    version: VersionNumber,
    call: Annotated[Read, reads("programmes:read", one_merchant="alike")],
) -> Response:
    """One version with its document."""
    async with call.tenant.read() as db:
        found = await store.programme_version(db, programme, version)
    if found is None:
        raise NotFound("There is no such version of a programme.")
    return answer(found)


@programmes.post(
    "/{programme}/versions/{version}/activate",
    response_model=VersionOut,
    responses=problems("not_found", "version_not_draft", "programme_invalid"),
)
async def activate_programme(
    programme: Code, version: VersionNumber, call: Annotated[Write, writes("programmes:activate")]
) -> Response:
    """Makes a draft the version that judges from now on; the one before it is superseded."""
    return await call.submit(ActivateProgramme(programme, version))


class CloseBody(Body):
    """Why; it stands in the audit."""

    reason: Text


@programmes.post(
    "/{programme}/close", response_model=VersionOut, responses=problems("not_found", "programme_closed")
)
async def close_programme(
    programme: Code, body: CloseBody, call: Annotated[Write, writes("programmes:activate")]
) -> Response:
    """From now on nobody joins it, nothing is earned or redeemed in it, and no gift card of it is sold or loaded. What was set
    aside can be captured, refunds and returns go on, and gift cards pay. A later version that is activated opens it again."""
    return await call.submit(CloseProgramme(programme, body.reason))


@merchants.put(
    "/{merchant}",
    response_model=MerchantOut,
    responses={201: {"model": MerchantOut, "description": "Successful Response"}},
)
async def put_merchant(
    merchant: Code, body: MerchantBody, call: Annotated[Write, writes("merchants:write", one_merchant="own")]
) -> Response:
    """Makes a merchant (201), or changes it to be so (200)."""
    call.principal.at_merchant(merchant)
    terminals = list(dict.fromkeys(body.terminals))
    return await call.submit(
        PutMerchant(Merchant(merchant, body.brand, body.name, terminals, 0, body.cashiers))
    )


@members.post(
    "",
    status_code=201,
    response_model=MemberOut,
    responses=problems(
        "identity_taken",
        "identity_malformed",
        "consent_required",
        "programme_unknown",
        "occurred_in_future",
        "member_unknown",
        "referral_to_oneself",
        "identity_ambiguous",
        "card_check_digit",
    ),
)
async def enrol_member(
    body: MemberBody, call: Annotated[Write, writes("members:write", one_merchant="alike")]
) -> Response:
    """Enrols a member with a wallet and a card in each programme."""
    consent = body.consent
    return await call.submit(
        EnrolMember(
            Enrolment(
                locale=body.locale,
                channel=body.channel,
                programmes=None if body.programmes is None else tuple(dict.fromkeys(body.programmes)),
                consent=Consent(consent.accepted, consent.terms_version, consent.accepted_at),
                name=body.name,
                mobile=body.mobile,
                email=body.email,
                external_id=body.external_id,
                birthday=None if body.birthday is None else date.fromisoformat(body.birthday),
                referred_by=_named(call, body.referred_by),
            )
        )
    )


def _named(call: Write, body: LookupBody | None) -> Named | None:
    if body is None:
        return None
    identity = identify(call.tenant.tenant.identity_key, body.model_dump(), pointer="/referred_by")
    member_id = UUID(body.member_id) if body.member_id is not None else None
    return Named(Claim(identity.kind, identity.hash), member_id)


@members.post(
    "/lookup",
    response_model=MemberOut,
    responses=problems("not_found", "identity_ambiguous", "identity_malformed", "card_check_digit"),
)
async def look_up_member(
    body: LookupBody, call: Annotated[Read, reads("members:read", one_merchant="alike")]
) -> Response:
    """The member of an identity. A read: identities stand in a body because URLs end in logs."""
    identity = identify(call.tenant.tenant.identity_key, body.model_dump(), pointer="")
    async with call.tenant.read() as db:
        if identity.kind == "member_id":
            assert body.member_id is not None
            member_id: UUID | None = UUID(body.member_id)
        else:
            member_id = await store.member_by_identity(db, Claim(identity.kind, identity.hash))
        found = await store.member(db, member_id) if member_id is not None else None
    if found is None:
        raise NotFound("No member has this identity.")
    return answer(found)


@members.get("/{member_id}", response_model=MemberOut)
async def get_member(
    member_id: UUID, call: Annotated[Read, reads("members:read", one_merchant="alike")]
) -> Response:
    """A member with wallets and cards."""
    async with call.tenant.read() as db:
        found = await store.member(db, member_id)
    if found is None:
        raise NotFound("There is no such member.")
    return answer(found)
