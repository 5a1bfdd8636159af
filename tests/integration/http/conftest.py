from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs


@pytest.fixture
def log_lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged during the test, with what is bound to its context."""
    with capture_logs(processors=[merge_contextvars]) as lines:
        yield lines
