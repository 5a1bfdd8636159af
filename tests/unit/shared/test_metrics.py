"""The metrics: exactly the contract's names, and one valid text for several apps."""

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from shared.errors import NotFound
from shared.messaging.commands import Done, Refused
from shared.metrics import Metrics, exposition

# contract.md, "Metrics"
LISTED = """
lane_batch_items lane_batch_seconds lane_items_total relay_lag_events relay_lag_seconds relay_published_total
relay_refilled_total consumer_lag_events consumer_pending_events consumer_acknowledged_total
consumer_reclaimed_total dead_letters retries_total
bills_waiting refunds_open ledger_points_total messages_total http_request_seconds gave_way_seconds_total db_pool_in_use
stream_bytes stream_budget_bytes
invariant_violations reconciliation_differences tenant_unready seal_turn_timestamp_seconds
clock_ahead_seconds
"""
NAMES = LISTED.split()


def samples(*metrics: Metrics) -> dict[tuple[str, ...], float]:
    text = exposition([one.registry for one in metrics]).decode()
    return {
        (sample.name.removeprefix("pointbank_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "le" not in sample.labels
    }


def fresh(service: str = "earn") -> Metrics:
    return Metrics(CollectorRegistry(), service)


def test_the_names_are_the_contracts() -> None:
    text = exposition([fresh().registry]).decode()
    shown = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert shown == {f"pointbank_{name}" for name in NAMES}


def test_a_batch_is_counted_by_what_came_of_its_items() -> None:
    metrics = fresh()
    metrics.wrote("acme", 4, 0.002, [Done(), Done(), Done(replayed=True), Refused(NotFound("no"))])
    found = samples(metrics)
    assert found["lane_batch_items_sum", "earn", "acme"] == 4
    assert found["lane_batch_seconds_count", "earn", "acme"] == 1
    assert [
        found["lane_items_total", "earn", "acme", outcome] for outcome in ("done", "replayed", "refused")
    ] == [2, 1, 1]


def test_the_lag_of_a_service_is_the_sum_over_its_streams() -> None:
    metrics = fresh()
    metrics.consumer("acme", "pos", lag=5, pending=2)
    metrics.consumer("acme", "members", lag=1, pending=0)
    metrics.consumer("other", "pos", lag=9, pending=9)
    metrics.consumer("acme", "pos", lag=3, pending=1)
    found = samples(metrics)
    assert found["consumer_lag_events", "earn", "acme"] == 4
    assert found["consumer_pending_events", "earn", "acme"] == 1


def test_a_code_without_open_dead_letters_goes_back_to_none() -> None:
    metrics = fresh()
    metrics.dead_letters("acme", {"not_json": 2, "type_unknown": 1})
    metrics.dead_letters("other", {"not_json": 7})
    metrics.dead_letters("acme", {"type_unknown": 3})
    found = samples(metrics)
    assert found["dead_letters", "earn", "acme", "not_json"] == 0
    assert found["dead_letters", "earn", "acme", "type_unknown"] == 3
    assert found["dead_letters", "earn", "other", "not_json"] == 7


def test_a_tenant_that_is_served_no_more_is_not_late_with_its_seals() -> None:
    metrics = fresh("redeem")
    metrics.seal_turn("acme", 1_790_000_000.25)
    metrics.seal_turn("other", 1_790_000_300.0)
    assert samples(metrics)["seal_turn_timestamp_seconds", "redeem", "acme"] == 1_790_000_000.25
    metrics.stopped("acme")
    metrics.stopped("acme")
    assert samples(metrics) == {("seal_turn_timestamp_seconds", "redeem", "other"): 1_790_000_300.0}


def test_nothing_stands_open_any_more_with_a_tenant_that_was_let_go() -> None:
    metrics = fresh("redeem")
    for tenant in ("acme", "other"):
        metrics.consumer(tenant, "earn", lag=9_000, pending=40)
        metrics.relay_lag(tenant, 5, 400.0)
        metrics.dead_letters(tenant, {"not_json": 3})
        metrics.differences(tenant, {"lots": 1})
        metrics.bills_waiting(tenant, 2)
        metrics.refunds_open(tenant, {"overdue": 1})
        metrics.pool_in_use(tenant, 1)
        metrics.stream_bytes(tenant, {"service": 400_000_000}, budget=1)
        metrics.clock_ahead(tenant, 3_600.0)
        metrics.seal_turn(tenant, 1_000.0)
        metrics.retried(tenant, "deadlock")
    others = {name: value for name, value in samples(metrics).items() if name[2] == "other"}
    metrics.let_go("acme")
    assert samples(metrics) == others | {("retries_total", "redeem", "acme", "deadlock"): 1}
    metrics.consumer("acme", "tiers", lag=1, pending=0)
    assert samples(metrics)["consumer_lag_events", "redeem", "acme"] == 1


def test_a_tenant_that_rests_is_late_with_its_seals_where_its_last_turn_failed() -> None:
    metrics = fresh("redeem")
    for tenant in ("well", "ill", "mended"):
        metrics.seal_begins(tenant, 1_000.0)
    metrics.seal_turn("well", 1_001.0)
    metrics.rested("well")
    metrics.rested("ill")
    metrics.rested("mended")
    metrics.seal_begins("mended", 1_300.0)
    metrics.seal_turn("mended", 1_301.0)
    metrics.rested("mended")
    assert samples(metrics) == {("seal_turn_timestamp_seconds", "redeem", "ill"): 1_000.0}
    metrics.stopped("ill")
    assert samples(metrics) == {}


def test_several_apps_make_one_text_with_each_family_once() -> None:
    earn, redeem = fresh("earn"), fresh("redeem")
    earn.posted("acme", "earn", 10)
    redeem.posted("acme", "redeem", 4)
    earn.http("acme", '/v1/"odd"', 200, 0.25)
    text = exposition([earn.registry, redeem.registry]).decode()
    assert text.count("# TYPE pointbank_ledger_points_total counter\n") == 1
    assert "_created" not in text
    found = samples(earn, redeem)
    assert found["ledger_points_total", "earn", "acme", "earn"] == 10
    assert found["ledger_points_total", "redeem", "acme", "redeem"] == 4
    assert found["http_request_seconds_sum", "earn", "acme", '/v1/"odd"', "200"] == 0.25
