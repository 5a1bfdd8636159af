"""What members decides: which version a programme has, whose identity is whose, what number a card gets."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from shared.errors import AmountOutOfRange, FieldError, NotFound, ProgrammeUnknown, Refusal
from shared.identity import IdentityKind, with_check_digit
from shared.programme.model import Programme
from shared.programme.validation import ProgrammeInvalid, validate_for_activation

AHEAD = timedelta(minutes=5)
"""How far in the future a caller's clock may be."""

CARD_DIGITS = 16
MOST_DOCUMENT_BYTES = 512 * 1024
"""A document travels in an event, and an event has at most a megabyte."""

MOST_VERSIONS = 100_000

Document = dict[str, Any]


class VersionNotDraft(Refusal):
    code = "version_not_draft"


class IdentityTaken(Refusal):
    code = "identity_taken"


class ConsentRequired(Refusal):
    code = "consent_required"


class OccurredInFuture(Refusal):
    code = "occurred_in_future"


# ---- programmes ----------------------------------------------------------------------------------


class ProgrammeRow(msgspec.Struct):
    """A programme as its locked row has it."""

    code: str
    latest_version: int
    active_version: int | None
    currency: str | None
    event_sequence: int


class Version(msgspec.Struct, frozen=True):
    """A version of a programme, as it is answered."""

    programme: str
    version: int
    status: Literal["draft", "active", "superseded"]
    document: Document
    created_at: datetime
    activated_at: datetime | None


class VersionSummary(msgspec.Struct, frozen=True):
    """A version without its document."""

    version: int
    status: Literal["draft", "active", "superseded"]
    created_at: datetime
    activated_at: datetime | None


class ProgrammeSummary(msgspec.Struct, frozen=True):
    """A programme and its versions, the latest first."""

    programme: str
    active_version: int | None
    versions: Sequence[VersionSummary]


class ProgrammeListed(msgspec.Struct, frozen=True):
    """A programme among others."""

    programme: str
    active_version: int | None
    latest_version: int


class Programmes(msgspec.Struct, frozen=True):
    """All programmes of a tenant; they are few."""

    programmes: Sequence[ProgrammeListed]


def draft(row: ProgrammeRow, programme: Programme, document: Document, now: datetime) -> Version:
    """The next version of a programme, a draft; `document` is the same as `programme`, as it was written."""
    _keep_currency(row, programme)
    if len(msgspec.json.encode(document)) > MOST_DOCUMENT_BYTES:
        raise ProgrammeInvalid(f"A programme document has at most {MOST_DOCUMENT_BYTES} bytes.", pointer="")
    if row.latest_version >= MOST_VERSIONS:
        raise AmountOutOfRange(f"A programme has at most {MOST_VERSIONS} versions.")
    return Version(row.code, row.latest_version + 1, "draft", document, now, None)


def activate(row: ProgrammeRow | None, version: Version | None, now: datetime) -> Version:
    """The version as the active one. Refuses not_found, version_not_draft, programme_invalid."""
    if row is None or version is None:
        raise NotFound("There is no such version of a programme.")
    if version.status != "draft":
        raise VersionNotDraft(f"Version {version.version} of {row.code} is {version.status}.")
    if row.active_version is not None and row.active_version > version.version:
        raise VersionNotDraft(
            f"Version {row.active_version} of {row.code} is active; an earlier one can't replace it. Draft a new one."
        )
    # Again, and not only when it was drafted: rules get stricter, and a draft may be years old.
    _keep_currency(row, validate_for_activation(version.document))
    return msgspec.structs.replace(version, status="active", activated_at=now)


def _keep_currency(row: ProgrammeRow, programme: Programme) -> None:
    if row.currency is not None and programme.programme.currency != row.currency:
        # Points in wallets have a money value already: it can't become another money.
        raise ProgrammeInvalid(
            f"The currency of {row.code} is {row.currency} for good.", pointer="/programme/currency"
        )


# ---- merchants -----------------------------------------------------------------------------------


class Merchant(msgspec.Struct, frozen=True):
    """A merchant as it is now. `version` counts its changes."""

    merchant: str
    brand: str | None
    name: Mapping[str, str]
    terminals: Sequence[str]
    version: int


