"""Where in a JSON document a payment card's number stands: what holds one is refused, and stored nowhere."""

import re
from collections.abc import Iterator
from typing import Any

from shared.identity import payment_card_number
from shared.reading import Path, read_so_far

UNSEARCHED = frozenset({"sku", "traceparent"})
"""Article numbers (GTIN) are 13 and 14 digits with a check digit of the same kind; a trace is hexadecimal."""

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


def placed_texts(document: Any, *, numbers: bool = False) -> Iterator[tuple[Path, str]]:
    """Every text of a document with the path to it, in its order; with `numbers` its integers too. The name of a member
    stands where its object does, so that no path quotes what may be a secret."""
    # Not recursive: a document may be nested as deep as its decoder allows.
    waiting: list[tuple[Path, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        match value:
            case str():
                yield path, value
            case dict():
                for name in value:
                    yield path, name
                waiting += [((*path, name), member) for name, member in reversed(value.items())]
            case list():
                waiting += [((*path, place), value[place]) for place in range(len(value) - 1, -1, -1)]
            case int() if numbers and not isinstance(value, bool):
                yield path, str(value)
            case _:
                pass


def payment_card_at(document: Any, *, numbers: bool = False) -> Path | None:
    """The path to a payment card's number in a document, None where there is none. `numbers`: also among integers."""
    searched = [
        (path, text) for path, text in placed_texts(document, numbers=numbers) if _is_searched(path, text)
    ]
    # One search settles nearly every document.
    if not payment_card_number("\n".join([text for _, text in searched])):
        return None
    return next(path for path, text in searched if payment_card_number(text))


def payment_card_in(raw: bytes) -> bool:
    """Whether a payment card's number stands in this entry of a till, numbers included, whether it can be decoded or not: in what
    could be read of it as above, and anywhere in the rest. A name that is said twice hides none."""
    text = raw.decode("utf-8", "replace")
    if b"\\" not in raw and not payment_card_number(text):
        return False
    reading = read_so_far(text)
    searched = [one.text for one in reading.said if _is_searched(one.path, one.text)]
    return payment_card_number("\n".join([*searched, reading.rest]))


def _is_searched(path: Path, text: str) -> bool:
    return (not path or path[-1] not in UNSEARCHED) and _UUID.fullmatch(text) is None
