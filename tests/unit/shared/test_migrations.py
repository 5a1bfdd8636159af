"""What a migration may do while the release before runs on: docs/upgrading.md."""

import re

import pytest

from shared.messaging.keys import SERVICES
from shared.migrate import Migration, migrations_of

FIRST = {
    "shared.messaging": "0008_partitions_ahead.sql",
    "services.members": "0011_merges.sql",
    "services.earn": "0071_birth_months.sql",
    "services.redeem": "0072_told_events.sql",
    "services.tiers": "0090_traceparent_of_unplaced.sql",
    "services.notifier": "0090_traceparent_of_messages.sql",
}
"""The last files of the first release: before it there was none to run beside."""

WIDENED = re.compile(r"DROP CONSTRAINT (\S+?),?\s+ADD CONSTRAINT \1 CHECK", re.IGNORECASE)
TAKES = re.compile(
    r"""
      \bDROP\s+(TABLE|COLUMN|FUNCTION|VIEW|TYPE|SEQUENCE|SCHEMA|INDEX)\b
    | \bRENAME\b
    | \bSET\s+NOT\s+NULL\b
    | \bDROP\s+DEFAULT\b
    | \bALTER\s+COLUMN\s+\S+\s+(SET\s+DATA\s+)?TYPE\b
    | \bREVOKE\b(?!.*\bFROM\s+public\b)
    """,
    re.IGNORECASE | re.VERBOSE,
)
REFUSES = re.compile(
    r"\bADD\s+CONSTRAINT\b|\bADD\s+COLUMN\b(?![^,;]*\bDEFAULT\b)[^,;]*\bNOT\s+NULL\b", re.IGNORECASE
)


def taken_by(migration: Migration) -> list[str]:
    """What of this file the release before may stumble over: things taken away, and new rules for what it writes."""
    text = WIDENED.sub("", re.sub(r"--[^\n]*", "", migration.text))
    statements = [re.sub(r"\s+", " ", one).strip() for one in text.split(";")]
    made = {name for one in statements for name in re.findall(r"^CREATE TABLE (\S+)", one)}
    return [
        one
        for one in statements
        if TAKES.search(one)
        or (one.startswith("ALTER TABLE") and one.split()[2] not in made and REFUSES.search(one))
    ]


def all_files() -> dict[str, Migration]:
    return {one.name: one for service in SERVICES for one in migrations_of(service)}


def test_what_takes_away_says_whom_it_leaves_behind() -> None:
    for name, migration in all_files().items():
        folder, _, file = name.rpartition("/")
        if file > FIRST[folder] and not migration.needs:
            assert not taken_by(migration), f"{name} needs a line `-- needs: FILE.sql`: docs/upgrading.md"


def test_what_is_needed_is_an_earlier_file_of_the_same_folder() -> None:
    files = all_files()
    for name, migration in files.items():
        for needed in migration.needs:
            assert needed in files
            assert needed < name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ALTER TABLE bills ADD COLUMN later text;", 0),
        ("ALTER TABLE bills ADD COLUMN later int NOT NULL DEFAULT 7;", 0),
        (
            "ALTER TABLE bills\nDROP CONSTRAINT kind_known,\nADD CONSTRAINT kind_known CHECK (kind IN ('a', 'b'));",
            0,
        ),
        ("CREATE TABLE later (id int);\nALTER TABLE later ADD CONSTRAINT positive CHECK (id > 0);", 0),
        ("REVOKE ALL ON FUNCTION f() FROM public;", 0),
        ("ALTER TABLE bills ADD COLUMN later int NOT NULL;", 1),
        ("ALTER TABLE bills ADD CONSTRAINT positive CHECK (id > 0);", 1),
        ("ALTER TABLE bills DROP COLUMN later;\nDROP TABLE listeners;", 2),
        ("ALTER TABLE bills RENAME TO receipts;", 1),
        ("ALTER TABLE bills ALTER COLUMN later SET NOT NULL;", 1),
        ("ALTER TABLE bills ALTER COLUMN later TYPE bigint;", 1),
        ("REVOKE UPDATE ON bills FROM {{service_role}};", 1),
    ],
)
def test_what_the_release_before_would_stumble_over_is_seen(text: str, found: int) -> None:
    assert len(taken_by(Migration("services.earn/9001_later.sql", text))) == found


def test_a_file_names_those_that_code_must_know() -> None:
    migration = Migration(
        "services.earn/9002_gone.sql", "-- Gone.\n-- needs: 9001_later.sql\nDROP TABLE later;"
    )
    assert migration.needs == ["services.earn/9001_later.sql"]
