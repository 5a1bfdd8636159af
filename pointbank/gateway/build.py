"""The gateway's files for HAProxy: routes from the interface's own document, keys from the JWKS, the rest from an operator.

`pointbank gateway` writes a folder: haproxy.cfg, routes.map, a PEM for each key, and allow.lst and limits.map where there
are none yet. Two runs on the same input write the same.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pointbank.allinone import merged_openapi, service_of
from pointbank.gateway.errors import CannotBuild
from shared.errors import PROBLEMS
from shared.http.auth import LEEWAY_S, MAX_TOKEN_BYTES
from shared.http.keys import Key, fits, import_keys
from shared.http.shell import MOST_BYTES
from shared.messaging.keys import SERVICES
from shared.tenants import CODE

ALGORITHMS = ("RS256", "ES256")
"""What HAProxy verifies of what the services do: it knows no EdDSA."""

WINDOW_S = 10
MOST_AUDIENCES = 8
"""Of a token's list of audiences so many are looked at."""
MOST_LOGGED = 1024
"""Of a path so many bytes are logged; an escape makes six of one at most."""
SEGMENT = "[A-Za-z0-9._~:-]{1,255}"
"""What stands for a parameter in a path: ids and codes; nothing of ours needs an escape."""

_KID = re.compile(r"[A-Za-z0-9._~+/=:-]{1,255}")
_PLAIN = re.compile(r"[\x21\x23-\x26\x28-\x5b\x5d-\x7e]{1,255}")  # no space, quote or backslash
_ADDRESS = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
_PATH = re.compile(r"[A-Za-z0-9._/-]+")


@dataclass(frozen=True, slots=True)
class Choices:
    """What an operator decides. `folder` is where HAProxy will find the files; `backends` are host:port of each service.

    With `dns` (nameservers as host:port) each name may have up to `replicas` addresses, asked for again all the time.
    `limit`: calls of one tenant in WINDOW_S, where limits.map names no other. `connections`: of callers, at once. `tls`: a PEM with
    certificate and key.
    """

    issuer: str
    audience: str
    folder: str
    backends: Mapping[str, Sequence[str]]
    bind: str = ":8080"
    metrics: str = ":8405"
    dns: Sequence[str] = ()
    replicas: int = 10
    limit: int = 1000
    connections: int = 4096
    tls: str | None = None
    proxy_protocol: bool = False


