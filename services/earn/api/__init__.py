"""The HTTP side of earn: baskets, bills and other acts, refunds, and points that are held."""

from services.earn.api.acts import router as acts
from services.earn.api.bills import router as bills
from services.earn.api.holds import router as holds
from services.earn.api.quotes import router as quotes
from services.earn.api.refunds import router as refunds

ROUTERS = (bills, acts, refunds, holds, quotes)
