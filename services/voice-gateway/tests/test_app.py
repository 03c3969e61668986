"""The gateway as a process: when it is ready, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fake_control_plane import FakeAuth
from voice_client import Signer, eventually

from voxbus.runtime.bus import LiveBus
from voxbus.runtime.health import Health
from voxbus.runtime.process import Context
from voxbus.runtime.settings import RuntimeSettings
from voxbus.voice_gateway.agents import AgentCatalogue
from voxbus.voice_gateway.app import VoiceGateway
from voxbus.voice_gateway.edge.server import VoiceServer
from voxbus.voice_gateway.keyring import KeyRing
from voxbus.voice_gateway.settings import GatewaySettings

pytestmark = pytest.mark.integration


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A public key in a file."""
    path = tmp_path / "key.pem"
    public = Ed25519PrivateKey.generate().public_key()
    path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


async def test_the_gateway_is_not_ready_before_its_port_is_open(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that connects when the gateway says "ready" is never refused."""
    opening = asyncio.Event()
    may_open = asyncio.Event()

    async def slow_start(_server: VoiceServer) -> None:
        opening.set()
        await may_open.wait()

    async def nothing(*_: Any) -> None:
        """Stands in for the bus."""

    monkeypatch.setattr(VoiceServer, "start", slow_start)
    for part in (KeyRing, AgentCatalogue):
        monkeypatch.setattr(part, "start", nothing)
    live = SimpleNamespace(connected=True, subscribe=nothing, flush=nothing, publish=nothing)
    health = Health("voice-gateway", "gw", "1")
    context = SimpleNamespace(live=live, instance_id="gw", events=SimpleNamespace(publish=nothing), health=health)
    settings = GatewaySettings(token_public_key_file=key_file, voice_port=0)
    gateway = VoiceGateway(context, settings)  # type: ignore[arg-type]
    starting = asyncio.create_task(gateway.start())
    await opening.wait()
    assert gateway.status()["ready"] is False
    may_open.set()
    await starting
    assert gateway.status()["ready"] is True
    await gateway._calls.stop()
    await gateway._client.stop()


def run_gateway(nats_url: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the process until it ends by itself."""
    settings = {
        "VOXBUS_NATS_URL": nats_url,
        "VOXBUS_VOICE_PORT": "0",
        **environment,
    }
    command = [sys.executable, "-m", "voxbus.voice_gateway"]
    return subprocess.run(
        command, env={**os.environ, **settings}, cwd=directory, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_taken_voice_port_is_said_plainly(nats_url: str, key_file: Path, tmp_path: Path) -> None:
    """The process ends with a message and without a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run_gateway(nats_url, tmp_path, VOXBUS_VOICE_PORT=port, VOXBUS_TOKEN_PUBLIC_KEY_FILE=str(key_file))
    assert ended.returncode == 3
    assert f"voice port {port}" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_missing_key_is_said_plainly(nats_url: str, tmp_path: Path) -> None:
    """Without its public key the gateway names the file and ends."""
    ended = run_gateway(nats_url, tmp_path, VOXBUS_TOKEN_PUBLIC_KEY_FILE=str(tmp_path / "none.pem"))
    assert ended.returncode == 3
    assert "none.pem" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


async def test_a_gateway_without_keys_is_not_ready(
    nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts while `auth` and `agents` are away, says what is missing, and takes calls once they are there."""
    monkeypatch.chdir(tmp_path)
    signer, stack = Signer(), AsyncExitStack()
    async with stack:
        context = await make_context(nats_url, stack)
        settings = GatewaySettings(voice_port=0, cache_dir=tmp_path)
        gateway = VoiceGateway(context, settings)
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        assert "auth was never reached" in context.health.report()[1]["checks"]["token_keys"]
        auth = FakeAuth(nats_url, signer.key)
        await auth.start()
        stack.push_async_callback(auth.stop)
        await eventually(lambda: context.health.report()[0])
        await eventually((tmp_path / "public-keys.json").exists)


async def make_context(nats_url: str, stack: AsyncExitStack) -> Context:
    """What a process has when its application starts."""
    context = Context("voice-gateway", RuntimeSettings(nats_url=nats_url))
    context.live = await LiveBus.connect(nats_url, "test")
    stack.push_async_callback(context.live.close)
    await context.events.start()
    stack.push_async_callback(context.events.stop)
    return context
