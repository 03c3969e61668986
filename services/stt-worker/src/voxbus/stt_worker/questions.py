"""Questions to the turn model: each is answered in time, if need be with the news that no answer will come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from voxbus.stt_worker.audio import to_float
from voxbus.stt_worker.pool import InferencePool, Job, Kind
from voxbus.stt_worker.smart_turn import SmartTurn

LONGEST_WAIT_S: Final = 1.0


class Questions:
    """The questions of one call, one at a time.

    `on_answer` gets, on the event loop, the question's number and how likely (0 to 1) the turn is complete, or None when
    the model failed or was late: the silence ceiling ends the turn then, so it is no reason to lose the call.
    """

    def __init__(
        self,
        model: SmartTurn,
        pool: InferencePool,
        silence_ms: int,
        on_answer: Callable[[int, float | None], None],
        log: Any,
    ) -> None:
        self._model = model
        self._pool = pool
        self._within_s = min(LONGEST_WAIT_S, silence_ms / 1000)
        self._on_answer = on_answer
        self._log = log
        self._job: Job[float] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def ask(self, question: int, samples: NDArray[np.int16]) -> None:
        """Ask about `samples`, shape (n,); an earlier question is dropped."""
        self.drop()
        job = self._pool.submit(Kind.TURN, lambda _: self._model.probability(to_float(samples)))
        self._job = job
        self._deadline = asyncio.get_running_loop().call_later(self._within_s, self._give_up, question)
        job.on_done(lambda: self._answer(question, job))

    def drop(self) -> None:
        """Forget the open question; no answer follows."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _answer(self, question: int, job: Job[float]) -> None:
        if job.stopped:
            return
        try:
            probability = job.value()
        except Exception:
            self._log.exception("the turn model failed")
            probability = None
        self.drop()
        self._on_answer(question, probability)

    def _give_up(self, question: int) -> None:
        self._log.warning("the turn model is late", waited_s=self._within_s)
        self.drop()
        self._on_answer(question, None)
