"""A microphone and a loudspeaker as the caller's device. Needs the extra `mic` (sounddevice) and PortAudio."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

from voxbus.contracts.audio import SAMPLE_BYTES
from voxbus.local.errors import CommandError

_MAX_INPUT_S = 0.5
_BLOCK_MS = 20


class Microphone:
    """A `client.AudioDevice` on the default devices of this machine; its callbacks run in PortAudio's thread."""

    def __init__(self, sample_rate: int) -> None:
        """Raises CommandError where there is no sound device."""
        self._max_input_bytes = int(sample_rate * _MAX_INPUT_S) * SAMPLE_BYTES
        self._input = bytearray()
        self._output = bytearray()
        self._lock = threading.Lock()
        self._streams = _open_streams(sample_rate, self._on_input, self._on_output)

    def __enter__(self) -> Self:
        """Start to listen and play."""
        for stream in self._streams:
            stream.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the devices."""
        for stream in self._streams:
            stream.close()

    def read(self, size_bytes: int) -> bytes:
        """What was spoken since the last time, oldest first."""
        with self._lock:
            pcm = bytes(self._input[:size_bytes])
            del self._input[:size_bytes]
        return pcm

    def play(self, pcm: bytes) -> None:
        """Queue audio for the loudspeaker."""
        with self._lock:
            self._output += pcm

    def clear(self) -> None:
        """Fall silent."""
        with self._lock:
            self._output.clear()

    def _on_input(self, data: Any, _frames: int, _time: Any, _status: Any) -> None:
        with self._lock:
            self._input += bytes(data)
            # A call that stalls must not put the caller's words ever further behind.
            del self._input[: max(0, len(self._input) - self._max_input_bytes)]

    def _on_output(self, data: Any, _frames: int, _time: Any, _status: Any) -> None:
        size = len(data)
        with self._lock:
            pcm = bytes(self._output[:size])
            del self._output[:size]
        data[:] = pcm.ljust(size, b"\0")


def _open_streams(sample_rate: int, on_input: Any, on_output: Any) -> tuple[Any, Any]:
    try:
        import sounddevice  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise CommandError(
            "--mic needs the package sounddevice", "install it with `uv sync --inexact --package voxbus --extra mic`"
        ) from None
    except OSError as error:
        raise CommandError(
            f"--mic needs PortAudio ({error})", "install it, for example with `apt-get install libportaudio2`"
        ) from None
    shape = {
        "samplerate": sample_rate,
        "channels": 1,
        "dtype": "int16",
        "blocksize": sample_rate * _BLOCK_MS // 1000,
    }
    try:
        return (
            sounddevice.RawInputStream(callback=on_input, **shape),
            sounddevice.RawOutputStream(callback=on_output, **shape),
        )
    except sounddevice.PortAudioError as error:
        raise CommandError(
            f"this machine has no sound device that can be used ({error})", "call with a WAV file: voxbus call FILE.wav"
        ) from None
