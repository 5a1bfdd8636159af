"""The HTTP side of redeem."""

from services.redeem.api import evidence, expiry, reconciliation, redemptions, wallets

ROUTERS = (redemptions.router, wallets.router, expiry.router, *evidence.ROUTERS, reconciliation.router)
