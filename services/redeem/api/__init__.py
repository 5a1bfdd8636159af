"""The HTTP side of redeem."""

from services.redeem.api import evidence, reconciliation, redemptions, wallets

ROUTERS = (redemptions.router, wallets.router, *evidence.ROUTERS, reconciliation.router)
