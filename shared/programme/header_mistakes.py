"""What is wrong with the document's head beyond the shape of its fields. What has not the right shape is passed over."""

from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import FieldError
from shared.programme.base import NO_ZONE, iana_zones


def zone_mistakes(header: Any) -> Iterator[FieldError]:
    """Of a version that is new: one that is kept may have a name that is refused now."""
    zone = header.get("time_zone") if isinstance(header, Mapping) else None
    if isinstance(zone, str) and zone not in iana_zones():
        yield _invalid_at("/programme/time_zone", f"{NO_ZONE[:1].upper()}{NO_ZONE[1:]}.")


def accepts_mistakes(header: Any) -> Iterator[FieldError]:
    """Currencies that are taken twice, or anyway."""
    if not isinstance(header, Mapping):
        return
    given = header.get("accepts")
    accepts: list[Any] = given if isinstance(given, list) else []
    for number, currency in enumerate(accepts):
        pointer = f"/programme/accepts/{number}"
        if currency == header.get("currency"):
            yield _invalid_at(pointer, f"{currency} is the programme's own.")
        elif currency in accepts[:number]:
            yield _invalid_at(pointer, f"{currency} stands here a second time.")


def _invalid_at(pointer: str, detail: str) -> FieldError:
    return FieldError(pointer, "programme_invalid", detail)
