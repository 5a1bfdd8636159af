"""Traces cost nothing where no endpoint is set, and say what is missing where one is."""

import sys
from pathlib import Path

import pytest

from shared.config import NotConfigured
from shared.messaging.lane import Lane
from shared.traces import ENDPOINTS, open_traces

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)


def test_without_an_endpoint_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_traces("earn") is None
    monkeypatch.setenv(ENDPOINTS[0], "")
    assert open_traces("earn") is None


def test_an_endpoint_without_the_libraries_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENDPOINTS[0], "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(NotConfigured, match=r"pip install 'pointbank\[otel\]'"):
        open_traces("earn")


def test_the_lane_of_a_process_without_traces_knows_nothing_of_them() -> None:
    assert not {name for name in vars(Lane) if "trace" in name.lower()}
    assert "trace" not in (ROOT / "shared" / "messaging" / "lane.py").read_text().lower().replace(
        "traceback", ""
    )
