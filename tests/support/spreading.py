"""How the suite is spread over workers: a file is run by one of them, and so are tests that share running processes.

What takes longest begins first: the many quick tests at the end fill whatever time one worker is ahead of another.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

SHARED = {
    "tests/flows/": ("[all in one", "[two replicas"),  # the forms of its fleet
    "tests/gate/": ("",),
}
"""Folder -> a part of the ids of its tests; tests that share it share processes and a town, which cost more than they do."""
FIRST = (
    "tests/flows/[two replicas",
    "tests/flows/codes/test_codes.py",
    "tests/faults/",
    "tests/mutations/",
    "tests/flows/[all in one",
    "tests/flows/",
    "tests/integration/verify/",
    "tests/gate/",
)
"""The beginnings of the scopes that take longest."""


def scope_of(nodeid: str) -> str:
    """What one worker runs as a whole: a file, or the tests that share something."""
    file = nodeid.partition("::")[0]
    for folder, parts in SHARED.items():
        for part in parts:
            if file.startswith(folder) and "/" not in file.removeprefix(folder) and part in nodeid:
                return folder + part
    return file


def rank(scope: str) -> int:
    """The lower, the earlier."""
    return next((n for n, start in enumerate(FIRST) if scope.startswith(start)), len(FIRST))


class Spreading(LoadScopeScheduling):  # type: ignore[misc]
    """xdist's `loadfile`, with these scopes in this order."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(
            min(self.workqueue, key=rank), last=False
        )  # of equals, the first that was found
        super()._assign_work_unit(node)
