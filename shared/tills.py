"""How a till's replies find it: a rule that the services and the till's own side share."""

from __future__ import annotations


def till_of(source: str | None) -> str:
    """The subscriber that a till reads its replies under: its CloudEvents source as one word, `pos` where there is none. A dot in a
    code is doubled, so that no two tills share a word.

    "/pos/riyadh-mall/T03" -> "riyadh-mall.T03"; "/pos/a.b/T1" -> "a..b.T1".
    """
    if not source:
        return "pos"
    words = [word.replace(".", "..") for word in source.removeprefix("/pos/").split("/") if word]
    return ".".join(words) or "pos"
