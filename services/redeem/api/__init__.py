"""The HTTP side of redeem."""

from services.redeem.api import evidence, redemptions, wallets

ROUTERS = (redemptions.router, wallets.router, *evidence.ROUTERS)
