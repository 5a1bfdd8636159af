"""Makes the secrets of a deployment from one root secret: `.env` and the Redis users, or Kubernetes Secrets.

    python3 -m deploy.env                        writes .env and var/users.acl, for docker-compose.yml
    python3 -m deploy.env --kubernetes           prints the Secrets that deploy/k8s/base refers to
    python3 -m deploy.env --users                prints the Redis users of this release, of the root that there is

POINTBANK_SECRET is the root secret; without it one is made, and --users takes that of .env. Of a cell
that is not `main` POINTBANK_CELL tells --users: they may what is in that cell. The same root gives the same secrets
again. Of another root POINTBANK_IDENTITY_SECRET keeps the identities: give it as it was, or no member is found again
(docs/operating.md).
It needs nothing but Python, so it runs before anything is installed.
"""

import argparse
import hashlib
import json
import os
import re
import secrets
import string
import sys
from collections.abc import Mapping
from pathlib import Path

from shared import credentials

SERVICES = ("members", "earn", "redeem", "tiers", "notifier")
AUDITOR = "auditor"
USERS = Path(__file__).parent / "redis" / "users.acl"
CELL = "main"
"""As it stands in the template."""
_ROOT = re.compile(r"""^(?:export +)?POINTBANK_SECRET *= *(["']?)(.*?)\1 *$""", re.MULTILINE)


def redis_password(root: str, user: str) -> str:
    """The password of a Redis user; `earn` and `earn-relay` both come from earn's own secret."""
    return credentials.role_password(
        credentials.service_secret(root, user.removesuffix("-relay")), f"redis:{user}"
    )


def redis_url(root: str, user: str, address: str) -> str:
    """What POINTBANK_REDIS_URL (or POINTBANK_RELAY_REDIS_URL) is for that user."""
    return f"redis://{user}:{redis_password(root, user)}@{address}/0"


def redis_users(root: str, cell: str = CELL) -> str:
    """The ACL file of a cell's Redis, with hashes where the template names a password: reading it lets nobody in."""

    class Hashes(dict[str, str]):
        def __missing__(self, user: str) -> str:
            return "#" + hashlib.sha256(redis_password(root, user).encode()).hexdigest()

    class Template(string.Template):
        idpattern = "[a-z-]+"

    template = USERS.read_text().replace(f"{{{CELL}}}", f"{{{cell}}}")
    lines = Template(template).substitute(Hashes()).splitlines()
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))


def root_in(env: Path) -> str | None:
    """The root secret of an `.env` as Compose reads it: the last line that says it counts, quotes around it do not."""
    found = _ROOT.findall(env.read_text()) if env.exists() else []
    return found[-1][1] if found else None


def identity_secret(root: str, known: str | None = None) -> str:
    """What identities are hashed with: as it is known, else the root's."""
    return known or credentials.service_secret(root, "identity")


def compose(root: str, identity: str | None = None) -> dict[str, str]:
    """The variables of docker-compose.yml that are secrets."""
    known = {
        "POINTBANK_SECRET": root,
        "POINTBANK_IDENTITY_SECRET": identity_secret(root, identity),
        "POSTGRES_PASSWORD": credentials.role_password(credentials.service_secret(root, "admin"), "postgres"),
        "ADMIN_REDIS_PASSWORD": redis_password(root, "admin"),
        "GRAFANA_PASSWORD": credentials.role_password(credentials.service_secret(root, "admin"), "grafana"),
    }
    for service in SERVICES:
        name = service.upper()
        known[f"{name}_SECRET"] = credentials.service_secret(root, service)
        known[f"{name}_REDIS_PASSWORD"] = redis_password(root, service)
        known[f"{name}_RELAY_REDIS_PASSWORD"] = redis_password(root, f"{service}-relay")
    return known


def kubernetes(
    root: str, *, postgres_dsn: str, redis: str, identity: str | None = None
) -> list[dict[str, object]]:
    """One Secret per service, the administrator's and the auditor's, under the names and keys that deploy/k8s/base refers to."""

    def secret(name: str, values: Mapping[str, str]) -> dict[str, object]:
        labels = {"app.kubernetes.io/part-of": "pointbank"}
        metadata = {"name": f"pointbank-{name}", "labels": labels}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": "Opaque",
            "stringData": dict(values),
        }

    made = [
        secret(
            "admin",
            {
                "postgres-dsn": postgres_dsn,
                "secret": root,
                "identity-secret": identity_secret(root, identity),
                "redis-url": redis_url(root, "admin", redis),
            },
        )
    ]
    for service in SERVICES:
        values = {
            "service-secret": credentials.service_secret(root, service),
            "identity-secret": identity_secret(root, identity),
            "redis-url": redis_url(root, service, redis),
            "relay-redis-url": redis_url(root, f"{service}-relay", redis),
        }
        made.append(secret(service, values))
    reads = {
        "service-secret": credentials.service_secret(root, AUDITOR),
        "redis-url": redis_url(root, AUDITOR, redis),
    }
    return [*made, secret(AUDITOR, reads)]


def main(arguments: list[str] | None = None) -> int:
    """Writes or prints, and never overwrites an `.env`: passwords in the database come from the root in it."""
    parser = argparse.ArgumentParser(
        prog="deploy.env", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--directory", type=Path, default=Path(), help="where .env and var/users.acl are written"
    )
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument(
        "--kubernetes", action="store_true", help="print Secrets instead, a JSON document that kubectl reads"
    )
    printed.add_argument("--users", action="store_true", help="print the ACL file of Redis instead")
    parser.add_argument("--postgres-dsn", help="with --kubernetes: the DSN of a database administrator")
    parser.add_argument(
        "--redis", default="valkey:6379", help="with --kubernetes: host:port of Redis or Valkey"
    )
    given = parser.parse_args(arguments)
    if given.users:
        there = os.environ.get("POINTBANK_SECRET") or root_in(given.directory / ".env")
        if not there:
            parser.error("--users needs POINTBANK_SECRET, or an .env that has it")
        sys.stdout.write(redis_users(there, os.environ.get("POINTBANK_CELL") or CELL))
        return 0
    root = os.environ.get("POINTBANK_SECRET") or secrets.token_hex(32)
    identity = os.environ.get("POINTBANK_IDENTITY_SECRET")

    if given.kubernetes:
        if not given.postgres_dsn:
            parser.error("--kubernetes needs --postgres-dsn")
        items = kubernetes(root, postgres_dsn=given.postgres_dsn, redis=given.redis, identity=identity)
        json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout, indent=2)
        return 0

    env = given.directory / ".env"
    given.directory.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(env, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.stderr.write(f"{env} is there already and is kept: the passwords in the database come from it.\n")
        return 1
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in compose(root, identity).items())
    users = given.directory / "var" / "users.acl"
    users.parent.mkdir(exist_ok=True)
    users.write_text(redis_users(root))
    sys.stderr.write(f"wrote {env} (keep it, and keep it secret) and {users}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
