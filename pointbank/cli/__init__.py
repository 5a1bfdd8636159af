"""The command line. `pointbank --help` teaches; commands that answer with data take `--json`.

Each command imports what it needs when it runs: help and mistakes are told at once.
"""

import sys
from io import TextIOWrapper


def main() -> None:
    """The entry point: mistakes and expected failures end in one line that says what to do, and exit code 2. So does a bug, with
    its traceback: 1 is what a command found."""
    from pointbank.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        # A name in Arabic is told on a terminal that has no such letters, too.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(app(prog_name="pointbank", standalone_mode=False))
    except Exception as error:  # noqa: BLE001  # a bug is told, too
        from pointbank.cli.failures import expected
        from pointbank.cli.say import err

        said = expected(error)
        if said is None:
            sys.excepthook(type(error), error, error.__traceback__)
            sys.exit(2)
        # A group without a command is not mistaken: it is asked what there is.
        line = said if said.startswith("Usage:") else f"pointbank: {said}"
        err.print(line, style=None if line is said else "red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
