"""WAV files: any rate, channels and sample width in; PCM16 out. Audio in memory is PCM16 little-endian mono bytes."""

from __future__ import annotations

import math
import struct
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from voxbus.local.errors import CommandError
from voxbus.runtime.audio import RATES, resample

_EXTENSIBLE: Final = 0xFFFE
_HINT: Final = "give a WAV file with PCM or float samples, for example one made with `sox in.mp3 out.wav`"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Format:
    code: int
    channels: int
    sample_rate: int
    bits: int


def read_wav(path: Path, sample_rate: int) -> bytes:
    """The file as PCM16 mono at `sample_rate` (Hz), channels averaged. Raises CommandError with the reason."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", "check the path") from None
    try:
        form, samples = _parse(data)
        mono = _decode(form, samples).mean(axis=1)
    except ValueError as error:
        raise CommandError(f"{path}: {error}", _HINT) from None
    if form.sample_rate == sample_rate:
        return to_pcm16(mono)
    if form.sample_rate in RATES and sample_rate in RATES:
        return resample(to_pcm16(mono), form.sample_rate, sample_rate)
    return to_pcm16(_resample_odd(mono, form.sample_rate, sample_rate))


def write_stereo_wav(path: Path, left: bytes, right: bytes, sample_rate: int) -> None:
    """Write two PCM16 mono tracks as one stereo file; the shorter one is filled up with silence."""
    length = max(len(left), len(right))
    tracks = [np.frombuffer(track.ljust(length, b"\0"), dtype="<i2") for track in (left, right)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.stack(tracks, axis=1).tobytes())


def to_pcm16(samples: npt.NDArray[np.floating]) -> bytes:
    """Floats (-1 to 1, clipped) as PCM16."""
    clipped: bytes = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2").tobytes()
    return clipped


def _resample_odd(samples: Floats, in_rate: int, out_rate: int) -> Floats:
    """A whole file from or to a rate that the platform has no filter for, such as 44.1 kHz: cut or extend its spectrum."""
    step = math.gcd(in_rate, out_rate)
    # Silence after the end keeps it from ringing into the beginning, and makes both lengths whole.
    blocks = -(-len(samples) * step // in_rate) + step // 20
    in_length, out_length = blocks * (in_rate // step), blocks * (out_rate // step)
    spectrum = np.fft.rfft(samples, in_length)
    converted = np.fft.irfft(spectrum[: out_length // 2 + 1], out_length) * (out_rate / in_rate)
    return converted[: -(-len(samples) * out_rate // in_rate)].astype(np.float32)


def _parse(data: bytes) -> tuple[_Format, bytes]:
    """Format and samples of a RIFF file. A data chunk whose size is wrong (a recorder that was cut off) reaches to the end."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("this is no WAV file")
    form: _Format | None = None
    offset = 12
    while offset + 8 <= len(data):
        name, size = data[offset : offset + 4], int.from_bytes(data[offset + 4 : offset + 8], "little")
        body = data[offset + 8 : offset + 8 + size]
        if name == b"fmt ":
            form = _parse_format(body)
        elif name == b"data" and form is not None:
            return form, body
        offset += 8 + size + (size & 1)
    raise ValueError("this WAV file has no samples")


def _parse_format(body: bytes) -> _Format:
    if len(body) < 16:
        raise ValueError("this WAV file is damaged")
    code, channels, sample_rate, _bytes_per_second, _block, bits = struct.unpack_from("<HHIIHH", body)
    if code == _EXTENSIBLE and len(body) >= 26:
        code = int.from_bytes(body[24:26], "little")  # the sub-format begins with the real code
    if not channels or not sample_rate:
        raise ValueError("this WAV file is damaged")
    return _Format(code, channels, sample_rate, bits)


def _decode(form: _Format, data: bytes) -> Floats:
    """Samples between -1 and 1, of shape (frames, channels)."""
    width = form.bits // 8
    whole = len(data) // (width * form.channels) * width * form.channels if width else 0
    if not whole:
        raise ValueError("this WAV file has no samples")
    data = data[:whole]
    flat: Floats
    match form.code, form.bits:
        case (1, 8):
            flat = ((np.frombuffer(data, np.uint8).astype(np.int16) - 128) / 128).astype(np.float32)
        case (1, 16):
            flat = (np.frombuffer(data, "<i2") / 2**15).astype(np.float32)
        case (1, 24):
            flat = _decode_24(data)
        case (1, 32):
            flat = (np.frombuffer(data, "<i4") / 2**31).astype(np.float32)
        case (3, 32):
            flat = np.frombuffer(data, "<f4")
        case (3, 64):
            flat = np.frombuffer(data, "<f8").astype(np.float32)
        case _:
            raise ValueError(f"samples of format {form.code} with {form.bits} bits are not understood")
    shaped: Floats = flat.reshape(-1, form.channels)
    return shaped


def _decode_24(data: bytes) -> Floats:
    parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
    wide = np.zeros((len(parts), 4), np.uint8)
    wide[:, 1:] = parts  # into the upper three bytes, so that the sign is where int32 has it
    return (wide.view("<i4").ravel() / 2**31).astype(np.float32)
