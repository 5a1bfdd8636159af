"""`pointbank expire-gift-cards`: the sweep of gift cards from the command line, with the bank's own lane and role."""

from __future__ import annotations

from pointbank.desk import open_desk
from services.redeem.domain.giftcards.acts import Swept
from services.redeem.jobs.gift_card_sweeping import Say, dry_run, expire_gift_cards
from shared.clock import Clock
from shared.config import Settings


async def expire_tenant(
    settings: Settings, tenant: str, *, only_look: bool, say: Say | None = None, clock: Clock | None = None
) -> list[Swept]:
    """What expired of a tenant's gift cards (or with `only_look` would have), by programme. Raises UnknownTenant, NotServed."""
    async with open_desk(settings, tenant, clock=clock) as desk:
        swept = await (dry_run if only_look else expire_gift_cards)(desk, say=say)
    return [found for _, found in sorted(swept.items())]
