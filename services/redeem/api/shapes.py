"""Points with their money, as they go out."""

from __future__ import annotations

from pydantic import BaseModel


class MoneyOut(BaseModel):
    amount_minor: int
    currency: str


class WorthOut(BaseModel):
    points: int
    money: MoneyOut


class BucketsOut(BaseModel):
    available: WorthOut
    held: WorthOut
    reserved: WorthOut
