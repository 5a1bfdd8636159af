"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pointbank.cli.asking import a_url

HERE = "http://127.0.0.1:8080"

Url = Annotated[
    str, typer.Option("--url", envvar="POINTBANK_URL", callback=a_url, help="Where the API is served.")
]
State = Annotated[
    Path,
    typer.Option(
        "--state", envvar="POINTBANK_STATE", help="Folder for the servers' data, keys and journals."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for machines.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port to listen on.")]
TenantOption = Annotated[str, typer.Option("--tenant", envvar="POINTBANK_TENANT", help="The tenant's code.")]
AllTenants = Annotated[
    bool,
    typer.Option(
        "--all", help="Every active tenant of the cell; one's failure is its own. Exit 1 if any failed."
    ),
]
VAR = Path("var")
