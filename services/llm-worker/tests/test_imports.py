"""How the package is put together."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import voxbus.llm_worker

pytestmark = pytest.mark.unit


def test_any_module_can_be_imported_first() -> None:
    """No module needs another one to be imported before it."""
    modules = [module.name for module in pkgutil.walk_packages(voxbus.llm_worker.__path__, "voxbus.llm_worker.")]
    code = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [module for module in sys.modules if module.startswith("voxbus.llm_worker.")]:
        if not loaded.endswith(".metrics"):  # they can be registered only once
            del sys.modules[loaded]
    importlib.import_module(name)
"""
    assert "voxbus.llm_worker.tools" in modules
    subprocess.run([sys.executable, "-c", code, *modules], check=True, timeout=60)
