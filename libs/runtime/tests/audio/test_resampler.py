"""The resampler: bytes that do not depend on the chunks, a flat passband, no aliases, a small constant delay."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from voxbus.contracts.audio import FRAME_MS, SAMPLE_BYTES
from voxbus.runtime.audio import DELAY_US, RATES, StreamResampler, resample
from voxbus.runtime.audio.filters import PASS_BELOW_NYQUIST_HZ, STOP_ABOVE_NYQUIST_HZ

pytestmark = pytest.mark.unit

PAIRS = list(permutations(RATES, 2))
ANY_PAIR = pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)


def noise(samples: int, level: float = 8000.0, seed: int = 5) -> bytes:
    """White noise as PCM16."""
    values = np.random.default_rng(seed).normal(0, level, samples)
    return np.clip(values, -32_768, 32_767).astype("<i2").tobytes()


def tone(hz: float, rate: int, seconds: float = 1.0, level: float = 16_000.0) -> bytes:
    """A sine as PCM16."""
    time = np.arange(int(rate * seconds)) / rate
    return np.rint(level * np.sin(2 * np.pi * hz * time)).astype("<i2").tobytes()


def values(pcm: bytes) -> NDArray[np.float64]:
    """The samples of PCM16."""
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def response(in_rate: int, out_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies up to the highest rate's Nyquist and the gain there, in dB, from the impulse responses of all phases."""
    from voxbus.runtime.audio.filters import filter_for

    table = filter_for(in_rate, out_rate)
    rate = in_rate * table.up
    length = 2 * DELAY_US * rate // 1_000_000 + 1
    impulse = np.zeros(length)
    for (row, column), coefficient in np.ndenumerate(table.taps):
        phase = column * table.down - (row - table.history) * table.up
        if 0 <= phase < length:
            impulse[phase] = coefficient / table.up
    spectrum = np.abs(np.fft.rfft(impulse, 1 << 16))
    return np.fft.rfftfreq(1 << 16, 1 / rate), 20 * np.log10(spectrum + 1e-12)


