"""The HTTP side of redeem, by what it is about."""

from services.redeem.api import codes, expiry, jobs, quotes, redemptions, wallets

ROUTERS = (
    redemptions.router,
    jobs.router,
    codes.router,
    quotes.router,
    wallets.router,
    expiry.router,
)
