"""The command line, run in the process of the test."""

from __future__ import annotations

from typer.testing import CliRunner

from voxbus.local.cli.app import app


def run(*arguments: str, typed: str | None = None) -> tuple[int, str, str]:
    """Exit code, stdout, stderr; `typed` is standard input."""
    result = CliRunner().invoke(app, list(arguments), input=typed)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
