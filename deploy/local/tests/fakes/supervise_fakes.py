"""A supervisor as a process of its own, with two fake services: `python supervise_fakes.py LOG_DIR DIARY PORT PORT`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import fake_service
from rich.console import Console

from voxbus.local.process import ProcessSpec
from voxbus.local.progress import ConsoleObserver
from voxbus.local.supervisor import Supervisor


async def main(log_dir: Path, diary: Path, ports: list[int]) -> None:
    """Supervise until killed."""
    specs = [
        ProcessSpec(
            name=f"fake-{port}", service="fake", rank=0, command=fake_service.command(f"fake-{port}", port, diary, "--deaf"),
            ready_url=f"http://127.0.0.1:{port}/ready", health_url="", ports={"http": port},
        )
        for port in ports
    ]  # fmt: skip
    await Supervisor(specs, log_dir, ConsoleObserver(Console())).start()
    with diary.open("a") as file:
        file.write("supervisor ready\n")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), [int(port) for port in sys.argv[3:]]))
