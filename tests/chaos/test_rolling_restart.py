"""Every process of the control plane is replaced, one after the other, while it is used."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from control_plane import ControlPlane

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

SERVICES = ("auth", "agents", "campaigns")


async def test_no_request_fails_while_services_are_replaced(tmp_path: Path) -> None:
    """With two processes of each service, SIGTERM of one at a time fails no request and loses no write."""
    plane = ControlPlane(tmp_path, counts=dict.fromkeys(SERVICES, 2))
    try:
        await asyncio.to_thread(plane.__enter__)
        admin = await asyncio.to_thread(plane.log_in)
        token = admin.headers["authorization"]
        admin.close()
        async with httpx.AsyncClient(base_url=plane.url, headers={"authorization": token}, timeout=20) as client:
            await _replace_all(plane, client)
    finally:
        plane.stop()


async def _replace_all(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    agent_id = (await client.post("/agents", json={"name": "Front desk"})).json()["id"]
    failed: list[str] = []
    made: list[str] = []
    replaced = asyncio.Event()

    async def use() -> None:
        while not replaced.is_set():
            for method, path, body in (
                ("POST", "/agents", {"name": "Another"}),
                ("GET", f"/agents/{agent_id}", None),
                ("POST", "/campaigns", {"name": "Reminders", "agent_id": agent_id}),
                ("GET", "/auth/me", None),
            ):
                answer = await client.request(method, path, json=body)
                if not answer.is_success:
                    failed.append(f"{method} {path}: {answer.status_code} {answer.text}")
                elif path == "/agents":
                    made.append(answer.json()["id"])

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(use())
        try:
            for process in (process for service in SERVICES for process in plane.of(service)):
                assert await asyncio.to_thread(process.terminate) == 0
                process.start()
                await asyncio.to_thread(process.wait_ready)
        finally:
            replaced.set()
    assert failed == []
    for made_id in made[:: max(1, len(made) // 50)]:
        assert (await client.get(f"/agents/{made_id}")).is_success
