"""The HTTP side of earn: baskets, bills, their refunds, and points that are held."""

from services.earn.api.bills import router as bills
from services.earn.api.holds import router as holds
from services.earn.api.quotes import router as quotes
from services.earn.api.refunds import router as refunds
from services.earn.api.stamp_cards import router as stamp_cards

ROUTERS = (bills, refunds, holds, quotes, stamp_cards)
