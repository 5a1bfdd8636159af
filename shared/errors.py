"""What is refused, and how: one table of public codes, one exception that carries them."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import msgspec


class Problem(NamedTuple):
    """One public code: its HTTP status, its title, and where it may be told.

    `frozen`: a refusal with this code is kept under the idempotency key and given again.
    `stream_only`: it is the code of a dead letter, never of an HTTP answer.
    """

    status: int
    title: str
    frozen: bool = True
    stream_only: bool = False


def _shape(status: int, title: str) -> Problem:
    # Seen before anything was decided: the caller mends the request and may use the same key.
    return Problem(status, title, frozen=False)


def _stream(title: str) -> Problem:
    return Problem(422, title, frozen=False, stream_only=True)


# Codes are added, never renamed: clients switch on them.
PROBLEMS: dict[str, Problem] = {
    "malformed_json": _shape(400, "The body is not JSON"),
    "idempotency_key_missing": _shape(400, "Idempotency-Key is missing, or is none"),
    "token_missing": _shape(401, "No token"),
    "token_invalid": _shape(401, "The token is not valid"),
    "token_expired": _shape(401, "The token has expired"),
    "scope_missing": _shape(403, "The token lacks a scope"),
    "person_required": _shape(403, "A person must do this"),
    "mfa_required": _shape(403, "A second factor is required"),
    "tenant_forbidden": _shape(403, "The token is not for this tenant"),
    "not_found": Problem(404, "Not found"),
    "method_not_allowed": _shape(405, "Method not allowed"),
    "idempotency_key_in_flight": _shape(409, "The first request with this key is still running"),
    "bill_conflict": Problem(409, "Another bill has this reference"),
    "act_conflict": Problem(409, "Another act has this reference"),
    "refund_conflict": Problem(409, "Another refund has this reference"),
    "settlement_conflict": Problem(409, "Something else was imported under this key"),
    "variance_changed": Problem(409, "The variance has other numbers"),
    "variance_exists": Problem(409, "Another variance of that day stands"),
    "review_decided": Problem(409, "The review is decided"),
    "refund_exceeds_bill": Problem(409, "More than what is left of the bill"),
    "identity_taken": Problem(409, "The identity belongs to another member"),
    "insufficient_points": Problem(409, "Not enough points"),
    "wallet_blocked": Problem(409, "The wallet is blocked"),
    "tier_not_eligible": Problem(409, "The member's tier may not spend"),
    "velocity_exceeded": Problem(409, "Too many redemptions in a short time"),
    "points_not_accepted": Problem(409, "Points are not accepted here"),
    "bill_share_exceeded": Problem(409, "More than points may pay of this bill"),
    "period_limit_exceeded": Problem(409, "More than a member may spend in this period"),
    "redemption_captured": Problem(409, "The redemption is captured"),
    "redemption_voided": Problem(409, "The redemption is voided"),
    "redemption_not_captured": Problem(409, "The redemption is not captured"),
    "return_window_closed": Problem(409, "The return window is closed"),
    "return_too_much": Problem(409, "More than is left to return"),
    "return_conflict": Problem(409, "Another return has this reference"),
    "authorisation_expired": Problem(409, "The authorisation has expired"),
    "offline_not_allowed": Problem(409, "The programme lets no till spend offline"),
    "allowance_invalid": Problem(422, "The allowance is not one of ours"),
    "allowance_expired": Problem(409, "The allowance did not hold then"),
    "allowance_exceeded": Problem(409, "More than is left of the allowance"),
    "report_too_late": Problem(409, "Reported too late"),
    "redemption_conflict": Problem(409, "Another redemption has this reference"),
    "transfer_to_oneself": Problem(422, "A transfer to oneself"),
    "transfer_across_programmes": Problem(422, "A transfer across programmes"),
    "reason_unknown": Problem(422, "Unknown reason"),
    "adjustment_needs_second_person": Problem(409, "It takes a second person"),
    "own_request": Problem(409, "One's own request"),
    "adjustment_decided": Problem(409, "The adjustment is decided"),
    "difference_closed": Problem(409, "The difference is closed"),
    "difference_changed": Problem(409, "The difference has other numbers"),
    "opening_conflict": Problem(409, "Another opening balance has this reference"),
    "dispute_exists": Problem(409, "The posting is disputed already"),
    "dispute_not_open": Problem(409, "The dispute is not open"),
    "evidence_missing": Problem(422, "Evidence is missing"),
    "card_not_active": Problem(409, "The card is not active"),
    "reward_unavailable": Problem(409, "The reward can't be had now"),
    "reward_sold_out": Problem(409, "The reward is sold out"),
    "reward_limit_reached": Problem(409, "The member has had as many as are allowed"),
    "stock_counts_invalid": Problem(422, "Stock counts are refused"),
    "stock_unlimited": Problem(409, "The reward has no stock"),
    "stock_count_conflict": Problem(409, "Another count has this key"),
    "stock_count_too_early": Problem(422, "There was no such reward on that day"),
    "reward_not_returnable": Problem(409, "A reward is not returned"),
    "benefit_consumed": Problem(409, "The benefit was used"),
    "benefit_expired": Problem(409, "The benefit has expired"),
    "benefit_withdrawn": Problem(409, "The benefit was taken back"),
    "pin_wrong": Problem(422, "No gift card has this serial and PIN"),
    "gift_card_unknown": Problem(422, "Unknown gift card"),
    "gift_card_locked": Problem(409, "The gift card is locked by wrong PINs"),
    "gift_card_blocked": Problem(409, "The gift card is blocked"),
    "gift_card_expired": Problem(409, "The gift card has expired"),
    "gift_card_not_active": Problem(409, "The gift card is not activated"),
    "gift_card_active": Problem(409, "The gift card is activated"),
    "gift_card_voided": Problem(409, "The gift card was voided"),
    "gift_card_insufficient": Problem(409, "Not enough on the gift card"),
    "gift_card_not_refundable": Problem(409, "Nothing is given back to gift cards"),
    "gift_card_not_reloadable": Problem(409, "Gift cards are not loaded again"),
    "gift_card_not_offered": Problem(409, "The programme has no gift cards"),
    "programme_closed": Problem(409, "The programme is closed"),
    "version_not_draft": Problem(409, "The version is not a draft"),
    "not_yet_consistent": _shape(409, "Not consistent yet"),
    "not_sealed_yet": _shape(409, "No seal covers it yet"),
    "body_too_large": _shape(413, "The body is too large"),
    "idempotency_key_reused": _shape(422, "The key was used with another request"),
    "field_unknown": _shape(422, "Unknown field"),
    "field_missing": _shape(422, "Missing field"),
    "field_type": _shape(422, "Not an allowed value"),
    "amount_out_of_range": Problem(422, "Amount out of range"),
    "total_mismatch": Problem(422, "The total is not the sum of the lines"),
    "currency_mismatch": Problem(422, "Not the programme's currency"),
    "occurred_in_future": Problem(422, "Too far in the future"),
    "occurred_too_early": Problem(422, "Before the backdating window"),
    "card_check_digit": _shape(422, "Wrong check digit"),
    "identity_ambiguous": _shape(422, "Not exactly one identity"),
    "identity_malformed": _shape(422, "Malformed identity"),
    "bill_total_required": Problem(422, "The bill's total is required"),
    "bill_categories_required": Problem(422, "What the bill has of each category is required"),
    "code_malformed": _shape(422, "Not a redemption code"),
    "code_unknown": Problem(422, "Unknown redemption code"),
    "reward_unknown": Problem(422, "Unknown reward"),
    "benefit_unknown": Problem(422, "Unknown benefit code"),
    "consent_required": Problem(422, "Consent is required"),
    "member_unknown": Problem(422, "Unknown member"),
    "merchant_mismatch": Problem(422, "Not this merchant's bill"),
    "line_unknown": Problem(422, "Not a line of the bill"),
    "merchant_unknown": Problem(422, "Unknown merchant"),
    "terminal_unknown": Problem(422, "Unknown terminal"),
    "member_merged": Problem(409, "The member was merged"),
    "member_not_active": Problem(409, "The member is not active"),
    "merge_into_oneself": Problem(422, "Nobody is merged into oneself"),
    "referral_to_oneself": Problem(422, "Nobody refers oneself"),
    "act_unknown": Problem(422, "No programme takes this act"),
    "act_data_invalid": Problem(422, "Not the data that the act's schema asks for"),
    "programme_unknown": Problem(422, "Unknown programme"),
    "programme_invalid": Problem(422, "The programme document has mistakes"),
    # Not frozen although decided: nothing derived from such a body is stored, not even its hash.
    "payment_card_number": _shape(422, "A payment card number"),
    "rate_limited": _shape(429, "Too many requests"),
    "internal_error": _shape(500, "Internal error"),
    "tenant_unavailable": _shape(503, "The tenant is not available"),
    "tenant_migrating": _shape(503, "The tenant is being migrated"),
    "tenant_suspended": _shape(503, "The tenant is suspended"),
    "not_json": _stream("The entry is not JSON"),
    "not_utf8": _stream("The entry is not UTF-8"),
    "type_unknown": _stream("Unknown event type"),
    "tenant_mismatch": _stream("The entry names another tenant"),
    "id_reused": _stream("The event id was used for another event"),
    # Dead letters of faults, not of content: an operator mends the cause and has them tried again.
    "database_refused": _stream("PostgreSQL refuses the entry"),
    "timed_out": _stream("The entry exceeds the statement's time limit"),
    "handler_failed": _stream("The entry can't be handled"),
    "delivery_limit": _stream("The entry's readers died"),
}


class FieldError(msgspec.Struct, frozen=True):
    """One mistake: where it is (a JSON pointer, RFC 6901), its code, and a sentence."""

    pointer: str
    code: str
    detail: str


class Refusal(Exception):
    """An expected no. Subclasses give `code`, which must stand in PROBLEMS; the rest follows from it.

    `detail` and `errors` are shown to callers and kept: they never quote personal data.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    frozen: bool
    detail: str
    errors: tuple[FieldError, ...]

    def __init_subclass__(cls) -> None:
        problem = PROBLEMS[cls.code]
        cls.status, cls.title, cls.frozen = problem.status, problem.title, problem.frozen

    def __init__(self, detail: str, *, pointer: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        """With `pointer`, `errors` is that one field with this code and detail."""
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors) if pointer is None else (FieldError(pointer, self.code, detail), *errors)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


