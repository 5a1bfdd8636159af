"""The limits of a bill, for the fast reader and for the one that explains."""

import re
from functools import lru_cache

MAX_MINOR = 10**12
MAX_LINES = 1000
MAX_QUANTITY = 10**6
MAX_BYTES = 1 << 20

CODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
QUANTITY_PATTERN = r"^[0-9]{1,64}(\.[0-9]{1,6})?$"

_CODE = re.compile(CODE_PATTERN.removesuffix("$"))
_QUANTITY = re.compile(QUANTITY_PATTERN.removesuffix("$"))


@lru_cache(maxsize=65_536)
def is_code(text: str) -> bool:
    """Whether the text is a code of the contract. Tills name the same few merchants and categories all day."""
    return _CODE.fullmatch(text) is not None


@lru_cache(maxsize=65_536)
def normal_quantity(text: str) -> str | None:
    """The shortest decimal of the same value ("02.50" is "2.5"); None for what is no quantity within the limits."""
    if _QUANTITY.fullmatch(text) is None:
        return None
    whole, _, fraction = text.partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    if int(whole) > MAX_QUANTITY or (int(whole) == MAX_QUANTITY and fraction):
        return None
    return f"{whole}.{fraction}" if fraction else whole
