"""Whatever stands in a column that its type and constraints admit: the oracle names it, goes on with the rest, and ends."""

import pytest

from shared.db import Connection
from tests.integration.verify.conftest import report_of, undone
from tests.support.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")  # as `books` has it

NO_ZONE = "jsonb_set(document::jsonb, '{{programme,time_zone}}', '\"{0}\"')"
NESTED = "(repeat('[', 3000) || repeat(']', 3000))"
A_MEMBER = "(SELECT member_id FROM members.members LIMIT 1)"

UNREADABLE = {
    "a decision that is no decision": "UPDATE earn.decisions SET decision = '7'",
    "a decision about programmes that are none": """UPDATE earn.decisions SET decision = '{"status": "earned", "programmes": 5}'""",
    "a decision in half a character": """UPDATE earn.decisions SET decision = '{"status": "\\ud800"}'""",
    "a decision about a wallet that is none": """
        UPDATE earn.decisions SET decision = regexp_replace(decision::text, '"wallet_id":"[^"]*"', '"wallet_id":"x"', 'g')::json
    """,
    "an accrual of no points": """
        UPDATE earn.decisions
        SET decision = regexp_replace(decision::text, '("kind":"earn","points":)[0-9]+', '\\10', 'g')::json
    """,
    "a quantity of a billion digits": """
        UPDATE earn.bills SET lines = '[{"line_id": "1", "amount_minor": 1, "quantity": "1e999999999"}]'
    """,
    "tenders that are a number": "UPDATE earn.bills SET tenders = '7'",
    "a bill that happened never": "UPDATE earn.bills SET occurred_at = 'infinity'",
    "a bill of a year that nobody can write": "UPDATE earn.bills SET occurred_at = '290000-01-01'",
    "a bill of before the years were counted": "UPDATE earn.bills SET occurred_at = '0300-01-01 BC'",
    "a document that says nothing": "UPDATE earn.programmes SET document = '{}'",
    "a document in a zone that is a folder": f"UPDATE earn.programmes SET document = {NO_ZONE.format('Asia')}::json",
    "a document in a zone that is a way out": f"UPDATE earn.programmes SET document = {NO_ZONE.format('../..')}::json",
    "a document as deep as a well": f"UPDATE earn.programmes SET document = {NESTED}::json",
    "a point that is worth a billion digits": """
        UPDATE earn.programmes SET document = jsonb_set(document::jsonb, '{programme,point_value}', '"1e999999999"')::json
    """,
    "another document in no zone": f"UPDATE tiers.programmes SET document = {NO_ZONE.format('Nowhere/None')}",
    "a document of the bank in no zone": f"UPDATE redeem.programmes SET document = {NO_ZONE.format('Nowhere/None')}",
    "a document with a number that is too large": """
        UPDATE members.programme_versions SET document = document || '{"more": 1e999}'
    """,
    "numbers that are a list": "UPDATE tiers.history SET numbers = '[]'",
    "facts that are a word": """UPDATE tiers.history SET facts = '"facts"'""",
    "a place that is no number": """
        UPDATE redeem.outbox
        SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '"sequence":"', '"sequence":"x'), 'UTF8')
    """,
    "ids that are none": """
        UPDATE redeem.outbox SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '_id":"', '_id":"z'), 'UTF8')
    """,
    "an event that is no text": "UPDATE earn.outbox SET payload = decode('ff00', 'hex')",
    "a refund that asks for a list": "UPDATE earn.refunds SET asked = '[]'",
    "an answer to a request that there is not": "UPDATE earn.refund_answers SET request_id = gen_random_uuid()",
    "an answer to another request": """
        UPDATE earn.refund_answers SET request_id = (SELECT request_id FROM earn.refund_requests WHERE kind = 'return' LIMIT 1)
    """,
    "a line that happened never": "UPDATE redeem.ledger SET effective_at = 'infinity'",
    "a line of a year that nobody can write": "UPDATE redeem.ledger SET effective_at = '290000-01-01'",
    "a line with the most points that there can be": """
        UPDATE redeem.ledger SET points = 9223372036854775807, available_after = 9223372036854775807
    """,
    "lots that end never and ever": "UPDATE redeem.lots SET expires_at = 'infinity', opened_expires_at = '-infinity'",
    "a wallet that was active never": "UPDATE redeem.wallets SET last_active_at = 'infinity'",
    "a month that never ends": "INSERT INTO redeem.closings (as_of, closed) VALUES ('infinity', true)",
    "a reward that is a list": "UPDATE redeem.reward_versions SET document = '[]'",
    "a limit in no period": """
        UPDATE redeem.reward_versions SET document = jsonb_set(document::jsonb, '{limit}', '{"per": "moon", "most": "x"}')::json
    """,
    "a reward of more versions than there is room for": "UPDATE redeem.rewards SET version = 2147483647",
    "a benefit that was issued never": "UPDATE redeem.benefits SET issued_at = 'infinity', expires_at = 'infinity'",
    "a message about nothing": """UPDATE notifier.messages SET facts = '{"points": 1e999}'""",
    "terminals that are nothing": "UPDATE members.merchants SET terminals = ARRAY[NULL::text, 'T01']",
    "cashiers of too large a number": """UPDATE members.merchants SET cashiers = '{"c": 1e999}'""",
    "terminals that the bank has for nothing": "UPDATE redeem.merchants SET terminals = ARRAY[NULL::text, 'T01']",
    "a dead letter of an entry that is none": """
        INSERT INTO redeem.dead_letters
        SELECT (jsonb_populate_record(
            d, jsonb_build_object('stream', 'earn', 'entry_id', 'x', 'dead_letter_id', gen_random_uuid())
        )).*
        FROM earn.dead_letters AS d LIMIT 1
    """,
    "an inbox that heard everything for ever": """
        INSERT INTO tiers.inbox
        SELECT 'redeem', int8range(max(upper(entries)) + 5, 9000000000000000000) FROM tiers.inbox WHERE stream = 'redeem'
    """,
    "a position at the end of all numbers": "UPDATE tiers.positions SET applied_through = 9223372036854775807",
    "a cut at the end of all numbers": """
        UPDATE earn.cuts SET base = 9000000000000000000 WHERE no = (SELECT max(no) FROM earn.cuts)
    """,
    "a request of a refund of a bill of nothing": """
        INSERT INTO redeem.return_requests
        SELECT
            gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), merchant, bill_ref, 9223372036854775807, 0, 1, now(), now(),
            '{}'
        FROM redeem.redemptions WHERE status = 'captured'
    """,
    "what limits counted that is a number": "UPDATE redeem.redemption_inputs SET counted = '[7]'",
    "a card that was activated never": """
        UPDATE redeem.gift_cards SET activated_at = '-infinity', expires_at = 'infinity' WHERE status = 'active'
    """,
    "a line of a card that happened never": "UPDATE redeem.gift_card_lines SET effective_at = 'infinity'",
    "a rejection that says nothing": "UPDATE earn.rejections SET data = decode('ff', 'hex')",
    "an act about a list": "UPDATE earn.acts SET data = '[]'",
    "a decision about an act that is none": "UPDATE earn.act_decisions SET decision = '7'",
    "an audit of no moment": """
        UPDATE redeem.audit SET after = jsonb_set(after, '{requested_at}', '"soon"') WHERE action = 'adjustment.request'
    """,
    "a seal that was taken never": "UPDATE redeem.seals SET sealed_at = 'infinity'",
    "a refusal in no words": "UPDATE redeem.idempotency SET body = decode('ff', 'hex') WHERE status = 409",
    "an answer in no words": "UPDATE redeem.idempotency SET body = decode('ff', 'hex') WHERE status = 201",
    "a transaction that nobody can count to": "UPDATE earn.outbox SET xid = '18446744073709551615'",
    "a programme that nobody guards any more": "INSERT INTO earn.thinned_sightings VALUES ('shops', 'infinity')",
    "a birthday on which nobody is told": f"INSERT INTO members.birthdays_told VALUES ({A_MEMBER}, 'shops', -1)",
}


