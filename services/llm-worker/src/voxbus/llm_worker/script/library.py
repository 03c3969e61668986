"""The scripts that come with the worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files

from pydantic import JsonValue

from voxbus.llm_worker.script.model import Script

_FOLDER = files("voxbus.llm_worker.script") / "library"


@cache
def names() -> tuple[str, ...]:
    """Names of the scripts."""
    return tuple(sorted(file.name.removesuffix(".json") for file in _FOLDER.iterdir() if file.name.endswith(".json")))


@cache
def load(name: str) -> Script:
    """The script of that name; raises KeyError when there is none."""
    if name not in names():
        raise KeyError(name)
    return Script.model_validate_json((_FOLDER / f"{name}.json").read_bytes())


@lru_cache(maxsize=256)
def _parse(text: str) -> Script:
    return Script.model_validate_json(text)


def parse(script: Mapping[str, JsonValue]) -> Script:
    """The script in an agent's settings; raises ValidationError. Agents are few and calls many, so it is remembered."""
    return _parse(json.dumps(script, sort_keys=True))
