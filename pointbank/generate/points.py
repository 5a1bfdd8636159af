"""What a bill should earn, worked out here a second time: plain fractions, nothing from the services.

It knows the part of a programme that the generator's own programmes use: base `amount`, rates without whole steps,
floor at the bill after the multiplier.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import floor
from typing import Any


def expected_points(document: Mapping[str, Any], bill: Mapping[str, Any], *, tier: str | None) -> int:
    """The points of `bill` (a contract body) for a member in `tier`; anonymous bills earn 0."""
    if not bill.get("member"):
        return 0
    earning = document["earning"]
    assert earning["base"] == "amount"
    assert earning["rounding"] == {"mode": "floor", "at": "bill", "when": "after_multiplier"}
    # A bill without lines counts as one line without category.
    sold = bill["lines"] or [{"categories": [], "amount_minor": bill["total_minor"], "discount_minor": 0}]
    base = sum((_line_points(earning["rules"], line) for line in sold), Fraction(0))
    return floor(base * _multiplier(document, tier))


def _line_points(rules: list[Mapping[str, Any]], line: Mapping[str, Any]) -> Fraction:
    for rule in sorted(rules, key=lambda rule: -rule["priority"]):
        wanted = rule["match"].get("categories")
        if wanted and not set(wanted) & set(line.get("categories", [])):
            continue
        if rule["action"] == "skip" or (
            line.get("discount_minor", 0) and not rule.get("on_discounted", True)
        ):
            return Fraction(0)
        assert rule["timing"] == "now"
        rate = rule["rate"]
        assert not rate["whole_steps"]
        return Fraction(rate["points"]) * Fraction(line["amount_minor"], rate["per_minor"])
    return Fraction(0)


def _multiplier(document: Mapping[str, Any], tier: str | None) -> Fraction:
    ladder = {step["code"]: Fraction(step.get("multiplier", "1")) for step in document["tiers"]["ladder"]}
    return ladder[tier] if tier is not None else Fraction(1)
