"""Which alerts were made to fire by real services, and by which test; docs/runbook.md says so of each."""

import re
from pathlib import Path

import pytest

from tests.deploy.test_observing import alerts, runbook
from tests.integration import test_alerts
from tests.soak import alarms
from tests.soak.alarms import TRIALS

NOT_TRIED: dict[str, str] = {
    "PointbankJobFailed": "there is no cluster, and so nobody who tells of its Jobs",
    "PointbankJobNotDone": "there is no cluster, and so nobody who tells of its CronJobs",
}
"""Alerts that no test makes fire with real services, and why."""

QUICK = frozenset(re.findall(r'"(Pointbank\w+)"', Path(test_alerts.__file__).read_text()))
SLOW = frozenset().union(*TRIALS.values())
HOW = {"tests/integration/test_alerts.py": QUICK, "tests/soak/test_alarms.py": SLOW}


def test_each_alert_was_made_to_fire_or_is_named_with_the_reason_why_not() -> None:
    assert QUICK | SLOW | NOT_TRIED.keys() == alerts().keys()
    assert not (QUICK | SLOW) & NOT_TRIED.keys()
    assert all(NOT_TRIED.values())


@pytest.mark.parametrize("alert", alerts())
def test_the_runbook_says_of_each_alert_how_it_was_tried(alert: str) -> None:
    said = runbook()[alert].partition("\nTried: ")[2]
    assert said, f"{alert} has no `Tried:`"
    named = set(re.findall(r"\((tests/\w+/\w+\.py)\)", said))
    assert named == {file for file, tried in HOW.items() if alert in tried}


def test_a_trial_waits_for_each_alert_that_it_is_said_to_see() -> None:
    source = "".join(file.read_text() for file in Path(alarms.__file__).parent.glob("*.py"))
    waited = set(re.findall(r'\.fires\(\s*"(\w+)"', source))
    gone = set(re.findall(r'\.goes\(\s*"(\w+)"', source))
    assert waited == SLOW
    assert waited - gone == {
        "PointbankMessagesRepeated",  # goes by itself, after an hour
        "PointbankInvariantViolated",  # goes with the process that counted
    }
