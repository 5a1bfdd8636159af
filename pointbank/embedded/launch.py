"""The last step before a server's own program; run as a script, once per server, never imported.

It ties the server's life to its parent's and gives up root, which PostgreSQL refuses. A process of its own does
this because a function run between fork and exec may deadlock in a parent with threads.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
NOBODY = 65534


def enter_user_namespace(libc: ctypes.CDLL) -> None:
    """Root outside, nobody inside: files stay root's and keep their modes, and no capability survives exec."""
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "a user namespace is not allowed here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} {gid} 1")


def become(uid: int, gid: int) -> None:
    """For good: real, effective and saved ids."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main(identity: str, death_signal: str, parent: str, *command: str) -> None:
    """identity is "self", "userns" or "uid:gid"; the command replaces this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if identity == "userns":
        enter_user_namespace(libc)
    elif identity != "self":
        uid, gid = identity.split(":")
        become(int(uid), int(gid))
    if sys.platform == "linux":
        # After the change of identity, which clears it; exec of an ordinary program keeps it.
        libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != int(parent):  # died before the line above: no signal will come
            sys.exit("the parent is gone")
    # What a parent blocks or ignores is inherited; a server that ignores its death signal would be an orphan.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
