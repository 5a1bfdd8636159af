"""Two members who are one person: the one goes on as the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from shared.errors import NotFound, Refusal


class MemberMerged(Refusal):
    code = "member_merged"


class MemberNotActive(Refusal):
    code = "member_not_active"


class MergeIntoOneself(Refusal):
    code = "merge_into_oneself"


class MergedUnknown(Refusal):
    code = "member_unknown"


class MergeMember(msgspec.Struct, frozen=True):
    """This member is the same person as `into`, and goes on as that one for ever. `reason`: a code of the caller's."""

    member_id: UUID
    into: UUID
    reason: str


class MemberRow(msgspec.Struct):
    """A member who is locked, with the events that were told of it."""

    member_id: UUID
    status: str
    merged_into: UUID | None
    event_sequence: int


class Pair(NamedTuple):
    """A wallet, and the one that it merges into. `born`: that one is new."""

    programme: str
    wallet_id: UUID
    merged_into: UUID
    born: bool


class Merged(msgspec.Struct, frozen=True):
    """The answer: who goes on as whom, and which wallet has the points of which."""

    member_id: UUID
    status: str
    merged_into: UUID
    wallets: Sequence[MergedOut]


class MergedOut(msgspec.Struct, frozen=True):
    programme: str
    wallet_id: UUID
    merged_into: UUID


def check_merge(
    asked: MergeMember, members: Mapping[UUID, MemberRow], ends: Mapping[UUID, UUID] | None = None
) -> bool:
    """Whether it is still to be done; not so where the same was done before. Nobody who was merged is anybody's other again, so
    that no circle can come of it. `ends`: who those that were merged before go on as, through every merge.

    Refuses merge_into_oneself, not_found, member_unknown, member_merged and member_not_active.
    """
    if asked.member_id == asked.into:
        raise MergeIntoOneself("Both are the same member. Name the other one.", pointer="/into")
    member, into = members.get(asked.member_id), members.get(asked.into)
    if member is None:
        raise NotFound("There is no such member.")
    if into is None:
        raise MergedUnknown("There is no such member. Name the one who goes on.", pointer="/into")
    if member.merged_into == into.member_id:
        return False
    if member.merged_into is not None:
        raise MemberMerged(f"The member was merged into {_end(member, members, ends)}. Merge that one.")
    if into.merged_into is not None:
        raise MemberMerged(f"It was merged into {_end(into, members, ends)}. Name that one.", pointer="/into")
    for one, pointer in ((member, ""), (into, "/into")):
        if one.status != "active":
            raise MemberNotActive(
                f"The member is {one.status}; only active ones are merged.", pointer=pointer or None
            )
    return True


def _end(member: MemberRow, members: Mapping[UUID, MemberRow], ends: Mapping[UUID, UUID] | None) -> UUID:
    """Who goes on as whom in the end: by what was merged before, and by what this batch has merged."""
    assert member.merged_into is not None
    end = (ends or {}).get(member.member_id, member.merged_into)
    following = members.get(end)
    if following is None or following.merged_into is None:
        return end
    return _end(following, members, ends)
