"""Members are enrolled, told and found, through HTTP on real servers."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from services.members.domain.members import Consent, EnrolMember, Enrolment
from services.members.handlers import ON
from shared.config import Settings
from shared.identity import identity_hash, luhn_valid
from shared.messaging import Done, FromJob, Item, Refused
from shared.tenants import Tenant
from tests.integration.members.conftest import Api
from tests.support.programmes import SHOPS, document
from tests.support.tenants import connect_as, running

Body = dict[str, Any]

CONSENT = {"accepted": True, "terms_version": "2026-01", "accepted_at": "2026-01-20T12:00:00+03:00"}


def person(n: int, **more: Any) -> Body:
    """Somebody new: other numbers, the same shape as the contract's example."""
    return {
        "external_id": f"crm-{n}",
        "mobile": f"+96650{n:07}",
        "email": f"noor{n}@example.com",
        "name": "Noor Haddad",
        "locale": "ar",
        "channel": "store",
        "programmes": ["shops"],
        "consent": CONSENT,
        **more,
    }


def enrolment(**identities: Any) -> Enrolment:
    consent = Consent(True, "2026-01", datetime(2026, 1, 20, tzinfo=UTC))
    return Enrolment("en", "store", ("shops",), consent, **identities)


@pytest_asyncio.fixture(loop_scope="module")
async def db(settings: Settings, tenant: Tenant) -> Any:
    """Reads as the auditor, who sees every schema and writes to none."""
    connection = await connect_as(settings, tenant, "auditor")
    try:
        yield connection
    finally:
        await connection.close()


Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def told(db: Db, subject: str) -> list[Body]:
    """The events about a subject, in their order."""
    rows = await db.fetch("SELECT payload FROM members.outbox ORDER BY id")
    events = [msgspec.json.decode(row["payload"]) for row in rows]
    return [event for event in events if event["subject"] == subject]


@pytest_asyncio.fixture(loop_scope="module")
async def shops(api: Api) -> Api:
    if (await api.get("/v1/programmes/shops")).status_code == 404:
        await api.activated()
    return api


async def test_a_member_gets_a_wallet_and_a_card_and_is_told(shops: Api, db: Db, tenant: Tenant) -> None:
    answer = await shops.post("/v1/members", person(1))
    assert answer.status_code == 201, answer.text
    member = answer.json()
    [wallet] = member["wallets"]
    number = wallet["card"]["card_number"]
    assert list(member) == ["member_id", "status", "locale", "wallets"]
    assert (member["status"], member["locale"], wallet["programme"]) == ("active", "ar", "shops")
    assert re.fullmatch(r"627015[0-9]{10}", number)
    assert luhn_valid(number)
    assert UUID(member["member_id"]).version == UUID(wallet["wallet_id"]).version == 7

    enrolled, issued = await told(db, member["member_id"])
    key = tenant.identity_key
    assert (enrolled["type"], enrolled["source"], enrolled["sequence"]) == (
        "member.enrolled.v1",
        "/members",
        "000000000001",
    )
    assert enrolled["data"]["identities"] == [
        {"kind": "mobile", "hash": identity_hash(key, "mobile", "+966500000001").hex()},
        {"kind": "email", "hash": identity_hash(key, "email", "noor1@example.com").hex()},
        {"kind": "external_id", "hash": identity_hash(key, "external_id", "crm-1").hex()},
    ]
    assert enrolled["data"]["wallets"] == [{"programme": "shops", "wallet_id": wallet["wallet_id"]}]
    assert enrolled["data"]["consented"] is True
    assert (issued["type"], issued["sequence"]) == ("card.issued.v1", "000000000002")
    assert issued["data"]["card_id"] == wallet["card"]["card_id"]
    assert issued["data"]["identities"] == [
        {"kind": "card_id", "hash": identity_hash(key, "card_id", wallet["card"]["card_id"]).hex()},
        {"kind": "card_number", "hash": identity_hash(key, "card_number", number).hex()},
    ]


