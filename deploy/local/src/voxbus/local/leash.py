"""Run a command that dies with its parent: `python leash.py PARENT_PID COMMAND…`.

A supervisor that is killed with SIGKILL cannot stop its children. On Linux the kernel does it instead: a process can ask for
a signal at the death of its parent, and the wish outlives `exec`. This file is run by its path, without site-packages, so that it
costs some 15 ms; elsewhere than on Linux it only runs the command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Replace this process by the command."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
