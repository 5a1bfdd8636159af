"""The HTTP side of earn: baskets, bills and other acts, refunds, points that are held, and bills under review."""

from services.earn.api.acts import router as acts
from services.earn.api.bills import router as bills
from services.earn.api.holds import router as holds
from services.earn.api.quotes import router as quotes
from services.earn.api.refunds import router as refunds
from services.earn.api.reviews import router as reviews
from services.earn.api.settlements import router as settlements
from services.earn.api.stamp_cards import router as stamp_cards

ROUTERS = (bills, acts, refunds, holds, reviews, settlements, quotes, stamp_cards)
