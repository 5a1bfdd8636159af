"""Failures that are no bugs: of a setting, a server that is away, input that is none."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, None}
"""Of an OSError that names no file: a network that leads nowhere; None where several addresses were tried, each in vain."""
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def expected(error: Exception) -> str | None:
    """What to tell of it, in one line; None of what is a bug."""
    import typer

    if isinstance(error, typer.TyperException):
        return _mistaken(error)
    return _failed(error)


def _mistaken(error: Any) -> str:
    said: str = error.format_message().removeprefix("Invalid value: ").rstrip(".\n")
    if (context := getattr(error, "ctx", None)) is None or said.endswith("?"):
        return said
    return f"{said}; see `{context.command_path} --help`"


def _failed(error: Exception) -> str | None:
    import asyncpg
    import redis
    from pydantic import ValidationError
    from redis.exceptions import RedisError

    from pointbank.api import CallFailed
    from pointbank.cli.verifying import CouldNotCheck
    from pointbank.embedded import CannotStart
    from pointbank.files.balances import FileUnreadable as BalancesUnreadable
    from pointbank.files.stock import FileUnreadable as StockUnreadable
    from pointbank.gateway.errors import CannotBuild
    from pointbank.journal import JournalBroken, JournalInUse
    from pointbank.logins import NotServed, UnknownTenant
    from pointbank.operating.dead_letters import KeptInPart
    from pointbank.operating.moving import CannotMove
    from pointbank.operating.streams import ForkUnknown, NotDrained, NothingToAdopt, StreamMoves
    from pointbank.retail.online_retail import NotOnlineRetail
    from pointbank.till import Unanswered
    from pointbank.tokens import NoKeys
    from pointbank.verify import NotSettled
    from services.redeem.domain.lost_seals import NoSealsLost
    from services.redeem.domain.seal import NotOurSeal, SealBusy
    from services.redeem.jobs.exporting import SealsForked
    from shared.config import NotConfigured, Settings
    from shared.errors import Refusal
    from shared.login import ShutOut
    from shared.messaging.faults import passing
    from shared.messaging.relay import Halted
    from shared.tenants.counting import TooFarBehind
    from shared.tenants.provision import TenantCodeInvalid

    match error:
        case ValidationError() if error.title == Settings.__name__:
            found = error.errors(include_url=False, include_input=False)
            wrong = [one for one in found if one["type"] != "default_factory_not_called"]  # only follows
            return "; ".join(
                f"POINTBANK_{'_'.join(map(str, e['loc'])).upper()}: {e['msg'].removeprefix('Value error, ')}"
                for e in wrong
            )
        case asyncpg.ClientConfigurationError():
            return f"POINTBANK_POSTGRES_DSN: {error}"
        case asyncpg.InvalidCatalogNameError():
            return f"{error}. Is the tenant made, and `pointbank migrate` run?"
        case ShutOut():
            return f"{error}. `pointbank migrate` lets a service in again; is the tenant suspended, `pointbank tenant resume` does"
        case asyncpg.InvalidAuthorizationSpecificationError():
            asked = (
                "POINTBANK_SECRET the one the tenant was made with"
                if '"pb_' in str(error)
                else "the login of POINTBANK_POSTGRES_DSN right"
            )
            return f"PostgreSQL refuses the login: {error}. Is {asked}?"
        case (
            asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError() | asyncpg.UndefinedFunctionError()
        ):
            return f"the tables are not those of this release: {error}. `pointbank migrate`, then give the command again"
        case asyncpg.QueryCanceledError():
            return f"PostgreSQL: {error}. Give the command again when it has less to do"
        case asyncpg.PostgresError() | asyncpg.InterfaceError() | asyncpg.InternalClientError() if passing(
            error
        ) and not isinstance(error, ValueError):
            return f"PostgreSQL: {error}. It passes: give the command again"
        case redis.ConnectionError() | redis.TimeoutError():
            return f"Redis: {str(error).rstrip('.')}. Is POINTBANK_REDIS_URL right?"
        case RedisError():
            return f"Redis: {str(error).rstrip('.')}. Look at it, then give the command again"
        case NotConfigured() if os.environ.get("POINTBANK_POSTGRES_DSN"):
            return str(error)  # who has what a running `up` gives finds nothing more there
        case NotConfigured():
            return f"{error}; beside a running `pointbank up`: `. var/pointbank.env`"
        case CannotStart() | TenantCodeInvalid() | UnknownTenant() | NotOnlineRetail():
            return str(error)
        case CouldNotCheck():
            return f"could not check: {error}"
        case Refusal():
            return error.detail
        case SealBusy():
            return f"{error}; there will be one seal, and it is that one's"
        case (
            CannotBuild()
            | CannotMove()
            | KeptInPart()
            | NotServed()
            | CallFailed()
            | NoKeys()
            | BalancesUnreadable()
            | StockUnreadable()
            | JournalBroken()
            | JournalInUse()
            | TooFarBehind()
            | Unanswered()
            | NotSettled()
            | SealsForked()
        ):
            return str(error)
        case NothingToAdopt() | NoSealsLost() | NotOurSeal() | NotDrained() | ForkUnknown() | StreamMoves():
            return f"nothing was changed: {error}"
        case Halted():
            return f"the stream is halted: {error}. `pointbank stream adopt --dry-run` tells what is to be decided"
        case OSError() if isinstance(error.filename, str):
            return f"{error.filename}: {error.strerror}"
        case OSError() if error.errno in NO_ROOM:
            return f"what was to be written could not be: {error.strerror}"
        case ConnectionError() | TimeoutError() | socket.gaierror():
            return _postgres_away(error)
        case OSError() if error.errno in NO_WAY:
            return _postgres_away(error)
        case _:
            return None


def _postgres_away(error: OSError) -> str:
    said = str(error) or "no answer in time"
    return f"PostgreSQL can't be reached: {said}. Is POINTBANK_POSTGRES_DSN (or _HOST, _PORT) right?"
