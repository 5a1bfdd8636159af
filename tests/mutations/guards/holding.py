"""The guards of who holds what for a while: leases, transactions that stand still, tables that are ahead, tenants that move."""

from __future__ import annotations

from tests.mutations.guards.model import Guard, guard
from tests.mutations.mutants import Patch

CONSUMER = "tests/integration/messaging/test_consumer.py"
REFUSED = "tests/integration/messaging/test_refused.py"
MESSAGES = "tests/integration/notifier/test_messages.py"
NOTIFIER = "services/notifier/queries.sql"

GUARDS: dict[str, Guard] = {
    "whose a dispatch is": guard(
        "CAS",
        "who lost its lease settles what another has taken over",
        NOTIFIER,
        "AND d.attempts = s.attempts AND d.settled_at IS NULL",
        "AND d.settled_at IS NULL",
        f"{MESSAGES}::test_a_sender_that_lost_its_lease_has_no_say",
    ),
    "whose a message is": guard(
        "CAS",
        "the same of a message on its own way",
        NOTIFIER,
        "WHERE d.message_id = r.message_id AND d.attempts = r.attempts AND CASE",
        "WHERE d.message_id = r.message_id AND CASE",
        "tests/integration/test_row_locks.py::test_who_lost_its_lease_neither_renews_nor_settles",
    ),
    "who renews a dispatch": guard(
        "CAS",
        "who lost its lease renews it for another",
        NOTIFIER,
        "        ON d.dispatch_id = h.dispatch_id AND d.attempts = h.attempts\n",
        "        ON d.dispatch_id = h.dispatch_id\n",
        "tests/integration/test_row_locks.py::test_who_lost_its_lease_neither_renews_nor_settles",
    ),
    "who renews a message": guard(
        "CAS",
        "the same of a message on its own way",
        NOTIFIER,
        "        ON d.message_id = h.message_id AND d.attempts = h.attempts\n",
        "        ON d.message_id = h.message_id\n",
        "tests/integration/test_row_locks.py::test_who_lost_its_lease_neither_renews_nor_settles",
    ),
    "a grace after the lease": guard(
        "lease",
        "a dispatch is taken over while its sender holds it",
        NOTIFIER,
        "        AND (d.claimed_until IS NULL OR d.claimed_until < now() - :grace::interval)\n"
        "    ORDER BY d.dispatch_id\n",
        "        AND (d.claimed_until IS NULL OR :grace::interval IS NOT NULL)\n    ORDER BY d.dispatch_id\n",
        f"{MESSAGES}::test_what_its_maker_has_in_hand_is_nobody_elses_until_the_lease_is_over",
    ),
    "a consumer that lives": Guard(
        "lease",
        "entries are taken from a consumer that has just spoken, however short it has had them",
        (
            Patch(
                "shared/messaging/consumer.py",
                "            if pending and (name == self.name or idle >= self._lease_ms):\n",
                "            if pending:\n",
            ),
            Patch(
                "shared/messaging/consumer.py",
                "idle=self._stranded_ms if mine else self._lease_ms,",
                "idle=self._stranded_ms if mine else 0,",
            ),
        ),
        (f"{CONSUMER}::test_a_slow_consumer_keeps_its_entries_and_one_that_is_silent_does_not",),
    ),
    "a consumer's lease ends": guard(
        "lease",
        "what a dead consumer had in hand is nobody's for ever",
        "shared/messaging/consumer.py",
        "if pending and (name == self.name or idle >= self._lease_ms):",
        "if pending and name == self.name:",
        f"{CONSUMER}::test_a_dead_consumers_entries_are_taken_over",
    ),
    "who comes back as it is taken off its group": guard(
        "lease",
        "what a consumer was handed as it was taken off its group is pending nowhere",
        "shared/messaging/consumer.py",
        'if ids := [row["message_id"] for row in rows]:',
        "if ids := []:",
        f"{REFUSED}::test_who_comes_back_as_it_is_taken_off_its_group_leaves_what_it_was_handed_to_be_found",
    ),
    "the statement that commits": guard(
        "CAS",
        "whatever is sent next carries the commit",
        "shared/joined.py",
        "if self.commits is not None and data.startswith(self.commits, _NAME_AT):",
        "if self.commits is not None:",
        "tests/integration/test_joined.py::test_only_the_statement_that_was_named_commits",
    ),
    "who stands still with a lock": guard(
        "lease",
        "a transaction that stands still keeps its locks",
        "shared/db.py",
        '            "idle_in_transaction_session_timeout": str(settings.idle_in_transaction_ms),\n',
        "",
        "tests/integration/test_db.py::test_who_stands_still_with_a_lock_loses_it_and_others_go_on",
    ),
    "tables that left this release behind": guard(
        "order",
        "a release serves tables whose newest migration needs code that it has not",
        "shared/tenants/directory.py",
        "if behind := sorted(set(needs or ()) - self._known):",
        "if behind := sorted(set(needs or ()) - set(needs or ())):",
        "tests/integration/test_provision.py::test_tables_may_be_ahead_of_a_process_and_never_behind_it",
    ),
    "a migration says whom it leaves behind": guard(
        "order",
        "the line `-- needs:` of a migration is not read",
        "shared/migrate.py",
        '_NEEDS = re.compile(r"^-- needs: (\\S+\\.sql)$", re.MULTILINE)',
        '_NEEDS = re.compile(r"^-- wants: (\\S+\\.sql)$", re.MULTILINE)',
        "tests/unit/shared/test_migrations.py::test_a_file_names_those_that_code_must_know",
    ),
    "the turn of who migrates": guard(
        "lock",
        "who makes roles and grants takes no turn with another who migrates",
        "shared/tenants/provision.py",
        '        await db.execute("SELECT pg_advisory_xact_lock($1)", key)\n        yield\n',
        "        yield\n",
        "tests/integration/test_provision.py::test_who_meets_a_migration_of_another_waits_for_it_with_what_it_grants",
    ),
    "who adopts a stream": guard(
        "lock",
        "a stream is adopted while something to be told is being committed",
        "pointbank/operating/streams.sql",
        "LOCK TABLE outbox, cuts IN SHARE ROW EXCLUSIVE MODE;",
        "SELECT FROM outbox, cuts LIMIT 0;",
        "tests/integration/test_row_locks.py::test_who_adopts_a_stream_waits_for_who_commits_something_to_tell",
    ),
    "a tenant that moves": guard(
        "CAS",
        "of two who move a tenant the second one wins",
        "shared/tenants/queries.sql",
        " AND host IS NOT DISTINCT FROM :was_host AND port IS NOT DISTINCT FROM :was_port\n",
        " AND (:was_host::text, :was_port::int) IS NOT DISTINCT FROM (:was_host::text, :was_port::int)\n",
        "tests/integration/test_provision.py::test_of_two_who_move_a_tenant_one_does",
    ),
    "only who is suspended moves": guard(
        "CAS",
        "a tenant that is served moves",
        "shared/tenants/queries.sql",
        "WHERE code = :code AND state = 'suspended' AND host IS NOT",
        "WHERE code = :code AND host IS NOT",
        "tests/integration/test_provision.py::test_of_two_who_move_a_tenant_one_does",
    ),
}
