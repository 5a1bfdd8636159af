import re
import weakref
from uuid import UUID

import pytest

from shared.errors import PROBLEMS, FieldError, NotFound, Refusal, pointer_to
from shared.ids import uuid7
from shared.messaging.commands import Refused

CONTRACT = {
    400: "malformed_json idempotency_key_missing",
    401: "token_missing token_invalid token_expired",
    403: "scope_missing tenant_forbidden",
    404: "not_found",
    409: "idempotency_key_in_flight bill_conflict identity_taken insufficient_points wallet_blocked programme_closed "
    "version_not_draft not_yet_consistent",
    413: "body_too_large",
    422: "idempotency_key_reused field_unknown field_missing field_type amount_out_of_range total_mismatch "
    "currency_mismatch occurred_in_future occurred_too_early card_check_digit identity_ambiguous identity_malformed "
    "member_unknown merchant_unknown terminal_unknown programme_unknown programme_invalid payment_card_number",
    429: "rate_limited",
    503: "tenant_unavailable tenant_migrating tenant_suspended",
}


@pytest.mark.parametrize(("status", "codes"), CONTRACT.items())
def test_every_code_of_the_contract_has_its_status(status: int, codes: str) -> None:
    assert {code: PROBLEMS[code].status for code in codes.split()} == dict.fromkeys(codes.split(), status)


def test_the_codes_of_streams_are_told_apart() -> None:
    stream_only = {code for code, problem in PROBLEMS.items() if problem.stream_only}
    assert stream_only >= {"not_json", "not_utf8", "type_unknown", "tenant_mismatch", "id_reused"}
    assert stream_only.isdisjoint(" ".join(CONTRACT.values()).split())


def test_what_was_not_decided_is_not_frozen_and_what_was_is() -> None:
    thawed = {code for code, problem in PROBLEMS.items() if problem.status in {400, 401, 403, 413, 503}}
    shapes = {"field_unknown", "field_missing", "field_type", "payment_card_number"}
    assert {code for code in thawed | shapes if PROBLEMS[code].frozen} == set()
    decided = [
        "bill_conflict",
        "identity_taken",
        "insufficient_points",
        "total_mismatch",
        "programme_invalid",
    ]
    assert [PROBLEMS[code].frozen for code in decided] == [True] * 5


def test_codes_are_words_joined_by_underscores_and_titles_are_sentences() -> None:
    assert [code for code in PROBLEMS if not re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code)] == []
    assert [
        title for _, title, *_ in PROBLEMS.values() if not title[0].isupper() or title.endswith(".")
    ] == []


def test_a_refusal_takes_status_and_title_from_the_table() -> None:
    refusal = NotFound("No such member.", pointer="/member_id")
    assert (refusal.code, refusal.status, refusal.title) == ("not_found", 404, "Not found")
    assert refusal.errors == (FieldError("/member_id", "not_found", "No such member."),)


def test_a_refusal_with_a_code_outside_the_table_can_not_be_made() -> None:
    with pytest.raises(KeyError, match="no_such_code"):
        type("Odd", (Refusal,), {"code": "no_such_code"})


def test_a_pointer_escapes_what_rfc_6901_escapes() -> None:
    assert pointer_to(["lines", 0, "a/b", "m~n"]) == "/lines/0/a~1b/m~0n"


def test_a_pointer_through_a_name_as_long_as_a_body_is_cut() -> None:
    assert pointer_to(["data", "x" * 494]) == "/data/" + "x" * 494
    assert pointer_to(["data", "x" * 495]) == "/data/" + "x" * 494 + "…"


def test_ids_are_version_7_and_rise() -> None:
    made = [uuid7() for _ in range(1000)]
    assert all(isinstance(one, UUID) for one in made)
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
    assert made == sorted(set(made))
    assert UUID(str(made[0])) == made[0]


def test_an_outcome_keeps_nothing_of_the_code_that_refused() -> None:
    def refuse() -> None:
        batch = Watched()
        watched.append(weakref.ref(batch))
        try:
            raise KeyError(batch)
        except KeyError:
            raise NotFound("No such bill.")  # noqa: B904  # as it is often raised

    watched: list[weakref.ref[Watched]] = []
    with pytest.raises(NotFound) as raised:
        refuse()
    outcome = Refused(raised.value)
    del raised
    assert watched[0]() is None
    assert outcome.refusal.detail == "No such bill."


class Watched:
    """Something of a batch."""
