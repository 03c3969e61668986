"""Prepare the recogniser's weights once: `python -m voxbus.stt_worker.prepare`.

A worker calls `prepare` when it starts, so that nothing is converted while a call waits.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from voxbus.stt_worker import models
from voxbus.stt_worker.convert import Progress, convert


@dataclass(frozen=True)
class Prepared:
    """Weights that are ready; `fresh` when this call converted them."""

    directory: Path
    fresh: bool


def prepare(cache: Path, progress: Progress) -> Prepared:
    """The directory of the converted Moonshine weights, converting them first when they are missing or damaged.

    Blocking: about half a second to verify, 20 s to convert. Of several processes that call this at once one converts and
    the others wait. The directory appears whole or not at all. Raises ModelError or OSError.
    """
    directory = models.moonshine_directory(cache)
    if models.find_damage(directory) is None:
        return Prepared(directory, fresh=False)
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{directory.name}.lock"):
        if models.find_damage(directory) is None:
            return Prepared(directory, fresh=False)
        _build(directory, progress)
    return Prepared(directory, fresh=True)


def _build(directory: Path, progress: Progress) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    work = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f"{directory.name}.new-"))
    try:
        convert(models.moonshine_source(), work, progress)
        models.write_manifest(work)
        work.chmod(0o755)
        work.rename(directory)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the system frees it should this process die."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class ProgressLine:
    """Shows steps: one line that is rewritten on a terminal, a line per step elsewhere."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._started = time.monotonic()

    def __call__(self, step: int, steps: int, text: str) -> None:
        """Show that `step` of `steps` begins."""
        elapsed_s = time.monotonic() - self._started
        if not self._terminal:
            self._write(f"[{step}/{steps}] {elapsed_s:4.1f} s  {text}\n")
            return
        bar = "█" * (step - 1) + "░" * (steps - step + 1)
        self._write(f"\r\x1b[K{bar} {elapsed_s:4.1f} s  {text}")

    def finish(self, text: str) -> None:
        """Replace the line by a last one."""
        self._write(f"\r\x1b[K{text}\n" if self._terminal else f"{text}\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def main() -> int:
    """Prepare the weights in the cache that the settings name; returns the process's exit code."""
    # Here, because a worker that prepares its weights has loaded its settings already.
    from voxbus.runtime.process import load_settings  # noqa: PLC0415
    from voxbus.stt_worker.settings import Settings  # noqa: PLC0415

    settings = load_settings(Settings)
    line = ProgressLine(sys.stdout)
    started = time.monotonic()
    try:
        prepared = prepare(settings.model_cache, line)
    except (models.ModelError, OSError) as error:
        line.finish(f"The speech recogniser could not be prepared: {error}")
        return 1
    if prepared.fresh:
        line.finish(f"The speech recogniser is prepared ({time.monotonic() - started:.0f} s): {prepared.directory}")
    else:
        line.finish(f"The speech recogniser was already prepared: {prepared.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
