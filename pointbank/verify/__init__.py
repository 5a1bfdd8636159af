"""`pointbank verify`, the oracle: what must never break, checked from outside of the services.

It reads PostgreSQL as the auditor, the streams in Redis, and the tills' journal. It shares nothing with what it judges but
configuration, connections and logs: rounding, rules, canonical bytes and hashes are written here a second time.
"""

from pointbank.verify.chains import verify_chains
from pointbank.verify.ledger.trust import Trust
from pointbank.verify.report import Check, Report
from pointbank.verify.run import run_chains, run_verify, verify, verify_tenant
from pointbank.verify.settled import NotSettled, unsettled, wait_until_settled

__all__ = [
    "Check",
    "NotSettled",
    "Report",
    "Trust",
    "run_chains",
    "run_verify",
    "unsettled",
    "verify",
    "verify_chains",
    "verify_tenant",
    "wait_until_settled",
]
