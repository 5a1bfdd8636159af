"""`python -m pointbank.embedded FOLDER`: the servers in the foreground, until a signal or the end of its parent."""

import json
import signal
import sys
from pathlib import Path

from pointbank import embedded


def main() -> None:
    """Prints one JSON line when both are ready."""
    waited_for = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    try:
        with embedded.servers(Path(sys.argv[1])) as servers:
            pids = [server.pid for server in (servers.postgres, servers.valkey) if server]
            line = {"postgres_dsn": servers.postgres_dsn, "redis_url": servers.redis_url, "pids": pids}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            signal.sigwait(waited_for)
    except embedded.CannotStart as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
