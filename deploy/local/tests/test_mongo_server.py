"""The server of MongoDB's protocol: how it is helped to stop."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from pathlib import Path

import pytest

from voxbus.local.mongo_server import wake_until_closed
from voxbus.local.process import ManagedProcess

pytestmark = pytest.mark.unit


async def test_a_thread_that_waits_on_a_closed_socket_is_woken() -> None:
    """As SecantusDB's does at its stop, which waits two seconds for it otherwise."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    waiting = threading.Event()

    def accept() -> None:
        waiting.set()
        try:
            listening.accept()[0].close()
        except OSError:
            return  # the socket was closed before it began to wait

    thread = threading.Thread(target=accept)
    thread.start()
    assert await asyncio.to_thread(waiting.wait, 5)
    listening.close()
    async with asyncio.timeout(5):
        await wake_until_closed("127.0.0.1", port)
        await asyncio.to_thread(thread.join)


async def test_what_helps_a_process_to_stop_ends_with_it(tmp_path: Path) -> None:
    """It is cancelled when the process is gone, and its failure does no harm."""
    helped: list[str] = []

    async def forever() -> None:
        helped.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            helped.append("ended")

    process = ManagedProcess("sleeper", tmp_path / "log")
    await process.start((sys.executable, "-c", "import time; time.sleep(60)"), {})
    assert await process.stop(5, forever)
    assert helped == ["began", "ended"]
