"""What was decided about a bill, as it is kept for ever: the inputs used, what was tried, every number on the way."""

from datetime import datetime
from uuid import UUID

import msgspec

from services.earn.domain.conversion import Conversion
from shared.events import BillAccrual
from shared.money import worth
from shared.programme.rules import Details, EarnedByRule, JudgedLine

Awaited = tuple[str, str]
"""Kind and key, as in the table `awaited`."""


class Accrual(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One points.accrued.v1 and its one lot. `expires_at` null: never."""

    accrual_id: UUID
    kind: str
    points: int
    lot_id: UUID
    expires_at: datetime | None = None


class Judged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the bill is worth in one wallet. `rules` are the rules in the order in which lines tried them: a line tried
    all up to its own."""

    programme: str
    version: int
    wallet_id: UUID
    currency: str
    point_value: str
    tier: str | None = None
    tier_event_id: UUID | None = None
    tier_sequence: int | None = None
    multiplier: tuple[int, int]
    denominator: int
    rules: tuple[str, ...]
    lines: tuple[JudgedLine, ...]
    by_rule: tuple[EarnedByRule, ...]
    points: int
    available: int
    held: int
    details: Details | None = None
    accruals: tuple[Accrual, ...] = ()
    conversion: Conversion | None = None
    """Of a bill in another currency: all amounts here are converted ones."""

    def told(self) -> BillAccrual:
        """The same as the answer to the bill says it."""
        return BillAccrual(
            programme=self.programme,
            programme_version=self.version,
            wallet_id=self.wallet_id,
            tier=self.tier,
            available=worth(self.available, self.point_value, self.currency),
            held=worth(self.held, self.point_value, self.currency),
        )


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A judgement. `passed_over`: programmes in which the bill earns nothing, and why (currency, occurred_too_early).
    `waiting_for`: what was not known yet."""

    status: str
    member_id: UUID | None = None
    programmes: tuple[Judged, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    waiting_for: tuple[Awaited, ...] = ()

    def told(self) -> tuple[BillAccrual, ...]:
        """The accruals of the answer."""
        return tuple([judged.told() for judged in self.programmes])


encode_decision = msgspec.json.Encoder().encode
decode_decision = msgspec.json.Decoder(Decision).decode