def routes(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each path of the interface: (regular expression, service, methods), the more exact before the less."""
    made = []
    for path, operations in document["paths"].items():
        service = service_of(path)
        if service is None:
            raise CannotBuild(f"no service answers {path}: add it to PLACES in pointbank/allinone.py")
        steps = [SEGMENT if step.startswith("{") else re.escape(step) for step in path.split("/")]
        exactness = [step.startswith("{") for step in path.split("/")]
        possible = {method.upper() for method in operations}
        for other, more in document["paths"].items():
            if other != path and _may_be(path, other, more):
                possible |= {method.upper() for method in more}
        methods = ",".join(sorted(possible))
        made.append((exactness, path, f"^{'/'.join(steps)}$", service, methods))
    return [(pattern, service, methods) for _, _, pattern, service, methods in sorted(made)]


def _may_be(path: str, other: str, operations: Mapping[str, Any]) -> bool:
    """Whether an address of this exact path is one of the `other` too, for a code may be any of its words: a reward may be called
    `affordable`. An id is none of them."""
    steps, others = path.split("/"), other.split("/")
    if len(steps) != len(others):
        return False
    named = {
        one["name"]: one["schema"]
        for operation in operations.values()
        for one in operation.get("parameters", ())
        if one["in"] == "path"
    }
    return all(
        step == place
        or (
            place.startswith("{")
            and not step.startswith("{")
            and named.get(place[1:-1], {}).get("format") != "uuid"
        )
        for step, place in zip(steps, others, strict=True)
    )


def files(choices: Choices, jwks: bytes, document: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The files by their names."""
    found = routes(merged_openapi() if document is None else document)
    keys = _keys(jwks)
    for name, value in (("issuer", choices.issuer), ("audience", choices.audience)):
        if not _PLAIN.fullmatch(value):
            raise CannotBuild(
                f"the {name} {value!r} has a space, a quote or a backslash: HAProxy can't be told it"
            )
    if set(choices.backends) != set(SERVICES) or not all(choices.backends.values()):
        raise CannotBuild(f"a backend is needed for each of {', '.join(SERVICES)}")
    addresses = [one for servers in choices.backends.values() for one in servers] + list(choices.dns)
    for address in addresses:
        if not _ADDRESS.fullmatch(address):
            raise CannotBuild(f"{address!r} is no host:port")
    for path in (choices.folder, choices.tls or "none"):
        if not _PATH.fullmatch(path):
            raise CannotBuild(f"{path!r}: only letters, digits, dots, dashes and slashes are possible here")
    template = Environment(  # noqa: S701  # this is no HTML  # nosec B701
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, keep_trailing_newline=True
    ).get_template("haproxy.cfg")
    text = template.render(
        {name: getattr(choices, name) for name in Choices.__dataclass_fields__},
        keys=[{"kid": key.kid, "alg": key.alg, "file": key.file, "alone": key.alone} for key in keys],
        methods=sorted({method for _, _, methods in found for method in methods.split(",")}),
        backends={service: choices.backends[service] for service in SERVICES},
        names=sorted({one for servers in choices.backends.values() for one in servers if not _numeric(one)}),
        most_audiences=MOST_AUDIENCES,
        tenant_reg=CODE.pattern,
        most_bytes=MOST_BYTES,
        most_log_bytes=8 * MOST_LOGGED,
        most_logged=MOST_LOGGED,
        most_token_bytes=MAX_TOKEN_BYTES,
        leeway_s=int(LEEWAY_S),
        window_s=WINDOW_S,
        refuse=_refuse,
        failed=_failed,
    )
    return {
        "haproxy.cfg": text,
        "routes.map": "".join(f"{pattern} {service}:{methods}\n" for pattern, service, methods in found),
        **{key.file: key.pem for key in keys},
    }


def _numeric(server: str) -> bool:
    """Whether host:port needs no nameserver."""
    try:
        ip_address(server.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True


OPERATORS = {
    "allow.lst": "# Who may call: an address or a network a line.\n0.0.0.0/0\n::/0\n",
    "limits.map": f"# Tenant, and how many calls in {WINDOW_S} s all its callers may make together.\n",
}
"""Files that are an operator's to write; made once, so that there is something to change."""


def write(folder: Path, made: Mapping[str, str]) -> list[str]:
    """Writes the files, and the operator's where there are none; keys of before are removed. Gives what it wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("key-*.pem"):
        old.unlink()
    wanted = {**{name: text for name, text in OPERATORS.items() if not (folder / name).exists()}, **made}
    for name, text in wanted.items():
        (folder / name).write_text(text)
    return sorted(wanted)


@dataclass(frozen=True, slots=True)
class _Signer:
    kid: str | None
    alg: str
    alone: bool
    file: str
    pem: str


def _keys(jwks: bytes) -> list[_Signer]:
    usable: list[tuple[Key, str]] = [
        (key, alg) for key in import_keys(jwks) for alg in ALGORITHMS if fits(key, alg)
    ]
    if not usable:
        raise CannotBuild(f"the JWKS has no key for {' or '.join(ALGORITHMS)}: HAProxy verifies nothing else")
    each = Counter(alg for _, alg in usable)
    made = []
    for number, (key, alg) in enumerate(usable, 1):
        if key.kid is not None and not _KID.fullmatch(key.kid):
            raise CannotBuild(f"the key id {key.kid!r} has characters that HAProxy can't be told")
        pem = key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        made.append(_Signer(key.kid, alg, each[alg] == 1, f"key-{number}.pem", pem))
    return made


def _body(code: str, detail: str, status: int | None = None) -> str:
    known = PROBLEMS[code]
    problem = {
        "type": f"/problems/{code}",
        "title": known.title,
        "status": status or known.status,
        "code": code,
        "detail": detail,
        "request_id": "%[var(txn.request_id)]",
    }
    return json.dumps(problem, separators=(",", ":"))


def _refuse(code: str, detail: str, headers: str = "") -> str:
    """A rule's action: the problem, as a service would say it."""
    more = f" {headers}" if headers else ""
    return (
        f"return status {PROBLEMS[code].status} content-type application/problem+json{more} "
        f"lf-string '{_body(code, detail)}'"
    )


def _failed(status: int) -> str:
    """What HAProxy answers by itself. To what is no HTTP at all it says 400 in words of its own, which can't be changed."""
    match status:
        case 400:
            return _body("malformed_json", "This is no HTTP request that can be passed on.")
        case 408:
            return _body("malformed_json", "The request did not come to its end in time.", 408)
        case 500:
            return _body("internal_error", "This is our mistake. It is logged under the request id.")
        case _:
            return _body(
                "tenant_unavailable",
                "No service answered. It is not known what was written: ask again with the same key.",
            )


def servers_of(given: Iterable[str]) -> dict[str, list[str]]:
    """`service=host:port` as often as wanted; a service that is not named is at its own name, port 8000."""
    made: dict[str, list[str]] = {}
    for one in given:
        service, _, address = one.partition("=")
        if service not in SERVICES:
            raise CannotBuild(f"{one!r}: a backend is {'|'.join(SERVICES)}=host:port")
        made.setdefault(service, []).append(address)
    return {service: made.get(service, [f"{service}:8000"]) for service in SERVICES}
