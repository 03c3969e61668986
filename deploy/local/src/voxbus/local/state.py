"""The state directory: data, logs, the admin's password, and `stack.json`, which says what runs where.

Whoever holds the lock of the directory runs the stack in it. The kernel frees the lock when that process dies, however it
dies, so a left-over `stack.json` is never mistaken for a running stack.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voxbus.local.errors import CommandError, StackNotRunningError, StackRunningError

DEFAULT_STATE_DIR: Final = Path(".voxbus")
_PASSWORD_BYTES: Final = 18
_LOCK_TRIES: Final = 10
_LOCK_PAUSE_S: Final = 0.05


class ProcessInfo(BaseModel):
    """One process of the running stack."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Unique in the stack: the service, and a number where there are several."""
    service: str
    pid: int | None
    """None while it is being restarted."""
    state: str
    ports: dict[str, int]
    """What the port is for -> port, all on the stack's host."""
    health_url: str
    """Answers 200 when the process is alive."""
    log_file: Path
    ready_s: float | None = None
    """From its start to its first ready answer."""
    restarts: int = 0


class StackInfo(BaseModel):
    """The running stack, as the other commands need to know it."""

    model_config = ConfigDict(frozen=True)

    pid: int
    """The process that supervises the others."""
    started_at: datetime
    ready: bool = False
    nats_url: str
    nats_monitor_url: str
    mongo_url: str
    """Without user and password."""
    rest_url: str
    """The API; where it runs several times, the first of its processes."""
    voice_url: str
    admin_email: str
    """Who administrates this stack; the password is in the state directory."""
    agents_dir: Path
    log_dir: Path
    processes: tuple[ProcessInfo, ...] = Field(default=())


class StateDir:
    """Paths and files of one state directory."""

    def __init__(self, path: Path = DEFAULT_STATE_DIR) -> None:
        self.path = path.absolute()
        self.nats = self.path / "nats"
        self.mongo = self.path / "mongo"
        self.cache = self.path / "cache"
        self.logs = self.path / "logs"
        self.recordings = self.path / "recordings"
        self.admin_password_file = self.path / "admin-password"
        self._stack_file = self.path / "stack.json"
        self._lock_file = self.path / "lock"

    def create(self) -> None:
        """Make the directories; only the user may look into them. Raises CommandError."""
        try:
            for directory in (self.path, self.nats, self.mongo, self.cache, self.logs, self.recordings):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None

    def ensure_admin_password(self) -> None:
        """Make up the password of the local admin, once; only the user may read it."""
        if self.admin_password_file.exists():
            return
        temporary = self.admin_password_file.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secrets.token_urlsafe(_PASSWORD_BYTES)}\n")
        temporary.replace(self.admin_password_file)

    def admin_password(self) -> str:
        """The password of the local admin; raises CommandError when none was made up here."""
        try:
            return self.admin_password_file.read_text().strip()
        except FileNotFoundError:
            raise CommandError(
                f"no password at {self.admin_password_file}",
                "`voxbus up` makes one; or name the directory of the stack with --state-dir",
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one that runs the stack in this directory; raises StackRunningError when another process is."""
        self.create()
        with self._lock_file.open("a+") as file:
            if not _try_lock(file.fileno(), tries=_LOCK_TRIES):
                raise StackRunningError(self.path, self._supervisor())
            self._stack_file.unlink(missing_ok=True)  # of one that was killed
            file.seek(0)
            file.truncate()
            file.write(f"{os.getpid()}\n")
            file.flush()
            try:
                yield
            finally:
                self._stack_file.unlink(missing_ok=True)

    def in_use(self) -> bool:
        """Whether a process runs a stack in this directory. Raises CommandError when it is not ours to see."""
        try:
            with self._lock_file.open("r+") as file:
                return not _try_lock(file.fileno(), tries=1)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._unusable(error) from None

    def write(self, stack: StackInfo) -> None:
        """Replace `stack.json`, whole: a reader sees the old one or the new one."""
        temporary = self._stack_file.with_suffix(".tmp")
        temporary.write_text(stack.model_dump_json(indent=2) + "\n")
        temporary.replace(self._stack_file)

    def read(self) -> StackInfo:
        """The running stack; raises StackNotRunningError when there is none."""
        if not self.in_use():
            raise StackNotRunningError(self.path)
        try:
            return StackInfo.model_validate_json(self._stack_file.read_bytes())
        except (OSError, ValidationError):  # it holds the lock and has not got to writing the file
            raise StackNotRunningError(self.path) from None

    def _unusable(self, error: OSError) -> CommandError:
        return CommandError(f"{self.path} cannot be used ({error.strerror})", "name another directory with --state-dir")

    def _supervisor(self) -> int | None:
        try:
            return int(self._lock_file.read_text())
        except (OSError, ValueError):
            return None


def _try_lock(descriptor: int, *, tries: int) -> bool:
    """Take the lock; a few tries, because a reader that looks whether it is taken holds it for a moment."""
    for attempt in range(tries):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < tries:
                time.sleep(_LOCK_PAUSE_S)
        else:
            return True
    return False
