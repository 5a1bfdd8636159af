"""What services go by when they judge, and who decided what: changed where it is kept, found by what was told or noted of it."""

import pytest

from shared.db import Connection
from tests.integration.verify.conftest import report_of, undone
from tests.support.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")  # as `books` has it

A_CARD = (
    "hash = (SELECT min(hash) FROM redeem.identities WHERE kind = 'card_number' AND member_id IS NOT NULL)"
)
A_STANDING = "wallet_id = (SELECT min(wallet_id::text)::uuid FROM {0} WHERE tier <> 'gold')"
BY_ONE = "adjustment_id = (SELECT adjustment_id FROM redeem.adjustments WHERE decided_by IS NULL LIMIT 1)"
BY_TWO = """
    adjustment_id = (
        SELECT adjustment_id FROM redeem.adjustments WHERE decided_by IS NOT NULL AND reason <> 'dispute' LIMIT 1
    )
"""
DIFFERENCE = """
    INSERT INTO redeem.reconciliation_differences
    VALUES (gen_random_uuid(), 'buckets', 'x', '1', '2', now(), now(), {0}, 'closed', 'rounding')
"""
REVIEWED = """
    INSERT INTO earn.reviews (
        review_id, bill_id, merchant, bill_ref, occurred_at, total_minor, member_id, wallet_id, programme, accrual_id, points,
        currency, point_value, patterns, flagged_at, state, decided_at, decided_by, reason
    )
    SELECT
        gen_random_uuid(), bill_id, 'm', 'b', now(), 1, gen_random_uuid(), wallet_id, 'shops', accrual_id, 1, 'SAR', '0.1',
        ARRAY['member_rate'], now(), 'released', now(), 'somebody', 'a regular'
    FROM earn.accruals LIMIT 1
"""

