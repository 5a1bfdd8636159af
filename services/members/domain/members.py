"""Who takes part: whose identity is whose, and what number a card gets."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from shared.errors import FieldError, ProgrammeClosed, ProgrammeUnknown, Refusal
from shared.identity import IdentityKind, with_check_digit

AHEAD = timedelta(minutes=5)
"""How far in the future a caller's clock may be."""

DAY = timedelta(days=1)

CARD_DIGITS = 16


class IdentityTaken(Refusal):
    code = "identity_taken"


class ConsentRequired(Refusal):
    code = "consent_required"


class MemberUnknown(Refusal):
    code = "member_unknown"


class ReferralToOneself(Refusal):
    code = "referral_to_oneself"


class OccurredInFuture(Refusal):
    code = "occurred_in_future"


class Card(msgspec.Struct, frozen=True):
    """A card that names a wallet."""

    card_id: UUID
    card_number: str


class Wallet(msgspec.Struct, frozen=True):
    """A member's wallet in one programme, with its active card."""

    programme: str
    wallet_id: UUID
    card: Card | None


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member, as it is answered: no name, no address. `merged_into`: who it goes on as, where it was merged,
    through every merge."""

    member_id: UUID
    status: str
    locale: str
    wallets: Sequence[Wallet]
    merged_into: UUID | None = None


class Claim(NamedTuple):
    """An identity that a member wants to have."""

    kind: IdentityKind
    hash: bytes


class Named(NamedTuple):
    """Another member, as a caller names one: by the hash of an identity, and the id itself where that is what was said."""

    claim: Claim
    member_id: UUID | None


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
    birthday: date | None = None
    referred_by: Named | None = None

    def identities(self) -> list[tuple[IdentityKind, str]]:
        """The identities that were given."""
        given: list[tuple[IdentityKind, str | None]] = [
            ("mobile", self.mobile),
            ("email", self.email),
            ("external_id", self.external_id),
        ]
        return [(kind, value) for kind, value in given if value is not None]


class EnrolMember(msgspec.Struct, frozen=True):
    """Let this person take part."""

    enrolment: Enrolment


class Admitted(NamedTuple):
    """An enrolment that is granted: the programmes to open wallets in, and who told the member of it."""

    programmes: tuple[str, ...]
    referred_by: UUID | None = None


def admit(
    enrolment: Enrolment,
    claims: Iterable[Claim],
    *,
    free: set[Claim],
    active: Iterable[str],
    closed: Collection[str] = (),
    known_members: Mapping[Named, UUID] | None = None,
    now: datetime,
) -> Admitted:
    """Grants an enrolment and takes its claims out of `free`; or refuses it and leaves them there. `known_members`: whom the
    referrers of the batch name."""
    if not enrolment.consent.accepted:
        raise ConsentRequired("Nobody takes part without having agreed.", pointer="/consent/accepted")
    if enrolment.consent.accepted_at > now + AHEAD:
        raise OccurredInFuture(
            "The consent is more than 5 minutes in the future.", pointer="/consent/accepted_at"
        )
    if enrolment.birthday is not None and enrolment.birthday > (now + DAY).date():
        raise OccurredInFuture("Nobody was born in the future.", pointer="/birthday")
    known = list(active)
    # Who names none joins those that are open.
    wanted = enrolment.programmes or tuple(code for code in known if code not in closed)
    unknown = [place for place, code in enumerate(wanted) if code not in known]
    if unknown or not wanted:
        raise _programme_unknown(wanted, unknown)
    for place, code in enumerate(wanted):
        if code in closed:
            raise ProgrammeClosed.named(code, pointer=f"/programmes/{place}")
    wants = list(claims)
    referred_by = _referrer(enrolment.referred_by, wants, known_members or {})
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
    return Admitted(wanted, referred_by)


def _referrer(named: Named | None, own: Collection[Claim], known: Mapping[Named, UUID]) -> UUID | None:
    if named is None:
        return None
    pointer = f"/referred_by/{named.claim.kind}"
    if named.claim in own:
        said = "Nobody refers oneself: this is an identity of the member that is enrolled."
        raise ReferralToOneself(said, pointer=pointer)
    if named not in known:
        raise MemberUnknown("No member has this identity. Leave referred_by out.", pointer=pointer)
    return known[named]


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
