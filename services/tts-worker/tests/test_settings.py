"""Settings and pace of the worker."""

from __future__ import annotations

import os

import pytest

from voxbus.tts_worker.pace import Pace
from voxbus.tts_worker.settings import Settings

pytestmark = pytest.mark.unit


def test_at_most_one_thread_per_core() -> None:
    """More threads than cores are cut down to the cores; unset is one per core."""
    cores = len(os.sched_getaffinity(0))
    assert Settings(tts_synthesis_threads=1000).tts_synthesis_threads == cores
    assert Settings().tts_synthesis_threads == cores
    assert Settings(tts_synthesis_threads=1).tts_synthesis_threads == 1


def test_pace_counts_the_lead() -> None:
    """Audio runs dry after what was sent has been played, and the deadline is that moment."""
    now = 100.0
    pace = Pace(lambda: now)
    pace.words_came(100.0)
    assert (pace.deadline, pace.lead_s) == (100.0, 0.0)
    pace.audio_sent(2.0)
    assert (pace.deadline, pace.lead_s) == (102.0, 2.0)
    now = 101.5
    pace.audio_sent(1.0)
    assert (pace.deadline, pace.lead_s) == (103.0, 1.5)


def test_words_after_a_pause_are_due_when_they_came() -> None:
    """An utterance that ran dry while it waited for words does not overtake those who have waited longer."""
    now = 100.0
    pace = Pace(lambda: now)
    pace.audio_sent(1.0)
    now = 110.0
    pace.words_came(109.0)
    assert pace.deadline == 109.0
    assert pace.lead_s == 0.0