async def test_each_identity_finds_the_same_member(shops: Api) -> None:
    member = (await shops.post("/v1/members", person(2))).json()
    card = member["wallets"][0]["card"]
    identities = [
        {"external_id": "crm-2"},
        {"mobile": "+966 50 000 0002"},
        {"email": "Noor2@Example.com"},
        {"card_id": card["card_id"]},
        {"card_number": card["card_number"]},
        {"member_id": member["member_id"]},
    ]
    found = [await shops.post("/v1/members/lookup", identity) for identity in identities]
    assert [answer.status_code for answer in found] == [200] * 6
    assert [answer.json() for answer in found] == [member] * 6
    assert (await shops.get(f"/v1/members/{member['member_id']}")).json() == member


@pytest.mark.parametrize(
    ("identity", "status", "code", "pointer"),
    [
        ({"external_id": "crm-none"}, 404, "not_found", None),
        ({"member_id": "01a1f82f-1e80-7e31-ab64-3c44f7a0ec82"}, 404, "not_found", None),
        ({}, 422, "identity_ambiguous", ""),
        ({"mobile": "+966501234567", "email": "a@example.com"}, 422, "identity_ambiguous", ""),
        ({"mobile": "0501234567"}, 422, "identity_malformed", "/mobile"),
        ({"card_number": "6270158304941179"}, 422, "card_check_digit", "/card_number"),
        ({"card_number": "4111111111111111"}, 422, "payment_card_number", "/card_number"),
        ({"passport": "x"}, 422, "field_unknown", "/passport"),
    ],
)
async def test_a_look_up_that_finds_nobody_says_why(
    shops: Api, identity: Body, status: int, code: str, pointer: str | None
) -> None:
    answer = await shops.post("/v1/members/lookup", identity)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert [error["pointer"] for error in problem.get("errors", [])] == ([] if pointer is None else [pointer])


async def test_an_identity_is_one_members_and_a_refusal_leaves_nothing_behind(shops: Api, db: Db) -> None:
    await shops.post("/v1/members", person(3))
    before = await db.fetchval("SELECT count(*) FROM members.members")
    refused = await shops.post("/v1/members", person(4, mobile="+966500000003"))
    assert (refused.status_code, refused.json()["code"]) == (409, "identity_taken")
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/mobile"]
    assert await db.fetchval("SELECT count(*) FROM members.members") == before
    # the e-mail and the external id of the refused one are free still
    assert (await shops.post("/v1/members", person(4))).status_code == 201


async def test_who_told_a_member_of_it_is_kept_and_told_and_is_never_oneself(shops: Api, db: Db) -> None:
    by = (await shops.post("/v1/members", person(900))).json()
    ways = [
        {"mobile": "+966 50 000 0900"},
        {"member_id": by["member_id"]},
        {"card_id": by["wallets"][0]["card"]["card_id"]},
    ]
    for n, way in enumerate(ways, start=901):
        friend = (await shops.post("/v1/members", person(n, referred_by=way))).json()
        [enrolled, _] = await told(db, friend["member_id"])
        assert enrolled["data"]["referred_by"] == by["member_id"]
        kept = await db.fetchval(
            "SELECT referred_by::text FROM members.members WHERE member_id = $1", UUID(friend["member_id"])
        )
        assert kept == by["member_id"]
    assert "referred_by" not in (await told(db, by["member_id"]))[0]["data"]
    before = await db.fetchval("SELECT count(*) FROM members.members")
    refused = [
        await shops.post("/v1/members", person(907, referred_by=way))
        for way in (
            {"mobile": "+966500000907"},
            {"email": "nobody@example.com"},
            {"member_id": "01a1f82f-1e80-7e31-ab64-3c44f7a0ec82"},
            {"mobile": "+966500000900", "email": "noor900@example.com"},
        )
    ]
    assert [(one.status_code, one.json()["code"], one.json()["errors"][0]["pointer"]) for one in refused] == [
        (422, "referral_to_oneself", "/referred_by/mobile"),
        (422, "member_unknown", "/referred_by/email"),
        (422, "member_unknown", "/referred_by/member_id"),
        (422, "identity_ambiguous", "/referred_by"),
    ]
    assert await db.fetchval("SELECT count(*) FROM members.members") == before


