"""Where in a JSON document a payment card's number stands: what holds one is refused, and stored nowhere.

Digits within an id or a digest, which a text may quote, are no number (docs/decisions/0347).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.identity import payment_card_number
from shared.reading import Path, Said, read_so_far
from shared.tracing import traceparent_of

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_ID_OR_DIGEST = re.compile(
    rf"\b(?:{_UUID.pattern}|(?!\d{{13,19}}(?:d\d{{7}}|f+\b))[0-9a-f]{{32}}(?:[0-9a-f]{{32}})?)\b",
    re.IGNORECASE,
)
"""UUIDs, and digests of 128 and 256 bits: some of them hold as many digits in a row as a card has, and pass Luhn too. No digest
is what a chip tells: a card's number with D and seven digits behind it (EMV tag 57), or filled up with F."""

_Exempt = Callable[[Said], bool]


def placed_texts(document: Any, *, numbers: bool = False) -> Iterator[Said]:
    """Every text of a document with the path to it, in its order; with `numbers` its integers too, 5.0 as 5. The name of a member
    stands where its object does, so that no path quotes what may be a secret."""
    # Not recursive: a document may be nested as deep as its decoder allows.
    waiting: list[tuple[Path, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        match value:
            case str():
                yield Said(path, value, "text")
            case dict():
                for name in value:
                    yield Said(path, name, "name")
                waiting += [((*path, name), member) for name, member in reversed(value.items())]
            case list():
                waiting += [((*path, place), value[place]) for place in range(len(value) - 1, -1, -1)]
            case int() if numbers and not isinstance(value, bool):
                yield Said(path, str(value), "number")
            case float() if numbers and value.is_integer():
                yield Said(path, str(int(value)), "number")
            case _:
                pass


def payment_card_at(document: Any, *, numbers: bool = False) -> Path | None:
    """The path to a payment card's number in a body, None where there is none. `numbers`: also among integers. A `sku` is not
    looked at, nor are those of a rule, nor what a condition compares them with: article numbers (GTIN) are 13 and 14 digits with a
    check digit of the same kind. Where they may stand, shapes say."""
    return _card_at(placed_texts(document, numbers=numbers), _is_article)


def offered_card_at(document: Any) -> Path | None:
    """The same in what a till offers, numbers included. As much is read there that no shape knows, articles are those of a bill's
    lines and of an act's data alone; and the trace of the entry is nobody's card."""
    return _card_at(placed_texts(document, numbers=True), _is_exempt_in_offer, quoting_in="data")


def payment_card_in(raw: bytes) -> bool:
    """Whether a payment card's number stands in what a till offers, whether it can be decoded or not: in what could be read of it
    as above, and anywhere in the rest. A name that is said twice hides none."""
    text = raw.decode("utf-8", "replace")
    if b"\\" not in raw and not payment_card_number(text):
        return False
    reading = read_so_far(text)
    if payment_card_number(reading.rest):
        return True
    return _card_at(reading.said, _is_exempt_in_offer, quoting_in="data") is not None


def _card_at(said: Iterable[Said], exempt: _Exempt, *, quoting_in: str | None = None) -> Path | None:
    """`quoting_in`: ids and digests are quoted in this member alone."""
    searched = [one for one in said if _UUID.fullmatch(one.text) is None and not exempt(one)]
    # One search settles nearly every document.
    if not payment_card_number("\n".join([one.text for one in searched])):
        return None
    for one in searched:
        quotes = quoting_in is None or one.path[:1] == (quoting_in,)
        if payment_card_number(_ID_OR_DIGEST.sub("x", one.text) if quotes else one.text):
            return one.path
    return None


def _is_article(said: Said) -> bool:
    if said.kind == "name":
        return False
    match said.path:
        case (*_, "sku") | (*_, "skus", int()):
            return True
        case (*_, "line.sku" | "bill.skus", str()) | (*_, "line.sku" | "bill.skus", str(), int()):
            return True  # what a condition compares with
        case _:
            return False


def _is_exempt_in_offer(said: Said) -> bool:
    match said.path:
        case ("data", "lines", int(), "sku") | ("data", "data", *_, "sku"):
            return said.kind != "name"
        case ("traceparent",):
            return traceparent_of(said.text) is not None
        case _:
            return False
