"""The guards of the pipe: the lane, its keys, the inbox, cuts, streams and trimming."""

from __future__ import annotations

from tests.mutations.guards.model import Guard, guard

LANE = "tests/integration/messaging/test_lane.py"
PATIENCE = "tests/integration/messaging/test_patience.py"
POSITIONS = "tests/integration/messaging/test_positions.py"
RELAY = "tests/integration/messaging/test_relay.py"
SCRIPTS = "tests/integration/messaging/test_scripts.py"
BUS = "tests/integration/messaging/test_bus.py"
CONSUMER = "tests/integration/messaging/test_consumer.py"

MESSAGING = "shared/messaging/migrations/0001_messaging.sql"
QUERIES = "shared/messaging/queries.sql"
LUA = "shared/messaging/scripts.py"
HOUSEKEEPING = "shared/messaging/housekeeping.py"
LOWERING = "shared/messaging/lowering.py"


GUARDS: dict[str, Guard] = {
    # ------------------------------------------------------------ the lane and its keys
    "halving": guard(
        "halving",
        "a batch of which PostgreSQL refuses one item fails whole",
        "shared/messaging/lane.py",
        "                    middle = len(batch) // 2\n"
        "                    await self._settle(batch[:middle])\n"
        "                    await self._settle(batch[middle:])\n"
        "                    return\n",
        "                    for one in batch:\n                        one.fail(error)\n                    return\n",
        f"{LANE}::test_what_postgresql_refuses_fails_alone",
    ),
    "canary": guard(
        "halving",
        "an entry that timed out is believed to be at fault, without another write beside it",
        "shared/messaging/lane.py",
        "(fault is Fault.SLOW and await self._canary_lives(one))",
        "fault is Fault.SLOW",
        f"{CONSUMER}::test_an_entry_that_times_out_dies_only_while_another_write_goes_through",
    ),
    "request hash": guard(
        "hash",
        "a used key answers whatever is asked under it",
        "shared/messaging/writer.py",
        '            if not compare_digest(row["request_hash"], hashes[call]):',
        "            if False:",
        f"{LANE}::test_another_request_under_a_used_key_is_refused",
    ),
    "request hash in a batch": guard(
        "hash",
        "the same, where both requests are of one batch",
        "shared/messaging/writer.py",
        "                    same = compare_digest(",
        "                    same = True or compare_digest(",
        f"{LANE}::test_another_request_under_a_used_key_is_refused",
    ),
    "one key, one answer": guard(
        "uniqueness",
        "idempotency keys are not unique",
        MESSAGING,
        "    PRIMARY KEY (principal, route, key)\n",
        "    UNIQUE (principal, route, key, at)\n",
        f"{LANE}::test_a_repeated_call_gets_the_first_answer_and_writes_nothing",
    ),
    "keys in order": guard(
        "order",
        "idempotency keys are claimed in the order of the calls",
        "shared/messaging/migrations/0005_one_statement.sql",
        "    ORDER BY k.principal, k.route, k.key\n",
        "",
        "tests/integration/messaging/test_orders.py::test_who_waits_for_a_key_has_claimed_none_that_comes_after_it",
    ),
    # ------------------------------------------------------------ the inbox and the position
    "no entry in two runs": guard(
        "uniqueness",
        "runs of the inbox may overlap",
        "shared/messaging/migrations/0002_inbox_by_runs.sql",
        "'CREATE TABLE %I PARTITION OF inbox (CONSTRAINT %I EXCLUDE USING gist (entries WITH &&)) FOR VALUES IN (%L)'",
        "'CREATE TABLE %I PARTITION OF inbox (CONSTRAINT %I CHECK (true)) FOR VALUES IN (%L)'",
        f"{POSITIONS}::test_no_entry_is_in_two_runs_whatever_the_code_does",
    ),
    "entries are noted in order": guard(
        "order",
        "what was heard in part is asked again while later entries are noted already",
        "shared/messaging/inbox.py",
        "            raise HeardInPart\n",
        "            pass\n",
        f"{PATIENCE}::test_what_was_heard_in_part_is_told_before_anything_later_is_asked_again",
    ),
    "below the position all is heard": guard(
        "uniqueness",
        "what was forgotten below the position counts as new",
        QUERIES,
        "WHERE r.last > p.applied_through\n",
        "WHERE true\n",
        f"{POSITIONS}::test_what_lies_far_below_the_position_is_forgotten_and_stays_a_duplicate",
    ),
    "the position only grows": guard(
        "CAS",
        "a position is set back by who counted earlier",
        QUERIES,
        "WHERE stream = :stream AND applied_through < :through;\n",
        "WHERE stream = :stream;\n",
        f"{POSITIONS}::test_who_counted_earlier_does_not_set_a_position_back",
    ),
    "the position stops at a gap": guard(
        "order",
        "the position moves over entries that were not applied",
        HOUSEKEEPING,
        '        if row["first"] is None or row["first"] > end + 1:\n',
        '        if row["first"] is None:\n',
        f"{POSITIONS}::test_positions_move_to_the_end_of_the_contiguous_run",
    ),
    # ------------------------------------------------------------ cuts, and what is published of them
    "outbox can only grow": guard(
        "append-only",
        "rows of the outbox and of cuts may be changed",
        MESSAGING,
        "'CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON",
        "'CREATE TRIGGER refuse_change BEFORE DELETE ON",
        f"{RELAY}::test_outbox_and_cuts_can_only_grow",
    ),
    "cuts chain": guard(
        "hash",
        "a cut's hash no longer holds those before it",
        QUERIES,
        "sha256(last.hash || summed.ids)",
        "sha256(summed.ids)",
        f"{RELAY}::test_the_published_chain_is_the_one_in_postgresql",
    ),
    "a cut keeps the order": guard(
        "order",
        "the events of a cut are told backwards",
        QUERIES,
        "string_agg(uuid_send(event_id), ''::bytea ORDER BY id) AS ids\n    FROM fresh",
        "string_agg(uuid_send(event_id), ''::bytea ORDER BY id DESC) AS ids\n    FROM fresh",
        f"{RELAY}::test_events_of_one_transaction_keep_their_order",
    ),
    "the PostgreSQL that was compared": guard(
        "CAS",
        "a PostgreSQL that was exchanged is cut before it is compared",
        QUERIES,
        "WHERE (pg_postmaster_start_time(), 'outbox'::regclass::oid::bigint) = (:started_at::timestamptz, :outbox::bigint)",
        "WHERE (:started_at::timestamptz, :outbox::bigint) IS NOT NULL OR true",
        "tests/integration/test_adopting.py::test_a_postgresql_that_was_exchanged_is_compared_before_anything_is_cut",
    ),
    "further than PostgreSQL": guard(
        "halt",
        "a stream that is further than PostgreSQL goes on",
        "shared/messaging/relay.py",
        "        if published > planned:\n",
        "        if False:\n",
        f"{RELAY}::test_a_stream_further_than_postgresql_halts_the_relay",
    ),
    "another story": guard(
        "halt",
        "a stream whose hash is not PostgreSQL's goes on",
        "shared/messaging/relay.py",
        "        if n and hash_ != await self.hash_at(published):\n",
        "        if False:\n",
        f"{RELAY}::test_a_stream_that_tells_another_story_halts_the_relay",
    ),
    "published after the hash before": guard(
        "CAS",
        "events are appended whatever the stream's hash",
        LUA,
        "top == first - 1 and n == first - 1 and hash == ARGV[2]",
        "top == first - 1 and n == first - 1",
        f"{SCRIPTS}::test_events_follow_only_where_stream_head_and_hash_are_as_they_were_before",
    ),
    "published after the last id": guard(
        "CAS",
        "events are appended whatever stands at the stream's end",
        LUA,
        "top == first - 1 and n == first - 1 and hash == ARGV[2]",
        "n == first - 1 and hash == ARGV[2]",
        f"{SCRIPTS}::test_events_follow_only_where_stream_head_and_hash_are_as_they_were_before",
    ),
    "emptied as it was judged": guard(
        "CAS",
        "a stream is emptied though it has moved on since it was judged",
        LUA,
        "if tostring(top_of(KEYS[1])) ~= ARGV[1] or (head[1] or '') ~= ARGV[2] or (head[2] or '') ~= ARGV[3] then",
        "if false then",
        f"{SCRIPTS}::test_a_stream_is_emptied_only_as_it_was_judged",
    ),
    "published by the PostgreSQL that was compared": guard(
        "CAS",
        "events are appended beside another PostgreSQL's word",
        LUA,
        "if head[3] and head[3] ~= ARGV[4] then",
        "if false then",
        f"{SCRIPTS}::test_only_the_postgresql_that_was_compared_says_what_follows",
    ),
    "vouched for as it was compared": guard(
        "CAS",
        "a stream is said to be PostgreSQL's copy though it has moved on since it was compared",
        LUA,
        "if head[1] ~= ARGV[1] or head[2] ~= ARGV[2] then return 0 end",
        "",
        f"{SCRIPTS}::test_only_the_postgresql_that_was_compared_says_what_follows",
    ),
    "heard once it was compared": guard(
        "halt",
        "who begins hears a stream that PostgreSQL as it is now has not been compared with",
        "shared/runtime.py",
        "may_begin=None if pos else self._copy(stream).may_be_heard,",
        "may_begin=None,",
        "tests/integration/test_adopting.py::test_who_begins_after_a_restore_hears_nothing_that_was_not_compared",
    ),
    # ------------------------------------------------------------ groups and trimming
    "group start": guard(
        "group start",
        "a group begins at the stream's end",
        "shared/messaging/bus.py",
        "id = await self.start_at[_text(name)]()",
        'id = "$"',
        f"{BUS}::test_a_group_begins_where_its_service_stands_and_never_at_the_end",
    ),
    "nothing is trimmed without every group": guard(
        "trimming",
        "a stream is trimmed by the groups that are there",
        HOUSEKEEPING,
        "        if any(group not in groups for group in required):\n            return\n",
        "        required = [group for group in required if group in groups]\n",
        f"{RELAY}::test_nothing_is_trimmed_while_a_required_group_is_missing",
    ),
    "the slowest group": guard(
        "trimming",
        "the quickest group decides what is trimmed",
        HOUSEKEEPING,
        "ms, seq = min(edges)",
        "ms, seq = max(edges)",
        f"{SCRIPTS}::test_only_what_every_group_has_done_is_trimmed",
    ),
    "what is being worked on": guard(
        "MINID",
        "what was delivered and is not acknowledged is trimmed",
        HOUSEKEEPING,
        '            if waiting["pending"]:\n',
        "            if False:\n",
        f"{SCRIPTS}::test_only_what_every_group_has_done_is_trimmed",
    ),
    "the next of one millisecond": guard(
        "MINID",
        "with an entry all of its millisecond are trimmed",
        LOWERING,
        "return ms, seq + 1\n",
        "return ms + 1, 0\n",
        f"{SCRIPTS}::test_only_what_every_group_has_done_is_trimmed",
    ),
    "exactly": guard(
        "MINID",
        "trimming takes one entry more than what is done",
        LOWERING,
        "return ms, seq + 1\n",
        "return ms, seq + 2\n",
        f"{SCRIPTS}::test_only_what_every_group_has_done_is_trimmed",
    ),
    "set back": guard(
        "set back",
        "a stream in which a till took the highest id takes no entry any more",
        HOUSEKEEPING,
        '            await lower(self._redis, self._keys.pos, "earn")\n',
        "",
        "tests/integration/messaging/test_lowering.py::"
        "test_a_full_stream_takes_entries_again_once_all_in_it_was_heard_and_each_is_heard_once",
    ),
}
