"""Who may be merged into whom."""

from uuid import UUID, uuid4

import pytest

from services.members.domain.merges import MemberMerged, MemberNotActive, MemberRow, MergeMember, check_merge


def rows(**statuses: str) -> dict[UUID, MemberRow]:
    made = [
        MemberRow(uuid4(), status, uuid4() if status == "merged" else None, 1) for status in statuses.values()
    ]
    return {row.member_id: row for row in made}


@pytest.mark.parametrize(
    ("one", "other", "pointer"), [("closed", "active", ""), ("active", "blocked", "/into")]
)
def test_only_active_members_are_merged(one: str, other: str, pointer: str) -> None:
    members = rows(one=one, other=other)
    first, second = members
    with pytest.raises(MemberNotActive) as refused:
        check_merge(MergeMember(first, second, "duplicate"), members)
    assert [error.pointer for error in refused.value.errors] == ([pointer] if pointer else [])


def test_who_was_merged_is_merged_no_more_but_into_the_same() -> None:
    members = rows(one="merged", other="active")
    one, other = members.values()
    with pytest.raises(MemberMerged, match=f"merged into {one.merged_into}. Merge that one."):
        check_merge(MergeMember(one.member_id, other.member_id, "duplicate"), members)
    with pytest.raises(MemberMerged, match=f"merged into {one.merged_into}. Name that one."):
        check_merge(MergeMember(other.member_id, one.member_id, "duplicate"), members)
    one.merged_into = other.member_id
    assert check_merge(MergeMember(one.member_id, other.member_id, "duplicate"), members) is False
