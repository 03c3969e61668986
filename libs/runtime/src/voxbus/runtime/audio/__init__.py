"""PCM16 at the edges of the platform: other sample rates, and byte streams that are not whole frames."""

from voxbus.runtime.audio.reframer import Reframer
from voxbus.runtime.audio.resampler import DELAY_US, RATES, StreamResampler, resample

__all__ = ["DELAY_US", "RATES", "Reframer", "StreamResampler", "resample"]
