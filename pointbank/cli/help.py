"""How help tells what there is: commands under headings, each in a whole sentence."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

_WHOLE = 1_000
"""Letters that the first sentence of a command may have: it is never cut off."""


class Told(TyperGroup):
    """A group whose help has a section for each heading (`rich_help_panel`) of its commands, in their order."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the sections; a sentence that is longer than the line goes on below."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            headings.setdefault(heading, []).append((name, command.get_short_help_str(_WHOLE)))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)
