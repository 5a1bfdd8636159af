"""What was decided about a bill, as it is kept for ever: the inputs used, what was tried, every number on the way."""

from datetime import datetime
from uuid import UUID

import msgspec

from services.earn.domain.conversion import Conversion
from shared.events import BillAccrual
from shared.money import worth
from shared.programme.checkout import Offered, Stamped
from shared.programme.earned import Details, EarnedByRule, JudgedLine

Awaited = tuple[str, str]
"""Kind and key, as in the table `awaited`."""


class Accrual(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One points.accrued.v1 and its one lot. `expires_at` null: never."""

    accrual_id: UUID
    kind: str
    points: int
    lot_id: UUID
    expires_at: datetime | None = None


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a guard counted of a bill, with it; more than `most` flag it."""

    pattern: str
    found: int
    most: int

    @property
    def flagged(self) -> bool:
        return self.found > self.most


class Judged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the bill is worth in one wallet. `rules` are the rules in the order in which lines tried them: a line tried
    all up to its own. `seen` by guards; `reviewed`: of points that are held for a review those that would be available else."""

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
    offers: tuple[Offered, ...] = ()
    stamps: tuple[Stamped, ...] = ()
    seen: tuple[Seen, ...] = ()
    reviewed: int = 0

    @property
    def flagged(self) -> bool:
        """Whether a guard flagged it: all its points are held, in one accrual, until somebody looked at it."""
        return any(one.flagged for one in self.seen)

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


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A judgement. `passed_over`: programmes in which the bill earns nothing, and why (currency, occurred_too_early).
    `waiting_for`: what was not known yet."""

    status: str
    member_id: UUID | None = None
    programmes: tuple[Judged, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    waiting_for: tuple[Awaited, ...] = ()
    variances: tuple[tuple[str, str, int, int], ...] = ()
    """(programme, campaign, claimed, granted): what a till gave at the checkout beyond what was granted, in minor units."""

    def told(self) -> tuple[BillAccrual, ...]:
        """The accruals of the answer."""
        return tuple([judged.told() for judged in self.programmes])


encode_decision = msgspec.json.Encoder().encode
decode_decision = msgspec.json.Decoder(Decision).decode
