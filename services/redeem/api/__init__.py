"""The HTTP side of redeem, by what it is about."""

from services.redeem.api import codes, evidence, expiry, jobs, quotes, reconciliation, redemptions, wallets

ROUTERS = (
    redemptions.router,
    jobs.router,
    codes.router,
    quotes.router,
    wallets.router,
    expiry.router,
    *evidence.ROUTERS,
    reconciliation.router,
)
