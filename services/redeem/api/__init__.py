"""The HTTP side of redeem."""

from services.redeem.api import expiry, redemptions, wallets

ROUTERS = (redemptions.router, wallets.router, expiry.router)