@ANY_PAIR
def test_a_frame_gives_exactly_a_frame(in_rate: int, out_rate: int) -> None:
    """Each call with 20 ms returns exactly 20 ms, from the first call on."""
    stream = StreamResampler(in_rate, out_rate)
    for index in range(20):
        pcm = noise(in_rate * FRAME_MS // 1000, seed=index)
        assert len(stream.process(pcm)) == out_rate * FRAME_MS // 1000 * SAMPLE_BYTES


@ANY_PAIR
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_the_output_does_not_depend_on_the_chunks(in_rate: int, out_rate: int, data: st.DataObject) -> None:
    """Any split of a stream, down to single samples, gives the same bytes as the whole in one call."""
    samples = data.draw(st.integers(0, in_rate // 10))
    pcm = noise(samples, level=15_000)
    cuts = sorted(data.draw(st.lists(st.integers(0, samples), max_size=12)))
    split = StreamResampler(in_rate, out_rate)
    pieces = [split.process(pcm[a * SAMPLE_BYTES : b * SAMPLE_BYTES]) for a, b in pairwise([0, *cuts, samples])]
    assert b"".join(pieces) == StreamResampler(in_rate, out_rate).process(pcm)


@ANY_PAIR
def test_an_impulse_is_delayed_by_exactly_the_delay(in_rate: int, out_rate: int) -> None:
    """A click at 10 ms comes out with its centre at 10 ms plus `delay_us`, and the response is symmetric around it."""
    stream = StreamResampler(in_rate, out_rate)
    click = np.zeros(in_rate // 10, "<i2")
    click[in_rate // 100] = 30_000
    output = values(stream.process(click.tobytes()))
    centre = out_rate // 100 + stream.delay_us * out_rate // 1_000_000
    assert np.argmax(np.abs(output)) == centre
    reach = stream.delay_us * out_rate // 1_000_000
    # A down-sampler keeps every n-th value of the symmetric response, so symmetry shows there as well.
    assert np.array_equal(output[centre - reach : centre], output[centre + reach : centre : -1])
    assert stream.delay_us <= 1_500


@ANY_PAIR
def test_the_passband_is_flat(in_rate: int, out_rate: int) -> None:
    """Up to 700 Hz below the lower Nyquist frequency the gain stays within 0.1 dB of one."""
    frequencies, gain_db = response(in_rate, out_rate)
    nyquist = min(in_rate, out_rate) / 2
    assert np.abs(gain_db[frequencies <= nyquist - PASS_BELOW_NYQUIST_HZ]).max() < 0.1


@ANY_PAIR
def test_aliases_and_images_are_rejected_by_80_db(in_rate: int, out_rate: int) -> None:
    """From 450 Hz above the lower Nyquist frequency on, the filter passes less than -80 dB."""
    frequencies, gain_db = response(in_rate, out_rate)
    nyquist = min(in_rate, out_rate) / 2
    assert gain_db[frequencies >= nyquist + STOP_ABOVE_NYQUIST_HZ].max() < -80


@pytest.mark.parametrize(("in_rate", "out_rate"), [(a, b) for a, b in PAIRS if a > b])
def test_a_tone_above_the_new_band_is_silence(in_rate: int, out_rate: int) -> None:
    """A loud tone that the new rate cannot carry leaves at most two steps of 16 bits, not an alias in the speech band."""
    hz = out_rate / 2 + STOP_ABOVE_NYQUIST_HZ + 50
    output = values(resample(tone(hz, in_rate), in_rate, out_rate))
    settled = output[out_rate // 50 : -out_rate // 50]
    assert np.abs(settled).max() <= 2


@ANY_PAIR
def test_a_tone_keeps_its_shape(in_rate: int, out_rate: int) -> None:
    """A 1 kHz tone converted as a whole equals the tone made at the other rate, within 1 percent and without delay."""
    output = values(resample(tone(1000, in_rate), in_rate, out_rate))
    wanted = values(tone(1000, out_rate))
    inside = slice(out_rate // 50, -out_rate // 50)
    assert len(output) == len(wanted)
    assert np.abs(output[inside] - wanted[inside]).max() < 0.01 * 16_000


@ANY_PAIR
def test_full_scale_saturates(in_rate: int, out_rate: int) -> None:
    """A full-scale square wave overshoots in any band-limited form: it is cut at full scale and never wraps around."""
    period = in_rate // 200
    square = np.where(np.arange(in_rate // 4) % period < period // 2, 32_767, -32_768).astype("<i2")
    output = values(resample(square.tobytes(), in_rate, out_rate))
    assert output.max() == 32_767
    assert output.min() == -32_768
    period, edge = out_rate // 200, out_rate // 2000
    waves = output[period:-period].reshape(-1, period)
    assert waves[:, edge : period // 2 - edge].min() > 20_000
    assert waves[:, period // 2 + edge : -edge].max() < -20_000


@ANY_PAIR
@given(samples=st.integers(0, 3000))
@settings(max_examples=20, deadline=None)
def test_one_shot_length(in_rate: int, out_rate: int, samples: int) -> None:
    """A whole utterance keeps its duration to the sample, rounded up."""
    assert len(resample(noise(samples), in_rate, out_rate)) == SAMPLE_BYTES * -(-samples * out_rate // in_rate)


@ANY_PAIR
def test_reset_forgets_the_past(in_rate: int, out_rate: int) -> None:
    """After a reset a stream gives what a new one gives, even when samples were waiting."""
    used = StreamResampler(in_rate, out_rate)
    used.process(noise(in_rate // 10 + 1))
    used.reset()
    pcm = noise(in_rate // 50, seed=9)
    assert used.process(pcm) == StreamResampler(in_rate, out_rate).process(pcm)


@pytest.mark.parametrize("rate", RATES)
def test_equal_rates_change_nothing(rate: int) -> None:
    """Between equal rates the bytes pass as they are, at once."""
    pcm = noise(rate // 10)
    assert StreamResampler(rate, rate).process(pcm) == pcm == resample(pcm, rate, rate)
    assert StreamResampler(rate, rate).delay_us == 0


def test_streams_share_their_filter() -> None:
    """A second stream of the same rates costs no second table."""
    from voxbus.runtime.audio.filters import filter_for

    assert filter_for(48_000, 16_000) is filter_for(48_000, 16_000)


def test_an_unknown_rate_is_refused() -> None:
    """A rate outside the four is refused with the ones that are allowed."""
    with pytest.raises(ValueError, match="44100 is not supported, only 8000, 16000, 24000, 48000"):
        StreamResampler(44_100, 16_000)


@pytest.mark.parametrize("out_rate", [16_000, 24_000])
def test_half_a_sample_is_refused(out_rate: int) -> None:
    """An odd number of bytes is an error, whatever the rates."""
    with pytest.raises(ValueError, match="got 3 bytes"):
        StreamResampler(16_000, out_rate).process(b"abc")
