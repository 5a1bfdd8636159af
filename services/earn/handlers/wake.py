"""What wakes the job that settles what waits, and gives for referrals."""

import asyncio
from typing import Any


def settle_wake(cache: dict[Any, Any]) -> asyncio.Event:
    """Set when there is something for the job that settles. Lossy: the job also looks by itself."""
    wake: asyncio.Event = cache.setdefault("settle", asyncio.Event())
    return wake
