"""Tables of the command line: ids and codes stand whole, however narrow the place where they are printed."""

import io

import pytest
from rich.console import Console

from pointbank.cli import say

ID = "01a20261-6110-7623-a101-67553939c87e"
DETAIL = "total_minor is 10400, and the lines of this bill add up to 10500"


def printed(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, width: int) -> list[str]:
    monkeypatch.setattr(
        say, "out", Console(width=width, file=io.StringIO(), force_terminal=terminal, color_system=None)
    )
    table = say.table_of("*id", "service", "*code", "detail", "state")
    table.add_row(ID, "earn", "total_mismatch", DETAIL, "open")
    say.print_table(table)
    text = say.out.file
    assert isinstance(text, io.StringIO)
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80])
def test_on_a_narrow_terminal_ids_and_codes_are_whole_and_words_are_folded(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    lines = printed(monkeypatch, terminal=True, width=width)
    assert any(ID in line and "total_mismatch" in line for line in lines)
    assert not any(DETAIL in line for line in lines)
    assert "…" not in "".join(lines)


def test_in_a_pipe_a_row_is_one_line_with_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    [row] = [line for line in printed(monkeypatch, terminal=False, width=80) if ID in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        ID,
        "earn",
        "total_mismatch",
        DETAIL,
        "open",
    ]


def test_one_is_no_plural() -> None:
    found = [say.counted(n, "wallet") for n in (0, 1, 1_234)]
    assert found == ["0 wallets", "1 wallet", "1,234 wallets"]
    assert say.counted(2, "entry", "entries") == "2 entries"


def test_what_a_till_wrote_is_no_markup_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(say, "out", say.console(width=80, file=io.StringIO()))
    table = say.table_of("*bill", "detail")
    table.add_row("A:100:B", "[/lines] is [red]not[/red] what [link=x]it[/link] was")
    say.print_table(table)
    say.out.print("owner [bold] of :warning:")
    text = say.out.file
    assert isinstance(text, io.StringIO)
    *_, row, _, line = text.getvalue().splitlines()
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "A:100:B",
        "[/lines] is [red]not[/red] what [link=x]it[/link] was",
    ]
    assert line == "owner [bold] of :warning:"


def test_in_a_pipe_a_sentence_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(say, "out", say.console(width=80, file=io.StringIO()))
    say.out.print(f"buckets of {ID}: " + "a long word, " * 20)
    text = say.out.file
    assert isinstance(text, io.StringIO)
    assert len(text.getvalue().splitlines()) == 1
