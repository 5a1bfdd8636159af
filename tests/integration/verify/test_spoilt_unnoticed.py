"""What could be changed, taken out or added where it is kept, and nothing told of: one row, found by what else there is of it."""

import pytest

from shared.db import Connection
from tests.integration.verify.conftest import report_of, undone
from tests.support.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")  # as `books` has it

TWO = "(SELECT array_agg(x.{0}) FROM (SELECT y.{0} FROM {1} AS y ORDER BY y.{0}::text LIMIT 2) AS x)"
MEMBERS, WALLETS = TWO.format("member_id", "members.members"), TWO.format("wallet_id", "members.wallets")

SPOILT = {
    "a member who goes on as another at the bank, and nobody said so": (
        f"INSERT INTO redeem.merged_members SELECT m[1], m[2] FROM {MEMBERS} AS t (m)",
        {"merges:heard"},
    ),
    "a member who goes on as another at earn, and nobody said so": (
        f"INSERT INTO earn.merged_members SELECT m[1], m[2] FROM {MEMBERS} AS t (m)",
        {"merges:heard"},
    ),
    "a member who is another where they were enrolled": (
        f"UPDATE members.members SET status = 'merged', merged_into = m[2] FROM {MEMBERS} AS t (m) WHERE member_id = m[1]",
        {"merges:heard"},
    ),
    "a wallet without a line that earns for another": (
        """
        WITH poor AS (
            UPDATE redeem.wallets AS w SET status = 'merged', merged_into = rich.wallet_id
            FROM (SELECT wallet_id FROM redeem.wallets WHERE seq > 0 LIMIT 1) AS rich
            WHERE w.wallet_id = (SELECT wallet_id FROM redeem.wallets WHERE seq = 0 LIMIT 1)
            RETURNING w.wallet_id, w.member_id, w.programme, w.merged_into
        ), found AS (
            UPDATE redeem.member_wallets AS f SET wallet_id = poor.merged_into FROM poor
            WHERE (f.member_id, f.programme) = (poor.member_id, poor.programme)
        )
        INSERT INTO redeem.heirs SELECT wallet_id, merged_into FROM poor
        """,
        {"merges:heard", "wallets:found"},
    ),
    "a wallet whose limits are another's": (
        f"INSERT INTO earn.heirs SELECT w[1], w[2] FROM {WALLETS} AS t (w)",
        {"merges:heard"},
    ),
    "a wallet whose years are another's": (
        f"UPDATE tiers.standings SET heir = w[2] FROM {WALLETS} AS t (w) WHERE wallet_id = w[1]",
        {"merges:heard"},
    ),
    "somebody who is found in the wallet of another": (
        "INSERT INTO redeem.member_wallets SELECT gen_random_uuid(), programme, wallet_id FROM redeem.wallets LIMIT 1",
        {"wallets:found"},
    ),
    "a member whose own id earns for another": (
        """
        UPDATE earn.identities SET member_id = (SELECT max(member_id::text)::uuid FROM earn.members)
        WHERE kind = 'member_id' AND member_id = (SELECT min(member_id::text)::uuid FROM earn.members)
        """,
        {"identities:own"},
    ),
    "a campaign that gave more than it may": (
        """
        UPDATE earn.programmes
        SET document = jsonb_set(document::jsonb, '{earning,campaigns,0,budget,money_minor}', '1')::json WHERE programme = 'shops'
        """,
        {"caps:kept"},
    ),
    "a member who got more than anybody may": (
        """
        UPDATE earn.programmes
        SET document = jsonb_set(document::jsonb, '{earning,campaigns,0,member_caps,year}', '0')::json WHERE programme = 'shops'
        """,
        {"caps:kept"},
    ),
    "a lot that lives longer since something of it came back": (
        """
        UPDATE redeem.lots SET opened_expires_at = expires_at, expires_at = expires_at + interval '9 years'
        WHERE lot_id = (SELECT to_lot FROM redeem.returned_lots LIMIT 1)
        """,
        {"ledger:revived"},
    ),
    "a rejection that a till is told otherwise when it asks again": (
        """
        UPDATE earn.rejections SET data = convert_to(replace(convert_from(data, 'UTF8'), '"detail":"', '"detail":"Not '), 'UTF8')
        """,
        {"rejections:told"},
    ),
    "a word about a segment that tiers forgot": ("DELETE FROM tiers.segment_stays", {"segments:learned"}),
    "a brand that nobody told, where it is kept": (
        "UPDATE members.merchants SET brand = 'another'",
        {"merchants:told"},
    ),
    "a programme that goes by the version before": (
        "UPDATE members.programmes SET active_version = 1",
        {"programmes:order"},
    ),
    "a version that was superseded by none": (
        """
        UPDATE members.programme_versions SET status = 'superseded' WHERE version = 2;
        UPDATE members.programme_versions SET status = 'active' WHERE version = 1
        """,
        {"programmes:order"},
    ),
    "a member who was enrolled longer ago": (
        "UPDATE earn.members SET enrolled_at = enrolled_at - interval '1 year'",
        {"enrolments:learned"},
    ),
    "a member whom earn does not know any more": (
        "DELETE FROM earn.members WHERE member_id = (SELECT member_id FROM earn.members LIMIT 1)",
        {"enrolments:learned"},
    ),
    "a member who never agreed": (
        "DELETE FROM members.consents WHERE member_id = (SELECT member_id FROM members.consents LIMIT 1)",
        {"consents:kept"},
    ),
    "a member who agreed to other terms": (
        "UPDATE members.consents SET terms_version = '2031-01'",
        {"consents:kept"},
    ),
    "a member who agreed after the enrolment": (
        "UPDATE members.consents SET accepted_at = accepted_at + interval '99 years'",
        {"consents:kept"},
    ),
    "a return that is answered again as more": (
        """
        UPDATE redeem.returns SET answer = convert_to(replace(convert_from(answer, 'UTF8'), '"points":', '"points":1'), 'UTF8')
        """,
        {"answers:kept"},
    ),
    "what came back to a gift card, answered again as more": (
        """
        UPDATE redeem.gift_card_refunds
        SET answer = convert_to(replace(convert_from(answer, 'UTF8'), '"amount_minor":', '"amount_minor":1'), 'UTF8')
        """,
        {"answers:kept"},
    ),
    "points that are answered again as more": (
        """
        UPDATE redeem.idempotency SET body = convert_to(replace(convert_from(body, 'UTF8'), '"points":', '"points":1'), 'UTF8')
        WHERE status = 201 AND route = 'POST /v1/redemptions'
        """,
        {"answers:kept"},
    ),
    "a reward that was made cheaper before anybody bought it": (
        """
        UPDATE redeem.reward_versions SET document = jsonb_set(document::jsonb, '{price}', '{"points": 1}')::json
        WHERE reward = 'treat'
        """,
        {"rewards:audited"},
    ),
    "a stock that nobody supplied": (
        """
        WITH told AS (UPDATE redeem.reward_supplies SET supplied = 500 WHERE reward = 'coffee')
        UPDATE redeem.rewards SET supplied = 500 WHERE reward = 'coffee'
        """,
        {"rewards:audited"},
    ),
    "a reward of which more were had than there were": (
        "UPDATE redeem.redemption_inputs SET had = 1 WHERE had = 0",
        {"redemptions:decided"},
    ),
    "a reward of which it is not kept how many were had": (
        "UPDATE redeem.redemption_inputs SET had = NULL WHERE had = 0",
        {"redemptions:decided"},
    ),
    "a reward that was sold beyond its limit": (
        "UPDATE redeem.redemption_inputs SET had = 2 WHERE had = 0",
        {"redemptions:decided"},
    ),
}


@pytest.mark.parametrize(("sql", "found"), SPOILT.values(), ids=SPOILT)
async def test_what_nothing_told_of_is_found(
    town: Town, books: Connection, sql: str, found: set[str]
) -> None:
    async with undone(books) as db:
        done = await db.execute(sql)
        assert not done.endswith(" 0"), done
        report = await report_of(town, db)
    broken = {check.name: check.examples for check in report.broken}
    assert found <= broken.keys(), broken
    assert all(broken.values())
