"""The guards that are hashes: of a chain, of what was said under a reference, of a day's accruals."""

from __future__ import annotations

from tests.mutations.guards.model import Guard, guard

EARN = "services/earn"
REDEEM = "services/redeem"
SAID = "tests/unit/earn/test_contents.py"
BANK = "tests/unit/redeem/test_contents.py"

GUARDS: dict[str, Guard] = {
    "gift cards' lines chain": guard(
        "hash",
        "a gift card's line no longer holds the hash of the one before it",
        f"{REDEEM}/domain/giftcards/ledger.py",
        "sha256(canonical(self.head, *fields)).digest()",
        "sha256(canonical(GENESIS, *fields)).digest()",
        f"{BANK}::test_a_gift_cards_line_holds_the_hash_of_the_one_before",
    ),
    "seals chain": guard(
        "hash",
        "a seal's bytes no longer hold the hash of the seal before it",
        f"{REDEEM}/domain/seal.py",
        "return _PACK(MAGIC, named, no, previous, micros(sealed_at), leaves, root)",
        "return _PACK(MAGIC, named, no, GENESIS, micros(sealed_at), leaves, root)",
        f"{BANK}::test_a_seals_hash_holds_that_of_the_seal_before",
    ),
    "a seal follows the last": guard(
        "hash",
        "every seal says that it is the first",
        f"{REDEEM}/domain/seal.py",
        "        before = previous or GENESIS\n",
        "        before = GENESIS\n",
        f"{BANK}::test_a_seals_hash_holds_that_of_the_seal_before",
    ),
    "what a bill says": guard(
        "hash",
        "a bill with other lines is the same bill",
        f"{EARN}/domain/bill.py",
        'sha256(head + b"\\n" + lines_json).digest()',
        "sha256(head).digest()",
        "tests/unit/earn/test_bill.py::test_other_content_has_another_hash",
    ),
    "what a refund says": guard(
        "hash",
        "a refund of something else is the same refund",
        f"{EARN}/domain/refund_body.py",
        'sha256(_encode(head) + b"\\n" + _encode(self.asked)).digest()',
        "sha256(_encode(head)).digest()",
        f"{SAID}::test_another_refund_has_another_hash",
    ),
    "what an act says": guard(
        "hash",
        "an act with other data is the same act",
        f"{EARN}/domain/acts/act.py",
        'content_hash=sha256(_encode(head) + b"\\n" + data_json).digest()',
        "content_hash=sha256(_encode(head)).digest()",
        f"{SAID}::test_another_act_has_another_hash",
    ),
    "what an activation says": guard(
        "hash",
        "an activation of another bill, or at another time, is the same",
        f"{EARN}/domain/activation.py",
        "sha256(_encode((TYPE, *msgspec.structs.astuple(self)))).digest()",
        "sha256(_encode((TYPE, self.merchant))).digest()",
        f"{SAID}::test_another_activation_has_another_hash",
    ),
    "what was spent offline": guard(
        "hash",
        "another use under a reference that was used is the same",
        f"{REDEEM}/domain/offline.py",
        "        said = self.points, self.occurred_at, self.bill_ref, self.cashier\n",
        "        said = (self.occurred_at,)\n",
        f"{BANK}::test_another_use_under_a_reference_has_another_hash",
    ),
    "what a return says": guard(
        "hash",
        "another return under a reference that was used is the same",
        f"{REDEEM}/handlers/give_back.py",
        "    said = command.redemption_id, command.points, command.money, command.whole\n",
        "    said = (command.redemption_id,)\n",
        "tests/integration/redeem/test_returns.py"
        "::test_a_known_reference_is_answered_again_and_another_return_under_it_is_a_conflict",
    ),
    "a day's accruals as the bank has them": guard(
        "hash",
        "the bank's digest of a day is of its ids alone: it holds, whatever they are worth",
        f"{REDEEM}/store/accruals.sql",
        "encode(sha256(uuid_send(p.posting_id) || int8send(l.points)), 'hex')",
        "encode(sha256(uuid_send(p.posting_id)), 'hex')",
        "tests/integration/redeem/test_told_days.py"
        "::test_a_day_is_compared_once_earns_word_was_reached_and_what_is_missing_is_a_row",
    ),
    "a day's accruals as earn tells them": guard(
        "hash",
        "what earn tells of a day is a digest of its ids alone",
        f"{EARN}/store/days.sql",
        "encode(sha256(uuid_send(a.accrual_id) || int8send(a.points)), 'hex')",
        "encode(sha256(uuid_send(a.accrual_id)), 'hex')",
        "tests/integration/earn/test_days.py"
        "::test_a_day_is_told_when_it_is_over_and_again_only_with_another_count",
    ),
}