def put(known: Merchant | None, wanted: Merchant) -> Merchant:
    """The merchant as wanted, under the next version; the known one itself where nothing differs."""
    version = 1 if known is None else known.version + 1
    if known is not None and msgspec.structs.replace(wanted, version=known.version) == known:
        return known
    return msgspec.structs.replace(wanted, version=version)


# ---- members -------------------------------------------------------------------------------------


class Card(msgspec.Struct, frozen=True):
    """A card that names a wallet."""

    card_id: UUID
    card_number: str


class Wallet(msgspec.Struct, frozen=True):
    """A member's wallet in one programme, with its active card."""

    programme: str
    wallet_id: UUID
    card: Card | None


class Member(msgspec.Struct, frozen=True):
    """A member, as it is answered: no name, no address."""

    member_id: UUID
    status: str
    locale: str
    wallets: Sequence[Wallet]


class Claim(NamedTuple):
    """An identity that a member wants to have."""

    kind: IdentityKind
    hash: bytes


class Consent(msgspec.Struct, frozen=True):
    """What a member agreed to, and when."""

    accepted: bool
    terms_version: str
    accepted_at: datetime


class Enrolment(msgspec.Struct, frozen=True):
    """Somebody who wants to take part; identities in their normal form. `programmes` None: in all active ones."""

    locale: str
    channel: str
    programmes: tuple[str, ...] | None
    consent: Consent
    name: str | None = None
    mobile: str | None = None
    email: str | None = None
    external_id: str | None = None

    def identities(self) -> list[tuple[IdentityKind, str]]:
        """The identities that were given."""
        given: list[tuple[IdentityKind, str | None]] = [
            ("mobile", self.mobile),
            ("email", self.email),
            ("external_id", self.external_id),
        ]
        return [(kind, value) for kind, value in given if value is not None]


class Admitted(NamedTuple):
    """An enrolment that is granted: the programmes to open wallets in."""

    programmes: tuple[str, ...]


def admit(
    enrolment: Enrolment, claims: Iterable[Claim], *, free: set[Claim], active: Iterable[str], now: datetime
) -> Admitted:
    """Grants an enrolment and takes its claims out of `free`; or refuses it and leaves them there."""
    if not enrolment.consent.accepted:
        raise ConsentRequired("Nobody takes part without having agreed.", pointer="/consent/accepted")
    if enrolment.consent.accepted_at > now + AHEAD:
        raise OccurredInFuture(
            "The consent is more than 5 minutes in the future.", pointer="/consent/accepted_at"
        )
    known = list(active)
    wanted = tuple(known) if enrolment.programmes is None else enrolment.programmes
    unknown = [place for place, code in enumerate(wanted) if code not in known]
    if unknown or not wanted:
        raise _programme_unknown(wanted, unknown)
    wants = list(claims)
    taken = [claim for claim in wants if claim not in free]
    if taken:
        raise IdentityTaken(
            "Another member has this identity."
            if len(taken) == 1
            else "Other members have these identities.",
            errors=[
                FieldError(f"/{claim.kind}", "identity_taken", "Another member has this identity.")
                for claim in taken
            ],
        )
    free.difference_update(wants)
    return Admitted(wanted)


def _programme_unknown(wanted: Sequence[str], unknown: Sequence[int]) -> ProgrammeUnknown:
    if not unknown:
        return ProgrammeUnknown("No programme is active yet.", pointer="/programmes")
    said = "There is no active programme of this code."
    return ProgrammeUnknown(
        f"No active programme: {', '.join(wanted[place] for place in unknown)}.",
        errors=[FieldError(f"/programmes/{place}", "programme_unknown", said) for place in unknown],
    )


def card_number(prefix: str, randbelow: Callable[[int], int]) -> str:
    """A card number of 16 digits: the prefix, digits from `randbelow` (a cryptographic source), the check digit."""
    free = CARD_DIGITS - 1 - len(prefix)
    return with_check_digit(f"{prefix}{randbelow(10**free):0{free}}")
