"""Where the weights are: inside installed wheels, and in the cache of what was converted from them.

Wheels are found without importing their packages: `import pipecat` replaces `asyncio.wait_for` on Python 3.11, and
`import moonshine_cpp` loads a second copy of onnxruntime.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

CONVERTER_VERSION: Final = 1
"""Grows whenever `convert` would write other files, so that an old cache is not taken for a new one."""
MANIFEST: Final = "manifest.json"
ENCODER: Final = "encoder.int8.onnx"
DECODER_FIRST: Final = "decoder_first.int8.onnx"
DECODER_PAST: Final = "decoder_past.int8.onnx"
CONVERTED_FILES: Final = (ENCODER, DECODER_FIRST, DECODER_PAST)


class ModelError(RuntimeError):
    """Weights are missing or damaged."""


def _in_package(package: str, *parts: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"the package {package} is not installed")
    path = Path(next(iter(spec.submodule_search_locations))).joinpath(*parts)
    if not path.exists():
        raise ModelError(f"{path} is missing from the package {package}")
    return path


def silero_vad() -> Path:
    """The Silero voice activity model (8 and 16 kHz)."""
    return _in_package("pipecat", "audio", "vad", "data", "silero_vad.onnx")


def smart_turn() -> Path:
    """The smart-turn v3.2 end-of-turn model."""
    return _in_package("pipecat", "audio", "turn", "smart_turn", "data", "smart-turn-v3.2-cpu.onnx")


def moonshine_source() -> Path:
    """The directory of the Moonshine base.en weights as published (`.ort` files and `tokenizer.bin`)."""
    return _in_package("moonshine_cpp", "models", "base-en")


def moonshine_directory(cache: Path) -> Path:
    """Where the converted Moonshine files belong; the name changes with the weights' and the converter's version."""
    version = metadata.version("moonshine-cpp")
    return cache / f"moonshine-base-en-int8-{version}-{CONVERTER_VERSION}"


@dataclass(frozen=True)
class FileFacts:
    """What a converted file must be."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileFacts:
        """The facts of the file at `path`."""
        with path.open("rb") as file:
            return cls(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write_manifest(directory: Path) -> None:
    """Note size and SHA-256 of each converted file beside them."""
    facts = {name: vars(FileFacts.of(directory / name)) for name in CONVERTED_FILES}
    (directory / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n")


def find_damage(directory: Path) -> str | None:
    """What is wrong with the converted files in `directory`; None when every size and SHA-256 is as written down."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        for name in CONVERTED_FILES:
            if FileFacts.of(directory / name) != FileFacts(**manifest[name]):
                return f"{name} differs from its manifest"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{MANIFEST} cannot be used: {error}"
    return None
