"""Weights are prepared once, whole, and checked."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from voxbus.stt_worker import models, prepare
from voxbus.stt_worker.convert import STEPS, Progress
from voxbus.stt_worker.prepare import ProgressLine

pytestmark = pytest.mark.unit


def no_progress(step: int, steps: int, text: str) -> None:
    """Shows nothing."""


class FakeConverter:
    """Writes small files in place of the converted weights."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.fails = False
        monkeypatch.setattr(prepare, "convert", self)

    def __call__(self, source: Path, target: Path, progress: Progress) -> None:
        self.calls += 1
        for step, text in enumerate(STEPS, start=1):
            progress(step, len(STEPS), text)
        for name in models.CONVERTED_FILES:
            if self.fails:
                raise OSError("the disk is full")
            (target / name).write_bytes(name.encode())


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch) -> FakeConverter:
    """Stands in for the conversion, which takes 20 s."""
    return FakeConverter(monkeypatch)


def test_the_second_time_nothing_is_converted(tmp_path: Path, converter: FakeConverter) -> None:
    """A prepared cache is found again."""
    first = prepare.prepare(tmp_path / "cache", no_progress)
    second = prepare.prepare(tmp_path / "cache", no_progress)
    assert (first.fresh, second.fresh) == (True, False)
    assert first.directory == second.directory
    assert converter.calls == 1


@pytest.mark.parametrize("name", [*models.CONVERTED_FILES, models.MANIFEST])
def test_damage_is_found_and_repaired(tmp_path: Path, converter: FakeConverter, name: str) -> None:
    """A changed or missing file is noticed, though its size be the same, and the weights are made again."""
    directory = prepare.prepare(tmp_path, no_progress).directory
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(bytes(len(whole)))
    assert models.find_damage(directory) is not None
    assert prepare.prepare(tmp_path, no_progress).fresh
    (directory / name).unlink()
    assert models.find_damage(directory) == f"{name} is missing"
    assert prepare.prepare(tmp_path, no_progress).fresh
    assert models.find_damage(directory) is None
    assert (directory / name).read_bytes() == whole


def test_a_failed_conversion_leaves_nothing_behind(tmp_path: Path, converter: FakeConverter) -> None:
    """Half-made weights are never seen under the real name, and the next try starts afresh."""
    converter.fails = True
    with pytest.raises(OSError, match="disk is full"):
        prepare.prepare(tmp_path, no_progress)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    converter.fails = False
    assert prepare.prepare(tmp_path, no_progress).fresh


def test_workers_that_start_together_convert_once(tmp_path: Path, converter: FakeConverter) -> None:
    """Of several callers at a time one converts, and the others get its result."""
    results: list[prepare.Prepared] = []
    threads = [
        threading.Thread(target=lambda: results.append(prepare.prepare(tmp_path, no_progress))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.fresh for result in results) == [False, False, False, True]
    assert converter.calls == 1


def test_the_command_says_what_it_does(
    tmp_path: Path, converter: FakeConverter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal each step is a line; the second time it says that all was prepared already."""
    monkeypatch.setenv("VOXBUS_MODEL_CACHE", str(tmp_path))
    assert prepare.main() == 0
    first = capsys.readouterr().out.splitlines()
    assert [line.split("s  ")[-1] for line in first[:-1]] == list(STEPS)
    assert first[-1].startswith("The speech recogniser is prepared")
    assert prepare.main() == 0
    assert capsys.readouterr().out.startswith("The speech recogniser was already prepared")


def test_the_command_fails_with_a_sentence(
    tmp_path: Path, converter: FakeConverter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk gives exit code 1 and its reason, no traceback."""
    monkeypatch.setenv("VOXBUS_MODEL_CACHE", str(tmp_path))
    converter.fails = True
    assert prepare.main() == 1
    assert "the disk is full" in capsys.readouterr().out


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_a_terminal_shows_one_line() -> None:
    """On a terminal steps rewrite the same line; only the end breaks it."""
    terminal = Terminal()
    line = ProgressLine(terminal)
    line(1, 2, "one")
    line(2, 2, "two")
    line.finish("done")
    shown = terminal.getvalue()
    assert shown.count("\n") == 1
    assert shown.endswith("done\n")
    assert shown.count("\r") == 3


def test_a_missing_package_is_named() -> None:
    """The error says which package is not installed."""
    with pytest.raises(models.ModelError, match="no_such_package"):
        models._in_package("no_such_package", "weights.bin")


def test_finding_weights_imports_no_package_that_holds_them() -> None:
    """The worker's modules load and find every model without importing pipecat, which patches asyncio, or moonshine_cpp."""
    script = """
import asyncio, sys
before = asyncio.wait_for
import voxbus.stt_worker.service
from voxbus.stt_worker import models
assert all(path.exists() for path in (models.silero_vad(), models.smart_turn(), models.moonshine_source()))
assert asyncio.wait_for is before
assert not {"pipecat", "moonshine_cpp"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
