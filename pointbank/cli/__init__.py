"""The command line. `pointbank --help` teaches; commands that answer with data take `--json`.

Each command imports what it needs when it runs: help and mistakes are told at once.
"""

import sys


def main() -> None:
    """The entry point: expected failures end in one line that says what to do, and exit code 2."""
    from pointbank.cli.app import app

    try:
        app()
    except Exception as error:
        from pointbank.cli.failures import expected
        from pointbank.cli.say import err

        said = expected(error)
        if said is None:
            raise
        err.print(f"pointbank: {said}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
