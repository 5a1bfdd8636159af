"""What several routes take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from shared.http.bodies import Body
from shared.programme.model import Code

Reference = Annotated[str, StringConstraints(min_length=1, max_length=255)]


BillCategories = Annotated[
    dict[Code, Annotated[int, Field(ge=0, le=10**12)]],
    Field(
        max_length=1_000,
        description="What the bill has of each category, in minor units; each line counts in one of them. Wanted where the "
        "merchant takes points for some categories only.",
    ),
]


class MoneyBody(Body):
    """An amount that is paid with points."""

    amount_minor: Annotated[int, Field(ge=1, le=10**12)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class MemberBody(Body):
    """Exactly one identity."""

    member_id: str | None = None
    card_id: str | None = None
    card_number: str | None = None
    mobile: str | None = None
    email: str | None = None
    external_id: str | None = None
