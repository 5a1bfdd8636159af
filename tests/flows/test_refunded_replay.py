"""The cancellations of an Online Retail file as refunds, and books that a script without our code finds right."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest

from pointbank.retail.online_retail import invoices
from pointbank.retail.replay import RefundSummary, replay
from pointbank.running import running
from shared.tenants.provision import dsn_for
from tests.flows.test_replay import sales
from tests.support.returns import answered

pytestmark = answered

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pointbank-refunded-"))
    made.chmod(0o711)
    yield made
    rmtree(made)


def test_cancellations_become_refunds_and_the_books_are_right_by_another_arithmetic(folder: Path) -> None:
    file = sales(folder)
    with file.open("a") as more:
        # The second of these gives back more than the latest bill has: the rest is of the one before.
        more.write("C500061,85123A,HOLDER,-3,2010-12-01T09:45:00,1,C2\n")
        more.write("C500062,85123A,HOLDER,-30,2010-12-01T09:46:00,1,C2\n")
        more.write("C500063,85123A,HOLDER,-5,2010-12-01T09:47:00,1,\n")
    for name in [name for name in os.environ if name.startswith("POINTBANK_")]:
        del os.environ[name]
    with running(folder / "var") as deployment:
        told = asyncio.run(
            replay(
                deployment,
                list(invoices(file)),
                journal=folder / "var" / "till-retail.jsonl",
                say=lambda _: None,
                refunds=True,
            )
        )
        assert isinstance(told, RefundSummary)
        assert (told.invoices, told.cancellations, told.bills, told.points) == (64, 4, 60, 720)
        assert told.verified
        assert (told.matched, told.matched_in_part, told.unmatched, told.cancelled_lines) == (2, 0, 2, 4)
        assert (told.refunded_minor, told.reversed) == (3300, 31)
        dsn = dsn_for(deployment.settings, "pb_retail")
        checked = subprocess.run(
            [sys.executable, "docs/online_retail_check.py", str(file), dsn],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.endswith("4 members: 720 points earned, 31 reversed, 689 left; 0 members differ\n")
