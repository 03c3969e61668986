"""`python -m voxbus.auth.create_admin --email ann@example.org`: make an admin, with the store's settings of the service.

The password comes from standard input, or is asked for at a terminal. Exit codes: 0 done, 1 there is such a user, 2 the
email or the password is not good, 3 the store cannot be reached.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Sequence

from pymongo.errors import DuplicateKeyError, PyMongoError

from voxbus.auth.admins import AdminError, Admins
from voxbus.auth.migrations import MIGRATIONS
from voxbus.auth.outgoing import Outgoing
from voxbus.auth.passwords import Passwords
from voxbus.auth.settings import AuthSettings
from voxbus.auth.user_repository import UserRecord, UserRepository
from voxbus.runtime.logs import configure_logging
from voxbus.runtime.process import load_settings
from voxbus.runtime.store import DocumentStore
from voxbus.runtime.store.migrations import migrate


async def make_admin(settings: AuthSettings, email: str, password: str, *, reset_password: bool) -> UserRecord:
    """Make an admin, or with `reset_password` make the user of that email one. The service publishes the event when it runs.

    Raises AdminError, DuplicateKeyError when there is such a user, PyMongoError when the store cannot be reached.
    """
    passwords = Passwords(settings)
    store = DocumentStore(settings, "auth")
    try:
        await migrate(store, "auth", MIGRATIONS)
        admins = Admins(UserRepository(store, Outgoing("/auth/create-admin", lambda _collection, _id: None)), passwords)
        changed = await admins.reset(email, password) if reset_password else None
        return changed or await admins.create(email, password)
    finally:
        passwords.close()
        await store.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m voxbus.auth.create_admin", description="Make an admin.")
    parser.add_argument("--email", help="asked for, or the first line of standard input, when it is not given")
    parser.add_argument(
        "--reset-password", action="store_true", help="when there is such a user: set the password, make them an admin"
    )
    options = parser.parse_args(arguments)
    settings = load_settings(AuthSettings)
    configure_logging("auth", "WARNING")
    email, password = _credentials(options.email)
    try:
        record = asyncio.run(make_admin(settings, email, password, reset_password=options.reset_password))
    except DuplicateKeyError:
        return _fail(1, "there is a user of this email; --reset-password makes them an admin with this password")
    except AdminError as error:
        return _fail(2, str(error))
    except PyMongoError as error:
        return _fail(3, f"the store cannot be reached ({type(error).__name__}); is VOXBUS_MONGO_URL right?")
    sys.stdout.write(f"{record.user.email} is an admin ({record.user.id})\n")
    return 0


def _credentials(email: str | None) -> tuple[str, str]:
    if sys.stdin.isatty():
        return email or input("Email: "), getpass.getpass("Password: ")
    return email or sys.stdin.readline().strip(), sys.stdin.readline().rstrip("\r\n")


def _fail(code: int, message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