SPOILT = {
    "a card that finds another member at the bank": (
        f"UPDATE redeem.identities SET member_id = gen_random_uuid() WHERE {A_CARD}",
        {"identities:learned"},
    ),
    "a card that the bank forgot": (
        f"DELETE FROM redeem.identities WHERE {A_CARD}",
        {"identities:learned"},
    ),
    "a card that earns for another member": (
        "UPDATE earn.identities SET member_id = gen_random_uuid() WHERE kind = 'card_number'",
        {"identities:learned"},
    ),
    "a person who is found as another": (
        "UPDATE members.identities SET member_id = gen_random_uuid() WHERE kind = 'external_id'",
        {"identities:learned"},
    ),
    "a terminal that earns though nobody listed it": (
        "INSERT INTO earn.terminals SELECT merchant, 'T-nowhere', true FROM earn.merchants LIMIT 1",
        {"merchants:learned"},
    ),
    "a terminal at which nobody spends any more": (
        "UPDATE redeem.merchants SET terminals = terminals[2:]",
        {"merchants:learned"},
    ),
    "a brand that nobody told": (
        "UPDATE earn.merchants SET brand = 'another'",
        {"merchants:learned"},
    ),
    "a merchant that the bank never heard of": (
        "INSERT INTO redeem.merchants VALUES ('nowhere', 1, '{T01}')",
        {"merchants:learned"},
    ),
    "a version that begins at another moment where it judges": (
        "UPDATE earn.programmes SET activated_at = activated_at - interval '1 second'",
        {"programmes:learned"},
    ),
    "a version that begins at another moment at the bank": (
        "UPDATE redeem.programmes SET activated_at = activated_at + interval '1 second'",
        {"programmes:learned"},
    ),
    "a tier that buys more cheaply at the bank": (
        f"UPDATE redeem.standings SET tier = 'gold' WHERE {A_STANDING.format('redeem.standings')}",
        {"standings:learned"},
    ),
    "a standing that the bank forgot": (
        f"DELETE FROM redeem.standings WHERE {A_STANDING.format('redeem.standings')}",
        {"standings:learned"},
    ),
    "a standing that lasts longer where it earns": (
        f"UPDATE earn.wallets SET tier_until = now() + interval '9 years' WHERE {A_STANDING.format('earn.wallets')}",
        {"standings:learned"},
    ),
    "a member who is written to without having agreed": (
        """
        UPDATE notifier.members SET consented = NOT consented
        WHERE member_id = (SELECT max(member_id::text)::uuid FROM notifier.members)
        """,
        {"consents:learned"},
    ),
    "a programme that messages call something else": (
        """UPDATE notifier.programmes SET names = '{"en": "Another"}'""",
        {"names:learned"},
    ),
    "a programme whose older names messages go by": (
        "UPDATE notifier.programmes SET version = version + 1",
        {"names:learned"},
    ),
    "a programme that messages have no name for": ("DELETE FROM notifier.programmes", {"names:learned"}),
    "a gift card that was blocked in secret": (
        "UPDATE redeem.gift_cards SET blocked = true",
        {"gift_cards:blocked"},
    ),
    "an adjustment of one person that was moved out of the day it counts in": (
        f"UPDATE redeem.adjustments SET requested_at = requested_at - interval '2 days' WHERE {BY_ONE}",
        {"adjustments:posted", "adjustments:allowed"},
    ),
    "an adjustment that was approved at another time": (
        f"UPDATE redeem.adjustments SET decided_at = decided_at + interval '1 second' WHERE {BY_TWO}",
        {"adjustments:posted", "adjustments:allowed"},
    ),
    "an adjustment with other evidence": (
        f"UPDATE redeem.adjustments SET evidence = 'another' WHERE {BY_ONE}",
        {"adjustments:allowed"},
    ),
    "a correction with other evidence than its dispute": (
        "UPDATE redeem.adjustments SET evidence_sha256 = sha256('x') WHERE reason = 'dispute'",
        {"disputes"},
    ),
    "a dispute with other evidence": (
        "UPDATE redeem.disputes SET evidence_sha256 = sha256('x')",
        {"disputes"},
    ),
    "a dispute of another reason": ("UPDATE redeem.disputes SET reason = 'another'", {"disputes"}),
    "an opening balance that somebody else asked for": (
        """
        WITH opened AS (
            UPDATE redeem.postings SET kind = 'opening' WHERE posting_id = (SELECT posting_id FROM redeem.redemptions LIMIT 1)
            RETURNING posting_id, wallet_id, points
        )
        INSERT INTO redeem.openings SELECT posting_id, wallet_id, points, 1, 1000, 'nobody', now() FROM opened
        """,
        {"adjustments:allowed"},
    ),
    "a request of a refund that says less than it was": (
        "UPDATE redeem.return_requests SET returned_minor = returned_minor - 1",
        {"returns:asked"},
    ),
    "a request of a refund that nobody made": (
        """
        INSERT INTO redeem.return_requests
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), merchant, 'B-x', 1, 1, 0, now(), now(), '{}'
        FROM redeem.redemptions LIMIT 1
        """,
        {"returns:asked"},
    ),
    "a request of a refund that the bank forgot": ("DELETE FROM redeem.return_requests", {"returns:asked"}),
    "a benefit that was another's": (
        "UPDATE redeem.benefits SET member_id = gen_random_uuid()",
        {"benefits:told"},
    ),
    "a gift that was given earlier": (
        "UPDATE redeem.benefits SET issued_at = issued_at - interval '1 second' WHERE origin <> 'redemption'",
        {"benefits:told"},
    ),
    "a reward without its stock": ("DELETE FROM redeem.rewards", {"rewards:stock"}),
    "a refund of fewer lines than its bill has": (
        "UPDATE earn.refunds SET amounts = amounts[2:] WHERE cardinality(amounts) > 1",
        {"refunds:computed"},
    ),
    "a key that names another refund": (
        "UPDATE earn.refund_keys SET refund_id = gen_random_uuid()",
        {"refunds:keys"},
    ),
    "an act without its first decision": ("UPDATE earn.act_decisions SET n = 2", {"acts:chain"}),
    "a difference that nobody closed": (DIFFERENCE.format("NULL"), {"decisions:audited"}),
    "a difference that is nobody's to explain": (DIFFERENCE.format("'finance'"), {"decisions:audited"}),
    "a difference that was closed as another one": (
        f"""
        WITH closed AS ({DIFFERENCE.format("'finance'")} RETURNING difference_id)
        INSERT INTO redeem.audit (at, actor, action, object, after, request_id)
        SELECT now(), 'finance', 'reconciliation.decide', 'difference/' || difference_id,
            '{{"owner": "finance", "state": "closed", "reason": "rounding", "expected": "1", "found": "1.5"}}', 'r'
        FROM closed
        """,
        {"decisions:audited"},
    ),
    "a variance that nobody explained": (
        """
        INSERT INTO earn.settlement_variances
        VALUES (gen_random_uuid(), 'm', current_date, 'total', 'SAR', 'UTC', 1, 9, now(), now(), now(), NULL, 'closed', 'fine')
        """,
        {"decisions:audited"},
    ),
    "a flagged bill that nobody let go": (REVIEWED, {"decisions:audited"}),
}


@pytest.mark.parametrize(("sql", "found"), SPOILT.values(), ids=SPOILT)
async def test_what_was_changed_where_it_is_kept_is_found(
    town: Town, books: Connection, sql: str, found: set[str]
) -> None:
    async with undone(books) as db:
        done = await db.execute(sql)
        assert not done.endswith(" 0"), done
        report = await report_of(town, db)
    broken = {check.name: check.examples for check in report.broken}
    assert found <= broken.keys(), broken
    assert all(broken.values())
