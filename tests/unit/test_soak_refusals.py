"""Whom a fault has met is read from what servers say of it."""

from __future__ import annotations

from pathlib import Path

from tests.soak.nemesis.refusals import LogSince, logins_refused, refused, writes_refused

AT = "2026-11-26 19:22:01.042 UTC [4711] "


def test_the_errors_that_redis_has_answered_are_counted_by_their_code() -> None:
    told = {"errorstat_OOM": {"count": 7}, "errorstat_NOGROUP": {"count": 1}}
    assert refused(told) == {"OOM": 7, "NOGROUP": 1}
    assert refused(told)["READONLY"] == 0


def test_a_service_whose_login_was_refused_was_met_and_the_harness_that_looks_was_not() -> None:
    full = "FATAL:  sorry, too many clients already"
    assert logins_refused(f"{AT}pb_t1_earn@pb_t1 {full}\n{AT}pb_t1_redeem@pb_t1 {full}\n") == 2
    reserved = "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute"
    assert logins_refused(f"{AT}pb_control@pointbank {reserved}\n") == 1
    assert logins_refused(f"{AT}pb_t1_auditor@pb_t1 {full}\n{AT}postgres@postgres {full}\n") == 0
    ended = "FATAL:  terminating connection due to administrator command"
    assert logins_refused(f"{AT}pb_t1_earn@pb_t1 {ended}\n") == 0


def test_a_write_without_room_was_met() -> None:
    grown = 'ERROR:  could not extend file "base/16384/2619": No space left on device'
    panic = 'PANIC:  could not write to file "pg_wal/xlogtemp.44": No space left on device'
    assert writes_refused(f"{AT}pb_t1_earn@pb_t1 {grown}\n{AT}{panic}\n{AT}LOG:  started\n") == 2


def test_what_a_log_said_before_is_not_counted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    since = LogSince(log)
    with log.open("a") as more:
        more.write("since\n")
    assert since.text() == "since\n"
