"""What Prometheus answers where an overlay asks it how much waits."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.test_observing import promtool, told
from tests.deploy.test_overlays import documents

__all__ = ["promtool"]
"""A fixture."""

LAG = 'pointbank_consumer_lag_events{{job="pointbank",service="{service}",tenant="{tenant}",pod="{pod}"}}'


def queries() -> dict[str, str]:
    return {
        one["metadata"]["name"]: one["spec"]["triggers"][0]["metadata"]["query"]
        for one in documents("prod/scale.yaml")
    }


def judged(query: str, series: dict[str, int], answer: int | None) -> dict[str, Any]:
    """A test of promtool's: what is asked after two minutes in which these stood so."""
    samples = [] if answer is None else [{"labels": "{}", "value": answer}]
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": f"{value}x8"} for name, value in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": "2m", "exp_samples": samples}],
    }


@pytest.mark.parametrize("service", queries())
def test_what_waits_counts_once_a_tenant_and_nobody_who_tells_is_not_nothing(
    promtool: str, tmp_path: Path, service: str
) -> None:
    def lag(tenant: str, pod: str, of: str = service) -> str:
        return LAG.format(service=of, tenant=tenant, pod=pod)

    query, up, down = (
        queries()[service],
        {'up{job="pointbank",pod="a"}': 1},
        {'up{job="pointbank",pod="a"}': 0},
    )
    waits = {
        lag("acme", "a"): 3000,
        lag("acme", "b"): 2900,
        lag("other", "a"): 40,
        lag("acme", "a", "nobody"): 9,
    }
    file = tmp_path / "scale_test.yml"
    tests = [
        judged(query, {**up, **waits}, 3040),
        judged(query, up, 0),
        judged(query, down, None),
        judged(query, {}, None),
    ]
    file.write_text(yaml.safe_dump({"rule_files": [], "tests": tests}))
    assert "SUCCESS" in told(promtool, "test", "rules", file)
