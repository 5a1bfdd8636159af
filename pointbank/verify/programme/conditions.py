"""Condition trees, read a second time: straight through the JSON, with each comparison's result on the way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pointbank.verify.programme.numbers import decimal_of

if TYPE_CHECKING:
    from pointbank.verify.programme.terms import Line

_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


@dataclass(frozen=True)
class Asked:
    """A bill, and what was known of its merchant and member when it was judged."""

    occurred_at: datetime
    zone: ZoneInfo
    total_minor: int
    lines: tuple[Line, ...]
    merchant: str
    channel: str | None
    terminal: str | None
    tenders: Mapping[str, int]
    tier: str | None
    brand: str | None = None
    bills: int | None = None
    last_bill_at: datetime | None = None
    enrolled_at: datetime | None = None
    segments: tuple[str, ...] = ()
    member_id: str | None = None
    data: Mapping[str, Any] | None = None
    """Of an act besides bills."""
    given_before: tuple[Any, Any, int] = ((), (), 1)
    """Campaigns and caps of the decision, which say what had been given, and in which form it tells them."""
    claims: Mapping[str, int] = field(default_factory=dict)
    """By campaign of the programme, what the till gave at the checkout."""
    offered_before: tuple[Any, ...] = ()
    stamped_before: tuple[Any, ...] = ()

    def value(self, field: str, line: Line | None) -> Any:
        """What a condition finds in a field; None where nothing is there."""
        section, _, name = field.partition(".")
        match section:
            case "tier":
                return self.tier
            case "bill":
                return self._of_bill(name)
            case "act":
                return self._of_act(name)
            case "line":
                assert line is not None, "a condition on lines is asked of a line"
                return _of_line(line, name)
            case "member":
                return self._of_member(name)
            case "time":
                return self._of_time(name)
        raise ValueError(f"no field {field}")

    def _of_bill(self, name: str) -> Any:
        match name:
            case "lines":
                return len(self.lines)
            case "items":
                return sum((quantity_of(line) for line in self.lines), Fraction(0))
            case "categories":
                return {category for line in self.lines for category in line.categories}
            case "skus":
                return {line.sku for line in self.lines if line.sku is not None}
            case "tenders":
                return set(self.tenders)
            case "total_minor" | "channel" | "merchant" | "brand" | "terminal":
                return getattr(self, name)
        raise ValueError(f"no field bill.{name}")

    def _of_act(self, name: str) -> Any:
        if name == "merchant":
            return self.merchant
        section, _, key = name.partition(".")
        if section != "data":
            raise ValueError(f"no field act.{name}")
        value = (self.data or {}).get(key)
        return value if type(value) in {str, int} else None

    def _of_member(self, name: str) -> Any:
        match name:
            case "bills":
                return self.bills
            case "segments":
                return set(self.segments)
            case "days_since_last_bill":
                return self._days_since(self.last_bill_at)
            case "enrolled_days":
                return self._days_since(self.enrolled_at)
        raise ValueError(f"no field member.{name}")

    def _days_since(self, at: datetime | None) -> int | None:
        if at is None:
            return None
        return self._local().date().toordinal() - at.astimezone(self.zone).date().toordinal()

    def _of_time(self, name: str) -> Any:
        local = self._local()
        match name:
            case "date":
                return f"{local:%Y-%m-%d}"
            case "time":
                return f"{local:%H:%M}"
            case "weekday":
                return _DAYS[local.weekday()]
            case "month" | "day":
                return getattr(local, name)
        raise ValueError(f"no field time.{name}")

    def _local(self) -> datetime:
        return self.occurred_at.astimezone(self.zone)


@dataclass(frozen=True)
class OnLadder:
    """A member, as the conditions of a ladder ask."""

    at: datetime
    zone: ZoneInfo
    points: int
    segments: tuple[str, ...]

    def value(self, field: str, line: Line | None) -> Any:
        """What a condition finds in a field."""
        local = self.at.astimezone(self.zone)
        match field:
            case "points":
                return self.points
            case "member.segments":
                return set(self.segments)
            case "time.date":
                return f"{local:%Y-%m-%d}"
            case "time.weekday":
                return _DAYS[local.weekday()]
            case "time.month" | "time.day":
                return getattr(local, field.removeprefix("time."))
        raise ValueError(f"no field {field}")


def _of_line(line: Line, name: str) -> Any:
    match name:
        case "items":
            return quantity_of(line)
        case "categories" | "amount_minor" | "discount_minor" | "tax_minor" | "sku":
            return getattr(line, name)
    raise ValueError(f"no field line.{name}")


def quantity_of(line: Line) -> Fraction:
    """How many items a line is; one where it does not say."""
    return Fraction(1) if line.quantity is None else decimal_of(line.quantity)


def asks_for_lines(tree: Mapping[str, Any]) -> bool:
    """Whether a tree has to be asked for each line."""
    for name, asked in tree.items():
        parts = asked if name in {"all", "any"} else [asked] if name == "not" else []
        if name.startswith("line.") or any(asks_for_lines(part) for part in parts):
            return True
    return False


def holds(tree: Mapping[str, Any], bill: Asked | OnLadder, line: Line | None = None) -> tuple[bool, str]:
    """(whether the tree holds, the result of each comparison in the order in which they are written)."""
    verdict, trace = True, ""
    for name, asked in tree.items():
        if name in {"all", "any"}:
            parts = [holds(part, bill, line) for part in asked]
            trace += "".join(part for _, part in parts)
            verdict &= (all if name == "all" else any)(result for result, _ in parts)
        elif name == "not":
            result, part = holds(asked, bill, line)
            trace += part
            verdict &= not result
        else:
            found = bill.value(name, line)
            for operator, than in asked.items():
                result = _compare(name, found, operator, than)
                trace += "t" if result else "f"
                verdict &= result
    return verdict, trace


def _compare(name: str, found: Any, operator: str, than: Any) -> bool:
    if found is None:
        return False
    if isinstance(found, Collection) and not isinstance(found, str):
        shared = set(found) & set(than)
        return {
            "any_of": bool(shared),
            "all_of": shared == set(than),
            "none_of": not shared,
        }[operator]
    if name.endswith(".items"):
        than = [decimal_of(one) for one in than] if isinstance(than, list) else decimal_of(than)
    match operator:
        case "eq":
            return bool(found == than)
        case "ne":
            return bool(found != than)
        case "in":
            return found in than
        case "not_in":
            return found not in than
        case "gt":
            return bool(found > than)
        case "gte":
            return bool(found >= than)
        case "lt":
            return bool(found < than)
        case "lte":
            return bool(found <= than)
        case "between":
            low, high = than
            if name == "time.time" and low > high:
                return bool(found >= low or found <= high)
            return bool(low <= found <= high)
    raise ValueError(f"no operator {operator}")
