"""Which version a programme has: drafts, and the one that judges."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from shared.errors import AmountOutOfRange, NotFound, ProgrammeClosed, Refusal
from shared.programme.base import iana_zones
from shared.programme.model import Programme
from shared.programme.validation import ProgrammeInvalid, validate_for_activation

MOST_DOCUMENT_BYTES = 512 * 1024
"""A document travels in an event, and an event has at most a megabyte."""

MOST_VERSIONS = 100_000

NEXT_MOMENT = timedelta(microseconds=1)

Document = dict[str, Any]

VersionStatus = Literal["draft", "active", "superseded"]


class VersionNotDraft(Refusal):
    code = "version_not_draft"


class DraftProgramme(msgspec.Struct, frozen=True):
    """Keep this document as a new version."""

    document: Document


class ActivateProgramme(msgspec.Struct, frozen=True):
    """From now on this version judges."""

    programme: str
    version: int


class CloseProgramme(msgspec.Struct, frozen=True):
    """From now on the programme takes nothing. `reason` stands in the audit."""

    programme: str
    reason: str


class ProgrammeRow(msgspec.Struct):
    """A programme as its locked row has it."""

    code: str
    latest_version: int
    active_version: int | None
    currency: str | None
    event_sequence: int
    time_zone: str | None = None
    begins_at: datetime | None = None
    """When the last of its versions begins: later than now, where the clock that it was activated by ran ahead."""


class Version(msgspec.Struct, frozen=True):
    """A version of a programme, as it is answered."""

    programme: str
    version: int
    status: VersionStatus
    document: Document
    created_at: datetime
    activated_at: datetime | None


class VersionSummary(msgspec.Struct, frozen=True):
    """A version without its document."""

    version: int
    status: VersionStatus
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
    _keep_what_stays(row, programme)
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
    _keep_what_stays(row, validate_for_activation(version.document))
    return msgspec.structs.replace(version, status="active", activated_at=_begins_at(row, now))


def close(row: ProgrammeRow | None, active: Version | None, now: datetime) -> Version:
    """The version that closes a programme: its active one, and closed. Refuses not_found, programme_closed."""
    if row is None or active is None:
        raise NotFound("There is no such active programme.")
    header = active.document["programme"]
    if header.get("closed"):
        raise ProgrammeClosed(f"The programme {row.code} is closed already.")
    if row.latest_version >= MOST_VERSIONS:
        raise AmountOutOfRange(f"A programme has at most {MOST_VERSIONS} versions.")
    document = {**active.document, "programme": {**header, "closed": True}}
    return Version(row.code, row.latest_version + 1, "active", document, now, _begins_at(row, now))


def _begins_at(row: ProgrammeRow, now: datetime) -> datetime:
    """Now, and after every version before: bills are judged by what began last, and clocks of processes differ."""
    return now if row.begins_at is None else max(now, row.begins_at + NEXT_MOMENT)


def _keep_what_stays(row: ProgrammeRow, programme: Programme) -> None:
    header = programme.programme
    if row.currency is not None and header.currency != row.currency:
        # Points in wallets have a money value already: it can't become another money.
        raise ProgrammeInvalid(
            f"The currency of {row.code} is {row.currency} for good.", pointer="/programme/currency"
        )
    if row.time_zone in iana_zones() and header.time_zone != row.time_zone:
        # Days are settled already, and each begins where the one before ends: it can't be moved. A name that no version may say any
        # more (`localtime`) was another zone on another machine, and must be left.
        raise ProgrammeInvalid(
            f"The time zone of {row.code} is {row.time_zone} for good.", pointer="/programme/time_zone"
        )
