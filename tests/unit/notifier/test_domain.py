"""Which events have something to say, and to whom a reply goes."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from services.notifier.domain import is_over, message_id_of, news_of, pause_after, replies_of, wallet_of
from shared.events import ActRecorded, Balance, BillRecorded, BillRejected, PointsCredited, TierChanged
from shared.ids import uuid7
from shared.money import worth

MEMBER, WALLET, BILL = (UUID(int=n) for n in (1, 2, 3))
AT = datetime(2026, 11, 22, 8, 31, tzinfo=UTC)


def credited(kind: str = "earn", points: int = 108) -> PointsCredited:
    nothing = worth(0, "0.10", "SAR")
    return PointsCredited(
        posting_id=UUID(int=4),
        kind=kind,
        wallet_id=WALLET,
        member_id=MEMBER,
        programme="shops",
        bill_id=BILL,
        effective_at=AT,
        posted_at=AT,
        credited=worth(points, "0.10", "SAR"),
        lots=(),
        balance=Balance(available=nothing, held=nothing, reserved=nothing),
    )


def changed(from_: str | None, to: str, direction: str) -> TierChanged:
    return TierChanged(
        wallet_id=WALLET,
        member_id=MEMBER,
        programme="shops",
        programme_version=1,
        from_=from_,
        to=to,
        name={"en": "Gold", "ar": "ذهبي"},
        benefits=(),
        metric="points",
        numbers={"points": 1000},
        effective_at=AT,
        until=None,
        direction=direction,
    )


@pytest.mark.parametrize(("kind", "template"), [("earn", "earned"), ("earn_held", "earned_held")])
def test_earning_is_told_with_its_points_and_money(kind: str, template: str) -> None:
    assert news_of(credited(kind)) == (template, '{"points":108,"amount_minor":1080,"currency":"SAR"}')


def test_other_postings_are_not_told() -> None:
    assert news_of(credited("return")) is None


def test_a_message_is_about_the_wallet_that_has_the_points() -> None:
    assert wallet_of(credited()) == WALLET
    merged = msgspec.structs.replace(credited(), resolved_wallet=UUID(int=5))
    assert wallet_of(merged) == UUID(int=5)
    assert wallet_of(changed("silver", "gold", "up")) == WALLET


def test_points_that_will_expire_are_no_news_once_they_have() -> None:
    facts = '{"points":1,"amount_minor":10,"currency":"SAR","days":7,"expires_at":"2026-11-22T08:31:00Z"}'
    assert is_over("expiring", facts, AT)
    assert not is_over("expiring", facts, AT - timedelta(microseconds=1))
    assert not is_over("expiring", '{"points":1,"days":7}', AT), "it was made before messages kept when"
    assert not is_over("earned", facts, AT)


def test_an_upgrade_is_told_with_the_tiers_names() -> None:
    told = news_of(changed("silver", "gold", "up"))
    assert told is not None
    template, facts = told
    assert (template, msgspec.json.decode(facts)) == ("reached", {"tier": {"en": "Gold", "ar": "ذهبي"}})


@pytest.mark.parametrize(
    ("from_", "to", "direction"),
    [
        (None, "blue", "entry"),
        ("gold", "gold", "kept"),
        ("gold", "silver", "down"),
        ("bronze", "blue", "moved"),
    ],
)
def test_no_other_change_of_tier_is_told(from_: str | None, to: str, direction: str) -> None:
    assert news_of(changed(from_, to, direction)) is None


def test_a_message_has_one_id_for_ever_made_of_what_it_tells() -> None:
    causes = sorted(str(uuid7()) for _ in range(100))
    ids = [message_id_of(cause, "earned", "log") for cause in causes]
    assert ids == [message_id_of(cause, "earned", "log") for cause in causes]
    others = [
        message_id_of(cause, *how) for cause in causes for how in (("reached", "log"), ("earned", "sms"))
    ]
    assert len({*causes, *ids, *others}) == 400
    assert [one[:24] for one in ids] == [cause[:24] for cause in causes], "they sort as the events do"
    assert all(UUID(one).version == 7 and str(UUID(one)) == one for one in ids)
    assert (
        message_id_of("019a7f3e-0000-7000-8000-000000000000", "earned", "log")
        == "019a7f3e-0000-7000-8000-28decc16a941"
    )


def test_a_bill_goes_to_its_till_unless_it_came_by_http() -> None:
    by_http = BillRecorded(
        bill_id=BILL, status="earned", merchant="m", bill_ref="r", occurred_at=AT, accruals=()
    )
    assert replies_of(by_http, b"{}") == []
    by_till = msgspec.structs.replace(by_http, stream_id="1-0", source="/pos/m/T1", event_id="r")
    assert replies_of(by_till, b"{}") == [("/pos/m/T1", b"{}")]


def test_an_act_goes_to_who_told_it_by_stream_and_a_sign_up_to_nobody() -> None:
    of_itself = ActRecorded(
        act_id=BILL, status="earned", act="sign_up", act_ref="r", merchant=None, occurred_at=AT, accruals=()
    )
    assert replies_of(of_itself, b"{}") == []
    told = msgspec.structs.replace(of_itself, stream_id="1-0", source="/app", event_id="r")
    assert replies_of(told, b"{}") == [("/app", b"{}")]


def test_an_entry_that_nobody_could_read_has_a_reply_too() -> None:
    unreadable = BillRejected(
        stream_id="1-0", source=None, event_id=None, merchant=None, bill_ref=None, code="not_json", detail="-"
    )
    assert replies_of(unreadable, b"{}") == [(None, b"{}")]


def test_pauses_double_and_end_at_an_hour() -> None:
    assert timedelta(seconds=0.5) <= pause_after(1) <= timedelta(seconds=1)
    assert timedelta(seconds=4) <= pause_after(4) <= timedelta(seconds=8)
    assert timedelta(minutes=30) <= pause_after(70) <= timedelta(hours=1)
