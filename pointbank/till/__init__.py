"""The till as a client of the POS stream."""

from pointbank.till.book import BillToOffer, Counts
from pointbank.till.client import Till, Unanswered, open_till
from pointbank.till.wire import event_of

__all__ = ["BillToOffer", "Counts", "Till", "Unanswered", "event_of", "open_till"]
