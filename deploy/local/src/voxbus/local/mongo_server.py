"""The server of MongoDB's protocol that comes in a package: SecantusDB, always as a process of its own."""

from __future__ import annotations

import asyncio
import sysconfig
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voxbus.local.errors import CommandError

_TIMEOUT_MS = 1000
_KNOCK_PAUSE_S = 0.02


def mongo_command(directory: Path, *, host: str, port: int) -> tuple[str, ...]:
    """How to start it on `directory`; raises CommandError when the package is missing.

    `--sync-on-commit`: without it, a kill loses writes that were acknowledged.
    """
    script = Path(sysconfig.get_path("scripts")) / "secantusd-py"
    if not script.exists():
        raise CommandError(
            "there is no MongoDB server here: the package secantusdb is missing",
            "install it with `uv sync --extra embedded-store`, or name a MongoDB of yours with --mongo-url",
        )
    return (
        str(script), "--host", host, "--port", str(port), "--storage-path", str(directory),
        "--log-level", "WARNING", "--sync-on-commit",
    )  # fmt: skip


async def wake_until_closed(host: str, port: int) -> None:
    """Help SecantusDB to stop at once: return when it listens no more.

    At its stop it closes the socket on which a thread of it waits for connections. Linux does not wake the thread, and it waits
    two seconds for it; a connection wakes it.
    """
    while True:
        try:
            _reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            return
        writer.close()
        await asyncio.sleep(_KNOCK_PAUSE_S)


async def answers(url: str) -> bool:
    """Whether a server of MongoDB's protocol answers a ping within a second."""
    parts = urlsplit(url)
    try:  # the driver would look for a server that is not there yet only twice a second
        _reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError:
        return False
    writer.close()
    from pymongo import AsyncMongoClient  # noqa: PLC0415 - half a second that only those who ask pay
    from pymongo.errors import PyMongoError  # noqa: PLC0415

    async with AsyncMongoClient[dict[str, Any]](
        url, serverSelectionTimeoutMS=_TIMEOUT_MS, socketTimeoutMS=_TIMEOUT_MS
    ) as client:
        try:
            await client.admin.command("ping")
        except PyMongoError:
            return False
    return True
