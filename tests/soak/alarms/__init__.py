"""What makes each alert fire, and what the runbook says to do about it, done: a trial for each cause, beside one another."""

from collections.abc import Mapping
from itertools import chain

from tests.soak.alarms.calls import a_lane_and_calls_are_slow, members_are_not_ready, nobody_is_watched, probe
from tests.soak.alarms.clocks import a_clock_is_wrong
from tests.soak.alarms.gateway import (
    Door,
    DoorTrial,
    a_pod_hangs,
    connections_run_out,
    dns_is_away,
    no_gateway,
    nobody_is_left,
)
from tests.soak.alarms.money import (
    books_differ,
    dead_letters_rise,
    messages_repeat_and_a_process_is_down,
    seal_late,
)
from tests.soak.alarms.pipe import (
    a_lane_retries,
    a_lock_holds_a_consumer_up,
    bills_wait,
    consumers_are_silent,
    refunds_are_overdue,
)
from tests.soak.alarms.relays import (
    a_dead_letter_lies,
    a_pool_is_empty,
    redis_forgets_and_is_away,
    relays_halt,
)
from tests.soak.alarms.room import streams_grow_too_large
from tests.soak.alarms.site import Site, Trial

__all__ = ["ALONE", "AT_THE_DOOR", "TOGETHER", "TRIALS", "Door", "DoorTrial", "Site", "Trial", "probe"]

TOGETHER: Mapping[Trial, frozenset[str]] = {
    books_differ: frozenset({"PointbankBooksDiffer"}),
    seal_late: frozenset({"PointbankSealLate"}),
    dead_letters_rise: frozenset({"PointbankDeadLettersRising"}),
    messages_repeat_and_a_process_is_down: frozenset(
        {"PointbankMessagesRepeated", "PointbankDown", "PointbankMessagesFailing"}
    ),
    a_lock_holds_a_consumer_up: frozenset({"PointbankConsumerLagging", "PointbankConsumerStuck"}),
    consumers_are_silent: frozenset({"PointbankConsumersReclaiming"}),
    bills_wait: frozenset({"PointbankBillsWaiting"}),
    refunds_are_overdue: frozenset({"PointbankRefundsOverdue"}),
    a_lane_retries: frozenset({"PointbankLaneRetrying", "PointbankInvariantViolated"}),
    a_lane_and_calls_are_slow: frozenset({"PointbankLaneSlow", "PointbankHttpSlow"}),
    nobody_is_watched: frozenset({"PointbankAbsent"}),
    members_are_not_ready: frozenset(
        {"PointbankNotReady", "PointbankTenantNotReady", "PointbankHttpErrorsFast", "PointbankHttpErrorsSlow"}
    ),
}
"""Beside one another on one fleet."""

ALONE: Mapping[Trial, frozenset[str]] = {
    relays_halt: frozenset({"PointbankRelayHalted", "PointbankInvariantViolated"}),
    a_pool_is_empty: frozenset({"PointbankPoolExhausted"}),
    a_dead_letter_lies: frozenset({"PointbankDeadLetters"}),
    a_clock_is_wrong: frozenset({"PointbankClockWrong"}),
    redis_forgets_and_is_away: frozenset(
        {"PointbankStreamRebuilt", "PointbankRelayLagging", "PointbankRelayStuck"}
    ),
    streams_grow_too_large: frozenset({"PointbankStreamsTooLarge"}),
}
"""On another fleet; the first by itself and the last by itself, for they stop all of it."""

AT_THE_DOOR: Mapping[DoorTrial, frozenset[str]] = {
    a_pod_hangs: frozenset({"PointbankReplicasOut"}),
    nobody_is_left: frozenset({"PointbankServiceUnreached", "PointbankCallersFail"}),
    dns_is_away: frozenset({"PointbankGatewayNamesAway"}),
    connections_run_out: frozenset({"PointbankGatewayFull"}),
    no_gateway: frozenset({"PointbankGatewayAway", "PointbankDown"}),
}
"""Beside one another, before the pods of one gateway."""

TRIALS = dict[object, frozenset[str]](chain(TOGETHER.items(), ALONE.items(), AT_THE_DOOR.items()))
"""Each trial, and the alerts that it sees fire."""