async def test_many_who_want_the_same_identity_at_once_get_it_once(shops: Api, db: Db) -> None:
    answers = await asyncio.gather(
        *[shops.post("/v1/members", person(100 + n, email="one@example.com")) for n in range(20)]
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] + [409] * 19
    winner = next(answer.json() for answer in answers if answer.status_code == 201)
    assert (await shops.post("/v1/members/lookup", {"email": "one@example.com"})).json() == winner
    # whoever was refused may come again with an address of their own
    free = next(n for n, answer in enumerate(answers) if answer.status_code == 409)
    assert (await shops.post("/v1/members", person(100 + free))).status_code == 201
    orphans = "SELECT count(*) FROM members.identities LEFT JOIN members.members USING (member_id) WHERE enrolled_at IS NULL"
    assert await db.fetchval(orphans) == 0


async def test_a_batch_gives_an_identity_to_the_first_who_is_admitted(
    shops: Api, settings: Settings, tenant: Tenant, db: Db
) -> None:
    await shops.post("/v1/members", person(5, external_id="crm-taken"))
    # One batch: the first wants a free mobile but somebody's external id; the others want that mobile.
    wanted = [
        enrolment(mobile="+966500000006", external_id="crm-taken"),
        enrolment(mobile="+966500000006", external_id="crm-b7"),
        enrolment(mobile="+966500000006", external_id="crm-b8"),
        enrolment(external_id="crm-b8"),
    ]
    async with running(settings, tenant, "members", ON) as runtime:
        items = [Item(EnrolMember(one), FromJob("import"), request_id="r", actor="test") for one in wanted]
        outcomes = await runtime.lane.submit_many(items)
    assert [one.refusal.code if isinstance(one, Refused) else one.status for one in outcomes] == [
        "identity_taken",
        201,
        "identity_taken",
        201,
    ]
    second, fourth = [msgspec.json.decode(one.body) for one in outcomes if isinstance(one, Done)]
    assert (await shops.post("/v1/members/lookup", {"mobile": "+966500000006"})).json() == second
    assert (await shops.post("/v1/members/lookup", {"external_id": "crm-b7"})).json() == second
    assert (await shops.post("/v1/members/lookup", {"external_id": "crm-b8"})).json() == fourth


async def test_a_repeat_under_the_same_key_gets_the_first_answer(shops: Api, db: Db) -> None:
    first = await shops.post("/v1/members", person(8), key="enrol-8")
    again = await shops.post("/v1/members", person(8), key="enrol-8")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await told(db, first.json()["member_id"])) == 2
    other = await shops.post("/v1/members", person(9), key="enrol-8")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("more", "status", "code", "pointer"),
    [
        ({"consent": None}, 422, "field_missing", "/consent"),
        ({"consent": CONSENT | {"accepted": False}}, 422, "consent_required", "/consent/accepted"),
        (
            {"consent": CONSENT | {"accepted_at": "2999-01-01T00:00:00Z"}},
            422,
            "occurred_in_future",
            "/consent/accepted_at",
        ),
        (
            {"consent": CONSENT | {"accepted_at": "2026-01-01T00:00:00"}},
            422,
            "field_type",
            "/consent/accepted_at",
        ),
        (
            {"consent": CONSENT | {"accepted_at": "0001-01-01T00:00:00+03:00"}},
            422,
            "field_type",
            "/consent/accepted_at",
        ),
        ({"programmes": ["shops", "none"]}, 422, "programme_unknown", "/programmes/1"),
        ({"programmes": []}, 422, "field_type", "/programmes"),
        ({"mobile": "12345"}, 422, "identity_malformed", "/mobile"),
        ({"email": "nobody"}, 422, "identity_malformed", "/email"),
        ({"email": "noor10@example.com\u200b"}, 422, "identity_malformed", "/email"),
        ({"name": "card 4111 1111 1111 1111"}, 422, "payment_card_number", "/name"),
        ({"channel": "fax"}, 422, "field_type", "/channel"),
        ({"member_id": "x"}, 422, "field_unknown", "/member_id"),
    ],
)
async def test_who_can_not_take_part_is_told_why(
    shops: Api, more: Body, status: int, code: str, pointer: str
) -> None:
    answer = await shops.post("/v1/members", person(10, **more))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_without_programmes_a_member_is_in_every_active_one(shops: Api) -> None:
    hotels = document()
    hotels["programme"] |= {"code": "hotels", "card_prefix": "62701600"}
    await shops.activated(hotels)
    await shops.post("/v1/programmes", document(programme=SHOPS["programme"] | {"code": "drafted"}))
    body = person(11)
    del body["programmes"]
    member = (await shops.post("/v1/members", body)).json()
    assert [wallet["programme"] for wallet in member["wallets"]] == ["hotels", "shops"]
    assert member["wallets"][0]["card"]["card_number"][:8] == "62701600"
    assert len(member["wallets"][0]["card"]["card_number"]) == 16


