import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from deploy.env import redis_password
from shared.messaging.keys import HEARERS, Keys, heard_by
from shared.messaging.scripts import HEAD, PUBLISH, RESET, VOUCH
from shared.messaging.watch import hints_key

Valkey = Callable[[Path], AbstractContextManager[Path]]
As = Callable[..., Any]
KEYS = Keys(cell="main", tenant="acme")
TOP = {name: KEYS.stream(name) for name in HEARERS}


def connect(socket: str, user: str | None, password: str | None) -> Any:
    retry = Retry(NoBackoff(), 0)
    return Redis(unix_socket_path=socket, username=user, password=password, retry=retry)


@pytest.fixture(scope="module")
def socket(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server as docker-compose.yml runs it, with the users of deploy/redis/users.acl and no other."""
    with valkey(tmp_path_factory.mktemp("valkey")) as listening:
        yield str(listening)


@pytest.fixture
def log_in(socket: str) -> Iterator[As]:
    """A client as one of the users, on an empty server with the streams of tenant acme."""
    clients: list[Any] = []

    def as_user(user: str, password: str | None = None) -> Any:
        known = password or redis_password("root of the tests", user)
        clients.append(connect(socket, user, known))
        return clients[-1]

    admin = as_user("admin")
    admin.flushall()
    for service, stream in TOP.items():
        admin.eval(PUBLISH, 2, stream, KEYS.head(service), "1", "", "aa", "pg", '{"n": 1}')
    admin.xadd(KEYS.pos, {"event": "a bill"})
    yield as_user
    for client in clients:
        client.close()


def refused(call: Callable[..., object], *arguments: Any, **more: Any) -> bool:
    try:
        call(*arguments, **more)
    except NoPermissionError:
        return True
    return False


def test_nobody_gets_in_without_a_password_or_with_anothers(log_in: As, socket: str) -> None:
    with pytest.raises(AuthenticationError, match="already authenticated"):
        connect(socket, None, None).ping()
    with pytest.raises(AuthenticationError):
        log_in("earn", redis_password("root of the tests", "tiers")).ping()


def test_the_file_holds_no_password(secrets_directory: Path) -> None:
    users = (secrets_directory / "var" / "users.acl").read_text()
    assert len(re.findall(r" #[0-9a-f]{64} ", users)) == 12
    assert re.findall(r" >(\S+)", users) == ["health"]


def test_it_keeps_everything_it_is_told_and_evicts_nothing(log_in: As) -> None:
    known = log_in("admin").config_get("append*", "maxmemory*", "save")
    assert (known["appendonly"], known["appendfsync"], known["save"]) == ("yes", "everysec", "")
    assert (known["maxmemory"], known["maxmemory-policy"]) == ("1073741824", "noeviction")


def test_the_users_of_tills_outlive_it_and_ours_come_anew(valkey: Valkey, tmp_path: Path) -> None:
    password = redis_password("root of the tests", "admin")
    with valkey(tmp_path) as socket:
        admin = connect(str(socket), "admin", password)
        ours = set(admin.acl_users())
        admin.acl_setuser("pb-acme-tills", enabled=True, passwords=["+secret"], commands=["+ping"])
        admin.acl_setuser("stray", enabled=True, nopass=True, commands=["+ping"])
        assert admin.acl_save() is True
    with valkey(tmp_path) as socket:
        assert set(connect(str(socket), "admin", password).acl_users()) == ours | {"pb-acme-tills"}
        assert connect(str(socket), "pb-acme-tills", "secret").ping() is True


def test_who_answers_health_checks_can_do_nothing_else(log_in: As) -> None:
    health = log_in("health", "health")
    assert health.ping() is True
    assert refused(health.xlen, KEYS.pos)
    assert refused(health.get, "anything")


@pytest.mark.parametrize("service", HEARERS)
def test_a_service_hears_its_streams_and_no_other(log_in: As, service: str) -> None:
    client = log_in(service)
    heard = {
        name
        for name, stream in {**TOP, "pos": KEYS.pos}.items()
        if not refused(client.xgroup_create, stream, service, id="0", mkstream=True)
    }
    assert heard == {*heard_by(service), *(["pos"] if service == "earn" else [])}
    for name in heard:
        stream = KEYS.pos if name == "pos" else TOP[name]
        ((_, entries),) = client.xreadgroup(service, "one", {stream: ">"}, count=10)
        ids = [entry_id for entry_id, _ in entries]
        assert len(ids) == 1
        assert client.xinfo_consumers(stream, service)[0]["pending"] == 1
        assert client.xinfo_groups(stream)[0]["name"] == service.encode()
        assert len(client.xpending_range(stream, service, "-", "+", 10, idle=0)) == 1
        assert len(client.xclaim(stream, service, "two", min_idle_time=0, message_ids=ids)) == 1
        assert client.xack(stream, service, *ids) == 1
        assert client.xgroup_delconsumer(stream, service, "one") == 0
    for name in heard_by(service):
        assert client.get(KEYS.refill(name)) is None
        assert client.set(KEYS.refill(name), 1) is True


@pytest.mark.parametrize("service", HEARERS)
def test_a_service_writes_no_service_stream_and_trims_only_its_own(log_in: As, service: str) -> None:
    client = log_in(service)
    for name, stream in TOP.items():
        assert refused(client.xadd, stream, {"event": "forged"})
        assert refused(client.xdel, stream, "1-0")
        assert refused(client.xtrim, stream, minid="1-0") is (name != service)
        assert refused(client.delete, stream)
        assert refused(client.hset, KEYS.head(name), "n", 9)
    assert refused(client.xadd, KEYS.pos, {"event": "forged"})


@pytest.mark.parametrize("service", HEARERS)
def test_a_relay_writes_its_own_stream_and_no_other(log_in: As, service: str) -> None:
    relay = log_in(f"{service}-relay")
    written = {
        name
        for name, stream in TOP.items()
        if not refused(relay.eval, PUBLISH, 2, stream, KEYS.head(name), 2, "aa", "bb", "pg", "e")
    }
    assert written == {service}
    own, head = TOP[service], KEYS.head(service)
    assert relay.eval(HEAD, 2, own, head) == [b"2", b"2", b"bb", b"1", b"pg"]
    assert relay.eval(VOUCH, 1, head, "2", "bb", "pg") == 1
    assert relay.eval(RESET, 2, own, head, "2", "2", "bb", "1", "aa", "pg") == 1
    assert relay.get(KEYS.refill(service)) is None
    assert relay.delete(KEYS.refill(service)) == 0
    assert refused(relay.xadd, KEYS.pos, {"event": "forged"})


@pytest.mark.parametrize("service", HEARERS)
def test_a_service_watches_what_it_hears_for_tenants_at_rest_and_may_ask_others_to_wake_them(
    log_in: As, service: str
) -> None:
    client = log_in(service)
    hints = hints_key("main")
    heard = [*(TOP[name] for name in heard_by(service)), *([KEYS.pos] if service == "earn" else [])]
    assert client.xadd(hints, {"tenants": "acme"})
    seen = client.xread(dict.fromkeys([hints, *heard], "0"))
    assert {name.decode() for name, _ in seen} == {hints, *heard}
    assert refused(client.xread, {TOP[service]: "0"})
    assert refused(client.delete, hints)


def test_notifier_and_earn_tell_outsiders_and_earn_alone_forgets_what_they_offered(log_in: As) -> None:
    # Earn's reply to a bill that is offered again is no new fact: it goes to the till's stream alone.
    telling = {name for name in HEARERS if not refused(log_in(name).xadd, KEYS.out("till"), {"event": "e"})}
    assert telling == {"notifier", "earn"}
    forgetting = {name for name in HEARERS if not refused(log_in(name).xdel, KEYS.pos, "1-0")}
    assert forgetting == {"earn"}


def test_earn_alone_sets_a_stream_back_in_which_a_till_took_the_highest_id_and_no_other_stream(
    log_in: As,
) -> None:
    pos = Keys("main", "emptied").pos
    log_in("admin").xgroup_create(pos, "earn", mkstream=True)
    for name in HEARERS:
        client = log_in(name)
        mine = not refused(client.execute_command, "XSETID", pos, "0-1")
        assert mine == (not refused(client.xgroup_setid, pos, "earn", "0-1")) == (name == "earn")
        assert refused(client.execute_command, "XSETID", TOP[name], "0-1")


def test_a_service_asks_how_large_its_own_streams_are_and_no_others(log_in: As) -> None:
    log_in("admin").xadd(KEYS.out("till"), {"event": "e"})
    streams = {**TOP, "pos": KEYS.pos, "out": KEYS.out("till")}
    told = {
        (name, stream)
        for name in HEARERS
        for stream, key in streams.items()
        if not refused(log_in(name).memory_usage, key, samples=5)
    }
    assert told == {(name, name) for name in HEARERS} | {("earn", "pos"), ("notifier", "out")}


def test_a_service_sees_the_heads_of_what_it_hears_and_no_others(log_in: As) -> None:
    # Whose copy a stream is, is asked before it is heard; how far members is published, by earn's waiting bills.
    seen = {
        (name, head)
        for name in HEARERS
        for head in HEARERS
        if not refused(log_in(name).hget, KEYS.head(head), "n")
    }
    assert seen == {(name, head) for name in HEARERS for head in heard_by(name)}


def test_nobody_but_the_administrator_can_empty_or_look_around(log_in: As) -> None:
    for user in (*HEARERS, *(f"{service}-relay" for service in HEARERS)):
        client = log_in(user)
        for command in ("FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST", "SCAN 0", "MONITOR", "SHUTDOWN"):
            assert refused(client.execute_command, *command.split()), (user, command)


def made_as_the_file_says(admin: Any, root: Path) -> str:
    """Does what the head of the file has an administrator do for one till; its name."""
    text = (root / "deploy" / "redis" / "users.acl").read_text()
    told = re.findall(r"^#   ACL (.+)$", text, flags=re.MULTILINE)
    for line in told:
        admin.execute_command("ACL", *re.findall(r"\([^)]*\)|\S+", line))
    name: str = told[0].split()[1]
    return name


def test_a_till_made_as_the_file_says_outlives_redis_in_compose_and_with_sentinels(
    root: Path, valkey: Valkey, tmp_path: Path
) -> None:
    password = redis_password("root of the tests", "admin")
    with valkey(tmp_path) as socket:
        name = made_as_the_file_says(connect(str(socket), "admin", password), root)
    with valkey(tmp_path) as socket:
        assert connect(str(socket), name, "password").ping() is True
    for file in ("docker-compose.yml", "deploy/k8s/examples/valkey.yaml"):
        kept = set(re.findall(r"grep '\^user ([^']+)'", (root / file).read_text()))
        assert kept == {"pb-"}, file
    assert name.startswith("pb-")


def test_a_till_made_as_the_file_says_offers_bills_and_reads_its_own_replies(root: Path, log_in: As) -> None:
    admin = log_in("admin")
    name = made_as_the_file_says(admin, root)
    for till in ("riyadh-mall.T03", "riyadh-mall.T04"):
        admin.xadd(KEYS.out(till), {"event": "a reply"})

    till = log_in(name, "password")
    assert till.xadd(KEYS.pos, {"event": "a bill"})
    assert len(till.xread({KEYS.out("riyadh-mall.T03"): "0"})) == 1
    assert len(till.xrevrange(KEYS.out("riyadh-mall.T03"), count=1)) == 1
    assert refused(till.xread, {KEYS.out("riyadh-mall.T04"): "0"})
    assert refused(till.xrange, KEYS.pos)
    assert refused(till.xadd, Keys(cell="main", tenant="other").pos, {"event": "a bill"})
    assert [refused(till.xrange, key) for key in TOP.values()] == [True] * 5


def test_the_auditor_reads_what_the_oracle_compares_and_changes_nothing(log_in: As) -> None:
    auditor = log_in("auditor")
    for service, stream in TOP.items():
        with auditor.pipeline(transaction=True) as pipe:
            pipe.hmget(KEYS.head(service), "n", "hash")
            pipe.xinfo_stream(stream)
            assert pipe.execute()[0] == [b"1", b"aa"]
        assert len(auditor.xrange(stream)) == 1
        assert refused(auditor.xadd, stream, {"event": "x"})
        assert refused(auditor.delete, stream)
    assert refused(auditor.xadd, KEYS.pos, {"event": "x"})
