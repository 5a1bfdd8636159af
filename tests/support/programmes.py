"""Programme documents for tests: the contract's own, and ways to change it."""

import copy
from typing import Any

Document = dict[str, Any]

SHOPS: Document = {
    "document": 1,
    "programme": {
        "code": "shops",
        "name": {"en": "Shops Rewards", "ar": "مكافآت المتاجر"},
        "currency": "SAR",
        "point_value": "0.10",
        "time_zone": "Asia/Riyadh",
        "card_prefix": "627015",
        "backdating_days": 30,
    },
    "earning": {
        "base": "amount",
        "rounding": {"mode": "floor", "at": "bill", "when": "after_multiplier"},
        "rules": [
            {
                "code": "service-fees",
                "priority": 100,
                "match": {"categories": ["service-fee"]},
                "action": "skip",
            },
            {
                "code": "everything",
                "priority": 0,
                "match": {},
                "action": "earn",
                "timing": "now",
                "on_discounted": True,
                "rate": {"points": "1", "per_minor": 100, "whole_steps": False},
            },
        ],
    },
    "redemption": {"consumption": "oldest_earned", "minimum_points": 1, "step_points": 1},
    "expiry": {"policy": "months_after_earning", "months": 12, "round_to": "month_end"},
    "tiers": {
        "lifecycle": "calendar_year",
        "metric": "points",
        "ladder": [
            {"code": "blue", "name": {"en": "Blue", "ar": "أزرق"}, "multiplier": "1"},
            {
                "code": "silver",
                "name": {"en": "Silver", "ar": "فضي"},
                "multiplier": "1.1",
                "entry": {"points": {"gte": 500}},
            },
            {
                "code": "gold",
                "name": {"en": "Gold", "ar": "ذهبي"},
                "multiplier": "1.2",
                "entry": {"points": {"gte": 1000}},
            },
        ],
    },
}


def document(**sections: Any) -> Document:
    """The contract's document with whole sections replaced; None leaves one out."""
    made = copy.deepcopy(SHOPS)
    for section, value in sections.items():
        if value is None:
            del made[section]
        else:
            made[section] = value
    return made


def changed(path: str, value: Any) -> Document:
    """The contract's document with the value at one JSON pointer set; `...` removes it."""
    made = copy.deepcopy(SHOPS)
    *way, last = [int(step) if step.isdigit() else step for step in path.strip("/").split("/")]
    at: Any = made
    for step in way:
        at = at[step]
    if value is ...:
        del at[last]
    elif isinstance(at, list) and last == len(at):
        at.append(value)
    else:
        at[last] = value
    return made


def rule(code: str = "everything", points: str = "1", per_minor: int = 100, **more: Any) -> Document:
    """A rule that earns; a category alone as `category=`, whole steps as `whole_steps=`."""
    category = more.pop("category", None)
    rate = {"points": points, "per_minor": per_minor, "whole_steps": more.pop("whole_steps", False)}
    match = {} if category is None else {"categories": [category]}
    return {"code": code, "action": "earn", "match": match, "rate": rate, **more}


def earning(
    *rules: Document, mode: str = "floor", at: str = "bill", when: str = "after_multiplier"
) -> Document:
    """The earning section with these rules and this rounding."""
    return {"base": "amount", "rounding": {"mode": mode, "at": at, "when": when}, "rules": list(rules)}


def ladder(*multipliers: str) -> Document:
    """A lifetime ladder t0, t1, ... with these multipliers."""
    tiers: list[Document] = []
    for place, multiplier in enumerate(multipliers):
        tier: Document = {"code": f"t{place}", "name": {"en": f"T{place}"}, "multiplier": multiplier}
        tiers.append(tier | ({"entry": {"points": {"gte": 100 * place}}} if place else {}))
    return {"lifecycle": "lifetime", "metric": "points", "ladder": tiers}