async def test_personal_data_stand_in_contacts_alone(
    shops: Api, db: Db, settings: Settings, tenant: Tenant
) -> None:
    body = person(12, name="Laila Unmistakable", email="laila.unmistakable@example.com")
    member = (await shops.post("/v1/members", body)).json()
    tables = await db.fetch(
        "SELECT table_schema, table_name FROM information_schema.tables"
        " WHERE table_schema IN ('members', 'earn', 'redeem', 'tiers', 'notifier') AND table_type = 'BASE TABLE'"
    )
    holding = []
    for schema, table in [tuple(row) for row in tables]:
        query = f'SELECT count(*) FROM {schema}."{table}" AS t WHERE lower(t::text) LIKE $1'
        hexed = "%" + b"unmistakable".hex() + "%"
        if await db.fetchval(query, "%unmistakable%") or await db.fetchval(query, hexed):
            holding.append(f"{schema}.{table}")
    assert holding == ["members.contacts"]
    contact = await db.fetchrow(
        "SELECT * FROM members.contacts WHERE member_id = $1", UUID(member["member_id"])
    )
    assert contact is not None
    assert contact["mobile"] == "+966500000012"


async def test_an_enrolment_is_audited_without_the_persons_data(shops: Api, db: Db) -> None:
    member = (await shops.post("/v1/members", person(13))).json()
    row = await db.fetchrow("SELECT * FROM members.audit WHERE object = $1", f"member/{member['member_id']}")
    assert row is not None
    assert (row["action"], row["actor"], row["before"]) == ("member.enrol", "test-crm", None)
    assert row["place"] == "203.0.113.7"
    after = msgspec.json.decode(row["after"])
    assert after["identities"] == ["mobile", "email", "external_id"]
    assert after["wallets"] == {"shops": member["wallets"][0]["wallet_id"]}


async def test_consents_are_never_changed_or_deleted(
    shops: Api, db: Db, settings: Settings, tenant: Tenant
) -> None:
    await shops.post("/v1/members", person(14))
    service = await connect_as(settings, tenant, "members")
    try:
        for change in (
            "UPDATE consents SET terms_version = 'x'",
            "DELETE FROM consents",
            "TRUNCATE consents",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(change)
    finally:
        await service.close()


async def test_cards_are_looked_up_by_role(shops: Api) -> None:
    answer = await shops.post("/v1/members", person(15), role="auditor")
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


async def test_a_member_that_is_nobody_is_not_found(shops: Api) -> None:
    answer = await shops.get("/v1/members/01a1f82f-1e80-7e31-ab64-3c44f7a0ec82")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await shops.get("/v1/members/nobody")).status_code == 404
