"""When two definitions that PostgreSQL printed say the same."""

import pytest

from pointbank.verify.structure.definitions import same

CHECK = "CHECK ((((a >= 0) AND (a <= b)) AND ((c = 'x'::text) OR (d > 1))))"


@pytest.mark.parametrize(
    "other",
    [
        "CHECK (((a >= 0) AND (a <= b) AND ((c = 'x'::text) OR (d > 1))))",
        "CHECK (\n  (a >= 0) AND ((a <= b) AND ((c = 'x'::text)  OR (d > 1)))\n)",
    ],
)
def test_a_check_that_was_dumped_and_restored_says_the_same(other: str) -> None:
    assert same(CHECK, other)


@pytest.mark.parametrize(
    "other",
    [
        "CHECK ((((a >= 0) AND (a <= b) AND (c = 'x'::text)) OR (d > 1)))",
        "CHECK ((((a >= 0) AND (a <= b)) AND ((c = 'x'::citext) OR (d > 1))))",
        "CHECK ((((a >= 0) AND (a <= b)) AND ((c = 'X'::text) OR (d > 1))))",
        "CHECK (((a >= 0) AND (a <= b)))",
        CHECK + " (not validated)",
        None,
    ],
)
def test_a_check_that_was_regrouped_or_changed_says_another_thing(other: str | None) -> None:
    assert not same(other, CHECK)


def test_what_is_added_first_and_what_is_multiplied_first_differ() -> None:
    assert not same("CHECK (((a + b) * c) = 0)", "CHECK ((a + (b * c)) = 0)")
    assert not same("CHECK ((NOT (a AND b)))", "CHECK (((NOT a) AND b))")


def test_what_stands_in_a_text_is_no_parenthesis() -> None:
    assert same("CHECK ((a <> ')('::text))", "CHECK (a <> ')('::text)")
    assert not same("CHECK ((a <> ')('::text))", "CHECK ((a <> '()'::text))")
    assert not same("CHECK ((a <> 'a AND b'::text))", "CHECK ((a <> 'a  AND b'::text))")


def test_an_index_or_a_trigger_that_holds_for_less_says_another_thing() -> None:
    unique = "UNIQUE USING btree (merchant, bill_ref)"
    assert same(unique, unique)
    assert not same(unique + " WHERE (n > 0)", unique)
    trigger = "CREATE TRIGGER t BEFORE DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION redeem.refuse_change()"
    assert not same(trigger.replace("DELETE OR ", ""), trigger)
    assert not same(trigger.replace("EXECUTE", "WHEN (false) EXECUTE"), trigger)
