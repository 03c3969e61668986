"""The whole stack as a person starts it, `voxbus up`, and what an end-to-end test needs beside it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from voxbus.local.api import ApiClient
from voxbus.local.call_tokens import get_call_token
from voxbus.local.client import CallClient
from voxbus.local.dialogue import ScriptLine
from voxbus.local.plan import BUILT_IN_AGENTS
from voxbus.local.state import StackInfo, StateDir
from voxbus.local.wav import read_wav
from voxbus.stt_worker.models import moonshine_directory, moonshine_source
from voxbus.stt_worker.moonshine import Moonshine
from voxbus.stt_worker.settings import Settings

SAMPLES = BUILT_IN_AGENTS.parent / "samples"
SCRIBE: dict[str, Any] = {
    "id": "scribe",
    "name": "Scribe",
    "llm_settings": {"script": {"otherwise": "Noted.", "unheard": "Pardon?"}},
    "limits": {"silence_s": 60},
}
"""Answers every turn with one short word, so that many sentences can be dictated in little time."""
STORY = (
    "Let me tell you a long story about a lighthouse keeper who lived by the sea. "
    "Every evening he climbed the stairs and lit the lamp. And every morning he put it out again."
)


def _talker(agent_id: str, token_ms: int) -> dict[str, Any]:
    settings = {"script": {"otherwise": STORY, "unheard": "Pardon?"}, "token_ms": token_ms}
    return {"id": agent_id, "name": "Talker", "llm_settings": settings, "limits": {"silence_s": 60}}


TALKER = _talker("talker", 1)
"""Answers at length, to be interrupted."""
SLOW_TALKER = _talker("slow-talker", 120)
"""Writes its long answer word by word while it is spoken, so that all stages are at work for some time."""


@dataclass
class RunningStack:
    """A started `voxbus up`."""

    info: StackInfo
    state: StateDir
    process: subprocess.Popen[bytes]

    def api(self) -> ApiClient:
        """The REST API, as the admin."""
        return ApiClient.for_stack(self.info, self.state)

    async def token(self, agent_id: str) -> str:
        """A token for calls to an agent, from the REST API."""
        async with self.api() as api:
            return (await get_call_token(api, agent_id)).token

    @asynccontextmanager
    async def client(self, agent_id: str, sample_rate: int = 16_000) -> AsyncIterator[CallClient]:
        """A caller, in a call."""
        token = await self.token(agent_id)
        async with CallClient(self.info.voice_url, token=token, agent_id=agent_id, sample_rate=sample_rate) as client:
            yield client

    def log_lines(self) -> list[dict[str, Any]]:
        """What all services logged; a line that is no JSON object fails."""
        lines = []
        for path in sorted(self.info.log_dir.glob("*.log")):
            if path.stem in ("nats", "mongodb", "stt-prepare"):
                continue
            for text in path.read_text().splitlines():
                line = json.loads(text)
                assert isinstance(line, dict), f"{path.name}: {text}"
                lines.append({"file": path.name, **line})
        return lines


def start_stack(directory: Path, *options: str) -> RunningStack:
    """Run `voxbus up` until everything is ready."""
    agents = directory / "agents"
    shutil.copytree(BUILT_IN_AGENTS, agents)
    for agent in (SCRIBE, TALKER, SLOW_TALKER):
        (agents / f"{agent['id']}.json").write_text(json.dumps(agent))
    state = StateDir(directory / "state")
    command = [
        sys.executable,
        "-m",
        "voxbus.local",
        "up",
        "--state-dir",
        str(state.path),
        "--agents",
        str(agents),
        *options,
    ]
    with (directory / "up.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if state.in_use():
            try:
                info = state.read()
            except Exception:  # not written yet
                info = None
            if info is not None and info.ready:
                return RunningStack(info, state, process)
        time.sleep(0.1)
    process.kill()
    raise AssertionError("the stack did not start:\n" + (directory / "up.log").read_text())


def stop_stack(stack: RunningStack) -> int:
    """End it as Ctrl-C does; returns the exit code."""
    stack.process.terminate()
    return stack.process.wait(timeout=60)


def sample_lines(folder: str, count: int | None = None) -> list[ScriptLine]:
    """Recordings of a set, in order of their names."""
    files = sorted((SAMPLES / folder).glob("*.wav"))[:count]
    return [ScriptLine(file.name, read_wav(file, 16_000)) for file in files]


def reference(name: str, folder: str) -> str:
    """What is said in a recording."""
    manifest = json.loads((SAMPLES / "manifest.json").read_text())
    return str(next(entry["text"] for entry in manifest if entry["file"] == f"{folder}/{name}"))


@cache
def _normalizer() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


def word_error_rate(references: list[str], hypotheses: list[str]) -> float:
    """Over all words, after the usual normalisation of English."""
    normalize = _normalizer()
    return float(jiwer.wer([normalize(text) for text in references], [normalize(text) for text in hypotheses]))


@cache
def _recogniser() -> Moonshine:
    return Moonshine.load(moonshine_directory(Settings().model_cache), moonshine_source())


def transcribe(pcm: bytes, sample_rate: int = 16_000) -> str:
    """The words in PCM16 of at most 15 s, as the recogniser hears them outside of any call."""
    assert sample_rate == 16_000
    samples = np.frombuffer(pcm, np.int16).astype(np.float32) / 32768
    return _recogniser().transcribe(samples).text
