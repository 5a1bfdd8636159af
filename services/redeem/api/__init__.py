"""The HTTP side of redeem, by what it is about."""

from services.redeem.api import (
    benefits,
    benefits_due,
    codes,
    evidence,
    expiry,
    gift_card_desk,
    gift_cards,
    jobs,
    offline,
    quotes,
    reconciliation,
    redemptions,
    rewards,
    statements,
    wallets,
)

ROUTERS = (
    redemptions.router,
    jobs.router,
    codes.router,
    quotes.router,
    wallets.router,
    expiry.router,
    *evidence.ROUTERS,
    reconciliation.router,
    rewards.router,
    benefits_due.router,
    benefits.router,
    statements.router,
    *offline.ROUTERS,
    gift_cards.router,
    gift_card_desk.router,
)
