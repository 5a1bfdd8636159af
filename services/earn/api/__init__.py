"""The HTTP side of earn: bills, and their refunds."""

from services.earn.api.bills import router as bills
from services.earn.api.refunds import router as refunds

ROUTERS = (bills, refunds)
