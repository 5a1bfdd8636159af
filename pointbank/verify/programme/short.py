"""What a decision keeps of campaigns, from form 2 on: see the head of shared/programme/campaigns.py, worked out a second time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pointbank.verify.programme.checkout import Rooms

NO_POINTS = frozenset({"window", "merchants", "brands", "channels", "tenders", "when", "no_lines"})
"""Where a campaign ends that comes to no points."""


class Fared(Protocol):
    """A campaign that was tried."""

    @property
    def campaign(self) -> str: ...
    @property
    def result(self) -> str: ...
    @property
    def condition(self) -> str: ...
    @property
    def arm(self) -> str | None: ...
    @property
    def wanted(self) -> int: ...
    @property
    def budget(self) -> tuple[int, int] | None: ...
    @property
    def caps(self) -> Rooms: ...


def never_chosen(tried: Sequence[Fared], raw: Mapping[str, Mapping[str, Any]]) -> set[int]:
    """The places of those that could not be chosen, whatever is left of budgets and caps."""
    able = [place for place, one in enumerate(tried) if one.result == "able"]
    how = {place: raw[tried[place].campaign].get("stacking") or "best_only" for place in able}
    sure = {place for place in able if not is_bounded(raw[tried[place].campaign])}
    alone = min((place for place in sure if how[place] == "exclusive"), default=None)
    if alone is not None:
        return {place for place in able if how[place] != "exclusive" or place > alone}
    rank = {place: (-tried[place].wanted, place) for place in able if how[place] == "best_only"}
    best = min((rank[place] for place in sure & rank.keys()), default=None)
    return set() if best is None else {place for place, own in rank.items() if own > best}


def is_bounded(raw: Mapping[str, Any]) -> bool:
    """Whether a budget or a cap bounds the campaign."""
    caps = raw.get("member_caps") or {}
    return raw.get("budget") is not None or any(limit is not None for limit in caps.values())


def in_full(one: Fared) -> bool:
    """Whether it stands there in full."""
    return one.result == "applied" or one.arm is not None or one.budget is not None or bool(one.caps)


def left_out(tried: Sequence[Fared]) -> tuple[tuple[str, str, int, str], ...]:
    """Those that came to points, or to none, and are told in short."""
    return tuple(
        (one.campaign, one.result, one.wanted, one.condition)
        for one in tried
        if one.result not in NO_POINTS and not in_full(one)
    )


def ended(tried: Sequence[Fared]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Where the others ended."""
    groups = sorted({(one.result, one.condition) for one in tried if one.result in NO_POINTS})
    return tuple(
        (*group, tuple(one.campaign for one in tried if (one.result, one.condition) == group))
        for group in groups
    )
