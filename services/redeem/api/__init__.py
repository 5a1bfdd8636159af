"""The HTTP side of redeem."""

from services.redeem.api import redemptions, wallets

ROUTERS = (redemptions.router, wallets.router)
