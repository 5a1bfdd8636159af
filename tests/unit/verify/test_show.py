"""What `pointbank verify` prints: what it compared, by whole names, and in a line how much it could not."""

import io

import pytest
from rich.console import Console

from pointbank.verify.report import Report
from pointbank.verify.show import show

NAME = "redemptions:returned-of-a-merged-wallet"


def printed(*, width: int = 80, unchecked: bool = False) -> list[str]:
    report = Report("acme")
    report.open(
        NAME, 4, "what a redemption took is what its lines say, and nothing else " * 2
    ).compared = 1_234
    report.open("gift_cards:told", 5, "each gift card has its events")
    report.open("tiers:told", 5, "each change of tier has its event")
    report.open(
        "seals:exported", 4, "each exported seal is there"
    ).why_not = "no folder of exported seals was named"
    text = io.StringIO()
    show(report, Console(file=text, width=width, color_system=None), unchecked=unchecked)
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_check_is_named_whole_with_what_it_compared(width: int) -> None:
    [row] = [line for line in printed(width=width) if NAME in line]
    assert "holds" in row
    assert "0 of 1,234" in row


def test_what_compared_nothing_is_one_line_by_why() -> None:
    lines = printed()
    assert (
        "not checked: 2 (nothing to compare), 1 (no folder of exported seals was named); --unchecked lists them"
        in lines
    )
    assert not any("gift_cards:told" in line or "seals:exported" in line for line in lines)
    assert lines[-1].startswith("holds in ")


def test_all_that_compared_nothing_is_listed_where_it_is_asked_for() -> None:
    lines = printed(width=200, unchecked=True)
    [row] = [line for line in lines if "gift_cards:told" in line]
    assert "not checked" in row
    assert "nothing to compare" in row
    assert "not checked: 2 (nothing to compare), 1 (no folder of exported seals was named)" in lines


@pytest.mark.parametrize(
    ("broken", "said"), [(("settled",), "NOT SETTLED in "), (("settled", "ledger:chain"), "BROKEN in ")]
)
def test_what_was_on_its_way_is_told_from_books_that_are_broken(broken: tuple[str, ...], said: str) -> None:
    report = Report("acme")
    for name in broken:
        report.open(name, 1, "it holds").wrong("events of earn not applied by redeem: 12")
    text = io.StringIO()
    show(report, Console(file=text, width=200, color_system=None))
    *_, before, last = text.getvalue().splitlines()
    assert last.startswith(said)
    assert before.startswith("Nothing else is broken: this was on its way.") == (len(broken) == 1)
    assert not report