@pytest.mark.parametrize("sql", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_cannot_be_read_is_named_and_the_rest_is_compared(
    town: Town, books: Connection, sql: str
) -> None:
    async with undone(books) as db:
        done = await db.execute(sql)
        assert not done.endswith(" 0"), done
        report = await report_of(town, db)
    assert not report
    for check in report.broken:
        assert check.examples
    # Whatever is wrong elsewhere: who may do what is looked at last.
    assert report["catalogue:grants"].verdict == "holds"
    assert report["catalogue:settings"].compared


async def test_a_version_with_no_budget_that_can_be_read_hides_no_other_programmes(
    town: Town, books: Connection
) -> None:
    async with undone(books) as db:
        await db.execute(
            """
            UPDATE earn.programmes
            SET document = jsonb_set(document::jsonb, '{earning,campaigns,0,budget,money_minor}', '1')::json
            WHERE programme = 'shops';
            INSERT INTO earn.programmes
            SELECT (jsonb_populate_record(p, jsonb_build_object('programme', 'club', 'document', jsonb_set(
                jsonb_set(p.document::jsonb, '{programme,code}', '"club"'),
                '{earning,campaigns,0,budget,money_minor}', '"much"'
            )))).*
            FROM earn.programmes AS p WHERE p.programme = 'shops' AND p.version = 1
            """
        )
        report = await report_of(town, db)
    assert report["caps:kept"].compared
    assert [one.partition(" gave ")[0] for one in report["caps:kept"].examples] == ["shops treats/money"]
    [unread] = [one for one in report["books:readable"].examples if "budgets and caps" in one]
    assert unread.startswith("budgets and caps of version 1 of club: ")


async def test_what_was_told_of_bills_is_compared_also_where_they_cannot_be_judged(
    town: Town, books: Connection
) -> None:
    async with undone(books) as db:
        await db.execute("UPDATE earn.bills SET tenders = '7'")
        report = await report_of(town, db)
    assert {one.partition(" ")[0] for one in report["books:readable"].examples} == {"bill"}
    assert (report["bills:told"].verdict, report["accruals:told"].verdict) == ("holds", "holds")


async def test_an_event_whose_place_is_no_number_is_one_broken_event_and_nothing_else(
    town: Town, books: Connection
) -> None:
    async with undone(books) as db:
        event_id = await db.fetchval(
            """
            UPDATE redeem.outbox
            SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '"sequence":"', '"sequence":"x'), 'UTF8')
            WHERE id = (SELECT min(id) FROM redeem.outbox WHERE position('points.credited'::bytea IN payload) > 0)
            RETURNING event_id::text
            """
        )
        report = await report_of(town, db)
    # Where the stream still holds it, that copy is another event now.
    broken = {check.name: check.broken for check in report.broken if check.name != "streams:entries"}
    assert broken == {"events": 1}
    [told] = report["events"].examples
    assert told.endswith(f" of redeem is points.credited.v1 {event_id}: its sequence is 'x000000000001'")
