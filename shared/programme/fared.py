"""How campaigns fared with a bill, read from its decision, whichever form that has."""

from shared.programme.campaigns import Tried
from shared.programme.earned import Details


def fared(details: Details) -> list[Tried]:
    """All that lasted at that time: those that are told in full, those that gave nothing, those that ended before. What is told
    in short has no more than its result, what it wanted and the results of its condition."""
    found = list(details.campaigns)
    found += [
        Tried(code, result, condition, wanted=wanted) for code, result, wanted, condition in details.left_out
    ]
    found += [Tried(code, result, condition) for result, condition, codes in details.ended for code in codes]
    return found
