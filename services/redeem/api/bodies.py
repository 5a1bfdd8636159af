"""What several routes take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.http.bodies import Body

Reference = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Channel = Literal["store", "ecom", "app", "kiosk", "call_center", "partner"]


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
