"""WAV files in and out."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from voxbus.local.errors import CommandError
from voxbus.local.voice import voice_end_s
from voxbus.local.wav import read_wav, to_pcm16, write_stereo_wav

pytestmark = pytest.mark.unit


def sine(rate: int, seconds: float = 0.5, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def riff(code: int, channels: int, rate: int, bits: int, data: bytes, *, extensible: bool = False) -> bytes:
    block = channels * bits // 8
    shown = 0xFFFE if extensible else code
    form = struct.pack("<HHIIHH", shown, channels, rate, rate * block, block, bits)
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 0, code) + bytes(14)
    chunks = b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def encode(samples: np.ndarray, code: int, bits: int) -> bytes:
    if code == 3:
        return samples.astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return (np.rint(samples * 127) + 128).astype(np.uint8).tobytes()
    wide = np.rint(samples * (2 ** (bits - 1) - 1)).astype("<i4")
    return wide.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


@pytest.mark.parametrize(("code", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
@pytest.mark.parametrize("extensible", [False, True])
def test_every_width_is_read(tmp_path: Path, code: int, bits: int, extensible: bool) -> None:
    """All PCM and float widths give the same audio, and unknown chunks are stepped over."""
    file = tmp_path / "in.wav"
    file.write_bytes(riff(code, 1, 16_000, bits, encode(sine(16_000), code, bits), extensible=extensible))
    samples = np.frombuffer(read_wav(file, 16_000), "<i2") / 32768
    assert len(samples) == 8000
    assert np.abs(samples - sine(16_000)).max() < (0.01 if bits == 8 else 0.0001)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_every_rate_is_converted(tmp_path: Path, rate: int) -> None:
    """A tone keeps its pitch, loudness and length whatever rate the file has."""
    file = tmp_path / "in.wav"
    file.write_bytes(riff(1, 1, rate, 16, encode(sine(rate), 1, 16)))
    samples = np.frombuffer(read_wav(file, 16_000), "<i2") / 32768
    assert len(samples) == pytest.approx(8000, abs=1)
    middle = slice(800, 7200)
    assert np.abs(samples[middle] - sine(16_000)[middle]).max() < 0.01


def test_channels_are_averaged(tmp_path: Path) -> None:
    """Stereo becomes mono; what is in one channel only comes at half its loudness."""
    file = tmp_path / "in.wav"
    left = sine(16_000)
    file.write_bytes(riff(1, 2, 16_000, 16, encode(np.stack([left, 0 * left], axis=1).ravel(), 1, 16)))
    assert np.abs(np.frombuffer(read_wav(file, 16_000), "<i2") / 32768 - left / 2).max() < 0.0001


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"ID3 this is an mp3", "no WAV file"),
        (riff(1, 1, 16_000, 16, b""), "has no samples"),
        (riff(1, 0, 16_000, 16, b"abcd"), "damaged"),
        (riff(7, 1, 8_000, 8, b"abcd"), "format 7 with 8 bits"),
        (b"RIFF\0\0\0\0WAVEfmt \x02\0\0\0ab", "damaged"),
    ],
)
def test_what_is_no_wav_is_told(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that cannot be used is named with the reason and a way out."""
    file = tmp_path / "in.wav"
    file.write_bytes(content)
    with pytest.raises(CommandError, match=reason) as error:
        read_wav(file, 16_000)
    assert "sox" in error.value.hint


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """A path that is not there is no traceback."""
    with pytest.raises(CommandError, match="No such file"):
        read_wav(tmp_path / "none.wav", 16_000)


def test_a_recording_that_was_cut_off_is_read(tmp_path: Path) -> None:
    """A data chunk that promises more than there is gives what is there."""
    whole = riff(1, 1, 16_000, 16, encode(sine(16_000), 1, 16))
    file = tmp_path / "in.wav"
    file.write_bytes(whole[:-1001])
    assert len(read_wav(file, 16_000)) == 16_000 - 1002


def test_stereo_is_written_on_one_timeline(tmp_path: Path) -> None:
    """Left and right stay in their channels, and the shorter one is filled with silence."""
    file = tmp_path / "new" / "out.wav"
    write_stereo_wav(file, b"\x01\x00\x02\x00\x03\x00", b"\x09\x00", 16_000)
    with wave.open(str(file)) as wav:
        assert (wav.getnchannels(), wav.getframerate(), wav.getnframes()) == (2, 16_000, 3)
        assert np.frombuffer(wav.readframes(3), "<i2").reshape(-1, 2).tolist() == [[1, 9], [2, 0], [3, 0]]


def test_loud_floats_are_clipped() -> None:
    """Samples beyond full scale stay at full scale instead of wrapping."""
    assert np.frombuffer(to_pcm16(np.array([2.0, -2.0, 0.0])), "<i2").tolist() == [32767, -32768, 0]


def test_the_end_of_the_voice_is_found() -> None:
    """Silence and faint noise after the words don't count as voice; all silence counts as its whole length."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.001, 16_000)
    pcm = to_pcm16(np.concatenate([sine(16_000), noise]))
    assert voice_end_s(pcm, 16_000) == pytest.approx(0.5, abs=0.011)
    assert voice_end_s(bytes(3200), 16_000) == pytest.approx(0.1)
    assert voice_end_s(b"", 16_000) == 0.0