MOST_POINTER = 500


def pointer_to(path: Sequence[str | int]) -> str:
    """The JSON pointer (RFC 6901) of a path of keys and positions; a NUL in a key, which PostgreSQL can't keep, as U+FFFD. Of a
    longer one the first 500 characters and an ellipsis: a key may be as long as a body, and is told several times."""
    steps = [str(step).replace("~", "~0").replace("/", "~1").replace("\0", "\ufffd") for step in path]
    pointer = "".join(f"/{step}" for step in steps)
    return pointer if len(pointer) <= MOST_POINTER else f"{pointer[:MOST_POINTER]}\u2026"


class NotFound(Refusal):
    code = "not_found"


class FieldUnknown(Refusal):
    code = "field_unknown"


class FieldMissing(Refusal):
    code = "field_missing"


class FieldType(Refusal):
    code = "field_type"


class AmountOutOfRange(Refusal):
    code = "amount_out_of_range"


class MemberUnknown(Refusal):
    code = "member_unknown"


class MerchantUnknown(Refusal):
    code = "merchant_unknown"


class TerminalUnknown(Refusal):
    code = "terminal_unknown"


class ProgrammeUnknown(Refusal):
    code = "programme_unknown"


class ProgrammeClosed(Refusal):
    code = "programme_closed"

    @classmethod
    def named(cls, programme: str, *, pointer: str | None = None) -> "ProgrammeClosed":
        """The refusal of whatever a closed programme takes no more."""
        return cls(f"The programme {programme} is closed.", pointer=pointer)


class CurrencyMismatch(Refusal):
    code = "currency_mismatch"
