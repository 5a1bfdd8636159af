"""Guards taken out of a copy of the code. Where one guard hides another's absence, both are taken out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

PACKAGES = ("services", "shared", "pointbank")


@dataclass(frozen=True)
class Patch:
    """In this file, `old`, which stands there exactly once, becomes `new`."""

    file: str
    old: str
    new: str


def copy_of_the_code(folder: Path, patches: tuple[Patch, ...]) -> Path:
    """A copy with these patches. A patch that no longer fits is a failure: the guard moved, the mutant must follow."""
    code = folder / "code"
    for package in PACKAGES:
        # With its byte code, which is known by its source's time: only what is patched is compiled again.
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("*.pyc.*"))
    for patch in patches:
        path = code / patch.file
        text = path.read_text(encoding="utf-8")
        assert text.count(patch.old) == 1, (
            f"{patch.file}: {patch.old!r} stands there {text.count(patch.old)} times"
        )
        path.write_text(text.replace(patch.old, patch.new), encoding="utf-8")
    return code


ACK_BEFORE_COMMIT = (
    Patch(
        "shared/messaging/consumer.py",
        "            outcomes = await self._lane.submit_many(items, left)\n",
        "            await self._redis.xack(self.stream, self.group, *ids)\n"
        "            outcomes = await self._lane.submit_many(items, left)\n",
    ),
    # A hearer that misses entries asks for them again: it would hide the loss as soon as they are trimmed.
    Patch(
        "shared/messaging/housekeeping.py",
        "        if top > applied and (first == 0 or first > applied + 1):\n",
        "        if False:\n",
    ),
)

CUT_BY_ID = (
    Patch(
        "shared/messaging/queries.sql",
        """    FROM outbox AS o, last
    WHERE o.xid >= pg_snapshot_xmax(last.snapshot)
        OR o.xid = ANY(ARRAY(SELECT pg_snapshot_xip(l.snapshot) FROM last AS l))
),
""",
        """    FROM outbox AS o, last
    WHERE o.id > coalesce((SELECT max(c.id) FROM outbox AS c WHERE pg_visible_in_snapshot(c.xid, last.snapshot)), 0)
),
""",
    ),
)

NO_INBOX = (
    Patch(
        "shared/messaging/inbox.py",
        """ not in fresh]
    return heard
""",
        """ not in fresh]
    return []
""",
    ),
)

NO_WALLET_LOCK = (
    Patch(
        "services/redeem/queries.sql",
        "    ORDER BY wallet_id\n    FOR NO KEY UPDATE\n) AS w;\n",
        "    ORDER BY wallet_id\n) AS w;\n",
    ),
    Patch(
        "services/redeem/migrations/0090_lots_by_row.sql",
        "    ORDER BY w.wallet_id\n    FOR NO KEY UPDATE;\n",
        "    ORDER BY w.wallet_id;\n",
    ),
    Patch(
        "services/redeem/migrations/0098_meet_one.sql",
        "    ORDER BY w.wallet_id\n    FOR NO KEY UPDATE;\n",
        "    ORDER BY w.wallet_id;\n",
    ),
    # The numbers of a wallet's lines are a second lock: whoever writes finds the wallet as it was read, or nothing.
    Patch(
        "services/redeem/migrations/0004_kinds.sql",
        "    WHERE w.wallet_id = t.wallet_id AND w.seq = t.seq - t.lines;\n",
        "    WHERE w.wallet_id = t.wallet_id;\n",
    ),
)

NO_CHECK = (
    Patch(
        "services/redeem/migrations/0001_redeem.sql",
        "CONSTRAINT wallets_available_never_negative CHECK (available >= 0)",
        "CONSTRAINT wallets_available_never_negative CHECK (true)",
    ),
    Patch(
        "services/redeem/migrations/0001_redeem.sql",
        "CONSTRAINT lots_remaining_within_points CHECK (remaining BETWEEN 0 AND points)",
        "CONSTRAINT lots_remaining_within_points CHECK (true)",
    ),
    Patch(
        "services/redeem/migrations/0001_redeem.sql",
        "CHECK (held >= 0 AND reserved >= 0 AND held + reserved <= remaining)",
        "CHECK (true)",
    ),
    Patch(
        "services/redeem/migrations/0001_redeem.sql",
        "available_after >= 0 AND held_after >= 0",
        "held_after >= 0",
    ),
    # The domain refuses it first, and spends no more of a lot than there is.
    Patch(
        "services/redeem/domain/spending.py",
        "    if points > there:\n",
        "    if points > there + 1_000_000:\n",
    ),
    Patch(
        "services/redeem/domain/spending.py",
        "        taken = min(points, lot.usable)\n",
        "        taken = points\n",
    ),
    Patch(
        "services/redeem/domain/ledger.py",
        "        assert 0 < points <= lot.usable, (lot.lot_id, points, lot.usable)\n",
        "",
    ),
)
