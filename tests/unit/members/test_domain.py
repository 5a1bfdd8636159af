"""What members decides, without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.members.domain.members import (
    AHEAD,
    Claim,
    Consent,
    ConsentRequired,
    Enrolment,
    IdentityTaken,
    OccurredInFuture,
    admit,
    card_number,
)
from services.members.domain.merchants import Merchant, put
from services.members.domain.programmes import ProgrammeRow, Version, VersionNotDraft, activate, close, draft
from shared.errors import NotFound, ProgrammeClosed, ProgrammeUnknown
from shared.identity import luhn_valid, normalise, payment_card_number
from shared.programme.validation import ProgrammeInvalid, validate
from tests.support.programmes import SHOPS, changed, document

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
MOBILE, EMAIL, CRM = Claim("mobile", b"m" * 16), Claim("email", b"e" * 16), Claim("external_id", b"x" * 16)


def row(*, active_version: int | None = 2, currency: str | None = "SAR") -> ProgrammeRow:
    return ProgrammeRow("shops", 3, active_version, currency, 2)


def version(number: int = 3, status: Any = "draft", given: Any = SHOPS) -> Version:
    return Version("shops", number, status, given, NOW, None if status == "draft" else NOW)


def enrolment(*, accepted: bool = True, at: datetime = NOW, programmes: Any = ("shops",)) -> Enrolment:
    return Enrolment("ar", "store", programmes, Consent(accepted, "2026-01", at))


def test_a_draft_is_the_version_after_the_latest() -> None:
    made = draft(row(), validate(SHOPS), SHOPS, NOW)
    assert (made.programme, made.version, made.status, made.activated_at) == ("shops", 4, "draft", None)


def test_a_draft_in_another_currency_than_the_programmes_is_invalid() -> None:
    other = changed("/programme/currency", "AED")
    with pytest.raises(ProgrammeInvalid) as refused:
        draft(row(), validate(other), other, NOW)
    assert [error.pointer for error in refused.value.errors] == ["/programme/currency"]
    assert draft(row(active_version=None, currency=None), validate(other), other, NOW).version == 4


def test_a_draft_in_another_zone_is_invalid_unless_the_programmes_own_may_not_be_said_any_more() -> None:
    other = changed("/programme/time_zone", "Asia/Dubai")
    for own, pointers in (("Asia/Riyadh", ["/programme/time_zone"]), ("localtime", [])):
        standing = msgspec.structs.replace(row(), time_zone=own)
        if pointers:
            with pytest.raises(ProgrammeInvalid) as refused:
                draft(standing, validate(other), other, NOW)
            assert [error.pointer for error in refused.value.errors] == pointers
        else:
            assert draft(standing, validate(other), other, NOW).version == 4


def test_a_document_that_no_event_could_carry_is_invalid() -> None:
    rules = [dict(SHOPS["earning"]["rules"][1], code=f"{place:064}") for place in range(3000)]
    big = document(earning={"rules": rules})
    with pytest.raises(ProgrammeInvalid, match="at most 524288 bytes"):
        draft(row(), validate(big), big, NOW)


def test_a_draft_is_activated_and_says_when() -> None:
    made = activate(row(), version(), NOW)
    assert (made.status, made.activated_at, made.document) == ("active", NOW, SHOPS)


@pytest.mark.parametrize(
    ("on", "which", "refusal"),
    [
        (None, None, NotFound),
        (row(), None, NotFound),
        (row(), version(2, "active"), VersionNotDraft),
        (row(), version(1, "superseded"), VersionNotDraft),
        (row(), version(1), VersionNotDraft),
        (row(), version(given=document(redemption=None)), ProgrammeInvalid),
        (row(currency="KWD"), version(), ProgrammeInvalid),
    ],
    ids=[
        "no programme",
        "no version",
        "active",
        "superseded",
        "earlier draft",
        "incomplete",
        "other currency",
    ],
)
def test_a_version_that_can_not_judge_is_not_activated(on: Any, which: Any, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        activate(on, which, NOW)


def test_a_programme_is_closed_by_a_version_of_its_own_and_only_once() -> None:
    made = close(row(), version(2, "active"), NOW)
    assert (made.version, made.status, made.activated_at) == (4, "active", NOW)
    assert made.document == changed("/programme/closed", True)
    assert validate(made.document).programme.closed
    with pytest.raises(ProgrammeClosed):
        close(row(), made, NOW)
    for on, active in ((None, None), (row(active_version=None), None)):
        with pytest.raises(NotFound):
            close(on, active, NOW)


def test_a_version_begins_after_all_before_it_also_where_their_clock_ran_ahead() -> None:
    hour, moment = timedelta(hours=1), timedelta(microseconds=1)
    for begins_at, begins in (
        (None, NOW),
        (NOW - hour, NOW),
        (NOW, NOW + moment),
        (NOW + hour, NOW + hour + moment),
    ):
        standing = msgspec.structs.replace(row(), begins_at=begins_at)
        assert activate(standing, version(), NOW).activated_at == begins
        closed = close(standing, version(2, "active"), NOW)
        assert (closed.created_at, closed.activated_at) == (NOW, begins)


def test_nobody_joins_what_is_closed_and_who_names_nothing_joins_the_rest() -> None:
    def joins(programmes: Any) -> tuple[str, ...]:
        asked = enrolment(programmes=programmes)
        return admit(asked, [], free=set(), active=["shops", "over"], closed={"over"}, now=NOW).programmes

    assert joins(None) == joins(("shops",)) == ("shops",)
    with pytest.raises(ProgrammeClosed) as refused:
        joins(("shops", "over"))
    assert [error.pointer for error in refused.value.errors] == ["/programmes/1"]


def test_a_merchant_gets_a_new_version_only_when_something_differs() -> None:
    mall = Merchant("mall", "Malls", {"en": "Mall"}, ["T1"], 0)
    first = put(None, mall)
    assert first.version == 1
    assert put(first, mall) is first
    second = put(first, msgspec.structs.replace(mall, terminals=["T1", "T2"]))
    assert (second.version, second.terminals) == (2, ["T1", "T2"])


def test_who_is_admitted_takes_the_claims() -> None:
    free = {MOBILE, EMAIL, CRM}
    admitted = admit(enrolment(), [MOBILE, EMAIL], free=free, active=["shops", "hotels"], now=NOW)
    assert admitted.programmes == ("shops",)
    assert free == {CRM}


def test_without_programmes_all_active_ones_are_meant() -> None:
    admitted = admit(enrolment(programmes=None), [], free=set(), active=["hotels", "shops"], now=NOW)
    assert admitted.programmes == ("hotels", "shops")


@pytest.mark.parametrize(
    ("given_enrolment", "claims", "active", "refusal", "pointers"),
    [
        (enrolment(accepted=False), [MOBILE], ["shops"], ConsentRequired, ["/consent/accepted"]),
        (
            enrolment(at=NOW + AHEAD + timedelta(seconds=1)),
            [],
            ["shops"],
            OccurredInFuture,
            ["/consent/accepted_at"],
        ),
        (enrolment(), [MOBILE], ["hotels"], ProgrammeUnknown, ["/programmes/0"]),
        (enrolment(programmes=None), [MOBILE], [], ProgrammeUnknown, ["/programmes"]),
        (enrolment(), [MOBILE, EMAIL, CRM], ["shops"], IdentityTaken, ["/email", "/external_id"]),
    ],
    ids=["no consent", "consent of tomorrow", "unknown programme", "no programme", "taken"],
)
def test_who_is_refused_leaves_the_claims_to_the_next(
    given_enrolment: Enrolment, claims: list[Claim], active: list[str], refusal: Any, pointers: list[str]
) -> None:
    free = {MOBILE}
    with pytest.raises(refusal) as refused:
        admit(given_enrolment, claims, free=free, active=active, now=NOW)
    assert [error.pointer for error in refused.value.errors] == pointers
    assert free == {MOBILE}


def test_a_consent_may_be_some_minutes_ahead_of_our_clock() -> None:
    assert admit(enrolment(at=NOW + AHEAD), [], free=set(), active=["shops"], now=NOW).programmes == (
        "shops",
    )


def test_a_card_number_is_prefix_random_digits_and_check_digit() -> None:
    asked: list[int] = []

    def draw(below: int) -> int:
        asked.append(below)
        return 42

    assert card_number("627015", draw) == "6270150000000425"
    assert asked == [10**9]


@given(st.sampled_from(["6270", "627015", "90010012"]), st.data())
def test_every_card_number_is_sixteen_digits_that_name_a_wallet(prefix: str, data: st.DataObject) -> None:
    number = card_number(prefix, lambda below: data.draw(st.integers(0, below - 1)))
    assert (len(number), number[: len(prefix)]) == (16, prefix)
    assert luhn_valid(number)
    assert not payment_card_number(number)
    assert normalise("card_number", number) == number
