"""`make run`: the whole road once, at a glance: bills from a till to the ledger, tiers and messages, and the proof."""

from __future__ import annotations

from pathlib import Path


def demo(state: Path) -> int:
    """Starts what is needed in `state`, shows one run, stops again; 0 when every check holds, else 1."""
    import asyncio

    from rich.console import Console

    from pointbank.demo.run import run
    from pointbank.running import running

    console = Console()
    with running(state) as deployment:
        console.print(f"Running: {deployment.how}", highlight=False, soft_wrap=True)
        return 0 if asyncio.run(run(deployment, state=state, console=console)) else 1
