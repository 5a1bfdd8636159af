"""Whether the bank answers what a refund asks of the points that paid: without that answer no refund is closed."""

import pytest

from services.redeem.handlers import ON
from shared.events import ReturnRequested

answered = pytest.mark.skipif(
    ReturnRequested not in ON, reason="redeem has no handler of points.return_requested.v1 yet"
)
